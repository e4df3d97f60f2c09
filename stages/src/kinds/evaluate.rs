//! Kind `evaluate`: the ensemble of the folds' models on other patients.

use std::collections::BTreeMap;

use candle_core::Device as CandleDevice;
use pipe_engine::context::Context;
use pipe_engine::input::{Files, Input, InputValue, Selector};
use pipe_engine::stage::{About, Column, InputForm, InputSpec, OutputForm, OutputSpec, Stage, StageError};
use pipe_engine::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::clip::Tensors;
use crate::clip::weights::parse_safetensors;
use crate::cohort::calibrator_file::CalibratorFile;
use crate::cohort::model_file::ModelFile;
use crate::cohort::pixels::Pixels;
use crate::cohort::planes::PlaneSet;
use crate::cohort::{Nodule, label_problems, read_nodules};
use crate::device::candle_device;
use crate::evaluation::metrics::DatasetMetrics;
use crate::evaluation::predictions::Predictions;
use crate::evaluation::summary::summary;
use crate::evaluation::{Case, Fold, training_patients_among};
use crate::numerics::random::RandomKey;
use crate::splits::tables::read_pids;
use crate::statistics::bootstrap::Bootstrap;
use crate::statistics::calibration::BetaCalibrator;
use crate::training::prediction::Predictor;

/// Nodules that pass the tower together.
const BATCH: usize = 8;

/// The kind.
pub struct Evaluate;

/// Parameters of `evaluate`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateParams {
    /// Which of the folds' checkpoints predicts.
    pub checkpoint: Checkpoint,
    /// The dataset's name in the metrics.
    pub name: String,
    /// Resamples of the bootstrap that gives the intervals.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub draws: u32,
}

impl Default for EvaluateParams {
    fn default() -> Self {
        Self { checkpoint: Checkpoint::BestBoth, name: "test".to_string(), draws: 2000 }
    }
}

const INPUTS: &[InputSpec] = &[
    InputSpec::new("dataset", InputForm::Table, "the test patients: pid, nodule_id and, if known, malignant"),
    InputSpec::new("slices", InputForm::Collection, "the nodules' planes, as from slice"),
    InputSpec::new("models", InputForm::Tree, "the folds' models, as from train").many(),
    InputSpec::new("calibrators", InputForm::File, "the folds' calibrators, as from calibrate")
        .optional()
        .many(),
    InputSpec::new("weights", InputForm::File, "the weights that the models were trained on")
        .optional()
        .keywords(&["random"]),
    InputSpec::new("ceiling", InputForm::File, "the best possible AUROC, if known, as phantom's truth")
        .optional(),
];

impl Stage for Evaluate {
    type Params = EvaluateParams;

    const ABOUT: About = About {
        name: "evaluate",
        summary: "predicts with each fold's model and their mean, and measures how well",
        inputs: INPUTS,
        outputs: &[
            OutputSpec {
                name: "predictions",
                summary: "pid, nodule_id, raw_k, ensemble, calibrated_k, calibrated_ensemble, malignant",
                form: OutputForm::File("predictions.csv"),
            },
            OutputSpec {
                name: "metrics",
                summary: "metrics.json, metrics.csv (long form) and summary.txt, with intervals",
                form: OutputForm::Tree,
            },
        ],
        random: true,
        device: true,
        code: crate::code_stamps::EVALUATE,
        headline: Some(("metrics", "summary.txt")),
    };

    fn columns(&self, _params: &EvaluateParams, _input: &str) -> Vec<Column> {
        vec![Column::required("pid"), Column::required("nodule_id"), Column::optional("malignant")]
    }

    fn check_table(&self, _params: &EvaluateParams, _input: &str, table: &Table) -> Vec<StageError> {
        label_problems(table, true)
    }

    fn run(&self, params: &EvaluateParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let device = candle_device(context.device())?;
        let nodules = read_nodules(context.table("dataset")?, true)?;
        let models = context.inputs("models");
        let calibrators = read_calibrators(params, context, models)?;
        let mut folds = Vec::new();
        for (position, input) in models.iter().enumerate() {
            let InputValue::Files(model) = &input.value else { continue };
            context.progress(position as u64, models.len() as u64, "models");
            refuse_training_patients(model, &nodules)?;
            folds.push(Fold {
                key: fold_name(&input.selector, position),
                probabilities: predict(params, context, model, &nodules, &device)?,
                calibrator: calibrators.get(&input.selector).cloned(),
            });
        }
        write_results(params, context, &nodules, &folds)
    }
}

/// A fold's name in the columns: its foreach value, or its position.
fn fold_name(selector: &Selector, position: usize) -> String {
    let mut values = selector.values();
    match (values.next(), values.next()) {
        (Some(value), None) => value.clone(),
        _ => position.to_string(),
    }
}

/// The calibrators by the foreach values of the models that they belong to: one for every model, or none at all.
fn read_calibrators(
    params: &EvaluateParams,
    context: &Context<'_>,
    models: &[Input],
) -> Result<BTreeMap<Selector, BetaCalibrator>, StageError> {
    let mut calibrators = BTreeMap::new();
    for input in context.inputs("calibrators") {
        let InputValue::File(file) = &input.value else { continue };
        let CalibratorFile { calibrator, checkpoint } = CalibratorFile::parse(&file.read()?, &file.shown)?;
        if let Some(fitted) = checkpoint.filter(|fitted| *fitted != params.checkpoint) {
            let (fitted, wanted) = (fitted.name(), params.checkpoint.name());
            let message = format!("{} calibrates checkpoint {fitted}, but {wanted} predicts", file.shown);
            return Err(
                StageError::message(message).advise("give calibrate and evaluate the same `checkpoint`")
            );
        }
        if !models.iter().any(|model| model.selector == input.selector) {
            let message = format!("no model has the foreach values of {}", file.shown);
            return Err(StageError::message(message)
                .advise("give the stage of the calibrators the same `foreach` as the stage of the models"));
        }
        if calibrators.insert(input.selector.clone(), calibrator).is_some() {
            let message = format!("{} and another calibrator are for the same model", file.shown);
            return Err(StageError::message(message).advise("give one calibrator for each model"));
        }
    }
    Ok(calibrators)
}

