//! A folder as the published training leaves it (SPEC section 4): `args.txt`, the folds' checkpoints, and their
//! calibrators where the pipeline has fitted any. Beside them, as the published form has no place for it, whom and which
//! images a model was trained on: an import finds them there.

use std::fmt::Write as _;

use pipe_plugin::export::{Exported, Sink};
use pipe_plugin::stage::StageError;
use serde_json::Value;

use super::calibrator::pickle;
use super::checkpoint::StoredModel;
use crate::checkpoint::Checkpoint;
use crate::cohort::calibrator_file::CalibratorFile;
use crate::cohort::model_file::ModelFile;
use crate::cohort::trained_on::{IMAGES, PATIENTS};
use pipe_learning::preprocessing::{PAD_HU, SAMPLING, SIZE_MM};
use pipe_torch::write::checkpoint;

/// The kind whose results become `cal_k.pkl`.
const CALIBRATE: &str = "calibrate";
/// The checkpoint that `cal_k.pkl` is for.
const CALIBRATED: Checkpoint = Checkpoint::BestBoth;
/// Arguments of the published script that have the names and meanings of train's parameters, in its order.
const ARGUMENTS: [&str; 37] = [
    "dataset_path",
    "result_dir",
    "text_dir",
    "img_dir",
    "split_dir",
    "n_splits",
    "crop_size",
    "clip_min",
    "clip_max",
    "num_workers",
    "augmentation",
    "random_flip_prob",
    "jitter",
    "random_affine_degree",
    "random_noise_std",
    "random_noise_mean",
    "random_gamma",
    "reverse_max",
    "random_crop_prob",
    "k_start",
    "k_end",
    "model",
    "batch_size",
    "lr",
    "weight_decay",
    "epochs",
    "es_warmup",
    "es_patience",
    "dropout",
    "ga",
    "tuning",
    "clip_loss_weight",
    "img_loss_weight",
    "text_loss_weight",
    "weighted",
    "tau",
    "out_dim",
];
/// How crops were made, which the script does not ask and import-experiment reads.
const CROPPING: [&str; 3] = [SIZE_MM, SAMPLING, PAD_HU];
/// Those of the adapters.
const ADAPTER_ARGUMENTS: [&str; 6] = ["position", "encoder", "params", "r", "alpha", "dropout_rate"];

