//! Kind `evaluate`: the ensemble of the folds' models on other patients.

use std::collections::{BTreeMap, HashMap};

use candle_core::Device as CandleDevice;
use pipe_engine::context::Context;
use pipe_engine::input::{Files, InputFile, InputValue, Selector};
use pipe_engine::stage::{About, Column, InputForm, InputSpec, OutputForm, OutputSpec, Stage, StageError};
use pipe_engine::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::cohort::calibrator_file::CalibratorFile;
use crate::cohort::inference::{load, show};
use crate::cohort::model_file::{BaseWeights, ModelFile};
use crate::cohort::model_set::{FoldModel, models};
use crate::cohort::{Nodule, label_problems, read_nodules};
use crate::device::candle_device;
use crate::evaluation::comparisons::{self, OtherRun};
use crate::evaluation::decisions::{self, Validation};
use crate::evaluation::metrics::DatasetMetrics;
use crate::evaluation::predictions::Predictions;
use crate::evaluation::subgroups;
use crate::evaluation::summary::summary;
use crate::evaluation::{Case, Fold, training_patients_among};
use crate::numerics::random::RandomKey;
use crate::splits::tables::read_pids;
use crate::statistics::bootstrap::Bootstrap;
use crate::statistics::calibration::BetaCalibrator;

/// The file of a model with its validation cases.
const VALIDATION: &str = "val_predictions.csv";

/// The file of a model that names its patients.
const PATIENTS: &str = "training_patients.csv";

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
    /// Columns of the dataset by whose values the metrics are given once more, such as sex.
    pub subgroups: Vec<String>,
    /// Decides on the test cases at the thresholds that have this sensitivity on the folds' validation cases.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub sensitivity: Option<f64>,
}

impl Default for EvaluateParams {
    fn default() -> Self {
        let name = "test".to_string();
        Self { checkpoint: Checkpoint::BestBoth, name, draws: 2000, subgroups: Vec::new(), sensitivity: None }
    }
}

const INPUTS: &[InputSpec] = &[
    InputSpec::new("dataset", InputForm::Table, "the test patients: pid, nodule_id and, if known, malignant"),
    InputSpec::new("slices", InputForm::Collection, "the nodules' planes, as from slice"),
    InputSpec::new("models", InputForm::Tree, "the folds' models, as from train or import-experiment").many(),
    InputSpec::new(
        "calibrators",
        InputForm::File,
        "the folds' calibrators, as from calibrate; imported models have theirs with them",
    )
    .optional()
    .many(),
    InputSpec::new("weights", InputForm::File, "the weights that the models were trained on")
        .optional()
        .keywords(&["random"]),
    InputSpec::new(
        "against",
        InputForm::File,
        "predictions.csv of other runs, whose ensembles are compared on the cases that both have",
    )
    .optional()
    .many(),
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
                summary: "metrics.json, metrics.csv (long form) and summary.txt, with intervals; comparisons.csv (DeLong), \
                          decision_curve.csv, and subgroups.csv and operating_points.csv where asked for",
                form: OutputForm::Tree,
            },
        ],
        random: true,
        device: true,
        code: crate::code_stamps::EVALUATE,
        headline: Some(("metrics", "summary.txt")),
    };

    fn columns(&self, params: &EvaluateParams, _input: &str) -> Vec<Column> {
        let mut columns =
            vec![Column::required("pid"), Column::required("nodule_id"), Column::optional("malignant")];
        columns.extend(params.subgroups.iter().map(Column::required));
        columns
    }

    fn check_table(&self, _params: &EvaluateParams, _input: &str, table: &Table) -> Vec<StageError> {
        label_problems(table, true)
    }

    fn run(&self, params: &EvaluateParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let device = candle_device(context.device())?;
        let nodules = read_nodules(context.table("dataset")?, true)?;
        let models = models(context.inputs("models"))?;
        let calibrators = read_calibrators(params, context, &models)?;
        let (mut folds, mut notes) = (Vec::new(), Vec::new());
        let mut validation = Vec::new();
        for (position, model) in models.iter().enumerate() {
            context.progress(position as u64, models.len() as u64, "models");
            let description = ModelFile::read(&model.files)?;
            refuse_training_patients(&model.files, &description, &nodules, &mut notes)?;
            let own = calibrators.get(&model.selector).cloned();
            let fold = Fold {
                key: model.key.clone(),
                probabilities: predict(params, context, &model.files, &description, &nodules, &device)?,
                calibrator: own.map_or_else(|| own_calibrator(params, &model.files), |own| Ok(Some(own)))?,
            };
            if params.sensitivity.is_some() {
                validation.push(read_validation(params, &model.files, fold.calibrator.as_ref())?);
            }
            folds.push(fold);
            notes.extend(description.notes);
        }
        write_results(params, context, &nodules, &folds, &validation, notes)
    }
}

/// The calibrator of a model that has one beside it, as imported ones do.
fn own_calibrator(params: &EvaluateParams, model: &Files) -> Result<Option<BetaCalibrator>, StageError> {
    model.get("calibrator.json").map(|file| read_calibrator(params, &file)).transpose()
}

/// A calibrator that is of the checkpoint that predicts.
fn read_calibrator(params: &EvaluateParams, file: &InputFile) -> Result<BetaCalibrator, StageError> {
    let CalibratorFile { calibrator, checkpoint } = CalibratorFile::parse(&file.read()?, &file.shown)?;
    let Some(fitted) = checkpoint.filter(|fitted| *fitted != params.checkpoint) else {
        return Ok(calibrator);
    };
    let (fitted, wanted) = (fitted.name(), params.checkpoint.name());
    let message = format!("{} calibrates checkpoint {fitted}, but {wanted} predicts", file.shown);
    Err(StageError::message(message).advise("give calibrate and evaluate the same `checkpoint`"))
}

