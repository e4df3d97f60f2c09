//! Models and those who use them: input that was made otherwise, folds that there are not, weights and calibrators of
//! something else.

use std::path::{Path, PathBuf};

use pipe_plugin::stage::{Finding, Foreseen, Given, GivenSource, Preview, StageError};
use serde::Deserialize as _;
use serde_json::Value;

use super::examples;
use super::experiments::Experiment;
use super::leaks;
use super::outlook::{Outlook, error, made_by, shown, table_of};
use super::splits;
use super::volumes::input_of_items;
use super::weights;
use crate::checkpoint::Checkpoint;
use crate::cohort::model_set::DESCRIPTION;
use crate::cohort::pixels::Pixels;
use crate::kinds::calibrate::CalibrateParams;
use crate::kinds::evaluate::EvaluateParams;
use crate::kinds::import_experiment::ImportExperimentParams;
use pipe_learning::preprocessing::{Preprocessing, SIZE_MM};
use pipe_learning::training::parameters::TrainParameters;

/// For kind `train`.
pub fn train(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let Ok(params) = TrainParameters::deserialize(params) else { return Foreseen::default() };
    let mut findings = Vec::new();
    let slices = preview.one("slices");
    let input = slices.map(input_of_items).unwrap_or_default();
    if let Some(slices) = slices {
        let stated = params.window();
        findings.extend(difference((preview.place, preview.label, &stated), (&shown(slices), &input)));
        if let Some(volumes) = preview.one("volumes").filter(|_| params.augmentation) {
            let made = input_of_items(volumes);
            findings.extend(difference((preview.place, &shown(volumes), &made), (&shown(slices), &input)));
        }
    }
    let splits = preview.one("splits");
    let made = splits.map(Outlook::of).and_then(|splits| splits.folds);
    findings.extend(made.and_then(|folds| missing_fold(preview, u64::from(params.fold), folds)));
    let folds = made.or_else(|| splits.and_then(Given::outside).map(splits::folds));
    match weights::towers(preview) {
        Err(finding) => findings.push(*finding),
        Ok(towers) => {
            let vision = towers.as_ref().unwrap_or(&params.architecture).vision.resolution;
            findings.extend(window_in_crop(&params, vision, &input, preview));
        }
    }
    let dataset = preview.one("dataset");
    findings.extend(
        dataset
            .map(|table| leaks::within(preview.tables, table, "folds are divided by patient"))
            .unwrap_or_default(),
    );
    let (table, made_by) = (dataset.and_then(table_of), dataset.and_then(made_by));
    let fold = Some(params.fold.into());
    Outlook { input, table, made_by, folds, fold, ..Outlook::default() }.with(findings)
}

fn missing_fold(preview: &Preview<'_>, fold: u64, folds: u64) -> Option<Finding> {
    (fold >= folds).then(|| {
        let message = format!(
            "{} is of fold {fold}, but the split makes {folds} folds, 0 to {}",
            preview.label,
            folds - 1
        );
        Finding::error(preview.place, message)
            .advise("set `folds` and the split's `n_splits` to the same number of folds")
    })
}

/// The window that is cut from each plane must lie in it, shifted or not.
fn window_in_crop(
    params: &TrainParameters,
    resolution: usize,
    input: &Preprocessing,
    preview: &Preview<'_>,
) -> Option<Finding> {
    let edge = input.number(SIZE_MM)? as usize;
    let reach = Pixels::reach(params.crop_size, params.jitter);
    let message = match Pixels::new(edge, params.crop_size, resolution, params.jitter) {
        Err(error) => error.to_string(),
        Ok(_) if reach > edge => format!(
            "a window of {} voxels that is shifted by up to {} does not fit planes of edge {edge}",
            params.crop_size, params.jitter
        ),
        Ok(_) => return None,
    };
    Some(
        // The same for every fold.
        Finding::error(preview.place, format!("train: {message}"))
            .advise("make crops larger (`size_mm`), or lower train's `crop_size` or `jitter`"),
    )
}

/// For kind `calibrate`.
pub fn calibrate(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let Ok(params) = CalibrateParams::deserialize(params) else { return Foreseen::default() };
    let model = preview.one("model").map(Outlook::of).unwrap_or_default();
    Outlook { checkpoint: Some(params.checkpoint.name().to_owned()), ..model }.with(Vec::new())
}

