//! In what numbers weights are kept that are not trained.

use candle_core::DType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ModelError, Tensors};

/// The numbers in which the weights of frozen affine maps are kept; products are f32 whatever they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenWeights {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the exponent of f32.
    Bf16,
    /// 16 bits as published weights have on disk, which it holds exactly.
    F16,
}

/// Ends of the names of the blocks' affine weights, which are most of a tower.
const AFFINE_WEIGHTS: [&str; 4] =
    [".attn.in_proj_weight", ".attn.out_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight"];

impl FrozenWeights {
    /// Gives the blocks' weights, all of them frozen, the values that a model computes with, as f32.
    pub fn round(self, towers: &mut Tensors) -> Result<(), ModelError> {
        let Some(number) = self.narrower() else { return Ok(()) };
        let affine = |name: &str| AFFINE_WEIGHTS.iter().any(|end| name.ends_with(end));
        for (_, weight) in towers.iter_mut().filter(|(name, _)| affine(name)) {
            *weight = weight.to_dtype(number)?.to_dtype(DType::F32)?;
        }
        Ok(())
    }

    /// The type of numbers, where it is not f32.
    pub(super) fn narrower(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}
