//! From a manifest file to a [`Pipeline`]: stage instances with typed parameters and resolved references.
//!
//! The way is one direction: files and overrides → value tree (`layers`) → checked against the schema of
//! its own types and of each kind's parameters (`schema_check`) → instances and edges (`resolve`).
//! Nothing here reads an input's content or knows what has been computed before.

pub mod document;
mod hub;
pub mod layers;
pub mod node;
pub mod problem;
pub(crate) mod references;
pub mod resolve;
mod resources;
mod schema_check;
mod variables;

pub use hub::HubFile;
pub use layers::Overrides;
pub use node::{Location, Origin, Source};
pub use problem::{ManifestError, Problem};
pub use resolve::{InputBinding, InputSource, Instance, Pipeline, load_pipeline};
pub use resources::Resources;
