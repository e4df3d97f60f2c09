//! Programs in a container: the same folder, at the same place, in the image that the stage names, by Apptainer or Singularity.
//!
//! What is in the image counts by the image's content. Its programs see the stage's folder and nothing else of the host's files;
//! the network is the host's, since only the host's root could close it.

use std::collections::BTreeMap;
use std::path::Path;

use pipe_plugin::host::Host;
use pipe_plugin::stage::StageError;

use crate::helper::WORK;
use crate::program::Program;

/// The input that is the image.
pub const IMAGE: &str = "container";

/// The programs that run images, the first that is there.
const RUNTIMES: [&str; 2] = ["apptainer", "singularity"];

/// The program that runs images here, by its name.
///
/// # Errors
/// When there is none.
pub fn runtime(software: &[String], host: &Host) -> Result<(String, Program), StageError> {
    let found = RUNTIMES
        .iter()
        .find_map(|name| Some(((*name).to_string(), Program::find(name, software, host).ok()?)));
    found.ok_or_else(|| {
        StageError::message("there is no Apptainer or Singularity on PATH, which `container` needs")
            .advise("install one, or name its folder in `software`; or leave `container` out")
    })
}

/// The command that runs another one in an image.
pub fn command(
    runtime: &Program,
    image: &Path,
    work: &Path,
    graphics: bool,
    inner: Vec<String>,
) -> Vec<String> {
    let home = format!("{}:{WORK}/home", work.join("home").display());
    let bind = format!("{}:{WORK}", work.display());
    let mut argv: Vec<String> = [
        &runtime.path.display().to_string(),
        "exec",
        "--containall",
        "--cleanenv",
        "--home",
        &home,
        "--bind",
        &bind,
        "--pwd",
        WORK,
    ]
    .map(str::to_string)
    .to_vec();
    argv.extend(graphics.then(|| "--nv".to_string()));
    argv.push(image.display().to_string());
    argv.extend(inner);
    argv
}

/// The environment of the runtime, which gives the program that of the stage. What it finds by itself is the image's.
pub fn variables(of_program: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let kept = ["PATH", "HOME", "TMPDIR", "LC_ALL", "LANG"];
    let own = of_program.iter().filter(|(name, _)| kept.contains(&name.as_str()));
    let mut variables: BTreeMap<String, String> =
        own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let inner = of_program.iter().filter(|(name, _)| !["PATH", "HOME"].contains(&name.as_str()));
    for (name, value) in inner {
        let value = match name.as_str() {
            "TMPDIR" => format!("{WORK}/tmp"),
            "PIPE_PROGRESS" => format!("{WORK}/{}", crate::folder::MESSAGES),
            _ => value.clone(),
        };
        for prefix in ["APPTAINERENV_", "SINGULARITYENV_"] {
            variables.insert(format!("{prefix}{name}"), value.clone());
        }
    }
    variables
}
