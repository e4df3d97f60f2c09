//! The command line of `pipe`, as a library: a binary with stage kinds of its own calls [`main`] with its
//! table of kinds and its lock file, and has every command.
//!
//! This crate reads the command line and the environment, prints, and chooses exit codes. It computes
//! nothing.

use std::process::ExitCode;

use clap::Parser as _;
use pipe_engine::registry::Registry;
use pipe_engine::stage::AnyStage;

mod cli;
mod commands;
mod error;
mod findings;
mod hub;
mod panics;
mod progress;
mod refusal;
mod render;
mod session;
mod timing;

pub use pipe_engine as engine;
pub use pipe_stages::kinds::STAGES;

use cli::{Command, CommandLine};
use error::CliError;

/// The text of a binary's `Cargo.lock`, by its path relative to the binary's `Cargo.toml`. The versions in
/// it are part of every result's identity.
#[macro_export]
macro_rules! lock_file {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path))
    };
}

/// Lets a write of the cache fail, for tests; see [`pipe_cache::faults`]. Release builds have no such thing.
#[cfg(debug_assertions)]
fn arm_fault() {
    if let Some(plan) = std::env::var("PIPE_FAULT").ok().and_then(|text| text.parse().ok()) {
        pipe_cache::faults::arm(plan);
    }
}

/// Runs the command line with a table of kinds. `lock` is the text of the binary's `Cargo.lock`; see
/// [`lock_file!`].
pub fn main(kinds: &[&'static dyn AnyStage], lock: &str) -> ExitCode {
    one_thread_for_small_operations();
    #[cfg(debug_assertions)]
    arm_fault();
    panics::install();
    match panics::caught(|| command(CommandLine::parse().command, kinds, lock)) {
        Err(code) => code,
        Ok(Ok(_)) if render::output_is_lost() => ExitCode::from(error::exit::FAILED),
        Ok(Ok(code)) => code,
        Ok(Err(error)) => render::error(&error),
    }
}

fn command(command: Command, kinds: &[&'static dyn AnyStage], lock: &str) -> Result<ExitCode, CliError> {
    panics::panic_on_demand("command");
    let registry = Registry::new(kinds.to_vec(), lock);
    match command {
        Command::Run(options) => commands::run::run(&options, &registry),
        Command::Check(options) => commands::check::check(&options, &registry),
        Command::Plan(options) => commands::plan::plan(&options, &registry),
        Command::Graph(options) => commands::graph::graph(&options, &registry),
        Command::Get(options) => commands::get::get(&options, &registry),
        Command::Predict(options) => commands::predict::predict(&options, &registry),
        Command::Gc(options) => commands::gc::gc(&options),
        Command::Cache(options) => commands::cache::cache(&options),
        Command::Runs(options) => commands::runs::runs(&options),
        Command::Show(options) => commands::show::show(&options),
        Command::Stages(options) => commands::stages::stages(&options, &registry),
        Command::Schema => commands::schema::schema(&registry),
        Command::Init(options) => commands::init::init(&options),
        Command::Completions(options) => commands::completions::completions(&options),
        Command::Worker(options) => commands::worker::worker(&options, &registry),
    }
}

/// Candle runs even the smallest operation on spinning threads of its own, beside the engine's pool; with
/// folds side by side most of the time goes there. Matrix products are parallel all the same.
fn one_thread_for_small_operations() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        #[allow(unsafe_code, reason = "nothing else runs yet that could read the environment")]
        // SAFETY: this is the first thing that the process does; there is only one thread.
        unsafe {
            std::env::set_var(VARIABLE, "1");
        }
    }
}
