//! What a frozen tower makes of examples, computed once for all epochs.
//!
//! A tower that nothing trains gives the same embedding whenever it is shown the same thing. Validation always
//! shows the same; training does where nothing varies its side: no shift and no augmentation of the images, no
//! augmentation of the texts. Each tower goes by itself. Rows are embedded in their order and in batches of the
//! training's size, so that the numbers are the same when a training is resumed.

use candle_core::Tensor;

use super::batches::{BatchMaker, Known};
use super::error::TrainError;
use super::parameters::TrainParameters;
use crate::clip::dropout::Dropout;
use crate::clip::lora::Tower;
use crate::clip::model::Model;

/// Which sides of a part's rows never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) images: bool,
    pub(super) texts: bool,
}

impl Constant {
    /// For validation rows.
    pub(super) fn in_validation(parameters: &TrainParameters) -> Self {
        let settings = parameters.model_settings();
        Self { images: settings.is_frozen(Tower::Vision), texts: settings.is_frozen(Tower::Text) }
    }

    /// For training rows.
    pub(super) fn in_training(parameters: &TrainParameters) -> Self {
        let frozen = Self::in_validation(parameters);
        Self {
            images: frozen.images && parameters.jitter == 0 && !parameters.augmentation,
            texts: frozen.texts && parameters.text_augmentation().is_none(),
        }
    }
}

/// Embeds the sides of all rows that never change; `tell` hears how many rows are done.
pub(super) fn embed(
    constant: Constant,
    model: &Model,
    maker: &BatchMaker<'_>,
    batch_size: usize,
    tell: &mut dyn FnMut(usize) -> Result<(), TrainError>,
    failed: &dyn Fn(usize, super::batches::BatchError) -> TrainError,
) -> Result<Known, TrainError> {
    if constant == Constant::default() {
        return Ok(Known::default());
    }
    let rows: Vec<usize> = (0..maker.examples.count()).collect();
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    for (batch, rows) in rows.chunks(batch_size.max(1)).enumerate() {
        if constant.images {
            let pixels = maker.pixels(rows, None).map_err(|error| failed(batch, error))?;
            images.push(model.embed_slices(&pixels, Dropout::off())?.detach());
        }
        if constant.texts {
            let tokens = maker.tokens(rows, None).map_err(|error| failed(batch, error))?;
            texts.push(model.text_tower(&tokens, Dropout::off())?.detach());
        }
        tell(rows.last().map_or(0, |last| last + 1))?;
    }
    let all = |parts: Vec<Tensor>| match parts.is_empty() {
        true => Ok(None),
        false => Tensor::cat(&parts, 0).map(Some),
    };
    Ok(Known { images: all(images)?, texts: all(texts)? })
}
