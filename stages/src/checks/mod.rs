//! What is wrong with what a kind is given, before any work.
//!
//! Stands beside the kinds, like [`crate::inspections`]: what is found goes to people and into no result. Tables and
//! folders outside the store are read. Of what other stages will make, their kinds say how it will be made, on which
//! table, and by how many folds: [`Outlook`](outlook::Outlook).

mod collections;
mod companions;
mod crops;
mod experiments;
mod files;
mod leaks;
mod models;
mod nodules;
mod outlook;
mod prompts;
mod reports;
pub mod results;
mod splits;
mod tables;
mod volumes;
mod weights;
mod words;

use pipe_plugin::stage::{Finding, Foreseen, Preview};
use serde_json::Value;

pub use self::collections::{lidc, luna16};
pub use self::crops::import_crops;
pub use self::files::{report, text_encode};
pub use self::models::{calibrate, import_experiment};
pub use self::tables::passed_on;
pub use self::volumes::slice;
use crate::inspections;

/// For kind `dicom`.
pub fn dicom(params: &Value, preview: &Preview<'_>) -> Foreseen {
    and(passed_on(params, preview), inspections::points_in_series(params, preview))
}

/// For kind `crop`.
pub fn crop(params: &Value, preview: &Preview<'_>) -> Foreseen {
    and(volumes::crop(params, preview), inspections::points(params, preview))
}

/// For kind `split`.
pub fn split(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let alike = preview
        .one("dataset")
        .map(|table| leaks::within(preview.tables, table, "folds are divided by patient"));
    and(and(tables::split(params, preview), nodules::damaged(preview)), alike.unwrap_or_default())
}

/// For kind `train`.
pub fn train(params: &Value, preview: &Preview<'_>) -> Foreseen {
    and(models::train(params, preview), files::train(params, preview))
}

/// For kind `evaluate`.
pub fn evaluate(params: &Value, preview: &Preview<'_>) -> Foreseen {
    and(models::evaluate(params, preview), files::evaluate(preview))
}

/// For kind `zero-shot`.
pub fn zero_shot(params: &Value, preview: &Preview<'_>) -> Foreseen {
    and(models::zero_shot(params, preview), files::zero_shot(preview))
}

/// What is foreseen, with more findings.
fn and(mut foreseen: Foreseen, more: Vec<Finding>) -> Foreseen {
    foreseen.findings.extend(more);
    foreseen
}

/// How many examples a finding has.
const EXAMPLES: usize = 3;

/// The first examples of many, in words.
fn examples<T: AsRef<str>>(of: &[T]) -> String {
    let shown: Vec<&str> = of.iter().take(EXAMPLES).map(AsRef::as_ref).collect();
    format!("{}{}", shown.join(", "), if of.len() > shown.len() { ", …" } else { "" })
}