/// For kind `import-experiment`.
pub fn import_experiment(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let Ok(params) = ImportExperimentParams::deserialize(params) else { return Foreseen::default() };
    let Some(given) = preview.one("experiment") else { return Foreseen::default() };
    let Some(folder) = given.outside() else { return Foreseen::default() };
    match Experiment::open(folder, &params) {
        Err(problem) => Foreseen { findings: vec![error(&given.place, problem)], ..Foreseen::default() },
        Ok(experiment) => {
            let mut findings = experiment.warnings(&given.place);
            if preview.thorough {
                findings.extend(experiment.problems(&given.place));
            }
            let splits = preview.one("splits").and_then(Given::outside);
            let (patients, checkpoints) = (experiment.patients(splits), Some(experiment.checkpoints()));
            let without_calibrator = experiment.without_calibrator();
            let input = experiment.input;
            Outlook { input, patients, checkpoints, without_calibrator, ..Outlook::default() }.with(findings)
        }
    }
}

/// For kind `evaluate`.
pub fn evaluate(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let Ok(params) = EvaluateParams::deserialize(params) else { return Foreseen::default() };
    let mut findings = users(preview);
    findings.extend(leaks::between(preview));
    let once =
        |dataset| leaks::within(preview.tables, dataset, "intervals take all nodules of a patient together");
    findings.extend(preview.all("dataset").flat_map(once));
    findings.extend(missing_checkpoint(params.checkpoint, preview));
    if params.calibrated {
        findings.extend(other_calibrators(params.checkpoint, preview));
        findings.extend(missing_calibrators(preview));
    }
    findings.extend(untrained_folds(preview));
    Foreseen { findings, ..Foreseen::default() }
}

/// For kind `zero-shot`.
pub fn zero_shot(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    Foreseen { findings: users(preview), ..Foreseen::default() }
}

/// Planes that are given to models and were made otherwise than what these were trained on; the weights that they need.
fn users(preview: &Preview<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for model in preview.all("models") {
        findings.extend(model.outside().and_then(|folder| headless(model, folder)));
        let trained = match model_input(model) {
            Ok(trained) => trained,
            Err(problem) => {
                findings.push(error(&model.place, problem));
                continue;
            }
        };
        for slices in preview.all("slices") {
            let input = input_of_items(slices);
            let model = format!("what {} is trained on", shown(model));
            let finding = difference((&slices.place, &model, &trained), (&shown(slices), &input));
            // One of many folds will do.
            if findings.is_empty() {
                findings.extend(finding);
            }
        }
    }
    findings.extend(weights::towers(preview).err().map(|finding| *finding));
    findings
}

