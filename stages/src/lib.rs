//! The stage kinds of the lung-nodule malignancy workflow.
//!
//! [`kinds`] has one module for each kind, in data-flow order: what it takes, what it gives, its parameters.
//! The other modules do the computing; of the plugin API they know at most inputs and errors, and `language_model` its turns.

mod arrays;
pub mod checkpoint;
mod checks;
pub mod clip;
mod cohort;
pub mod columns;
pub mod crop;
pub mod device;
pub mod evaluation;
mod experiment;
pub mod exports;
pub mod imaging;
mod inspections;
pub mod kinds;
mod language_model;
pub mod lidc;
pub mod numerics;
pub mod phantom;
mod preprocessing;
pub mod reports;
pub mod segmentation;
pub mod semantics;
pub mod slice;
pub mod splits;
pub mod statistics;
pub mod text;
mod torch;
pub mod training;
pub mod zero_shot;

mod code_stamps {
    pipe_plugin::stamps!();
}
