//! The CLIP model of the workflow: towers, heads, adapters, losses, optimiser and weight files.
//!
//! Everything is built from operations that have a backward pass, because candle's fused layer norm
//! and softmax silently cut the graph. Tensors are f32 throughout; names of tensors are those of the
//! reference's checkpoints (SPEC section 4), so that PyTorch reads what is stored here. The module knows
//! nothing of epochs, folds, files of images or stages.

pub mod architecture;
pub mod dropout;
pub mod frozen_weights;
pub mod heads;
pub mod initialise;
pub mod inputs;
pub mod linear;
pub mod lora;
pub mod losses;
pub mod model;
pub mod optimiser;
pub mod product;
pub mod text;
pub mod vision;
pub mod weights;

mod elementary;
mod functions;
mod fused;
mod fused_step;
mod naming;
mod parameters;
mod tower;

use std::collections::BTreeMap;

use candle_core::Device;
use thiserror::Error;

/// What the towers compute with. Both give the same numbers, but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operations {
    /// Operations that are one pass over memory each; on the processor only.
    Fused,
    /// candle's own, on every device.
    Plain,
}

impl Operations {
    /// The faster ones that a device has.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::Fused } else { Self::Plain }
    }
}

pub use pipe_torch::Tensors;

/// Shapes by name, in the order of the names.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Why a model cannot be built or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A tensor that the architecture asks for is not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// The tensor's name.
        name: String,
    },
    /// A tensor has the wrong shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the architecture asks for.
        expected: Vec<usize>,
    },
    /// There are tensors that the architecture has no place for.
    #[error("{count} tensors have no place in the model, the first is `{name}`")]
    Unexpected {
        /// Number of such tensors.
        count: usize,
        /// The first of them.
        name: String,
    },
    /// A dimension of the architecture is impossible.
    #[error("impossible architecture: {what}")]
    Architecture {
        /// What is wrong with which dimension.
        what: String,
    },
    /// No block of any chosen tower is in the adapters' position.
    #[error("no block of the chosen towers ({layers} layers) is in position `{position}`")]
    NoAdapters {
        /// The position's name.
        position: &'static str,
        /// Number of layers of the deepest chosen tower.
        layers: usize,
    },
    /// Token ids that the text tower cannot take.
    #[error("the tokens of row {row} of the batch: {what}")]
    Tokens {
        /// Row of the batch, from 0.
        row: usize,
        /// What is wrong.
        what: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed")]
    Compute(#[from] candle_core::Error),
}
