//! Kind `evaluate`: the ensemble of the folds' models on other patients.

use std::collections::BTreeMap;

use pipe_plugin::context::Context;
use pipe_plugin::input::InputValue;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::cohort::calibrator_file::CalibratorFile;
use crate::cohort::companions::{
    own_calibrator, read_calibrators, read_validation, refuse_other_fit, unsuited,
};
use crate::cohort::inference::{load, show};
use crate::cohort::model_file::ModelFile;
use crate::cohort::model_set::{FoldModel, models};
use crate::cohort::test_set::{TestSet, other_runs, test_sets};
use crate::cohort::trained_on::{refuse_known_cases, refuse_other_input};
use crate::cohort::{Nodule, label_problems};
use crate::device::candle_device;
use crate::evaluation::decisions::{self, Validation};
use crate::evaluation::metrics::{self, DatasetMetrics};
use crate::evaluation::predictions::{self, Predictions};
use crate::evaluation::summary::{self, in_a_line, side_by_side};
use crate::evaluation::{Case, Fold, comparisons, csv_bytes, subgroups, warnings};
use pipe_learning::training::prediction::Predictor;
use pipe_numerics::random::RandomKey;
use pipe_statistics::bootstrap::{Bootstrap, Interval};
use pipe_statistics::calibration::BetaCalibrator;

/// The kind.
pub struct Evaluate;

/// Parameters of `evaluate`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateParams {
    /// Which of the folds' checkpoints predicts.
    pub checkpoint: Checkpoint,
    /// Whether predictions are calibrated, too, where there are calibrators of this checkpoint.
    pub calibrated: bool,
    /// The dataset's name in the metrics, where it is the only one.
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
        Self {
            checkpoint: Checkpoint::BestBoth,
            calibrated: true,
            name,
            draws: 2000,
            subgroups: Vec::new(),
            sensitivity: None,
        }
    }
}

const INPUTS: &[InputSpec] = &[
    InputSpec::new(
        "dataset",
        InputForm::Table,
        "the test patients: pid, nodule_id and, if known, malignant; several by name: { a = …, b = … }",
    )
    .many(),
    InputSpec::new("slices", InputForm::Collection, "the nodules' planes, as from slice; by the same names")
        .of("safetensors")
        .many(),
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

    const ABOUT: About = About::new("evaluate", "predicts with each fold's model and their mean, and measures how well", crate::code_stamps::EVALUATE).inputs(INPUTS).outputs(&[
            OutputSpec::file("predictions", "predictions.csv", "pid, nodule_id, raw_k, ensemble, calibrated_k, calibrated_ensemble, malignant; of several \
                          data sets, dataset before them"),
            OutputSpec::tree("metrics", "metrics.json, metrics.csv (long form) and summary.txt, with intervals; headline.txt; \
                          comparisons.csv (DeLong), decision_curve.csv, and subgroups.csv and operating_points.csv where asked for"),
        ]).random().device().headline("metrics", "summary.txt");

    fn columns(&self, params: &EvaluateParams, _input: &str) -> Vec<Column> {
        let mut columns =
            vec![Column::required("pid"), Column::required("nodule_id"), Column::optional("malignant")];
        columns.extend(params.subgroups.iter().map(Column::required));
        columns
    }

    fn check_table(&self, _params: &EvaluateParams, _input: &str, table: &Table) -> Vec<StageError> {
        label_problems(table, true)
    }
}

impl Whole for Evaluate {
    fn run(&self, params: &EvaluateParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let device = candle_device(context.device())?;
        let sets = test_sets(context, &params.name)?;
        let models = models(context.inputs("models"))?;
        let mut notes = Vec::new();
        let calibrators = calibrators(params, context, &models, &mut notes)?;
        // By data set, then by fold.
        let mut folds: Vec<Vec<Fold>> = vec![Vec::new(); sets.len()];
        let mut validation = Vec::new();
        for (position, (model, calibrator)) in models.iter().zip(calibrators).enumerate() {
            context.progress(position as u64, models.len() as u64, "models");
            let description = ModelFile::read(&model.files)?;
            let shown = &model.files.shown;
            for set in &sets {
                let slices = (&set.slices.shown[..], &set.planes.preprocessing);
                refuse_other_input((shown, &description.input), slices, &mut notes)?;
                refuse_known_cases(&model.files, &description, (&set.nodules, &set.planes), &mut notes)?;
            }
            if params.sensitivity.is_some() {
                validation.push(read_validation(params.checkpoint, &model.files, calibrator.as_ref())?);
            }
            let predictor = load(params.checkpoint, context, &model.files, &description, &device)?;
            for (folds, set) in folds.iter_mut().zip(&sets) {
                let probabilities = predict(&predictor, &description, context, set)?;
                folds.push(Fold { key: model.key.clone(), probabilities, calibrator });
            }
            notes.extend(description.notes);
        }
        let results = sets
            .iter()
            .zip(&folds)
            .map(|(set, folds)| SetResults::of(params, context, set, folds, &validation));
        let results: Vec<SetResults> = results.collect::<Result<_, _>>()?;
        write_results(context, &results, &notes)
    }
}