/// Testing on patients that a model has seen would report how well it remembers.
fn refuse_training_patients(model: &Files, nodules: &[Nodule]) -> Result<(), StageError> {
    let bytes = model.read("training_patients.csv")?;
    let seen = read_pids(&bytes)
        .map_err(|error| StageError::message(format!("{}: training_patients.csv: {error}", model.shown)))?;
    let tested = nodules.iter().map(|nodule| nodule.pid.as_str());
    let leaked = training_patients_among(tested, seen.iter().map(String::as_str));
    let Some(first) = leaked.first() else { return Ok(()) };
    let (count, shown) = (leaked.len(), &model.shown);
    let message =
        format!("{count} test patients were trained or validated on by {shown}, {first} among them");
    Err(StageError::message(message).advise("evaluate on patients that are in no fold"))
}

fn predict(
    params: &EvaluateParams,
    context: &Context<'_>,
    model: &Files,
    nodules: &[Nodule],
    device: &CandleDevice,
) -> Result<Vec<f64>, StageError> {
    let description = ModelFile::read(model)?;
    let towers = read_towers(&description, context, model)?;
    let name = format!("{}.safetensors", params.checkpoint.name());
    let stored = model.get(&name).ok_or_else(|| {
        StageError::message(format!("{} has no checkpoint {}", model.shown, params.checkpoint.name()))
            .advise("choose another with the parameter `checkpoint`; a loss of weight 0 has no checkpoint")
    })?;
    let place =
        |error: &dyn std::error::Error| StageError::message(format!("{}: {name}: {error}", model.shown));
    let trained = parse_safetensors(&stored.read()?).map_err(|error| place(&error))?;
    let ModelFile { architecture, settings, parameters, .. } = &description;
    let predictor =
        Predictor::new(architecture, settings, &towers, &trained, device).map_err(|error| place(&error))?;
    let slices = context.files("slices")?;
    let mut probabilities = Vec::with_capacity(nodules.len());
    for nodules in nodules.chunks(BATCH) {
        context.check_cancelled()?;
        let items: Vec<&str> = nodules.iter().map(|nodule| nodule.item.as_str()).collect();
        let planes = PlaneSet::read(slices, &items, Pixels::reach(parameters.crop_size, 0))?;
        let pixels = Pixels::new(planes.edge, parameters.crop_size, architecture.vision.resolution, 0)?;
        let batch: Vec<&[f32]> = (0..planes.len()).filter_map(|position| planes.get(position)).collect();
        probabilities.extend(predictor.predict(&batch, &pixels)?);
    }
    Ok(probabilities)
}

fn read_towers(description: &ModelFile, context: &Context<'_>, model: &Files) -> Result<Tensors, StageError> {
    match context.optional("weights") {
        Some(InputValue::File(file)) => {
            description.towers(Some((&file.path()?, file.digest.to_string())), &model.shown)
        }
        _ => description.towers(None, &model.shown),
    }
}

fn write_results(
    params: &EvaluateParams,
    context: &Context<'_>,
    nodules: &[Nodule],
    folds: &[Fold],
) -> Result<(), StageError> {
    let case = |nodule: &Nodule| Case {
        pid: nodule.pid.clone(),
        nodule_id: nodule.nodule_id.clone(),
        malignant: nodule.malignant,
    };
    let predictions = Predictions::merge(nodules.iter().map(case).collect(), folds)?;
    context.write("predictions", "predictions.csv", &predictions.to_csv()?)?;
    let key = RandomKey::new(context.seed(), "evaluate");
    let bootstrap = Bootstrap { draws: params.draws, ..Bootstrap::new(key) };
    let metrics = DatasetMetrics::score(&params.name, &predictions, &bootstrap)?;
    context.write("metrics", "metrics.json", &metrics.to_json()?)?;
    context.write("metrics", "metrics.csv", &metrics.to_csv()?)?;
    context.write("metrics", "summary.txt", summary(&metrics, read_ceiling(context)?).as_bytes())
}

/// The `auroc` of the file given as ceiling.
fn read_ceiling(context: &Context<'_>) -> Result<Option<f64>, StageError> {
    let Some(InputValue::File(file)) = context.optional("ceiling") else { return Ok(None) };
    let refuse = |problem: String| StageError::message(format!("{}: {problem}", file.shown));
    let value: serde_json::Value =
        serde_json::from_slice(&file.read()?).map_err(|error| refuse(error.to_string()))?;
    let auroc = value.get("auroc").ok_or_else(|| refuse("there is no `auroc`".to_string()))?;
    match auroc.as_f64().filter(|auroc| (0.0..=1.0).contains(auroc)) {
        Some(auroc) => Ok(Some(auroc)),
        None => Err(refuse(format!("`auroc` must be a number from 0 to 1, but is {auroc}"))),
    }
}
