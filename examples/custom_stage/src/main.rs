//! A program with all of `pipe`'s commands and stage kinds, and one kind of its own.

use std::process::ExitCode;

use pipe::engine::stage::{AnyStage, Whole};

mod prevalence;

/// The code of each kind, stamped at build time.
mod code_stamps {
    use pipe::engine::code::CodeStamp;

    include!(concat!(env!("OUT_DIR"), "/code_stamps.rs"));
}

fn main() -> ExitCode {
    let mut kinds: Vec<&'static dyn AnyStage> = pipe::STAGES.to_vec();
    kinds.push(&Whole(prevalence::Prevalence));
    pipe::main(&kinds, pipe::lock_file!("../../Cargo.lock"))
}
