//! `pipe completions`

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{CommandLine, CompletionsArguments};
use crate::error::CliError;
use crate::render;

pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<ExitCode, CliError> {
    let mut command = CommandLine::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "pipe", &mut script);
    render::out(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
