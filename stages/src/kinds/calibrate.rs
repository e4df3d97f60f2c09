//! Kind `calibrate`: a beta calibrator for one fold's model, fitted to its validation predictions.

use std::collections::BTreeSet;

use pipe_cache::Digest;
use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::cohort::calibrator_file::CalibratorFile;
use crate::cohort::model_file::ModelFile;
use pipe_statistics::calibration::{BetaCalibrator, CalibrationError, CalibrationKind};

/// The kind.
pub struct Calibrate;

/// Parameters of `calibrate`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrateParams {
    /// Which parameters of the calibration map are free.
    pub kind: Freedom,
    /// The checkpoint whose predictions are calibrated; predict with the same one.
    pub checkpoint: Checkpoint,
    /// Label of the fold, for `foreach`: the model comes from the input, not from this number.
    pub fold: u32,
}

impl Default for CalibrateParams {
    fn default() -> Self {
        Self { kind: Freedom::Abm, checkpoint: Checkpoint::BestBoth, fold: 0 }
    }
}

/// Which of the map's a, b and m are free.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Freedom {
    /// a, b and m.
    Abm,
    /// a = b, and m.
    Am,
    /// a and b; m = 1/2.
    Ab,
    /// a = b; m = 1/2.
    A,
}

impl Freedom {
    fn calibration_kind(self) -> CalibrationKind {
        match self {
            Freedom::Abm => CalibrationKind::Abm,
            Freedom::Am => CalibrationKind::Am,
            Freedom::Ab => CalibrationKind::Ab,
            Freedom::A => CalibrationKind::A,
        }
    }
}

/// The file of the model with the validation cases.
const PREDICTIONS: &str = "val_predictions.csv";

impl Stage for Calibrate {
    type Params = CalibrateParams;

    const ABOUT: About = About::new(
        "calibrate",
        "fits a beta calibrator to a model's validation predictions",
        crate::code_stamps::CALIBRATE,
    )
    .inputs(&[InputSpec::new("model", InputForm::Tree, "a trained model with its val_predictions.csv")])
    .outputs(&[OutputSpec::file(
        "calibrator",
        "calibrator.json",
        "calibrator.json: kind, a, b, m, intercept, checkpoint and the size of the fit's data",
    )]);
}

impl Whole for Calibrate {
    fn run(&self, params: &CalibrateParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let model = context.files("model")?;
        let file = model.get(PREDICTIONS).ok_or_else(|| no_predictions(params, &model.shown))?;
        let bytes = file.read()?;
        let fitted_to = Some(Digest::of(&bytes).to_string());
        let table = Table::parse(&file.shown, &bytes)?;
        let cases = validation_cases(params, &table)?;
        let calibrator = fit(params, &cases)?;
        context.log(&format!(
            "{} validation cases, {} positive: a = {}, b = {}, m = {}",
            calibrator.n, calibrator.positives, calibrator.a, calibrator.b, calibrator.m
        ));
        warnings(&calibrator).iter().for_each(|warning| context.warn(warning));
        let input = ModelFile::read(model)?.input;
        let file = CalibratorFile { calibrator, checkpoint: Some(params.checkpoint), input, fitted_to };
        context.write("calibrator", "calibrator.json", &file.to_bytes()?)
    }
}

/// A calibrator of fewer cases is mostly chance.
const FEW_CASES: usize = 20;
/// The same, of either class.
const FEW_OF_A_CLASS: usize = 5;

