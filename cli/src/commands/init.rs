//! `pipe init`

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::arguments::InitArguments;
use crate::error::{CliError, exit};
use crate::{Starter, render};

pub(crate) fn init(arguments: &InitArguments, starters: &[Starter]) -> Result<ExitCode, CliError> {
    let folder = &arguments.folder;
    for (name, text) in starters {
        let path = folder.join(name);
        match write_new(&path, text) {
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
