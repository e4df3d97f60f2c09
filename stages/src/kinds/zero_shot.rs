//! Kind `zero-shot`: semantic features of test nodules, from sentences that the models were not trained to sort.

use candle_core::{Device as CandleDevice, Tensor};
use pipe_plugin::context::Context;
use pipe_plugin::input::InputFile;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::cohort::inference::{load, show};
use crate::cohort::model_file::ModelFile;
use crate::cohort::model_set::{FoldModel, models};
use crate::cohort::planes::PlaneRecords;
use crate::cohort::trained_on::{refuse_known_cases, refuse_other_input};
use crate::cohort::{Nodule, read_nodules, table_file};
use crate::device::candle_device;
use crate::semantics::SEMANTIC_COLUMNS;
use crate::text::{Tokenizer, impression};
use crate::zero_shot::prompts::{FeaturePrompts, ValuePrompts, parse};
use crate::zero_shot::table::{FeatureScores, ValueMetric, csv_rows, json_value, summary, warning};
use crate::zero_shot::{probabilities, together};
use pipe_learning::clip::dropout::Dropout;
use pipe_learning::clip::inputs::{Images, Texts};
use pipe_learning::clip::text::Tokens;
use pipe_learning::training::prediction::Predictor;
use pipe_numerics::random::RandomKey;
use pipe_statistics::bootstrap::Bootstrap;

/// The kind.
pub struct ZeroShot;

/// Parameters of `zero-shot`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ZeroShotParams {
    /// Which of the folds' checkpoints predicts.
    pub checkpoint: Checkpoint,
    /// Resamples of the bootstrap that gives the intervals.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub draws: u32,
}

impl Default for ZeroShotParams {
    fn default() -> Self {
        Self { checkpoint: Checkpoint::BestBoth, draws: 2000 }
    }
}

/// Prompts that pass the text tower together.
const BATCH: usize = 32;

impl Stage for ZeroShot {
    type Params = ZeroShotParams;

    const ABOUT: About = About::new(
        "zero-shot",
        "predicts semantic features by the sentences that a nodule's image is nearest to",
        crate::code_stamps::ZERO_SHOT,
    )
    .inputs(&[
        InputSpec::new(
            "dataset",
            InputForm::Table,
            "the nodules: pid, nodule_id and, where known, semantic columns to compare with",
        ),
        InputSpec::new("slices", InputForm::Collection, "the nodules' planes, as from slice")
            .of("safetensors"),
        InputSpec::new("models", InputForm::Tree, "the folds' models, as from train or import-experiment")
            .many(),
        InputSpec::new(
            "prompts",
            InputForm::File,
            "sentences for each value of each feature (TOML), such as pipelines/prompts.toml",
        ),
        InputSpec::new("weights", InputForm::File, "the weights that the models were trained on")
            .optional()
            .keywords(&["random"]),
    ])
    .outputs(&[
        OutputSpec::file(
            "predictions",
            "predictions.csv",
            "a row for each nodule and value: pid, nodule_id, feature, value, raw_k, ensemble, truth",
        ),
        OutputSpec::tree(
            "metrics",
            "AUROC of each value against the others: metrics.json, metrics.csv, summary.txt",
        ),
    ])
    .random()
    .device()
    .within(1e-3)
    .headline("metrics", "summary.txt");

    fn columns(&self, _params: &ZeroShotParams, _input: &str) -> Vec<Column> {
        let names = ["pid", "nodule_id"].map(Column::required);
        names.into_iter().chain(SEMANTIC_COLUMNS.map(|column| Column::optional(column.name))).collect()
    }
}

impl Whole for ZeroShot {
    fn run(&self, params: &ZeroShotParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let device = candle_device(context.device())?;
        let features = read_prompts(context.file("prompts")?)?;
        let table = context.table("dataset")?;
        let nodules = read_nodules(table, true)?;
        let truth = |name: &str| -> Vec<Option<String>> {
            table.rows().iter().map(|row| table.get(row, name).map(str::to_owned)).collect()
        };
        let mut scores: Vec<FeatureScores> = features
            .iter()
            .map(|feature| FeatureScores {
                name: feature.name.clone(),
                values: feature.values.iter().map(|value| value.value.clone()).collect(),
                folds: Vec::new(),
                truth: truth(&feature.name),
            })
            .collect();
        let models = models(context.inputs("models"))?;
        let slices = context.files("slices")?;
        let items: Vec<&str> = nodules.iter().map(|nodule| nodule.item.as_str()).collect();
        let planes = PlaneRecords::read(slices, &items)?;
        let mut notes = Vec::new();
        for (position, model) in models.iter().enumerate() {
            context.progress(position as u64, models.len() as u64, "models");
            let description = ModelFile::read(&model.files)?;
            let input = (&model.files.shown[..], &description.input);
            refuse_other_input(input, (&slices.shown, &planes.preprocessing), &mut notes)?;
            refuse_known_cases(&model.files, &description, (&nodules, &planes), &mut notes)?;
            let folds = predict(params, context, (model, &description), &nodules, &features, &device)?;
            for (feature, fold) in scores.iter_mut().zip(folds) {
                feature.folds.push(fold);
            }
        }
        let keys: Vec<String> = models.into_iter().map(|model| model.key).collect();
        write_results(params, context, &nodules, (&keys, &notes), &scores)
    }
}