/// The calibrators by the foreach values of the models that they belong to: one for every model, or none at all.
fn read_calibrators(
    params: &EvaluateParams,
    context: &Context<'_>,
    models: &[FoldModel],
) -> Result<BTreeMap<Selector, BetaCalibrator>, StageError> {
    let mut calibrators = BTreeMap::new();
    for input in context.inputs("calibrators") {
        let InputValue::File(file) = &input.value else { continue };
        let calibrator = read_calibrator(params, file)?;
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

/// Testing on patients that a model has seen would report how well it remembers. Models from elsewhere need not say
/// whom they have seen; then the results do.
fn refuse_training_patients(
    model: &Files,
    description: &ModelFile,
    nodules: &[Nodule],
    notes: &mut Vec<String>,
) -> Result<(), StageError> {
    if model.get(PATIENTS).is_none() && description.base_weights == BaseWeights::Imported {
        let unknown = "The models do not say whom they were trained on: not checked for these patients.";
        if !notes.iter().any(|note| note == unknown) {
            notes.push(unknown.to_string());
        }
        return Ok(());
    }
    let bytes = model.read(PATIENTS)?;
    let seen = read_pids(&bytes)
        .map_err(|error| StageError::message(format!("{}: {PATIENTS}: {error}", model.shown)))?;
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
    description: &ModelFile,
    nodules: &[Nodule],
    device: &CandleDevice,
) -> Result<Vec<f64>, StageError> {
    let predictor = load(params.checkpoint, context, model, description, device)?;
    let mut probabilities = Vec::with_capacity(nodules.len());
    show(&predictor, description, context, nodules, |images| {
        probabilities.extend(predictor.predict_pixels(images)?);
        Ok(())
    })?;
    Ok(probabilities)
}

fn write_results(
    params: &EvaluateParams,
    context: &Context<'_>,
    nodules: &[Nodule],
    folds: &[Fold],
    validation: &[Validation],
    mut notes: Vec<String>,
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
    if metrics.labelled.is_some() {
        notes.extend(write_details(params, context, &predictions, validation, &bootstrap)?);
    }
    context.write("metrics", "summary.txt", summary(&metrics, read_ceiling(context)?, &notes).as_bytes())
}

/// What only labels allow to say; lines for people come back.
fn write_details(
    params: &EvaluateParams,
    context: &Context<'_>,
    predictions: &Predictions,
    validation: &[Validation],
    bootstrap: &Bootstrap,
) -> Result<Vec<String>, StageError> {
    let mut remarks = Vec::new();
    if let Some(wanted) = params.sensitivity {
        let points = decisions::operating_points(predictions, validation, wanted);
        let table = decisions::operating_points_csv(&params.name, &points)?;
        context.write("metrics", "operating_points.csv", &table)?;
        remarks.extend(decisions::remarks(&points));
    }
    let table = decisions::decision_curve_csv(&params.name, predictions)?;
    context.write("metrics", "decision_curve.csv", &table)?;
    let others = context.inputs("against").iter().filter_map(|input| match &input.value {
        InputValue::File(file) => {
            // By foreach values: results have no paths in them.
            let values: Vec<&str> = input.selector.values().map(String::as_str).collect();
            Some(read_other(file, if values.is_empty() { "against".to_string() } else { values.join(" ") }))
        }
        _ => None,
    });
    let pairs = comparisons::compare(predictions, &others.collect::<Result<Vec<_>, _>>()?)?;
    context.write("metrics", "comparisons.csv", &comparisons::to_csv(&params.name, &pairs)?)?;
    remarks.extend(comparisons::remarks(&pairs));
    if !params.subgroups.is_empty() {
        let table = context.table("dataset")?;
        let mut groups = Vec::new();
        for column in &params.subgroups {
            let cells: Vec<Option<String>> =
                table.rows().iter().map(|row| table.get(row, column).map(str::to_string)).collect();
            groups.extend(subgroups::score(column, &cells, predictions, bootstrap)?);
        }
        context.write("metrics", "subgroups.csv", &subgroups::to_csv(&groups)?)?;
        remarks.extend(subgroups::remarks(&groups));
    }
    Ok(remarks)
}

/// A fold's validation cases with what its model said of them.
fn read_validation(
    params: &EvaluateParams,
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
        if table.text(row, "checkpoint")? == params.checkpoint.name() {
            let probability = table.number(row, "probability")?;
            validation.labels.push(table.label(row, "malignant")?);
            validation.raw.push(probability);
            validation.calibrated.extend(calibrator.map(|calibrator| calibrator.apply(probability)));
        }
    }
    Ok(validation)
}

/// The ensembles of another run's `predictions.csv`.
fn read_other(file: &InputFile, name: String) -> Result<OtherRun, StageError> {
    let table = Table::parse(&file.shown, &file.read()?)?;
    let columns = ["pid", "nodule_id", "ensemble"].map(Column::required);
    let table = table.project(&[&columns[..], &[Column::optional("calibrated_ensemble")]].concat())?;
    let mut other = OtherRun { name, ensemble: HashMap::new(), calibrated: HashMap::new() };
    for row in table.rows() {
        let case = (table.text(row, "pid")?.to_string(), table.text(row, "nodule_id")?.to_string());
        if table.has_column("calibrated_ensemble") {
            other.calibrated.insert(case.clone(), table.number(row, "calibrated_ensemble")?);
        }
        other.ensemble.insert(case, table.number(row, "ensemble")?);
    }
    Ok(other)
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