/// What whoever uses the calibrator should know.
fn warnings(calibrator: &BetaCalibrator) -> Vec<String> {
    let BetaCalibrator { n, positives, a, b, .. } = *calibrator;
    let mut warnings = Vec::new();
    if n < FEW_CASES || positives.min(n - positives) < FEW_OF_A_CLASS {
        warnings.push(format!(
            "fitted to {n} validation cases, {positives} of them positive: with fewer than {FEW_CASES}, or than \
             {FEW_OF_A_CLASS} of a class, a calibrator is mostly chance"
        ));
    }
    if !calibrator.converged {
        warnings.push(
            "the fit has not converged: the predictions separate the classes, and the calibrator is a steep but finite step"
                .to_string(),
        );
    }
    if let Some([low, high]) = calibrator.falling() {
        let place = match (low > 0.0, high < 1.0) {
            (true, _) => format!(" above {low:.3}"),
            (_, true) => format!(" below {high:.3}"),
            _ => String::new(),
        };
        warnings.push(format!(
            "the calibrator falls{place}: a higher probability gives a lower calibrated one (a = {a:.4}, b = {b:.4}), which \
             turns the ranking of cases round"
        ));
    }
    warnings
}

/// Probabilities and labels of the same cases.
#[derive(Debug, Default, PartialEq)]
struct Cases {
    probabilities: Vec<f64>,
    labels: Vec<bool>,
}

fn no_predictions(params: &CalibrateParams, shown: &str) -> StageError {
    StageError::message(format!("fold {}: {shown} has no {PREDICTIONS}", params.fold))
        .advise("give the `model` output of a train stage: models from elsewhere come with their calibrators")
}

/// The cases that the chosen checkpoint predicted.
fn validation_cases(params: &CalibrateParams, table: &Table) -> Result<Cases, StageError> {
    let columns = ["checkpoint", "malignant", "probability"].map(Column::required);
    let table = table.project(&columns)?;
    let mut cases = Cases::default();
    let mut found = BTreeSet::new();
    for row in table.rows() {
        let checkpoint = table.text(row, "checkpoint")?;
        found.insert(checkpoint);
        if checkpoint != params.checkpoint.name() {
            continue;
        }
        let probability = table.number(row, "probability")?;
        if !(0.0..=1.0).contains(&probability) {
            let message = format!(
                "{}:{}: `probability` must lie between 0 and 1, but is {probability}",
                table.source, row.line
            );
            return Err(StageError::message(message));
        }
        cases.probabilities.push(probability);
        cases.labels.push(table.label(row, "malignant")?);
    }
    if cases.labels.is_empty() {
        return Err(no_cases(params, &table.source, &found));
    }
    Ok(cases)
}

fn no_cases(params: &CalibrateParams, source: &str, found: &BTreeSet<&str>) -> StageError {
    let found: Vec<&str> = found.iter().copied().collect();
    let name = params.checkpoint.name();
    StageError::message(format!("fold {}: {source} has no predictions of checkpoint {name}", params.fold))
        .advise(format!("set `checkpoint` to one that it has: {}", found.join(", ")))
}

