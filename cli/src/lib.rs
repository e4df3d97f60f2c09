//! The command line of `pipe`, as a library: a program gives [`Program`] its stage kinds and has every command.
//!
//! This crate reads the command line and the environment, prints, and chooses exit codes. It computes nothing and knows
//! no field: kinds, forms and files to start from are given to it.

mod arguments;
mod commands;
mod error;
mod findings;
mod forms;
mod hub;
mod panics;
mod program;
mod progress;
mod refusal;
mod render;
mod session;
mod timing;
pub mod verb;

pub use pipe_engine as engine;

pub use self::error::CliError;
pub use self::program::{Program, Running, Starter, Verb};

/// The text of a program's `Cargo.lock`, by its path relative to the program's `Cargo.toml`. The versions in
/// it are part of every result's identity.
#[macro_export]
macro_rules! lock_file {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path))
    };
}