/// A fold's folder with checkpoints and no description.
fn headless(given: &Given, folder: &Path) -> Option<Finding> {
    // One model has its description at the top; hidden folders are read by nobody.
    if folder.join(DESCRIPTION).is_file() {
        return None;
    }
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let seen = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let folders = seen.map(|entry| entry.path());
    let has_checkpoint = |folder: &PathBuf| {
        let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        names.into_iter().any(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
    };
    let mut headless = folders.filter(|folder| !folder.join(DESCRIPTION).is_file() && has_checkpoint(folder));
    let name = headless.next()?.file_name()?.to_string_lossy().into_owned();
    let message = format!("{}: {name} has checkpoints and no {DESCRIPTION}", shown(given));
    Some(Finding::error(&given.place, message).advise("fetch the file, or move the folder away"))
}

/// How the input of models was made, or will be.
fn model_input(given: &Given) -> Result<Preprocessing, StageError> {
    match &given.source {
        GivenSource::Outside(folder) => input_of_folder(folder),
        _ => Ok(Outlook::of(given).input),
    }
}

/// How the input of the models in a folder was made: one model's, or that of the first fold.
pub(super) fn input_of_folder(folder: &Path) -> Result<Preprocessing, StageError> {
    let of_folds = (0..100).map(|fold| folder.join(format!("fold_{fold}")).join(DESCRIPTION));
    let path = std::iter::once(folder.join(DESCRIPTION)).chain(of_folds).find(|path| path.is_file());
    let Some(path) = path else { return Ok(Preprocessing::default()) };
    let refuse = |problem: String| StageError::message(format!("{}: {problem}", path.display()));
    let bytes = std::fs::read(&path).map_err(|error| refuse(error.to_string()))?;
    let description: Value = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
    let input = description.get("input").cloned().map(serde_json::from_value).transpose();
    Ok(input.map_err(|error| refuse(error.to_string()))?.unwrap_or_default())
}

fn difference(
    (place, first, one): (&str, &str, &Preprocessing),
    (second, other): (&str, &Preprocessing),
) -> Option<Finding> {
    let difference = one.differences(other).into_iter().next()?;
    Some(
        Finding::error(place, difference.between(first, second))
            .advise("make both in one way; the shipped manifests say such values once, under [vars]"),
    )
}

/// Calibrators of another checkpoint than the one that predicts.
fn other_calibrators(checkpoint: Checkpoint, preview: &Preview<'_>) -> Option<Finding> {
    let calibrators = preview.all("calibrators");
    let other = calibrators.filter_map(|given| Some((given, Outlook::of(given).checkpoint?)));
    let (given, fitted) = other.into_iter().find(|(_, fitted)| fitted != checkpoint.name())?;
    let message = format!(
        "{} is fitted to checkpoint {fitted}, but {} predicts: predictions will have no calibrated columns",
        shown(given),
        checkpoint.name()
    );
    Some(Finding::warning(&given.place, message).advise("give calibrate and evaluate the same `checkpoint`"))
}

/// A checkpoint that imported models do not have.
fn missing_checkpoint(checkpoint: Checkpoint, preview: &Preview<'_>) -> Option<Finding> {
    let known = preview.all("models").filter_map(|given| Some((given, Outlook::of(given).checkpoints?)));
    let (given, known) =
        known.into_iter().find(|(_, known)| !known.iter().any(|name| name == checkpoint.name()))?;
    let message = format!("not every fold of {} has the checkpoint {}", shown(given), checkpoint.name());
    let advice = match known.is_empty() {
        true => "complete the experiment's folder".to_string(),
        false => format!("set evaluate's `checkpoint` to one that all have: {}", known.join(", ")),
    };
    Some(Finding::error(&given.place, message).advise(advice))
}

/// Folds whose models predict and whose calibrators are not given, where those of others are.
fn missing_calibrators(preview: &Preview<'_>) -> Option<Finding> {
    let folds = |input| -> Vec<u64> {
        preview.all(input).filter_map(|given| Outlook::of(given).fold).collect::<Vec<u64>>()
    };
    let imported = preview.all("models").map(|given| (given, Outlook::of(given).without_calibrator));
    if let Some((given, without)) = imported.into_iter().find(|(_, without)| !without.is_empty()) {
        let message = format!("{} has no cal_k.pkl of fold {}", shown(given), examples(&without));
        return Some(
            Finding::error(&given.place, message)
                .advise("fetch the file, or take those of the other folds away: all are used or none"),
        );
    }
    let (models, calibrators) = (folds("models"), folds("calibrators"));
    let given = preview.all("calibrators").next()?;
    let missing: Vec<String> =
        models.iter().filter(|fold| !calibrators.contains(fold)).map(u64::to_string).collect();
    if calibrators.is_empty() || missing.is_empty() {
        return None;
    }
    let message = format!(
        "{} has calibrators of {} of {} folds: none of {}",
        shown(given),
        models.len() - missing.len(),
        models.len(),
        examples(&missing)
    );
    Some(
        Finding::error(&given.place, message)
            .advise("give the stage of the calibrators the same `foreach` as the stage of the models"),
    )
}

/// Folds that the split makes and nobody trains.
fn untrained_folds(preview: &Preview<'_>) -> Option<Finding> {
    let models: Vec<(&Given, Outlook)> =
        preview.all("models").map(|given| (given, Outlook::of(given))).collect();
    let (given, folds) = models.iter().find_map(|(given, outlook)| Some((given, outlook.folds?)))?;
    let trained = models.iter().filter(|(_, outlook)| outlook.fold.is_some()).count() as u64;
    (trained < folds).then(|| {
        let message = format!("the split has {folds} folds, of which {trained} are trained");
        Finding::warning(&given.place, message)
            .advise("set `folds` and the split's `n_splits` to the same number of folds, if all are meant")
    })
}
