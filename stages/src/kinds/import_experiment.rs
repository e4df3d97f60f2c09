//! Kind `import-experiment`: the folder that the published training leaves, as models that evaluate takes.

use std::collections::{BTreeMap, BTreeSet};

use pipe_plugin::context::Context;
use pipe_plugin::input::{Files, InputFile, InputValue};
use pipe_plugin::stage::{About, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::cohort::calibrator_file::CalibratorFile;
use crate::cohort::model_file::{BaseWeights, ModelFile};
use crate::cohort::trained_on::{IMAGES, PATIENTS};
use crate::experiment::model::{Merge, check_arguments, import, scaling};
use crate::experiment::{arguments, calibrator};
use crate::splits::tables::{read_pids, write_pids};
use pipe_learning::clip::weights::{read_tensors, to_safetensors};
use pipe_learning::preprocessing::{
    CLIP_MAX, CLIP_MIN, GRID, GRID_1MM, PAD_HU, Preprocessing, SAMPLING, SIZE_MM,
};
use pipe_learning::training::parameters::TrainParameters;
use pipe_statistics::calibration::BetaCalibrator;

/// The kind.
pub struct ImportExperiment;

/// How adapters are read that the checkpoints' weights hold already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Once, as they were trained.
    #[default]
    MergedOnce,
    /// As the published evaluation script reads them: it adds those of the first fold a second time.
    Reference,
}

/// Parameters of `import-experiment`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportExperimentParams {
    /// Edge in millimetres of the crops that the models were trained on, where args.txt does not say: 100, as published,
    /// if not given. It must agree with what args.txt says.
    #[schemars(range(min = 1, max = 512))]
    pub size_mm: Option<usize>,
    /// Where these crops' voxels were read, `reference` or `exact`; as published if not given.
    pub sampling: Option<String>,
    /// The value in HU that these crops have outside a scan; 0, as published, if not given.
    pub pad_hu: Option<f64>,
    /// Lower end in HU of the intensity window that the models were trained with; −1000, as published, if not given.
    pub clip_min: Option<f64>,
    /// Upper end in HU of that window; 500, as published, if not given.
    pub clip_max: Option<f64>,
    /// `merged-once` reads checkpoints with adapters as they were trained; `reference` repeats the published script's
    /// slip with the first fold, to get its very numbers.
    pub compat: Compat,
}

/// The arguments' file.
const ARGUMENTS: &str = "args.txt";
/// The checkpoints that the published training keeps.
pub(crate) const CHECKPOINTS: [Checkpoint; 4] =
    [Checkpoint::BestBoth, Checkpoint::BestPred, Checkpoint::BestClip, Checkpoint::Last];

impl Stage for ImportExperiment {
    type Params = ImportExperimentParams;

    const ABOUT: About = About::new("import-experiment", "reads an experiment folder of the published training: its models and calibrators", crate::code_stamps::IMPORT_EXPERIMENT).inputs(&[
            InputSpec::new(
                "experiment",
                InputForm::Tree,
                "args.txt and, for each fold, fold_k/best_*.pt, ckpt.pt (the last state) and, if calibrated, cal_k.pkl; \
                 what `pipe get --format experiment` adds, training_patients.csv and training_images.csv, is read",
            ),
            InputSpec::new(
                "splits",
                InputForm::Tree,
                "fold_k/train_pid.csv and val_pid.csv of the training, so that evaluate can refuse its patients",
            )
            .optional(),
        ]).outputs(&[OutputSpec::tree("models", "fold_k/ with best_*.safetensors and last.safetensors (all tensors), model.json and, if calibrated, calibrator.json")]);

    fn files(&self, _params: &ImportExperimentParams, input: &str) -> Option<Vec<String>> {
        // What else lies in such a folder (logs, predictions, events) changes nothing.
        (input == "experiment").then(|| {
            let folds = (0..MOST_FOLDS).flat_map(|fold| {
                let checkpoints =
                    CHECKPOINTS.map(|checkpoint| format!("fold_{fold}/{}.pt", checkpoint.published()));
                let beside = [PATIENTS, IMAGES].map(|name| format!("fold_{fold}/{name}"));
                checkpoints.into_iter().chain([format!("fold_{fold}/cal_{fold}.pkl")]).chain(beside)
            });
            folds.chain([ARGUMENTS.to_string()]).collect()
        })
    }
}

