//! What kinds foresee of their results, for the kinds that these are given to.

use std::path::PathBuf;

use pipe_plugin::stage::{Finding, Foreseen, Given, GivenSource, StageError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pipe_learning::preprocessing::Preprocessing;

/// What is foreseen of an instance's results; what a kind has nothing to say of is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Outlook {
    /// How volumes or planes will have been made, or those that a model was trained on.
    #[serde(skip_serializing_if = "Preprocessing::is_empty")]
    pub(super) input: Preprocessing,
    /// The table outside the store that the rows come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table: Option<PathBuf>,
    /// How many folds there will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folds: Option<u64>,
    /// The fold that a model is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fold: Option<u64>,
    /// The checkpoint that a calibrator will be fitted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoint: Option<String>,
    /// The checkpoints that all of several models will have, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checkpoints: Option<Vec<String>>,
    /// The folds of several models without a calibrator, where others have one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) without_calibrator: Vec<String>,
    /// Where the rows come from that a stage makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) made_by: Option<String>,
    /// Files outside the store that name the patients that models were trained on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) patients: Vec<PathBuf>,
}

impl Outlook {
    /// Of what is given; nothing for a word or what lies outside.
    pub(super) fn of(given: &Given) -> Self {
        serde_json::from_value(given.foreseen().clone()).unwrap_or_default()
    }

    /// With what was found.
    pub(super) fn with(self, findings: Vec<Finding>) -> Foreseen {
        Foreseen { results: serde_json::to_value(self).unwrap_or(Value::Null), findings }
    }
}

/// The table outside the store that the rows of what is given come from.
pub(super) fn table_of(given: &Given) -> Option<PathBuf> {
    match &given.source {
        GivenSource::Outside(path) => Some(path.clone()),
        _ => Outlook::of(given).table,
    }
}

/// The output of a stage that the rows of what is given come from; `None` for rows of a table outside.
pub(super) fn made_by(given: &Given) -> Option<String> {
    match &given.source {
        GivenSource::Outside(_) => None,
        _ => {
            let outlook = Outlook::of(given);
            outlook.made_by.or_else(|| outlook.table.is_none().then(|| shown(given)))
        }
    }
}

/// What is given, as people know it.
pub(super) fn shown(given: &Given) -> String {
    match &given.source {
        GivenSource::Made { label, output, .. } => format!("@{label}.{output}"),
        _ => given.text.clone(),
    }
}

/// An error that a run would end with.
pub(super) fn error(place: &str, error: StageError) -> Finding {
    let finding = Finding::error(place, error.to_string());
    match error.advice {
        Some(advice) => finding.advise(advice),
        None => finding,
    }
}
