//! Kind `train`: one fold of CLIP fine-tuning.

use std::fs::File;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pipe_plugin::context::Context;
use pipe_plugin::input::InputValue;
use pipe_plugin::stage::{
    About, Column, InputForm, InputSpec, Interrupted, OutputForm, OutputSpec, Stage, StageError, Whole,
};
use pipe_plugin::table::Table;

use crate::cohort::fold::{Fold, FoldRows, labels, reports_are_missing};
use crate::cohort::model_file::{BaseWeights, ModelFile, random_towers};
use crate::cohort::pixels::Pixels;
use crate::cohort::planes::PlaneRecords;
use crate::cohort::trained_on::{IMAGES, PATIENTS, images_csv, refuse_shared_parts};
use crate::cohort::volumes::volumes_are_missing;
use crate::cohort::{Nodule, label_problems};
use crate::device::candle_device;
use crate::semantics::SEMANTIC_COLUMNS;
use pipe_learning::clip::Tensors;
use pipe_learning::clip::architecture::Architecture;
use pipe_learning::clip::model::Model;
use pipe_learning::clip::weights::{read_towers, to_safetensors};
use pipe_learning::training::batches::PLANES;
use pipe_learning::training::epoch::HistoryRow;
use pipe_learning::training::error::TrainError;
use pipe_learning::training::parameters::{TrainParameters, Weighting};
use pipe_learning::training::run::{FoldData, Outcome, Progress, Trainer, fold_key};
use pipe_learning::training::state::TrainingState;
use pipe_learning::training::tensorboard;
use pipe_statistics::weights::{FeatureColumn, class_weights, diagnosis_weights, semantic_weights};

/// The kind.
pub struct Train;

const INPUTS: &[InputSpec] = &[
    InputSpec::new("dataset", InputForm::Table, "the cohort: pid, nodule_id, malignant"),
    InputSpec::new("slices", InputForm::Collection, "the nodules' planes, as from slice").of("safetensors"),
    InputSpec::new("text", InputForm::Tree, "the encoded reports, as from text-encode"),
    InputSpec::new("splits", InputForm::Tree, "fold_k/train_pid.csv and val_pid.csv, as from split"),
    InputSpec::new(
        "weights",
        InputForm::File,
        "CLIP's weights: OpenAI's .pt, a state dict, safetensors, or hf://…",
    )
    .keywords(&["random"]),
    InputSpec::new("reports", InputForm::Collection, "the reports themselves, for text augmentation")
        .of("txt")
        .optional(),
    InputSpec::new(
        "volumes",
        InputForm::Collection,
        "the nodules' volumes, as from crop, for image augmentation",
    )
    .of("safetensors")
    .optional(),
];

const OUTPUTS: &[OutputSpec] = &[OutputSpec {
    name: "model",
    summary: "best_both, best_clip, best_pred and last .safetensors (trained tensors), model.json, history.csv, \
              val_predictions.csv, training_patients.csv, training_images.csv (what scans and planes are known by)",
    form: OutputForm::Tree,
}];

impl Stage for Train {
    type Params = TrainParameters;

    const ABOUT: About = About::new(
        "train",
        "fine-tunes CLIP on one fold: everything, the heads, or low-rank adapters",
        crate::code_stamps::TRAIN,
    )
    .inputs(INPUTS)
    .outputs(OUTPUTS)
    .random()
    .device()
    .within(1e-2);

    fn fill_in(&self, params: &mut TrainParameters) {
        params.settle();
    }

    fn check(&self, params: &TrainParameters) -> Vec<String> {
        params.validate().iter().map(ToString::to_string).collect()
    }

    fn check_inputs(&self, params: &TrainParameters, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        let reports = params.text_augmentation().is_some() && !given("reports");
        let volumes = params.augmentation && !given("volumes");
        let problems = [reports.then(reports_are_missing), volumes.then(volumes_are_missing)];
        problems.into_iter().flatten().collect()
    }

    fn columns(&self, params: &TrainParameters, _input: &str) -> Vec<Column> {
        let mut columns = ["pid", "nodule_id", "malignant"].map(Column::required).to_vec();
        if params.weighted == Weighting::Semantic {
            columns.extend(SEMANTIC_COLUMNS.iter().map(|column| Column::required(column.name)));
        }
        columns
    }

