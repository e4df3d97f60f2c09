//! A checkpoint's tensors as those of a model here.
//!
//! The published training saves whole models. Where attention has adapters, it has four projections in place of a
//! packed one, and their weights hold the adapters' products already: the checkpoint was saved in evaluation mode.

use candle_core::Tensor;
use serde_json::Value;

use super::arguments::ArgumentsError;
use pipe_learning::clip::architecture::Architecture;
use pipe_learning::clip::heads::HeadSettings;
use pipe_learning::clip::lora::Tower;
use pipe_learning::clip::model::{ModelSettings, Tuning};
use pipe_learning::clip::product::matmul;
use pipe_learning::clip::weights::check_shapes;
use pipe_learning::clip::{ModelError, Tensors};
use pipe_learning::training::parameters::TrainParameters;

/// Parts of attention's packed projection, in its order.
const PARTS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];
/// The class weights of both losses, which are the same.
const CLASS_WEIGHTS: [&str; 2] = ["pred_criterion_train.weight", "pred_criterion_val.weight"];

/// A whole model.
pub(crate) struct ImportedModel {
    /// Read from the tensors' shapes.
    pub(crate) architecture: Architecture,
    /// All tensors are among the trained ones, adapters are none.
    pub(crate) settings: ModelSettings,
    /// Every tensor of the towers and heads.
    pub(crate) tensors: Tensors,
    /// Of benign and malignant, if the checkpoint has them.
    pub(crate) class_weights: Option<[f64; 2]>,
    /// Whether there were adapters.
    pub(crate) had_adapters: bool,
}

/// What is done with adapters whose products the weights already hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Merge {
    /// Nothing more.
    Once,
    /// They are added a second time, as the published evaluation does with the first fold.
    Twice {
        /// alpha/√r.
        scaling: f64,
    },
}

/// alpha/√r of a training.
pub(crate) fn scaling(parameters: &TrainParameters) -> f64 {
    parameters.model_settings().lora.scaling()
}

/// Makes a model of a checkpoint's tensors.
pub(crate) fn import(
    mut tensors: Tensors,
    parameters: &TrainParameters,
    merge: Merge,
) -> Result<ImportedModel, ModelError> {
    let class_weights = class_weights(&mut tensors)?;
    let mut had_adapters = false;
    for tower in [Tower::Vision, Tower::Text] {
        for attention in split_attentions(&tensors, tower) {
            had_adapters |= pack(&mut tensors, &attention, merge)?;
        }
    }
    let architecture = Architecture::from_tensors(&tensors)?;
    let settings = ModelSettings {
        tuning: Tuning::Ft,
        heads: HeadSettings { out_dim: parameters.out_dim, dropout: parameters.dropout },
        ..parameters.model_settings()
    };
    check_shapes(&tensors, &settings.trained_shapes(&architecture)?)?;
    Ok(ImportedModel { architecture, settings, tensors, class_weights, had_adapters })
}

/// Refuses arguments that contradict the tensors.
pub(crate) fn check_arguments(
    arguments: &std::collections::BTreeMap<String, Value>,
    tensors: &Tensors,
) -> Result<(), ArgumentsError> {
    let down = tensors.iter().find(|(name, _)| name.ends_with(".w_lora_A"));
    let Some((name, down)) = down else { return Ok(()) };
    let rank = down.dims().first().copied().unwrap_or(0);
    match arguments.get("r").filter(|r| r.as_u64() != Some(rank as u64)) {
        Some(value) => Err(ArgumentsError::Value {
            name: "r".into(),
            value: value.to_string(),
            why: format!("`{name}` has rank {rank}"),
        }),
        None => Ok(()),
    }
}

fn class_weights(tensors: &mut Tensors) -> Result<Option<[f64; 2]>, ModelError> {
    let [_, validation] = CLASS_WEIGHTS.map(|name| tensors.remove(name));
    let Some(weights) = validation else { return Ok(None) };
    match weights.flatten_all()?.to_vec1::<f32>()?.as_slice() {
        &[benign, malignant] => Ok(Some([benign.into(), malignant.into()])),
        _ => Err(ModelError::Shape {
            name: CLASS_WEIGHTS.concat(),
            found: weights.dims().to_vec(),
            expected: vec![2],
        }),
    }
}

/// Prefixes of the attentions that have projections of their own, `….attn`.
fn split_attentions(tensors: &Tensors, tower: Tower) -> Vec<String> {
    let attention = |name: &String| {
        let prefix = name.strip_suffix(".q_proj.weight")?;
        prefix.starts_with(tower.blocks()).then(|| prefix.to_owned())
    };
    tensors.keys().filter_map(attention).collect()
}

/// Packs an attention's projections; whether there were adapters.
fn pack(tensors: &mut Tensors, attention: &str, merge: Merge) -> Result<bool, ModelError> {
    let mut found = false;
    let mut take = |module: &str| -> Result<(Tensor, Tensor), ModelError> {
        let mut one = |part: &str| {
            let name = format!("{attention}.{module}.{part}");
            tensors.remove(&name).ok_or(ModelError::Missing { name })
        };
        let (weight, bias) = (one("weight")?, one("bias")?);
        let weight = match (one("w_lora_A"), one("w_lora_B")) {
            (Ok(down), Ok(up)) => {
                found = true;
                match merge {
                    Merge::Once => weight,
                    Merge::Twice { scaling } => (weight + (matmul(&up, &down)? * scaling)?)?,
                }
            }
            (Err(_), Err(_)) => weight,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok((weight, bias))
    };
    let mut packed = Vec::new();
    for module in PARTS {
        packed.push(take(module)?);
    }
    let (output, output_bias) = take("proj")?;
    let (weights, biases): (Vec<Tensor>, Vec<Tensor>) = packed.into_iter().unzip();
    tensors.insert(format!("{attention}.in_proj_weight"), Tensor::cat(&weights, 0)?);
    tensors.insert(format!("{attention}.in_proj_bias"), Tensor::cat(&biases, 0)?);
    tensors.insert(format!("{attention}.out_proj.weight"), output);
    tensors.insert(format!("{attention}.out_proj.bias"), output_bias);
    Ok(found)
}
