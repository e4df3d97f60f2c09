//! A stored model on the nodules of a table: loading it, and showing it their windows in batches.

use candle_core::{Device, Tensor};
use pipe_plugin::context::Context;
use pipe_plugin::input::{Files, InputValue};
use pipe_plugin::stage::StageError;

use super::Nodule;
use super::model_file::ModelFile;
use super::pixels::Pixels;
use super::planes::PlaneSet;
use crate::checkpoint::Checkpoint;
use pipe_learning::clip::Tensors;
use pipe_learning::clip::weights::parse_safetensors;
use pipe_learning::training::prediction::Predictor;

/// Nodules that pass the tower together.
const BATCH: usize = 8;

/// Loads a checkpoint over the towers that it was trained on, which the input `weights` gives where they are a file.
///
/// # Errors
/// The checkpoint is missing or damaged, or the weights are missing or others.
pub(crate) fn load(
    checkpoint: Checkpoint,
    context: &Context<'_>,
    model: &Files,
    description: &ModelFile,
    device: &Device,
) -> Result<Predictor, StageError> {
    let towers = towers(description, context, model)?;
    let name = format!("{}.safetensors", checkpoint.name());
    let stored = model.get(&name).ok_or_else(|| {
        StageError::message(format!("{} has no checkpoint {}", model.shown, checkpoint.name()))
            .advise("choose another with the parameter `checkpoint`; a loss of weight 0 has no checkpoint")
    })?;
    let place =
        |error: &dyn std::error::Error| StageError::message(format!("{}: {name}: {error}", model.shown));
    let trained = parse_safetensors(&stored.read()?).map_err(|error| place(&error))?;
    let ModelFile { architecture, settings, .. } = description;
    Predictor::new(architecture, settings, &towers, &trained, device).map_err(|error| place(&error))
}

fn towers(description: &ModelFile, context: &Context<'_>, model: &Files) -> Result<Tensors, StageError> {
    match context.optional("weights") {
        Some(InputValue::File(file)) => {
            description.towers(Some((&file.path()?, file.digest.to_string())), &model.shown)
        }
        _ => description.towers(None, &model.shown),
    }
}

/// Hands the nodules' central windows to `see`, as images (N, 9, 3, R, R), in the order of the nodules.
///
/// # Errors
/// Planes that are missing or do not fit, those of `see`, and that the run was stopped.
pub(crate) fn show(
    predictor: &Predictor,
    description: &ModelFile,
    context: &Context<'_>,
    nodules: &[Nodule],
    slices: &Files,
    mut see: impl FnMut(&Tensor) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let crop_size = description.parameters.crop_size;
    for nodules in nodules.chunks(BATCH) {
        context.check_cancelled()?;
        let items: Vec<&str> = nodules.iter().map(|nodule| nodule.item.as_str()).collect();
        let planes = PlaneSet::read(slices, &items, Pixels::reach(crop_size, 0))?;
        let pixels = Pixels::new(planes.edge, crop_size, description.architecture.vision.resolution, 0)?;
        let batch: Vec<&[f32]> = (0..planes.len()).filter_map(|position| planes.get(position)).collect();
        see(&predictor.images(&batch, &pixels)?)?;
    }
    Ok(())
}