    fn files(&self, params: &TrainParameters, input: &str) -> Option<Vec<String>> {
        match input {
            "splits" => Some(vec![format!("fold_{}", params.fold)]),
            // Without augmentation the tokens say it all, and rewording a report changes nothing.
            "reports" if params.text_augmentation().is_none() => Some(Vec::new()),
            "volumes" if !params.augmentation => Some(Vec::new()),
            _ => None,
        }
    }

    fn check_table(&self, _params: &TrainParameters, _input: &str, table: &Table) -> Vec<StageError> {
        label_problems(table, false)
    }
}

impl Whole for Train {
    fn run(&self, params: &TrainParameters, context: &mut Context<'_>) -> Result<(), StageError> {
        let device = candle_device(context.device())?;
        let base = Base::read(params, context)?;
        let mut fold = Fold::read(params.fold, context)?;
        let planes = read_records(params, &fold, context)?;
        let params = &params.with_window(&planes.preprocessing);
        let mut train_rows = FoldRows::read(params, &fold.train, context, true)?;
        let mut validation_rows = FoldRows::read(params, &fold.validation, context, false)?;
        if params.shuffle_labels {
            let key = fold_key(context.seed(), params.fold);
            train_rows.shuffle_labels(&mut fold.train, &key.clone().text("part", "train"));
            validation_rows.shuffle_labels(&mut fold.validation, &key.text("part", "validation"));
        }
        let resolution = base.architecture.vision.resolution;
        let pixels = Pixels::new(train_rows.edge(), params.crop_size, resolution, params.jitter)?;
        let labels = labels(&fold.train);
        let data = FoldData {
            train: &train_rows,
            sample_weights: &sample_weights(params, &fold.train, &labels, context.table("dataset")?)?,
            class_weights: class_weights(&labels).map_err(|error| one_class(params, error))?,
            validation: &validation_rows,
            pixels: &pixels,
        };
        let settings = params.model_settings();
        let initial =
            settings.initial(&base.architecture, params.tau, &fold_key(context.seed(), params.fold))?;
        let fresh = || -> Result<Trainer<'_>, StageError> {
            let model = Model::trainable(&base.architecture, &settings, &base.towers, &initial, &device)?;
            Ok(Trainer::new(params, data, model, context.seed())?)
        };
        let trainer = resumed(fresh()?, context).map_or_else(fresh, Ok)?;
        let outcome = train_on(trainer, params, context)?;
        let model_file = ModelFile {
            architecture: base.architecture,
            base_weights: base.origin,
            settings,
            parameters: params.clone(),
            input: planes.preprocessing,
            class_weights: Some(data.class_weights),
            notes: Vec::new(),
        };
        context.write("model", IMAGES, &images_csv(&planes.images))?;
        keep_scalars(context, &outcome.history)?;
        write_model(context, &model_file, &fold, &outcome)
    }
}

/// What the fold's planes say of themselves, training first; refused where validation sees what training sees, or the
/// window is not the one that the manifest states.
fn read_records(
    params: &TrainParameters,
    fold: &Fold,
    context: &Context<'_>,
) -> Result<PlaneRecords, StageError> {
    let slices = context.files("slices")?;
    let items: Vec<&str> =
        fold.train.iter().chain(&fold.validation).map(|nodule| nodule.item.as_str()).collect();
    let planes = PlaneRecords::read(slices, &items)?;
    let (train, validation) = planes.images.split_at(fold.train.len().min(planes.images.len()));
    refuse_shared_parts(params.fold, [(&fold.train, train), (&fold.validation, validation)])?;
    match params.window().differences(&planes.preprocessing).first() {
        None => Ok(planes),
        Some(difference) => {
            let message = difference.between("train", &slices.shown);
            Err(StageError::message(message)
                .advise("leave `clip_min` and `clip_max` out of train: slices say their own"))
        }
    }
}

/// The trainer where an earlier attempt has left off, or as it is; `None` when what was kept does not fit it.
fn resumed<'a>(mut trainer: Trainer<'a>, context: &Context<'_>) -> Option<Trainer<'a>> {
    let Some(bytes) = context.saved_progress() else { return Some(trainer) };
    match TrainingState::from_bytes(&bytes).and_then(|state| trainer.restore(state)) {
        Ok(()) => {
            context.log(&format!("going on after epoch {}", trainer.epochs_done().saturating_sub(1)));
            Some(trainer)
        }
        Err(error) => {
            context.log(&format!("beginning anew: {error}"));
            None
        }
    }
}