/// The calibrators of the models, in their order; of none, with a note, where one is of another checkpoint.
fn calibrators(
    params: &EvaluateParams,
    context: &Context<'_>,
    models: &[FoldModel],
    notes: &mut Vec<String>,
) -> Result<Vec<Option<BetaCalibrator>>, StageError> {
    if !params.calibrated {
        return Ok(vec![None; models.len()]);
    }
    let given = read_calibrators(context, models)?;
    let of_model = |model: &FoldModel| match given.get(&model.selector) {
        Some(calibrator) => Ok(Some(calibrator.clone())),
        None => own_calibrator(&model.files),
    };
    let files: Vec<_> = models.iter().map(of_model).collect::<Result<_, _>>()?;
    let without = models.iter().zip(&files).find(|(_, file)| file.is_none());
    if let Some((model, _)) = without.filter(|_| files.iter().any(Option::is_some)) {
        let message = format!("{} has no calibrator, but other models have one", model.files.shown);
        return Err(StageError::message(message)
            .advise("give the calibrators of all models, or set `calibrated = false`"));
    }
    for (model, calibrator) in models.iter().zip(&files) {
        if let Some(calibrator) = calibrator {
            refuse_other_fit(calibrator, &model.files)?;
            check_calibrator(calibrator, (&model.files.shown, &ModelFile::read(&model.files)?))?;
        }
    }
    let Some(problem) = unsuited(params.checkpoint, files.iter().flatten()) else {
        return Ok(files.into_iter().map(|file| file.map(|file| file.calibrator)).collect());
    };
    context.warn(&format!("{problem}; give calibrate and evaluate the same `checkpoint` for them"));
    notes.push(problem);
    Ok(vec![None; models.len()])
}

/// A calibrator belongs to what its model predicts of input that is made in one way.
fn check_calibrator(
    calibrator: &CalibratorFile,
    (model, description): (&str, &ModelFile),
) -> Result<(), StageError> {
    match calibrator.input.differences(&description.input).first() {
        None => Ok(()),
        Some(difference) => {
            let message = difference.between(
                &format!("what the calibrator of {model} was fitted to"),
                "what the model was trained on",
            );
            Err(StageError::message(message).advise("calibrate the models that predict"))
        }
    }
}

fn predict(
    predictor: &Predictor,
    description: &ModelFile,
    context: &Context<'_>,
    set: &TestSet<'_>,
) -> Result<Vec<f64>, StageError> {
    let mut probabilities = Vec::with_capacity(set.nodules.len());
    show(predictor, description, context, &set.nodules, set.slices, |images| {
        probabilities.extend(predictor.predict_pixels(images)?);
        Ok(())
    })?;
    Ok(probabilities)
}

/// All that is said of one data set.
struct SetResults {
    predictions: Predictions,
    metrics: DatasetMetrics,
    /// Tables that only labels allow, by name: rows with their header.
    tables: Vec<(&'static str, Vec<Vec<String>>)>,
    /// Lines for people.
    remarks: Vec<String>,
}

impl SetResults {
    fn of(
        params: &EvaluateParams,
        context: &Context<'_>,
        set: &TestSet<'_>,
        folds: &[Fold],
        validation: &[Validation],
    ) -> Result<Self, StageError> {
        let case = |nodule: &Nodule| Case {
            pid: nodule.pid.clone(),
            nodule_id: nodule.nodule_id.clone(),
            malignant: nodule.malignant,
        };
        let predictions = Predictions::merge(set.nodules.iter().map(case).collect(), folds)?;
        let key = RandomKey::new(context.seed(), "evaluate");
        let bootstrap = Bootstrap { draws: params.draws, ..Bootstrap::new(key) };
        let metrics = DatasetMetrics::score(&set.name, &predictions, &bootstrap)?;
        warnings::of_metrics(&metrics).iter().for_each(|warning| context.warn(warning));
        let mut results = Self { predictions, metrics, tables: Vec::new(), remarks: Vec::new() };
        if results.metrics.labelled.is_some() {
            results.add_details(params, context, set, validation, &bootstrap)?;
        }
        Ok(results)
    }

