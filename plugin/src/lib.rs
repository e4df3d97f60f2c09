//! What a stage kind is, and all that one needs: typed parameters, inputs by content, tables, a context to work in.
//!
//! Kinds depend on this crate and know no engine. It knows nothing of manifests, schedules and records, and of medicine only
//! what files look like that people mistake for others ([`foreign`]); it prints nothing. Whoever runs kinds (the engine, or [`testing`]) makes contexts and hears what kinds report.

mod canonical;
pub mod code;
pub mod context;
pub mod export;
pub mod foreign;
pub mod host;
pub mod input;
pub mod requests;
pub mod stage;
mod stamps;
pub mod table;
pub mod testing;

pub use self::canonical::canonical_text;