/// Trains to the end, keeping the state after each epoch.
fn train_on(
    mut trainer: Trainer<'_>,
    params: &TrainParameters,
    context: &Context<'_>,
) -> Result<Outcome, StageError> {
    let mut events = Events::create(context, trainer.history())?;
    let mut teller = Teller::new(params, context, trainer.history());
    while !trainer.finished() {
        trainer.epoch(&mut |progress| teller.tell(progress)).map_err(|error| explain(params, error))?;
        trainer.history().last().map_or(Ok(()), |row| events.add(row))?;
        if !trainer.finished() {
            context.save_progress(&trainer.state()?.to_bytes()?)?;
        }
    }
    Ok(trainer.outcome()?)
}

/// The side file that TensorBoard reads.
struct Events(File);

impl Events {
    /// A file with the epochs so far.
    fn create(context: &Context<'_>, history: &[HistoryRow]) -> Result<Self, StageError> {
        let path = context.side_path("events.out.tfevents.pipe")?;
        let mut events = Self(File::create(path)?);
        events.0.write_all(&tensorboard::header(now()))?;
        history.iter().try_for_each(|row| events.add(row))?;
        Ok(events)
    }

    fn add(&mut self, row: &HistoryRow) -> Result<(), StageError> {
        Ok(self.0.write_all(&tensorboard::epoch(row, now()))?)
    }
}

/// Seconds since 1970: of a side file, never of a result.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The towers that training starts from.
struct Base {
    architecture: Architecture,
    towers: Tensors,
    origin: BaseWeights,
}

impl Base {
    fn read(params: &TrainParameters, context: &Context<'_>) -> Result<Self, StageError> {
        if let Some(InputValue::Keyword(_)) = context.optional("weights") {
            let (architecture, seed) = (params.architecture.clone(), context.seed());
            let towers = random_towers(&architecture, seed)?;
            return Ok(Self { architecture, towers, origin: BaseWeights::Random { seed } });
        }
        let file = context.file("weights")?;
        let towers = read_towers(&file.path()?)?;
        let origin = BaseWeights::File { digest: file.digest.to_string() };
        Ok(Self { architecture: towers.architecture, towers: towers.tensors, origin })
    }
}

fn sample_weights(
    params: &TrainParameters,
    nodules: &[Nodule],
    labels: &[bool],
    table: &Table,
) -> Result<Vec<f64>, StageError> {
    if params.weighted == Weighting::Diagnosis {
        return diagnosis_weights(labels).map_err(|error| one_class(params, error));
    }
    let cells = |name: &str| -> Vec<Option<String>> {
        let rows = nodules.iter().filter_map(|nodule| table.rows().get(nodule.row));
        rows.map(|row| table.get(row, name).map(str::to_string)).collect()
    };
    let columns: Vec<(&str, Vec<Option<String>>)> =
        SEMANTIC_COLUMNS.iter().map(|column| (column.name, cells(column.name))).collect();
    let features: Vec<FeatureColumn<'_>> =
        columns.iter().map(|(name, values)| FeatureColumn { name, values }).collect();
    Ok(semantic_weights(&features)?)
}

fn one_class(params: &TrainParameters, error: impl std::error::Error) -> StageError {
    StageError::message(format!("fold {}: {error}", params.fold))
        .advise("training needs benign and malignant nodules in every fold")
}

fn explain(params: &TrainParameters, error: TrainError) -> StageError {
    match error {
        TrainError::Cancelled { .. } => Interrupted.into(),
        TrainError::NotFinite { .. } => StageError::message(format!("fold {}: {error}", params.fold))
            .advise("lower `lr`, or look for wrong values in the slices"),
        other => other.into(),
    }
}

/// What people see of a training while it runs.
struct Teller<'a> {
    params: &'a TrainParameters,
    context: &'a Context<'a>,
    /// When the current epoch began, and the images that have passed since.
    began: Instant,
    images: usize,
    /// Of the last validation.
    auroc: Option<f64>,
}

