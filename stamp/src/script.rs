//! The stamps as a build script writes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::code::{Code, Stamp};
use crate::error::Error;

/// The file that [`write()`] makes in `OUT_DIR`.
pub const FILE: &str = "code_stamps.rs";

/// Stamps the modules in these places (see [`Code::kinds`]) from a build script: writes [`FILE`] into
/// `OUT_DIR`, with a constant for each module, and tells cargo what it read. An error fails the build.
pub fn write(places: &[&str]) {
    let lines = match written(places) {
        Ok(files) => {
            files.iter().map(|file| format!("cargo::rerun-if-changed={}\n", file.display())).collect()
        }
        Err(error) => format!("cargo::error={}\n", error.to_string().replace('\n', " ")),
    };
    // Cargo reads what a build script writes to its standard output; if it does not, it has ended.
    let _ = io::stdout().write_all(lines.as_bytes());
}

fn written(places: &[&str]) -> Result<BTreeSet<PathBuf>, Error> {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?).join(FILE);
    let mut code = Code::read(&folder)?;
    let kinds = code.kinds(places)?;
    let is_on = |feature: &str| {
        std::env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase().replace('-', "_"))).is_some()
    };
    let mut constants = Vec::new();
    for kind in &kinds {
        constants.push((kind.name.as_str(), code.stamp(kind, &is_on)?));
    }
    fs::write(&out, constants_text(&constants))
        .map_err(|source| Error::File { path: out.clone(), source })?;
    let own = places.iter().map(|place| folder.join(place));
    Ok(code.files().map(Path::to_path_buf).chain(own).collect())
}

fn variable(name: &'static str) -> Result<std::ffi::OsString, Error> {
    std::env::var_os(name).ok_or(Error::NotABuildScript { variable: name })
}

/// The text of [`FILE`]: one constant for each stamp.
fn constants_text(stamps: &[(&str, Stamp)]) -> String {
    let mut text = String::new();
    for (name, Stamp { source, crates, modules: _ }) in stamps {
        let constant = name.to_uppercase();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "/// The code of `{name}`.\npub const {constant}: CodeStamp =\n    CodeStamp {{ source: {source:?}, crates: &{crates:?} }};"
        );
    }
    text
}
