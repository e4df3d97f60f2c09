//! A program with all of `pipe`'s commands and stage kinds, and one kind of its own.

use std::process::ExitCode;

use pipe::engine::stage::{AnyStage, Whole};

mod prevalence;

fn main() -> ExitCode {
    let mut kinds: Vec<&'static dyn AnyStage> = pipe::STAGES.to_vec();
    kinds.push(&Whole(prevalence::Prevalence));
    pipe::main(&kinds, pipe::lock_file!("../../Cargo.lock"))
}