/// Writes the folder of the chosen folds.
pub(super) fn write(
    chosen: &[&Exported],
    all: &[Exported],
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, StageError> {
    let mut folds: Vec<(u32, &Exported)> = Vec::new();
    for instance in chosen {
        let fold = ModelFile::read(&instance.files("model")?)?.parameters.fold;
        if let Some((_, other)) = folds.iter().find(|(known, _)| *known == fold) {
            let message = format!("{} and {} are both models of fold {fold}", other.label, instance.label);
            return Err(StageError::message(message).advise("export the folds of one configuration"));
        }
        folds.push((fold, instance));
    }
    folds.sort_by_key(|(fold, _)| *fold);
    // All that may be wrong with them is told before a file is written.
    let calibrators: Vec<Option<CalibratorFile>> =
        folds.iter().map(|(_, instance)| calibrator_of(instance, all)).collect::<Result<_, _>>()?;
    let other = calibrators.iter().flatten().find_map(|file| file.checkpoint.filter(|of| *of != CALIBRATED));
    for (position, (fold, instance)) in folds.iter().enumerate() {
        let stored = StoredModel::open(instance)?;
        if position == 0 {
            sink("args.txt", arguments(&stored.file, &folds)?.as_bytes())?;
        }
        for name in stored.names() {
            let published =
                if name == Checkpoint::Last.name() { Checkpoint::Last.published() } else { &name };
            sink(&format!("fold_{fold}/{published}.pt"), &checkpoint(&stored.whole(&name)?, published)?)?;
        }
        if let Some(file) = calibrators.get(position).and_then(Option::as_ref).filter(|_| other.is_none()) {
            sink(&format!("fold_{fold}/cal_{fold}.pkl"), &pickle(&file.calibrator))?;
        }
        let model = instance.files("model")?;
        for name in [PATIENTS, IMAGES] {
            if let Some(file) = model.get(name) {
                sink(&format!("fold_{fold}/{name}"), &file.read()?)?;
            }
        }
    }
    let left_out = |of: Checkpoint| {
        format!(
            "the calibrators are left out: they are of checkpoint {}, and cal_k.pkl is for {}",
            of.name(),
            CALIBRATED.name()
        )
    };
    Ok(other.map(left_out).into_iter().collect())
}

/// The calibrator that a pipeline has fitted to a model, if it has.
fn calibrator_of(model: &Exported, all: &[Exported]) -> Result<Option<CalibratorFile>, StageError> {
    let Some(calibrator) = all.iter().find(|other| is_calibrator_of(other, model)) else { return Ok(None) };
    let file = calibrator.file("calibrator")?;
    CalibratorFile::parse(&file.read()?, &calibrator.label).map(Some)
}

fn is_calibrator_of(other: &Exported, model: &Exported) -> bool {
    other.kind == CALIBRATE && !model.selector.is_empty() && other.selector == model.selector
}

/// The script's arguments as Python prints them. Paths are not known; what the script does not have is left out.
fn arguments(file: &ModelFile, folds: &[(u32, &Exported)]) -> Result<String, StageError> {
    let parameters = serde_json::to_value(&file.parameters)?;
    let (first, last) = (folds.first().map_or(0, |fold| fold.0), folds.last().map_or(0, |fold| fold.0));
    let mut text = String::from("Namespace(");
    let cropping = CROPPING.iter().filter(|name| file.input.get(name).is_some());
    let names = ARGUMENTS.iter().chain(&ADAPTER_ARGUMENTS).chain(cropping);
    for (position, name) in names.enumerate() {
        // How the input was made is known by what the model says, and by no parameter of training.
        let input = |name: &str| file.input.get(name).cloned();
        let value = match *name {
            "dataset_path" | "result_dir" | "text_dir" | "img_dir" | "split_dir" => Value::from("."),
            "n_splits" => folds.len().into(),
            "num_workers" => 0.into(),
            "k_start" => first.into(),
            "k_end" => (last + 1).into(),
            "model" => format!("openai_ViT-{}", vision_name(file)).into(),
            name => input(name).or_else(|| parameters.get(name).cloned()).unwrap_or_default(),
        };
        let comma = if position == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{name}={}", python(&value));
    }
    text.push(')');
    Ok(text)
}

/// Size and patch of the image tower, as CLIP's models are called.
fn vision_name(file: &ModelFile) -> String {
    let vision = &file.architecture.vision;
    let size = if vision.width >= 1024 { "L" } else { "B" };
    format!("{size}/{}", vision.patch)
}

/// A value as Python's `repr` has it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => python_float(number),
            None => number.to_string(),
        },
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(values) => format!("[{}]", values.iter().map(python).collect::<Vec<_>>().join(", ")),
        // No parameter of the script has parts.
        Value::Object(_) => "None".to_owned(),
    }
}

/// Python goes over to exponents below 10⁻⁴ and from 10¹⁶, and gives them two digits.
fn python_float(number: f64) -> String {
    if number == 0.0 || (1e-4..1e16).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_python_prints_them() {
        for (value, expected) in [
            (json!(0.0001), "0.0001"),
            (json!(1e-5), "1e-05"),
            (json!(2.5e-7), "2.5e-07"),
            (json!(1.0), "1.0"),
            (json!(1e16), "1e+16"),
            (json!(4), "4"),
            (json!(false), "False"),
            (json!(["q", "k"]), "['q', 'k']"),
            (json!("it's"), "'it\\'s'"),
        ] {
            assert_eq!(python(&value), expected);
        }
    }
}
