//! Experiment folders of the published training before they are imported.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pipe_plugin::stage::{Finding, StageError};
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::cohort::trained_on::PATIENTS;
use crate::experiment::model::{Merge, check_arguments, import};
use crate::experiment::{arguments, calibrator};
use crate::kinds::import_experiment::{CHECKPOINTS, ImportExperimentParams, input};
use pipe_learning::clip::weights::outline_tensors;
use pipe_learning::preprocessing::{CLIP_MAX, CLIP_MIN, Preprocessing};
use pipe_learning::training::parameters::TrainParameters;

const ADVICE: &str =
    "give the folder that the published training wrote: args.txt, and fold_0, fold_1, … with best_both.pt";

/// An experiment as far as its arguments and names tell.
pub(super) struct Experiment {
    arguments: BTreeMap<String, Value>,
    parameters: TrainParameters,
    /// Folders of folds, by number.
    folds: Vec<(u32, PathBuf)>,
    /// How the models' input was made.
    pub(super) input: Preprocessing,
}

impl Experiment {
    /// Reads arguments and looks for folds.
    pub(super) fn open(folder: &Path, params: &ImportExperimentParams) -> Result<Self, StageError> {
        let path = folder.join("args.txt");
        let refuse =
            |problem: String| StageError::message(format!("{}: {problem}", path.display())).advise(ADVICE);
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                StageError::message(format!("{} has no args.txt", folder.display())).advise(ADVICE)
            }
            _ => refuse(error.to_string()),
        })?;
        let arguments = arguments::parse(&text).map_err(|error| refuse(error.to_string()))?;
        let parameters = arguments::parameters(&arguments).map_err(|error| refuse(error.to_string()))?;
        let input = input(&arguments, params)?;
        let fold = |number: u32| {
            Some((number, folder.join(format!("fold_{number}")))).filter(|(_, path)| path.is_dir())
        };
        let folds: Vec<(u32, PathBuf)> = (0..100).filter_map(fold).collect();
        if folds.is_empty() {
            let message = format!("{} has no folder fold_0, fold_1, …", folder.display());
            return Err(StageError::message(message).advise(ADVICE));
        }
        Ok(Self { arguments, parameters, folds, input })
    }

    /// What a reader of the predictions should know of the arguments.
    pub(super) fn warnings(&self, place: &str) -> Vec<Finding> {
        let mut findings = self.silent_window(place);
        let whole = |name: &str| self.arguments.get(name).and_then(Value::as_u64);
        if let (Some(first), Some(end)) = (whole("k_start"), whole("k_end")) {
            let there: Vec<u64> = self.folds.iter().map(|(number, _)| u64::from(*number)).collect();
            let stated: Vec<u64> = (first..end.min(first + 100)).collect();
            if there != stated {
                let message = format!("args.txt states folds {stated:?}, but the folder has {there:?}");
                findings.push(Finding::warning(place, message).advise(
                    "the ensemble is of the folds that are there: fetch the others, or move the spare ones away",
                ));
            }
        }
        findings
    }

    /// The checkpoints that every fold has, by name.
    pub(super) fn checkpoints(&self) -> Vec<String> {
        let in_all = |checkpoint: &Checkpoint| {
            self.folds
                .iter()
                .all(|(_, folder)| folder.join(format!("{}.pt", checkpoint.published())).is_file())
        };
        CHECKPOINTS.iter().filter(|one| in_all(one)).map(|one| one.name().to_owned()).collect()
    }

    /// The files that name the patients of its folds: those of the splits, if they are given, and its own.
    pub(super) fn patients(&self, splits: Option<&Path>) -> Vec<PathBuf> {
        let of_fold = |(number, folder): &(u32, PathBuf)| {
            let fold = splits.map(|splits| splits.join(format!("fold_{number}")));
            let parts = fold.map(|fold| ["train_pid.csv", "val_pid.csv"].map(|name| fold.join(name)));
            parts.into_iter().flatten().chain([folder.join(PATIENTS)]).collect::<Vec<PathBuf>>()
        };
        self.folds.iter().flat_map(of_fold).collect()
    }

    fn silent_window(&self, place: &str) -> Vec<Finding> {
        let states = |name: &str| self.arguments.contains_key(name);
        let silent = !states(CLIP_MIN) && !states(CLIP_MAX);
        let warning = || {
            Finding::warning(
                place,
                "args.txt states no intensity window: the published one, -1000 to 500 HU, is taken",
            )
            .advise("say another with import-experiment's `clip_min` and `clip_max`")
        };
        silent.then(warning).into_iter().collect()
    }

    /// The folds without a calibrator, where others have one: calibrated predictions need all.
    pub(super) fn without_calibrator(&self) -> Vec<String> {
        let has = |(number, folder): &&(u32, PathBuf)| folder.join(format!("cal_{number}.pkl")).is_file();
        let missing: Vec<String> =
            self.folds.iter().filter(|fold| !has(fold)).map(|(number, _)| number.to_string()).collect();
        if missing.len() == self.folds.len() { Vec::new() } else { missing }
    }

    /// What is wrong with checkpoints and calibrators, of which no values are read.
    pub(super) fn problems(&self, place: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (number, folder) in &self.folds {
            let checkpoints =
                CHECKPOINTS.map(|checkpoint| folder.join(format!("{}.pt", checkpoint.published())));
            let there: Vec<&PathBuf> = checkpoints.iter().filter(|path| path.is_file()).collect();
            if there.is_empty() {
                let message = format!("{} has no checkpoint best_*.pt", folder.display());
                findings.push(Finding::error(place, message).advise(ADVICE));
            }
            findings.extend(there.into_iter().filter_map(|path| self.checkpoint(path, place)));
            findings.extend(calibrator_of(&folder.join(format!("cal_{number}.pkl")), place));
        }
        findings
    }

    fn checkpoint(&self, path: &Path, place: &str) -> Option<Finding> {
        let tensors = match outline_tensors(path) {
            Ok(tensors) => tensors,
            Err(error) => return Some(refused(place, StageError::from(error).to_string())),
        };
        let named = |problem: String| refused(place, format!("{}: {problem}", path.display()));
        if let Err(error) = check_arguments(&self.arguments, &tensors) {
            return Some(named(error.to_string()));
        }
        let imported = import(tensors, &self.parameters, Merge::Once);
        imported.err().map(|error| named(StageError::from(error).to_string()))
    }
}

fn calibrator_of(path: &Path, place: &str) -> Option<Finding> {
    let bytes = std::fs::read(path).ok()?;
    let error = calibrator::read(&bytes).err()?;
    Some(refused(place, format!("{}: {error}", path.display())))
}

fn refused(place: &str, message: String) -> Finding {
    Finding::error(place, message)
        .advise("get the file again from where it comes from; nothing in it was executed")
}
