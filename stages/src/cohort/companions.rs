//! What comes with a fold's model: its calibrator and its validation cases.

use std::collections::BTreeMap;

use pipe_cache::Digest;
use pipe_plugin::context::Context;
use pipe_plugin::input::{Files, InputFile, InputValue, Selector};
use pipe_plugin::stage::{Column, StageError};
use pipe_plugin::table::Table;

use super::calibrator_file::CalibratorFile;
use super::model_set::FoldModel;
use crate::checkpoint::Checkpoint;
use crate::evaluation::decisions::Validation;
use pipe_statistics::calibration::BetaCalibrator;

/// The file of a model with its validation cases.
const VALIDATION: &str = "val_predictions.csv";

/// The calibrator of a model that has one beside it, as imported ones do.
pub(crate) fn own_calibrator(model: &Files) -> Result<Option<CalibratorFile>, StageError> {
    model.get("calibrator.json").map(|file| read_calibrator(&file)).transpose()
}

fn read_calibrator(file: &InputFile) -> Result<CalibratorFile, StageError> {
    CalibratorFile::parse(&file.read()?, &file.shown)
}

/// Why calibrators do not suit the checkpoint that predicts, if one of them was fitted to another: its values would shift
/// probabilities without anybody noticing.
pub(crate) fn unsuited<'a>(
    checkpoint: Checkpoint,
    calibrators: impl IntoIterator<Item = &'a CalibratorFile>,
) -> Option<String> {
    let fitted = calibrators.into_iter().find_map(|file| file.checkpoint.filter(|of| *of != checkpoint))?;
    let (fitted, wanted) = (fitted.name(), checkpoint.name());
    Some(format!("no calibrated values: the calibrators are of checkpoint {fitted}, but {wanted} predicts"))
}

/// Refuses a calibrator that was fitted to predictions of another model.
pub(crate) fn refuse_other_fit(calibrator: &CalibratorFile, model: &Files) -> Result<(), StageError> {
    let (Some(fitted), Some(file)) = (&calibrator.fitted_to, model.get(VALIDATION)) else { return Ok(()) };
    if *fitted == Digest::of(&file.read()?).to_string() {
        return Ok(());
    }
    let message = format!("the calibrator of {} was fitted to predictions of another model", model.shown);
    Err(StageError::message(message).advise("calibrate the models that predict"))
}

/// The calibrators by the foreach values of the models that they belong to.
pub(crate) fn read_calibrators(
    context: &Context<'_>,
    models: &[FoldModel],
) -> Result<BTreeMap<Selector, CalibratorFile>, StageError> {
    let mut calibrators = BTreeMap::new();
    for input in context.inputs("calibrators") {
        let InputValue::File(file) = &input.value else { continue };
        let calibrator = read_calibrator(file)?;
        if !models.iter().any(|model| model.selector == input.selector) {
            let message = format!("no model has the foreach values of {}", file.shown);
            return Err(StageError::message(message)
                .advise("give the stage of the calibrators the same `foreach` as the stage of the models"));
        }
        let models = models.iter().filter(|model| model.selector == input.selector).count();
        if models > 1 {
            let message = format!("{} is one calibrator, but there are {models} models", file.shown);
            return Err(StageError::message(message).advise(
                "a calibrator is of one model: put each beside its model, as calibrator.json, or give both by fold",
            ));
        }
        if calibrators.insert(input.selector.clone(), calibrator).is_some() {
            let message = format!("{} and another calibrator are for the same model", file.shown);
            return Err(StageError::message(message).advise("give one calibrator for each model"));
        }
    }
    Ok(calibrators)
}

/// A fold's validation cases with what its model said of them.
pub(crate) fn read_validation(
    checkpoint: Checkpoint,
    model: &Files,
    calibrator: Option<&BetaCalibrator>,
) -> Result<Validation, StageError> {
    let file = model.get(VALIDATION).ok_or_else(|| {
        StageError::message(format!(
            "{} has no {VALIDATION}, by which `sensitivity` finds a threshold",
            model.shown
        ))
        .advise("leave `sensitivity` away: imported models come without their validation cases")
    })?;
    let table = Table::parse(&file.shown, &file.read()?)?;
    let table = table.project(&["checkpoint", "malignant", "probability"].map(Column::required))?;
    let mut validation = Validation::default();
    for row in table.rows() {
        if table.text(row, "checkpoint")? == checkpoint.name() {
            let probability = table.number(row, "probability")?;
            validation.labels.push(table.label(row, "malignant")?);
            validation.raw.push(probability);
            validation.calibrated.extend(calibrator.map(|calibrator| calibrator.apply(probability)));
        }
    }
    Ok(validation)
}
