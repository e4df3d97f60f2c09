//! What is wrong with what a kind is given, before any work.
//!
//! Stands beside the kinds, like [`crate::inspections`]: what is found goes to people and into no result. Tables and
//! folders outside the store are read. Of what other stages will make, their kinds say how it will be made, on which
//! table, and by how many folds: [`Outlook`].

mod experiments;
mod leaks;
mod models;
mod outlook;
mod tables;
mod volumes;
mod weights;

pub use self::models::{calibrate, evaluate, import_experiment, train, zero_shot};
pub use self::tables::{passed_on, split};
pub use self::volumes::{crop, import_crops, slice};
