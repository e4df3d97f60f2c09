//! From a manifest file to a [`Pipeline`]: stage instances with typed parameters and resolved references.
//!
//! The way is one direction: files and overrides → value tree (`layers`) → checked against the schema of
//! its own types and of each kind's parameters (`schema_check`) → stages (`stage_table`) and their instances
//! (`variants`) → the edges between them (`references`, `instances`).
//! Nothing here reads an input's content or knows what has been computed before.

mod declared;
pub mod document;
mod hub;
mod inherit;
mod instances;
pub mod layers;
pub mod node;
pub mod pipeline;
pub mod problem;
pub(crate) mod references;
pub mod resolve;
mod resources;
mod schema_check;
pub(crate) mod stage_table;
mod sweep;
mod variables;
mod variants;

pub use hub::HubFile;
pub use layers::Overrides;
pub use node::{Location, Origin, Source};
pub use pipeline::{InputBinding, InputSource, Instance, ParamOrigins, Pipeline};
pub use problem::{ManifestError, Problem};
pub use resolve::{load_pipeline, load_sweep, recorded_pipeline};
pub use resources::Resources;
pub use sweep::Point;
