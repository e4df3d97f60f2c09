//! `pipe completions`

use std::process::ExitCode;

use crate::arguments::CompletionsArguments;
use crate::error::CliError;
use crate::{Program, render};

pub(crate) fn completions(arguments: &CompletionsArguments, program: &Program) -> Result<ExitCode, CliError> {
    let mut command = program.command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, program.name, &mut script);
    render::out(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
