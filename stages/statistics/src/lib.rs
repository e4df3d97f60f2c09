//! Statistics of the workflow: metrics with intervals, calibration, sample weights and sampling.
//!
//! Everything here takes numbers and gives numbers. Nothing knows of files, folds or models, and
//! every result is the same on every host and for any number of threads.

pub mod bootstrap;
pub mod calibration;
pub mod clusters;
pub mod confusion;
pub mod decision;
pub mod delong;
pub mod metrics;
pub mod sampling;
pub mod weights;

mod logistic;
