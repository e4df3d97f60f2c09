//! `pipe init`

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::InitArguments;
use crate::error::{CliError, exit};
use crate::render;

/// The shipped files that a project starts from.
const FILES: &[(&str, &str)] = &[
    ("pipelines/nlst.toml", include_str!("../../pipelines/nlst.toml")),
    ("pipelines/nlst-dicom.toml", include_str!("../../pipelines/nlst-dicom.toml")),
    ("pipelines/infer.toml", include_str!("../../pipelines/infer.toml")),
    ("pipelines/zero-shot.toml", include_str!("../../pipelines/zero-shot.toml")),
    ("pipelines/prompts.toml", include_str!("../../pipelines/prompts.toml")),
    ("pipelines/phantom.toml", include_str!("../../pipelines/phantom.toml")),
    ("pipelines/control.toml", include_str!("../../pipelines/control.toml")),
    ("pipelines/sample.toml", include_str!("../../pipelines/sample.toml")),
    ("dataset_csv/sample.csv", include_str!("../../dataset_csv/sample.csv")),
    ("dataset_csv/README.md", include_str!("../../dataset_csv/README.md")),
    (".gitignore", "/.pipe/\n/results/\n"),
];

pub(crate) fn init(arguments: &InitArguments) -> Result<ExitCode, CliError> {
    let folder = &arguments.folder;
    for (name, text) in FILES {
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
    let manifest = folder.join("pipelines").join("phantom.toml");
    render::line(&format!("next: pipe run {}", manifest.display()));
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