    /// What only labels allow to say.
    fn add_details(
        &mut self,
        params: &EvaluateParams,
        context: &Context<'_>,
        set: &TestSet<'_>,
        validation: &[Validation],
        bootstrap: &Bootstrap,
    ) -> Result<(), StageError> {
        let predictions = &self.predictions;
        if let Some(warning) = warnings::of_turned(predictions) {
            context.warn(&format!("{}: {warning}", set.name));
            self.remarks.push(summary::TURNED.to_string());
        }
        if let Some(wanted) = params.sensitivity {
            let points = decisions::operating_points(predictions, validation, wanted);
            self.tables.push(("operating_points.csv", decisions::operating_points_rows(&set.name, &points)));
            self.remarks.extend(decisions::remarks(&points));
        }
        self.tables.push(("decision_curve.csv", decisions::decision_curve_rows(&set.name, predictions)));
        let others = other_runs(context, &set.name)?;
        let warnings = comparisons::warnings(&set.name, predictions, &others);
        warnings.iter().for_each(|warning| context.warn(warning));
        let pairs = comparisons::compare(predictions, &others)?;
        self.tables.push(("comparisons.csv", comparisons::rows(&set.name, &pairs)));
        self.remarks.extend(comparisons::remarks(&pairs));
        if !params.subgroups.is_empty() {
            let mut groups = Vec::new();
            for column in &params.subgroups {
                let cell = |row| set.table.get(row, column).map(str::to_string);
                let cells: Vec<Option<String>> = set.table.rows().iter().map(cell).collect();
                groups.extend(subgroups::score(column, &cells, predictions, bootstrap)?);
            }
            warnings::of_subgroups(&set.name, &groups).iter().for_each(|warning| context.warn(warning));
            self.tables.push(("subgroups.csv", subgroups::rows(&set.name, &groups)));
            self.remarks.extend(subgroups::remarks(&groups));
        }
        Ok(())
    }
}

fn write_results(context: &Context<'_>, results: &[SetResults], notes: &[String]) -> Result<(), StageError> {
    let several = results.len() > 1;
    let predictions: Vec<_> =
        results.iter().map(|one| (&one.metrics.dataset[..], &one.predictions)).collect();
    context.write("predictions", "predictions.csv", &predictions::to_csv(&predictions, several)?)?;
    let metrics: Vec<&DatasetMetrics> = results.iter().map(|one| &one.metrics).collect();
    keep_scalars(context, &metrics)?;
    context.write("metrics", "metrics.json", &metrics::to_json(&metrics)?)?;
    context.write("metrics", "metrics.csv", &metrics::to_csv(&metrics)?)?;
    let mut tables: BTreeMap<&str, Vec<Vec<String>>> = BTreeMap::new();
    for (name, rows) in results.iter().flat_map(|one| &one.tables) {
        // One header for all data sets.
        let known = tables.entry(name).or_default();
        known.extend(rows.iter().skip(usize::from(!known.is_empty())).cloned());
    }
    for (name, rows) in tables {
        context.write("metrics", name, &csv_bytes(rows)?)?;
    }
    let ceiling = read_ceiling(context)?;
    if ceiling.is_some() && several {
        return Err(StageError::message("`ceiling` is of one data set, but there are several")
            .advise("leave `ceiling` away"));
    }
    let mut text = if several { side_by_side(&metrics) } else { String::new() };
    for one in results {
        text.push_str(&summary::summary(&one.metrics, ceiling, &one.remarks));
        text.push_str(if several { "\n" } else { "" });
    }
    notes.iter().for_each(|note| text.extend([note, "\n"]));
    context.write("metrics", "summary.txt", text.as_bytes())?;
    let lines: Vec<String> = metrics.iter().map(|metrics| in_a_line(metrics)).collect();
    context.write("metrics", "headline.txt", format!("{}\n", lines.join("; ")).as_bytes())
}

/// Keeps the ensemble's numbers, with the data set's name before them where there are several.
fn keep_scalars(context: &Context<'_>, metrics: &[&DatasetMetrics]) -> Result<(), StageError> {
    for set in metrics {
        let Some(ensemble) = set.ensemble() else { continue };
        let evaluation = &ensemble.evaluation;
        let values =
            [("auroc", evaluation.auroc), ("auprc", evaluation.auprc), ("brier", Some(evaluation.brier))];
        for (name, interval) in values {
            let Some(Interval { value, .. }) = interval else { continue };
            match metrics.len() {
                1 => context.scalar(name, value)?,
                _ => context.scalar(&format!("{}.{name}", set.dataset), value)?,
            }
        }
    }
    Ok(())
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
