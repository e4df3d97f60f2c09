//! The stage kind `command`: any program as a stage.
//!
//! A stage declares what goes in and what comes out; the program runs in a folder of its own that holds the former and nothing else,
//! with an environment of its own, closed off from the rest of the machine as far as this allows it. Its outputs count when it ends
//! well and all of them are there. The kind stands on the plugin API like any other, and knows nothing of schedules and stores.
//!
//! A program that has this kind must let [`serve`] do its work first:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     if let Some(code) = pipe_command::serve(std::env::args_os()) {
//!         return code;
//!     }
//!     // …
//! #   std::process::ExitCode::SUCCESS
//! }
//! ```

mod call;
mod container;
mod counted;
mod declaration;
mod environment;
mod failure;
mod folder;
mod helper;
mod items;
pub mod kinds;
mod message;
mod output;
mod params;
mod program;
mod run;
mod shell;
mod tables;
mod template;
mod tools;
mod variables;
mod whole;

mod code_stamps {
    pipe_plugin::stamps!();
}

pub use helper::serve;
