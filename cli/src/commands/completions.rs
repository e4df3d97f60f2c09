//! `pipe completions`

use std::process::ExitCode;

use crate::arguments::CompletionsArguments;
use crate::error::CliError;
use crate::{Running, render};

pub(crate) fn completions(arguments: &CompletionsArguments, running: &Running) -> Result<ExitCode, CliError> {
    let mut command = running.program.command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, running.program.name, &mut script);
    render::out(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
