//! Code fingerprints of stage kinds, for build scripts.
//!
//! What a kind computes is decided by the code of its module and of all modules that this one uses. The
//! source is read as tokens, so that comments, layout, documentation and tests do not count, and paths are
//! followed from module to module, into the packages beside this one as well. Crates from elsewhere count by
//! their specification in the manifest, and later by their version in the lock file of the binary that runs.
//!
//! In `build.rs`:
//!
//! ```no_run
//! pipe_stamp::write(&["src/kinds"]);
//! ```
//!
//! and in the crate, so that `code_stamps::CROP` stamps the module `src/kinds/crop.rs`:
//!
//! ```ignore
//! mod code_stamps {
//!     use pipe_engine::code::CodeStamp;
//!
//!     include!(concat!(env!("OUT_DIR"), "/code_stamps.rs"));
//! }
//! ```
//!
//! A module that holds nothing but one kind keeps its stamp narrow. What a module lists with `mod` does not
//! count for it, but all that it uses does: a kind should take nothing from a module that lists all kinds.
//!
//! What is not known here: what a procedural macro writes (its crate counts), what `env!` and `cfg` say of
//! the platform, and the compiler.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on fails"))]

mod closure;
mod error;
mod interface;
mod module;
mod package;
mod resolve;
mod sources;
mod tokens;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use closure::Closure;
pub use error::Error;
use sources::{NodeId, Sources};

/// The file that [`write`] makes in `OUT_DIR`.
pub const FILE: &str = "code_stamps.rs";

/// The code of a package and of the packages beside it, for stamping modules of the first.
#[derive(Debug)]
pub struct Code {
    folder: PathBuf,
    sources: Sources,
}

/// A module to stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The module's name.
    pub name: String,
    node: NodeId,
}

/// What is known of a module's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Digest over all that counts, in hexadecimal.
    pub source: String,
    /// The crates from elsewhere by their names in a lock file, sorted.
    pub crates: Vec<String>,
    /// Paths of the modules that count, sorted.
    pub modules: Vec<String>,
}

