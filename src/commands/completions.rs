//! `pipe completions`

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{CommandLine, CompletionsArguments};
use crate::error::CliError;

pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<ExitCode, CliError> {
    let mut command = CommandLine::command();
    clap_complete::generate(arguments.shell, &mut command, "pipe", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
