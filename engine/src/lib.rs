//! The experiment engine: manifest → graph → plan → schedule → provenance.
//!
//! The engine knows nothing of medicine and prints nothing. A binary gives it a [`registry::Registry`] of
//! stage kinds and an [`event::Observer`], and asks it to check, plan or run a manifest.

pub mod assess;
pub mod audit;
mod bind;
pub mod deidentify;
pub mod event;
mod execute;
pub mod explain;
pub mod foresee;
pub mod gc;
mod graph;
pub mod inspect;
pub mod interchange;
mod items;
pub mod job;
pub mod lineage;
mod lookup;
pub mod manifest;
pub mod naming;
pub mod oddities;
mod options;
pub mod pack;
pub mod panics;
pub mod preflight;
pub mod publish;
pub mod record;
pub mod registry;
pub mod run;
mod schedule;
pub mod session;
pub mod sha256;
mod signature;
mod stats;
pub mod sweep;
pub mod view;

pub use pipe_plugin::{code, context, export, foreign, host, input, requests, stage, table};
