//! The stage kinds of the lung-nodule malignancy workflow.
//!
//! [`kinds`] has one module for each kind, in data-flow order: what it takes, what it gives, its parameters.
//! The other modules and the crates beside this one (`imaging`, `learning`, `numerics`, `statistics`, `torch`) do the computing; of the
//! plugin API they know inputs, errors, canonical texts and foreign formats, and `language_model` its turns.

mod arrays;
pub mod checkpoint;
mod checks;
mod cohort;
mod collections;
pub mod columns;
pub mod crop;
pub mod device;
pub mod evaluation;
mod experiment;
pub mod exports;
mod inspections;
pub mod kinds;
mod language_model;
pub mod lidc;
mod methods;
mod of_all_cases;
pub mod phantom;
pub mod reports;
pub mod segmentation;
pub mod semantics;
pub mod splits;
pub mod text;
pub mod zero_shot;

mod code_stamps {
    pipe_plugin::stamps!();
}