fn read_prompts(file: &InputFile) -> Result<Vec<FeaturePrompts>, StageError> {
    let refuse = |problem: String| {
        StageError::message(format!("{}: {}", file.shown, problem.trim_end()))
            .advise("correct the file; pipelines/prompts.toml is one to begin with")
    };
    let text = String::from_utf8(file.read()?).map_err(|_| refuse("it is not UTF-8".into()))?;
    parse(&text).map_err(|error| refuse(error.to_string()))
}

/// For each feature, for each nodule, the probability of each value.
fn predict(
    params: &ZeroShotParams,
    context: &Context<'_>,
    (model, description): (&FoldModel, &ModelFile),
    nodules: &[Nodule],
    features: &[FeaturePrompts],
    device: &CandleDevice,
) -> Result<Vec<Vec<Vec<f64>>>, StageError> {
    let predictor = load(params.checkpoint, context, &model.files, description, device)?;
    let scale = libm::exp(f64::from(predictor.model().logit_scale()?));
    let tokenizer = Tokenizer::new()?;
    let values: Vec<Tensor> = features
        .iter()
        .map(|feature| {
            let each = feature.values.iter().map(|value| embed(&predictor, &tokenizer, value));
            Ok(Tensor::cat(&each.collect::<Result<Vec<_>, StageError>>()?, 0)?)
        })
        .collect::<Result<_, StageError>>()?;
    let mut found: Vec<Vec<Vec<f64>>> = vec![Vec::new(); features.len()];
    show(&predictor, description, context, nodules, context.files("slices")?, |images| {
        let images = predictor.model().image_embeddings(&Images::Pixels(images.clone()), Dropout::off())?;
        for (found, values) in found.iter_mut().zip(&values) {
            found.extend(probabilities(&images, values, scale)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The direction of a value's prompts together, (1, width).
fn embed(predictor: &Predictor, tokenizer: &Tokenizer, value: &ValuePrompts) -> Result<Tensor, StageError> {
    let model = predictor.model();
    let mut embeddings = Vec::new();
    for prompts in value.prompts.chunks(BATCH) {
        let ids: Vec<Vec<u32>> = prompts
            .iter()
            // Ids of the tokenizer are small and not negative.
            .map(|prompt| tokenizer.encode(&impression(prompt)).iter().map(|&id| id as u32).collect())
            .collect();
        let tokens = Tokens::new(&ids, &model.architecture().text, model.device())?;
        embeddings.push(model.text_embeddings(&Texts::Tokens(tokens), Dropout::off())?);
    }
    Ok(together(&Tensor::cat(&embeddings, 0)?)?)
}

fn write_results(
    params: &ZeroShotParams,
    context: &Context<'_>,
    nodules: &[Nodule],
    (keys, notes): (&[String], &[String]),
    scores: &[FeatureScores],
) -> Result<(), StageError> {
    let mut columns = ["pid", "nodule_id", "feature", "value"].map(str::to_owned).to_vec();
    columns.extend(keys.iter().map(|key| format!("raw_{key}")));
    columns.extend(["ensemble", "truth"].map(str::to_owned));
    let rows: Vec<_> = scores.iter().map(FeatureScores::rows).collect();
    let mut lines = Vec::new();
    for (position, nodule) in nodules.iter().enumerate() {
        for row in rows.iter().filter_map(|feature| feature.get(position)).flatten() {
            lines.push(
                [nodule.pid.clone(), nodule.nodule_id.clone()].into_iter().chain(row.clone()).collect(),
            );
        }
    }
    context.write("predictions", "predictions.csv", &table_file::csv_bytes(&columns, lines)?)?;
    let patients: Vec<&str> = nodules.iter().map(|nodule| nodule.pid.as_str()).collect();
    let mut metrics: Vec<ValueMetric> = Vec::new();
    for feature in scores {
        let key = RandomKey::new(context.seed(), "zero-shot").text("feature", &feature.name);
        let bootstrap = Bootstrap { draws: params.draws, ..Bootstrap::new(key) };
        metrics.extend(feature.metrics(keys, &patients, &bootstrap)?);
    }
    if let Some(warning) = warning(&metrics) {
        context.warn(&warning);
    }
    let mut json = serde_json::to_vec_pretty(&json_value(&metrics))?;
    json.push(b'\n');
    context.write("metrics", "metrics.json", &json)?;
    let rows = csv_rows(&metrics);
    if let Some((header, rows)) = rows.split_first() {
        context.write("metrics", "metrics.csv", &table_file::csv_bytes(header, rows.to_vec())?)?;
    }
    let mut text = summary(nodules.len(), &metrics);
    notes.iter().for_each(|note| text.extend([note, "\n"]));
    context.write("metrics", "summary.txt", text.as_bytes())
}
