//! `pipe` put together: the command line with the kinds, forms and pipelines of the lung-nodule workflow.

use pipe_cli::{Program, Verb};
pub use pipe_stages::kinds::STAGES;

mod predict;
mod starters;

/// The program, for a binary with this lock file.
pub fn program(lock: &'static str) -> Program {
    Program::new("pipe", env!("CARGO_PKG_VERSION"), lock)
        .kinds(STAGES)
        .kinds(&[pipe_command::kinds::command::COMMAND])
        .exports(pipe_stages::exports::EXPORTS)
        .columns(pipe_stages::columns::described)
        .cuda(pipe_stages::device::cuda_devices)
        .starters(starters::STARTERS)
        .verb(Verb { command: predict::command, run: predict::run })
}