impl Whole for ImportExperiment {
    fn run(&self, params: &ImportExperimentParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let experiment = context.files("experiment")?;
        let (arguments, parameters) = read_arguments(experiment)?;
        let input = input(&arguments, params).map_err(|error| error.prefixed(&experiment.shown))?;
        if let Some(missing) = window_not_stated(&arguments, params) {
            context.warn(&missing);
        }
        let folds = folds(experiment)?;
        for (position, &fold) in folds.iter().enumerate() {
            context.check_cancelled()?;
            context.progress(position as u64, folds.len() as u64, "folds");
            let merge = match params.compat {
                Compat::Reference if position == 0 => Merge::Twice { scaling: scaling(&parameters) },
                _ => Merge::Once,
            };
            import_fold(context, experiment, fold, (&arguments, &parameters, &input), merge)?;
        }
        Ok(())
    }
}

/// More folds than anybody trains.
const MOST_FOLDS: u32 = 100;

fn read_arguments(experiment: &Files) -> Result<(BTreeMap<String, Value>, TrainParameters), StageError> {
    let shown = &experiment.shown;
    let file = experiment.get(ARGUMENTS).ok_or_else(|| {
        StageError::message(format!("{shown} has no {ARGUMENTS}"))
            .advise("give the folder that the published training wrote, with fold_0, fold_1, … in it")
    })?;
    let refuse = |problem: String| StageError::message(format!("{shown}: {ARGUMENTS}: {problem}"));
    let text = String::from_utf8(file.read()?).map_err(|_| refuse("it is not UTF-8".into()))?;
    let parsed = arguments::parse(&text).map_err(|error| refuse(error.to_string()))?;
    let parameters = arguments::parameters(&parsed).map_err(|error| refuse(error.to_string()))?;
    Ok((parsed, parameters))
}

/// The fields of how input was made, with the values of the published pipeline.
fn published() -> Preprocessing {
    Preprocessing::default()
        .with(SIZE_MM, 100)
        .with(SAMPLING, "reference")
        .with(PAD_HU, 0.0)
        .with(CLIP_MIN, -1000.0)
        .with(CLIP_MAX, 500.0)
}

/// How the models' input was made: as args.txt says; where it does not, as the parameters say, or as published.
pub(crate) fn input(
    arguments: &BTreeMap<String, Value>,
    params: &ImportExperimentParams,
) -> Result<Preprocessing, StageError> {
    const NAMES: [&str; 5] = [SIZE_MM, SAMPLING, PAD_HU, CLIP_MIN, CLIP_MAX];
    let arguments = Value::Object(arguments.clone().into_iter().collect());
    let stated = Preprocessing::of_parameters(&arguments, &NAMES);
    let given = Preprocessing::of_parameters(&serde_json::to_value(params)?, &NAMES);
    match given.differences(&stated).first() {
        None => Ok(published().and(&given).and(&stated).with(GRID, GRID_1MM)),
        Some(difference) => Err(StageError::message(difference.between("the manifest", ARGUMENTS))
            .advise("leave the parameter out: args.txt says what the models were trained on")),
    }
}

/// What to say where neither arguments nor parameters tell how intensities were windowed.
fn window_not_stated(arguments: &BTreeMap<String, Value>, params: &ImportExperimentParams) -> Option<String> {
    let absent = |name: &str| arguments.get(name).is_none_or(Value::is_null);
    let given = [(CLIP_MIN, params.clip_min), (CLIP_MAX, params.clip_max)];
    let missing: Vec<&str> =
        given.iter().filter(|(name, value)| value.is_none() && absent(name)).map(|(name, _)| *name).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "{ARGUMENTS} does not state {}: the published window, -1000 to 500 HU, is taken for the models'",
            missing.join(" and ")
        )
    })
}

/// Numbers of the folds that have a checkpoint.
fn folds(experiment: &Files) -> Result<Vec<u32>, StageError> {
    let has = |fold: &u32| experiment.has_folder(&format!("fold_{fold}"));
    let folds: Vec<u32> = (0..MOST_FOLDS).filter(has).collect();
    if folds.is_empty() {
        let message = format!("{} has no fold_k folder with a checkpoint", experiment.shown);
        return Err(StageError::message(message).advise("give the folder that has fold_0, fold_1, … in it"));
    }
    Ok(folds)
}

