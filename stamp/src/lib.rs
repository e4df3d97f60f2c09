//! Code fingerprints of stage kinds, for build scripts.
//!
//! What a kind computes is decided by the code of its module and of all modules that this one uses. The
//! source is read as tokens, so that comments, layout, documentation and tests do not count, and paths are
//! followed from module to module, into the packages beside this one as well. Crates from elsewhere count by
//! their specification in the manifest, and later by their version in the lock file of the binary that runs.
//!
//! In `build.rs`:
//!
//! ```no_run
//! pipe_stamp::write(&["src/kinds"]);
//! ```
//!
//! and in the crate's root, so that `crate::code_stamps::CROP` stamps the module `src/kinds/crop.rs`:
//!
//! ```ignore
//! mod code_stamps {
//!     pipe_plugin::stamps!();
//! }
//! ```
//!
//! A module that holds nothing but one kind keeps its stamp narrow. What a module lists with `mod` does not
//! count for it, but all that it uses does: a kind should take nothing from a module that lists all kinds.
//!
//! What is not known here: what a procedural macro writes (its crate counts), what `env!` and `cfg` say of
//! the platform, and the compiler.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on fails"))]

mod closure;
mod code;
mod error;
mod interface;
mod module;
mod package;
mod path;
mod resolve;
mod script;
mod sources;
mod tokens;

pub use code::{Code, Cut, Kind, Stamp};
pub use error::Error;
pub use script::{FILE, write};
