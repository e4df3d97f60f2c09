//! `pipe init`

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::arguments::InitArguments;
use crate::commands::schema::manifest_schema;
use crate::error::{CliError, exit};
use crate::{Running, Starter, render};

/// The schema that editors check manifests with, beside the manifests.
const SCHEMA: &str = "pipeline.schema.json";

pub(crate) fn init(arguments: &InitArguments, running: &Running) -> Result<ExitCode, CliError> {
    let (folder, starters) = (&arguments.folder, &running.program.starters);
    for (name, text) in files(starters, running) {
        let path = folder.join(name);
        match write_new(&path, &text) {
            Ok(true) => render::line(&format!("  wrote {}", path.display())),
            Ok(false) => render::line(&format!("  kept {}, which was there already", path.display())),
            Err(error) => {
                return Err(CliError::Other {
                    message: format!("cannot write {}: {error}", path.display()),
                    help: "choose a folder that you can write to".to_string(),
                    code: exit::REFUSED,
                });
            }
        }
    }
    if let Some((manifest, _)) = starters.first() {
        render::line(&format!("next: pipe run {}", folder.join(manifest).display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// All files with their texts: manifests name the schema in their first line, for editors.
fn files(starters: &[Starter], running: &Running) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let of_manifests =
        starters.first().and_then(|(name, _)| Path::new(name).parent()).unwrap_or(Path::new(""));
    for (name, text) in starters {
        let path = Path::new(name);
        let is_manifest = path.extension().is_some_and(|extension| extension == "toml");
        let depth = path.parent().map_or(0, |folder| folder.components().count());
        let up = "../".repeat(depth);
        let head = match is_manifest {
            true if path.parent() == Some(of_manifests) => format!("#:schema ./{SCHEMA}\n"),
            true => format!("#:schema {up}{}\n", of_manifests.join(SCHEMA).display()),
            false => String::new(),
        };
        files.push((path.to_path_buf(), format!("{head}{text}")));
    }
    let schema = serde_json::to_string_pretty(&manifest_schema(running.registry())).unwrap_or_default();
    files.push((of_manifests.join(SCHEMA), schema + "\n"));
    files
}

/// Writes a file unless there is one already.
fn write_new(path: &Path, text: &str) -> std::io::Result<bool> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