fn fit(params: &CalibrateParams, cases: &Cases) -> Result<BetaCalibrator, StageError> {
    let Cases { probabilities, labels } = cases;
    BetaCalibrator::fit(params.kind.calibration_kind(), probabilities, labels).map_err(|error| {
        let told = StageError::message(format!("fold {}: {error}", params.fold));
        match error {
            CalibrationError::SingleClass { .. } => told.advise(
                "validation needs patients of both classes: give split a smaller `train_size` or another \
                 `random_state`, or evaluate without calibrators",
            ),
            _ => told,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "checkpoint,pid,nodule_id,malignant,probability\n";

    fn cases(params: &CalibrateParams, rows: &str) -> Result<Cases, StageError> {
        let text = format!("{HEADER}{rows}");
        validation_cases(params, &Table::parse("val_predictions.csv", text.as_bytes()).expect("table"))
    }

    fn fold(fold: u32) -> CalibrateParams {
        CalibrateParams { fold, ..CalibrateParams::default() }
    }

    #[test]
    fn only_the_chosen_checkpoint_counts() {
        let rows = "best_both,1,1,0,0.25\nlast,1,1,0,0.5\nbest_both,2,1,1,0.75\n";
        let expected = Cases { probabilities: vec![0.25, 0.75], labels: vec![false, true] };
        assert_eq!(cases(&fold(0), rows).expect("cases"), expected);
        let last = CalibrateParams { checkpoint: Checkpoint::Last, ..fold(0) };
        assert_eq!(cases(&last, rows).expect("cases").probabilities, [0.5]);
    }

    #[test]
    fn names_in_parameters_are_those_in_the_table() {
        for checkpoint in [Checkpoint::BestBoth, Checkpoint::BestPred, Checkpoint::BestClip, Checkpoint::Last]
        {
            assert_eq!(serde_json::to_value(checkpoint).expect("json"), checkpoint.name());
        }
        for kind in [Freedom::Abm, Freedom::Am, Freedom::Ab, Freedom::A] {
            assert_eq!(serde_json::to_value(kind).expect("json"), kind.calibration_kind().name());
        }
    }

    #[test]
    fn a_checkpoint_without_predictions_is_named_with_those_there_are() {
        let error = cases(&fold(3), "last,1,1,0,0.5\nbest_pred,1,1,0,0.5\n").expect_err("refused");
        assert_eq!(
            error.to_string(),
            "fold 3: val_predictions.csv has no predictions of checkpoint best_both"
        );
        assert_eq!(error.advice.as_deref(), Some("set `checkpoint` to one that it has: best_pred, last"));
    }

    #[test]
    fn few_cases_steps_and_falling_calibrators_are_warned_of() {
        let fitted = |probabilities: &[f64], labels: &[bool]| {
            let cases = Cases { probabilities: probabilities.to_vec(), labels: labels.to_vec() };
            warnings(&fit(&fold(0), &cases).expect("fitted"))
        };
        // Forty cases in which higher probabilities are more often right.
        let probabilities: Vec<f64> = (0..40).map(|case| f64::from(case) / 40.0 + 0.01).collect();
        let labels: Vec<bool> = (0..40).map(|case| case % 3 == 0 || case > 25 && case % 5 != 0).collect();
        assert!(fitted(&probabilities, &labels).is_empty());
        let turned: Vec<bool> = labels.iter().map(|label| !label).collect();
        let falls = fitted(&probabilities, &turned);
        assert!(falls.len() == 1 && falls[0].starts_with("the calibrator falls: a higher"), "{falls:?}");
        let few = fitted(&probabilities[..12], &labels[..12]);
        assert!(few[0].starts_with("fitted to 12 validation cases, 4 of them positive"), "{few:?}");
        let rare: Vec<bool> = (0..40).map(|case| case % 11 == 4).collect();
        assert!(fitted(&probabilities, &rare)[0].starts_with("fitted to 40 validation cases, 4 of them"));
        let apart: Vec<bool> = (0..40).map(|case| case > 20).collect();
        assert!(fitted(&probabilities, &apart)[0].starts_with("the fit has not converged"));
        let partly = warnings(&BetaCalibrator {
            n: 40,
            positives: 20,
            ..BetaCalibrator::from_line(CalibrationKind::Ab, 3.0, -1.0, 0.0)
        });
        assert!(partly[0].starts_with("the calibrator falls above 0.750: "), "{partly:?}");
    }

    #[test]
    fn one_class_is_refused_with_the_fold() {
        let error =
            fit(&fold(2), &cases(&fold(2), "best_both,1,1,0,0.5\n").expect("cases")).expect_err("refused");
        assert_eq!(error.to_string(), "fold 2: cannot calibrate on one class: 0 of 1 cases are positive");
        assert!(error.advice.expect("advice").contains("random_state"));
    }

    #[test]
    fn wrong_cells_are_named() {
        for (rows, message) in [
            ("best_both,1,1,0,1.5\n", "val_predictions.csv:2: `probability` must lie between 0 and 1"),
            ("best_both,1,1,0,NaN\n", "val_predictions.csv:2: `probability` must be a finite number"),
            ("best_both,1,1,,0.5\n", "val_predictions.csv:2: `malignant` must be 0 or 1"),
            (",1,1,0,0.5\n", "val_predictions.csv:2: `checkpoint` must be a text"),
        ] {
            let error = cases(&fold(0), rows).expect_err("refused").to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
