//! Whole models as PyTorch checkpoints, under the reference's names (SPEC section 4).
//!
//! The store keeps what was trained, adapters beside the weights that they change. The reference saves whole models
//! in evaluation mode, in which adapters are added to the weights. There, attention with adapters has four Linear
//! layers in place of a packed one.

use candle_core::Tensor;
use pipe_plugin::export::{Exported, Sink};
use pipe_plugin::input::Files;
use pipe_plugin::stage::StageError;

use crate::cohort::model_file::{BaseWeights, ModelFile};
use pipe_learning::clip::lora::{LoraSettings, Tower};
use pipe_learning::clip::model::Tuning;
use pipe_learning::clip::product::matmul;
use pipe_learning::clip::weights::parse_safetensors;
use pipe_learning::clip::{ModelError, Tensors};
use pipe_torch::write::checkpoint;

/// The input that gave the towers.
const WEIGHTS: &str = "weights";
/// Names of the class weights in the reference's model.
const CLASS_WEIGHTS: [&str; 2] = ["pred_criterion_train.weight", "pred_criterion_val.weight"];

/// Writes every checkpoint of the chosen folds.
pub(super) fn write(
    chosen: &[&Exported],
    _all: &[Exported],
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, StageError> {
    for instance in chosen {
        let stored = StoredModel::open(instance)?;
        let folder: String = instance.selector.iter().map(|(key, value)| format!("{key}_{value}/")).collect();
        for name in stored.names() {
            sink(&format!("{folder}{name}.pt"), &checkpoint(&stored.whole(&name)?, &name)?)?;
        }
    }
    Ok(Vec::new())
}

/// A trained model with the towers that it was trained on.
pub(super) struct StoredModel {
    pub(super) file: ModelFile,
    files: Files,
    towers: Tensors,
}

impl StoredModel {
    /// Opens the result of a train instance.
    pub(super) fn open(instance: &Exported) -> Result<Self, StageError> {
        let files = instance.files("model")?;
        let file = ModelFile::read(&files)?;
        let mut towers = towers(&file, instance)?;
        file.settings.frozen_weights.round(&mut towers)?;
        Ok(Self { file, files, towers })
    }

    /// Names of its checkpoints.
    pub(super) fn names(&self) -> Vec<String> {
        self.files.names().filter_map(|name| Some(name.strip_suffix(".safetensors")?.to_owned())).collect()
    }

    /// All tensors of a checkpoint.
    pub(super) fn whole(&self, name: &str) -> Result<Tensors, StageError> {
        let bytes = self.files.read(&format!("{name}.safetensors"))?;
        let trained = parse_safetensors(&bytes)
            .map_err(|error| StageError::message(format!("{}: {name}: {error}", self.files.shown)))?;
        let mut tensors = self.towers.clone();
        tensors.extend(trained);
        if self.file.settings.tuning == Tuning::Lora {
            merge(&mut tensors, &self.file)?;
        }
        if let Some(weights) = self.file.class_weights {
            let weights =
                Tensor::new(weights.map(|weight| weight as f32).as_slice(), &candle_core::Device::Cpu)?;
            tensors.extend(CLASS_WEIGHTS.map(|name| (name.to_owned(), weights.clone())));
        }
        Ok(tensors)
    }
}

fn towers(file: &ModelFile, instance: &Exported) -> Result<Tensors, StageError> {
    let needed = file.settings.tuning != Tuning::Ft && matches!(file.base_weights, BaseWeights::File { .. });
    let given = match instance.given.get(WEIGHTS).filter(|_| needed) {
        None if needed => {
            let message =
                format!("{} was trained on a weight file, which a whole model needs", instance.label);
            return Err(StageError::message(message).advise("give it with --input weights=FILE"));
        }
        None => None,
        Some(path) => {
            let read = std::fs::File::open(path).and_then(pipe_cache::Digest::of_reader);
            let (digest, _) =
                read.map_err(|error| StageError::message(format!("{}: {error}", path.display())))?;
            Some((path.as_path(), digest.to_string()))
        }
    };
    file.towers(given, &instance.label)
}

/// Adds the adapters to the weights that they change, and takes packed projections apart where there are any.
fn merge(tensors: &mut Tensors, file: &ModelFile) -> Result<(), ModelError> {
    let (lora, architecture) = (&file.settings.lora, &file.architecture);
    let towers = [(Tower::Vision, architecture.vision.layers), (Tower::Text, architecture.text.layers)];
    for (tower, layers) in towers {
        if !lora.in_tower(tower) {
            continue;
        }
        for block in (0..layers).filter(|block| lora.position.contains(*block)) {
            merge_block(tensors, lora, &format!("{}{block}.attn", tower.blocks()))?;
        }
    }
    Ok(())
}

fn merge_block(tensors: &mut Tensors, lora: &LoraSettings, attention: &str) -> Result<(), ModelError> {
    let mut take = |name: String| tensors.remove(&name).ok_or(ModelError::Missing { name });
    let packed = take(format!("{attention}.in_proj_weight"))?.chunk(3, 0)?;
    let biases = take(format!("{attention}.in_proj_bias"))?.chunk(3, 0)?;
    let output = take(format!("{attention}.out_proj.weight"))?;
    let output_bias = take(format!("{attention}.out_proj.bias"))?;
    let weights = packed.into_iter().chain([output]).zip(biases.into_iter().chain([output_bias]));
    for (module, (weight, bias)) in ["q_proj", "k_proj", "v_proj", "proj"].iter().zip(weights) {
        let name = format!("{attention}.{module}");
        let adapter = |part: &str| tensors.get(&format!("{name}.w_lora_{part}"));
        let weight = match adapter("B").zip(adapter("A")) {
            Some((up, down)) => (weight + (matmul(up, down)? * lora.scaling())?)?,
            None => weight,
        };
        tensors.insert(format!("{name}.weight"), weight.contiguous()?);
        tensors.insert(format!("{name}.bias"), bias.contiguous()?);
    }
    Ok(())
}