fn import_fold(
    context: &Context<'_>,
    experiment: &Files,
    fold: u32,
    (arguments, parameters, input): (&BTreeMap<String, Value>, &TrainParameters, &Preprocessing),
    merge: Merge,
) -> Result<(), StageError> {
    let mut known: Option<ModelFile> = None;
    for checkpoint in CHECKPOINTS {
        let name = checkpoint.name();
        let published = format!("fold_{fold}/{}.pt", checkpoint.published());
        let Some(file) = experiment.get(&published) else { continue };
        let place = |error: &dyn std::error::Error| refuse(&file, &chain(error));
        let tensors = read_tensors(&file.path()?).map_err(|error| place(&error))?;
        check_arguments(arguments, &tensors).map_err(|error| place(&error))?;
        let model = import(tensors, parameters, merge).map_err(|error| place(&error))?;
        let twice = merge != Merge::Once && model.had_adapters;
        let note = format!("fold {fold}: adapters added twice, as the published evaluation does");
        let notes = Vec::from_iter(twice.then_some(note));
        notes.iter().for_each(|note| context.log(note));
        known = Some(ModelFile {
            architecture: model.architecture,
            base_weights: BaseWeights::Imported,
            settings: model.settings,
            parameters: TrainParameters { fold, ..parameters.clone() },
            input: input.clone(),
            class_weights: model.class_weights,
            notes,
        });
        context.write(
            "models",
            &format!("fold_{fold}/{name}.safetensors"),
            &to_safetensors(&model.tensors)?,
        )?;
    }
    let model = known.ok_or_else(|| {
        StageError::message(format!("{}: fold_{fold} has no checkpoint best_*.pt", experiment.shown))
            .advise("complete the folder, or take the fold's folder out of it")
    })?;
    context.write("models", &format!("fold_{fold}/model.json"), &model.to_bytes()?)?;
    if let Some(file) = experiment.get(&format!("fold_{fold}/cal_{fold}.pkl")) {
        let read = calibrator::read(&file.read()?).map_err(|error| refuse(&file, &error.to_string()))?;
        if read.falling().is_some() {
            let BetaCalibrator { a, b, .. } = read;
            context.warn(&format!(
                "fold_{fold}/cal_{fold}.pkl gives lower values for higher probabilities (a = {a:.4}, b = {b:.4}), which turns \
                 the ranking of cases round"
            ));
        }
        // The published script calibrates this state.
        let file = CalibratorFile {
            calibrator: read,
            checkpoint: Some(Checkpoint::BestBoth),
            input: input.clone(),
            fitted_to: None,
        };
        context.write("models", &format!("fold_{fold}/calibrator.json"), &file.to_bytes()?)?;
    }
    write_seen(context, experiment, fold)
}

/// An error with its reasons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text = format!("{text}: {reason}");
        source = reason.source();
    }
    text
}

fn refuse(file: &InputFile, problem: &str) -> StageError {
    StageError::message(crate::cohort::scans::about(&file.shown, &problem))
        .advise("get the file again from where it comes from; nothing in it was executed")
}

/// Everyone that a fold has seen, by the splits if they are given and as the experiment says; and what it has seen.
fn write_seen(context: &Context<'_>, experiment: &Files, fold: u32) -> Result<(), StageError> {
    let beside = |name: &str| experiment.get(&format!("fold_{fold}/{name}"));
    let mut patients = BTreeSet::new();
    if let Some(InputValue::Files(splits)) = context.optional("splits") {
        patients.extend(patients_of(splits, fold)?);
    }
    if let Some(file) = beside(PATIENTS) {
        patients.extend(read_pids(&file.shown, &file.read()?)?);
    }
    let patients: Vec<String> = patients.into_iter().collect();
    let patients = (!patients.is_empty()).then(|| write_pids(&patients)).transpose()?;
    let images = beside(IMAGES).map(|file| file.read()).transpose()?;
    for (name, bytes) in [(PATIENTS, patients), (IMAGES, images)] {
        if let Some(bytes) = bytes {
            context.write("models", &format!("fold_{fold}/{name}"), &bytes)?;
        }
    }
    Ok(())
}

/// The patients of both parts of a fold.
fn patients_of(splits: &Files, fold: u32) -> Result<Vec<String>, StageError> {
    let mut patients = Vec::new();
    for part in ["train", "val"] {
        let name = format!("fold_{fold}/{part}_pid.csv");
        patients.extend(read_pids(&format!("{name} of {}", splits.shown), &splits.read(&name)?)?);
    }
    Ok(patients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_without_a_window_are_warned_of() {
        for (text, expected) in [
            ("Namespace(clip_min=-1000, clip_max=500)", None),
            ("Namespace(clip_min=-1000)", Some("args.txt does not state clip_max: ")),
            ("Namespace(clip_min=None, lr=0.1)", Some("args.txt does not state clip_min and clip_max: ")),
        ] {
            let warning = window_not_stated(
                &arguments::parse(text).expect("arguments"),
                &ImportExperimentParams::default(),
            );
            assert_eq!(warning.is_some(), expected.is_some(), "{text}");
            assert!(warning.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{text}");
        }
        let stated =
            ImportExperimentParams { clip_min: Some(-300.0), clip_max: Some(500.0), ..Default::default() };
        assert_eq!(window_not_stated(&BTreeMap::new(), &stated), None);
    }
}