impl Code {
    /// Reads the package in `folder` and the packages that it depends on by path.
    ///
    /// # Errors
    /// A manifest or source file that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let sources = Sources::read(folder, &interface::is_whole)?;
        Ok(Self { folder: folder.to_path_buf(), sources })
    }

    /// The modules in these places, in order: a file is one, a folder's files save its `mod.rs` are one each.
    ///
    /// # Errors
    /// A file that is no module of the package.
    pub fn kinds(&mut self, places: &[&str]) -> Result<Vec<Kind>, Error> {
        let mut files = Vec::new();
        for place in places {
            let path = place.split('/').fold(self.folder.clone(), |path, part| path.join(part));
            match path.is_dir() {
                true => files.extend(modules_in(&path)?),
                false => files.push(path),
            }
        }
        let mut kinds = Vec::new();
        for file in files {
            let node = self.sources.module_of_file(&file)?;
            kinds.push(Kind { name: module_name(&file), node });
        }
        Ok(kinds)
    }

    /// The stamp of a module, given which features of the package are on.
    ///
    /// A feature counts if code of the closure asks for it or if it touches a dependency of the closure.
    ///
    /// # Errors
    /// Code that cannot be followed.
    pub fn stamp(&self, kind: &Kind, is_on: &dyn Fn(&str) -> bool) -> Result<Stamp, Error> {
        let closure = self.sources.closure(kind.node)?;
        let modules = self.module_digests(&closure);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"pipe code stamp, version 1").update(&interface::VERSION.to_le_bytes());
        for (path, digest) in &modules {
            field(&mut hasher, "module", path);
            hasher.update(digest.as_bytes());
        }
        for line in self.passed_on(&closure) {
            field(&mut hasher, "name", &line);
        }
        for line in self.packages_beside(&closure) {
            field(&mut hasher, "package", &line);
        }
        let mut crates = BTreeSet::new();
        for (line, package) in self.crates(&closure) {
            field(&mut hasher, "crate", &line);
            crates.insert(package);
        }
        for feature in self.features(&closure).into_iter().filter(|feature| is_on(feature)) {
            field(&mut hasher, "feature", &feature);
        }
        Ok(Stamp {
            source: hasher.finalize().to_hex().to_string(),
            crates: crates.into_iter().collect(),
            modules: modules.into_iter().map(|(path, _)| path).collect(),
        })
    }

    /// The crate of a module cut down to what [`Code::stamp`] counts, as one file of Rust: it compiles when
    /// nothing is missing. The module `without` is left out.
    ///
    /// # Errors
    /// Code that cannot be followed.
    pub fn cut_down(&self, kind: &Kind, without: Option<&str>) -> Result<String, Error> {
        let mut closure = self.sources.closure(kind.node)?;
        let is_left_out =
            |id: &NodeId| self.sources.nodes.get(*id).is_some_and(|node| Some(node.path.as_str()) == without);
        closure.modules.retain(|id| !is_left_out(id));
        let root = self.sources.nodes.get(kind.node).map_or(kind.node, |node| node.root);
        Ok(self.sources.render(root, &closure))
    }

    /// Every file read, and the folders of the sources: when one changes, stamps may.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files()
    }

    fn module_digests(&self, closure: &Closure) -> Vec<(String, blake3::Hash)> {
        let nodes = closure.modules.iter().filter_map(|&id| self.sources.nodes.get(id));
        let mut digests: Vec<_> = nodes.map(|node| (node.path.clone(), node.digest)).collect();
        digests.sort_by(|a, b| (&a.0, a.1.as_bytes()).cmp(&(&b.0, b.1.as_bytes())));
        digests
    }

    /// The names passed on, each with where it leads.
    fn passed_on(&self, closure: &Closure) -> BTreeSet<String> {
        let import = |&(id, place): &(NodeId, usize)| {
            let node = self.sources.nodes.get(id)?;
            let import = node.module.imports.get(place)?;
            Some(format!("{}::{} = {}", node.path, import.name, import.path.join("::")))
        };
        closure.passed_on.iter().filter_map(import).collect()
    }

    /// The crates from elsewhere: how each is specified, and its name in a lock file.
    fn crates(&self, closure: &Closure) -> BTreeSet<(String, String)> {
        let specified = |(user, name): &(usize, String)| {
            let user = self.sources.packages.get(*user)?;
            let used = user.dependencies.get(name)?;
            Some((format!("{} {name} {}", user.library, used.specification), used.package.clone()))
        };
        closure.crates.iter().filter_map(specified).collect()
    }

    /// How the packages of a closure specify each other: the features that they ask for.
    fn packages_beside(&self, closure: &Closure) -> BTreeSet<String> {
        let users = self.sources.packages.iter().filter(|package| self.has_package(closure, &package.folder));
        let edges = users.flat_map(|user| user.dependencies.iter().map(move |edge| (user, edge)));
        edges
            .filter(|(_, (_, used))| {
                used.folder.as_ref().is_some_and(|folder| self.has_package(closure, folder))
            })
            .map(|(user, (name, used))| format!("{} {name} {}", user.library, used.specification))
            .collect()
    }

    /// Whether a module of the package in `folder` is in a closure.
    fn has_package(&self, closure: &Closure, folder: &Path) -> bool {
        let package = self.sources.package_in(folder);
        let nodes = closure.modules.iter().filter_map(|&id| self.sources.nodes.get(id));
        package.is_some_and(|package| nodes.map(|node| node.package).any(|found| found == package))
    }

    /// The features of the package that can make a difference to a closure.
    fn features(&self, closure: &Closure) -> BTreeSet<String> {
        let Some(package) = self.sources.packages.first() else { return BTreeSet::new() };
        let nodes: Vec<_> = closure.modules.iter().filter_map(|&id| self.sources.nodes.get(id)).collect();
        let mut features: BTreeSet<String> = nodes
            .iter()
            .filter(|node| node.package == 0)
            .flat_map(|node| node.module.features.clone())
            .collect();
        let is_used = |name: &str| {
            let folder = package.dependencies.get(name).and_then(|dependency| dependency.folder.as_ref());
            closure.crates.contains(&(0, name.to_string()))
                || folder.is_some_and(|folder| self.has_package(closure, folder))
        };
        let used: Vec<&str> = package
            .dependencies
            .iter()
            .filter(|(name, _)| is_used(name))
            .map(|(_, dependency)| dependency.key.as_str())
            .collect();
        let touches = |entry: &String| {
            let entry = entry.strip_prefix("dep:").unwrap_or(entry);
            let name = entry.split('/').next().unwrap_or_default().trim_end_matches('?');
            used.contains(&name)
        };
        let touching = package.features.iter().filter(|(_, entries)| entries.iter().any(touches));
        features.extend(touching.map(|(name, _)| name.clone()));
        features.extend(used.iter().map(|key| key.to_string()));
        features
    }
}

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

/// The files of a folder that are modules, and `mod.rs` of the folders in it, sorted.
fn modules_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: folder.to_path_buf(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let inner = path.join("mod.rs");
        if inner.is_file() && !path.with_extension("rs").is_file() {
            files.push(inner);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("mod.rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn module_name(file: &Path) -> String {
    let named = if file.ends_with("mod.rs") { file.parent() } else { Some(file) };
    named.and_then(Path::file_stem).and_then(|stem| stem.to_str()).unwrap_or_default().replace('-', "_")
}

fn field(hasher: &mut blake3::Hasher, sort: &str, text: &str) {
    for part in [sort, text] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
}
