//! What an experiment is worth on test cases: the folds' probabilities merged, scored and written down.
//!
//! Each fold's model gives a probability per case. [`predictions`] merges them (and, where there are
//! calibrators, their calibrated values) into ensembles; [`metrics`] scores all of them on the same
//! bootstrap resamples, [`subgroups`] those of parts; [`comparisons`] tests which prediction is better, and [`decisions`]
//! says what they are worth at thresholds; [`summary`] is the table for people, and [`warnings`] what they should know of
//! it. Nothing here knows of models, images or
//! files: names and numbers come in, the bytes of files go out.

use thiserror::Error;

use pipe_statistics::bootstrap::BootstrapError;
use pipe_statistics::calibration::BetaCalibrator;
use pipe_statistics::metrics::MetricError;

pub mod comparisons;
pub mod decisions;
pub mod metrics;
pub mod predictions;
pub mod subgroups;
pub mod summary;
pub mod warnings;

/// A test case: one nodule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// The patient.
    pub pid: String,
    /// The nodule among the patient's.
    pub nodule_id: String,
    /// The label; `None` where it is not known.
    pub malignant: Option<bool>,
}

/// What one fold's model says of the cases.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// The fold's name, such as "0"; it ends the names of its columns.
    pub key: String,
    /// Probability of malignancy for each case, as the model gives it.
    pub probabilities: Vec<f64>,
    /// The fold's calibrator. Either every fold has one or none has.
    pub calibrator: Option<BetaCalibrator>,
}

/// Why cases cannot be evaluated.
#[derive(Debug, Error)]
pub enum EvaluationError {
    /// There is nothing to evaluate.
    #[error("there are no test cases")]
    NoCases,
    /// There is no model.
    #[error("there is no fold's model to evaluate")]
    NoFolds,
    /// A case occurs twice and would count twice.
    #[error("patient {pid}, nodule {nodule_id} occurs twice among the test cases")]
    DuplicateCase {
        /// The patient.
        pid: String,
        /// The nodule.
        nodule_id: String,
    },
    /// Two folds' columns would have one name.
    #[error("two predictions are called `{0}`: give each fold its own key")]
    DuplicatePrediction(String),
    /// A fold does not speak of these cases.
    #[error("fold {fold} has {found} probabilities for {cases} test cases")]
    LengthMismatch {
        /// The fold's key.
        fold: String,
        /// How many probabilities it has.
        found: usize,
        /// How many cases there are.
        cases: usize,
    },
    /// A calibrated ensemble needs every fold's calibrator.
    #[error("fold {fold} has no calibrator, but other folds have one")]
    MissingCalibrator {
        /// The fold's key.
        fold: String,
    },
    /// A prediction is not a probability.
    #[error("{prediction} of patient {pid}, nodule {nodule_id} is {value}, not a probability")]
    NotAProbability {
        /// Name of the prediction, such as `raw_0`.
        prediction: String,
        /// The patient.
        pid: String,
        /// The nodule.
        nodule_id: String,
        /// What it is.
        value: f64,
    },
    /// The intervals cannot be computed.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// Scores cannot be compared.
    #[error("cannot compare: {0}")]
    Scores(MetricError),
    /// A table cannot be written.
    #[error("cannot write the table: {0}")]
    Csv(#[from] csv::Error),
    /// The metrics cannot be written.
    #[error("cannot write the metrics: {0}")]
    Json(#[from] serde_json::Error),
}

/// A number as the shortest text that reads back as the same number.
fn number_text(value: f64) -> String {
    format!("{value:?}")
}

/// The bytes of a CSV table with the given rows.
pub(crate) fn csv_bytes(rows: impl IntoIterator<Item = Vec<String>>) -> Result<Vec<u8>, EvaluationError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| EvaluationError::Csv(error.into_error().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_read_back() {
        for (value, text) in [(0.1 + 0.2, "0.30000000000000004"), (1.0, "1.0"), (1e-300, "1e-300")] {
            assert_eq!(number_text(value), text);
            assert_eq!(text.parse(), Ok(value));
        }
    }
}
