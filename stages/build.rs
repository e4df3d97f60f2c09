//! Writes a constant for each stage kind that stamps its code.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=src");
    let mut text = String::new();
    let mut names: Vec<String> = std::fs::read_dir("src/kinds")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_string()))
        .filter(|name| name != "mod")
        .collect();
    names.sort();
    for name in names {
        let _ = writeln!(
            text,
            "/// The code of kind `{name}`.\npub const {}: CodeStamp = CodeStamp {{ source: \"unstamped\", crates: &[] }};",
            name.to_uppercase()
        );
    }
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let _ = std::fs::write(Path::new(&out).join("code_stamps.rs"), text);
}