impl<'a> Teller<'a> {
    fn new(params: &'a TrainParameters, context: &'a Context<'a>, history: &[HistoryRow]) -> Self {
        let auroc = history.last().map(|row| row.validation.image_auroc);
        Self { params, context, began: Instant::now(), images: 0, auroc }
    }

    fn tell(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        match progress {
            Progress::Embedded { rows, of } => {
                self.context.progress(*rows as u64, *of as u64, "nodules through the frozen towers");
                self.began = Instant::now();
            }
            Progress::Batch { epoch, batch, batches, rows, loss } => {
                self.images += rows * PLANES;
                let batches = *batches as u64;
                let done = u64::from(*epoch) * batches + *batch as u64 + 1;
                let note = self.note(*epoch, *loss);
                self.context.progress(done, u64::from(self.params.epochs) * batches, &note);
            }
            Progress::Epoch(HistoryRow { epoch, train, validation, .. }) => {
                self.context.log(&format!(
                    "epoch {epoch}: train loss {:.4}, AUROC {:.3}; validation loss {:.4}, AUROC {:.3}",
                    train.loss, train.image_auroc, validation.loss, validation.image_auroc
                ));
                (self.began, self.images) = (Instant::now(), 0);
                self.auroc = Some(validation.image_auroc);
            }
        }
        match self.context.check_cancelled() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn note(&self, epoch: u32, loss: f64) -> String {
        let auroc = match self.auroc.filter(|auroc| auroc.is_finite()) {
            Some(auroc) => format!(", validation AUROC {auroc:.3}"),
            None => String::new(),
        };
        let seconds = self.began.elapsed().as_secs_f64().max(1e-6);
        format!("epoch {} loss {loss:.3}{auroc}, {:.0} images/s", epoch + 1, self.images as f64 / seconds)
    }
}

/// Keeps the best values of validation among all epochs.
fn keep_scalars(context: &Context<'_>, history: &[HistoryRow]) -> Result<(), StageError> {
    let losses = history.iter().map(|row| row.validation.loss).filter(|loss| loss.is_finite());
    let aurocs = history.iter().map(|row| row.validation.image_auroc).filter(|auroc| auroc.is_finite());
    context.scalar("epochs", history.len() as f64)?;
    losses.reduce(f64::min).map_or(Ok(()), |loss| context.scalar("best_validation_loss", loss))?;
    aurocs.reduce(f64::max).map_or(Ok(()), |auroc| context.scalar("best_validation_auroc", auroc))
}

fn write_model(
    context: &Context<'_>,
    model_file: &ModelFile,
    fold: &Fold,
    outcome: &Outcome,
) -> Result<(), StageError> {
    let mut predictions = csv::Writer::from_writer(Vec::new());
    predictions.write_record(["checkpoint", "pid", "nodule_id", "malignant", "probability"])?;
    let best = outcome.best.iter().map(|(best, checkpoint)| (best.name(), checkpoint));
    for (name, checkpoint) in best.chain([("last", &outcome.last)]) {
        context.write("model", &format!("{name}.safetensors"), &to_safetensors(&checkpoint.tensors)?)?;
        for (nodule, probability) in fold.validation.iter().zip(&checkpoint.validation) {
            let malignant = if nodule.malignant == Some(true) { "1" } else { "0" };
            let probability = probability.to_string();
            predictions.write_record([name, &nodule.pid, &nodule.nodule_id, malignant, &probability])?;
        }
    }
    context.write("model", "val_predictions.csv", &predictions.into_inner()?)?;
    context.write("model", "history.csv", &history_csv(&outcome.history)?)?;
    context.write("model", PATIENTS, &patients_csv(fold))?;
    context.write("model", "model.json", &model_file.to_bytes()?)
}

fn history_csv(history: &[HistoryRow]) -> Result<Vec<u8>, StageError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HistoryRow::COLUMNS)?;
    for row in history {
        writer.write_record(row.values().iter().map(ToString::to_string))?;
    }
    Ok(writer.into_inner()?)
}

/// Everyone that the model has seen, in training or validation: they must not be tested on.
fn patients_csv(fold: &Fold) -> Vec<u8> {
    let mut text = String::from("pid\n");
    for pid in fold.patients() {
        text.push_str(pid);
        text.push('\n');
    }
    text.into_bytes()
}
