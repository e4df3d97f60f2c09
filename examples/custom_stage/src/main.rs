//! A program of a third party: the commands of `pipe`, with a kind of its own.

use std::process::ExitCode;

use pipe_cli::{Program, lock_file};
use pipe_plugin::stage::Kind;

mod prevalence;

mod code_stamps {
    pipe_plugin::stamps!();
}

static KINDS: &[Kind] = &[Kind::whole(&prevalence::Prevalence)];

fn main() -> ExitCode {
    Program::new("prevalence", env!("CARGO_PKG_VERSION"), lock_file!("../../Cargo.lock")).kinds(KINDS).run()
}
