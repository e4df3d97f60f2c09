//! Why training failed.

use thiserror::Error;

use super::batches::BatchError;
use super::epoch::LossNumbers;
use crate::clip::ModelError;
use pipe_statistics::sampling::SamplingError;

/// Why training failed.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The data cannot be trained on.
    #[error("{what}")]
    Data {
        /// What is wrong.
        what: String,
    },
    /// The sample weights cannot be drawn by.
    #[error("the sample weights of the training rows cannot be used")]
    Weights(#[from] SamplingError),
    /// A batch cannot be made.
    #[error("epoch {epoch}, {phase} batch {batch}")]
    Batch {
        /// The epoch, from 0.
        epoch: u32,
        /// "training" or "validation".
        phase: &'static str,
        /// The batch within the epoch, from 0.
        batch: usize,
        /// Why.
        source: Box<BatchError>,
    },
    /// A loss is NaN or infinite.
    #[error(
        "epoch {epoch}, {phase} batch {batch}: the loss is not finite \
         (contrastive {:?}, image {}, text {}, prediction {})",
        losses.clip, losses.image, losses.text, losses.prediction
    )]
    NotFinite {
        /// The epoch, from 0.
        epoch: u32,
        /// "training" or "validation".
        phase: &'static str,
        /// The batch within the epoch, from 0.
        batch: usize,
        /// Its parts.
        losses: LossNumbers,
    },
    /// The caller asked to stop.
    #[error("cancelled in epoch {epoch}")]
    Cancelled {
        /// The epoch, from 0, which is not finished.
        epoch: u32,
    },
    /// A stored state does not belong to this training.
    #[error("the stored state cannot be resumed: {what}")]
    State {
        /// What is wrong with it.
        what: String,
    },
    /// The model failed.
    #[error("the model failed")]
    Model(#[from] ModelError),
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

impl TrainError {
    pub(super) fn batch(epoch: u32, phase: &'static str, batch: usize, source: BatchError) -> Self {
        Self::Batch { epoch, phase, batch, source: Box::new(source) }
    }
}
