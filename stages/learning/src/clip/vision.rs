//! The image tower of CLIP: a vision transformer over square patches.

use candle_core::Tensor;

use super::architecture::{Architecture, CHANNELS, VisionArchitecture};
use super::dropout::Dropout;
use super::functions::LayerNorm;
use super::linear::Linear;
use super::lora::{LoraSettings, Tower};
use super::parameters::Parameters;
use super::product::matmul;
use super::tower::Transformer;
use super::{ModelError, Shapes};

/// The image tower.
#[derive(Clone, Debug)]
pub struct VisionTower {
    architecture: VisionArchitecture,
    /// (width, 3 · patch²): a convolution whose stride is its edge is a matrix product over patches.
    patches: Linear,
    class_embedding: Tensor,
    positional_embedding: Tensor,
    before: LayerNorm,
    transformer: Transformer,
    after: LayerNorm,
    projection: Tensor,
}

impl VisionTower {
    pub(crate) fn take(
        parameters: &mut Parameters<'_>,
        architecture: &Architecture,
        shapes: &Shapes,
        lora: Option<&LoraSettings>,
    ) -> Result<Self, ModelError> {
        let vision = &architecture.vision;
        let mut take = |name: &str| -> Result<Tensor, ModelError> {
            let name = format!("vision_model.{name}");
            let shape =
                shapes.get(&name).cloned().ok_or_else(|| ModelError::Missing { name: name.clone() })?;
            parameters.take(&name, &shape)
        };
        let kernel = take("conv1.weight")?;
        let class_embedding = take("class_embedding")?;
        let positional_embedding = take("positional_embedding")?;
        let projection = take("proj")?;
        Ok(Self {
            architecture: vision.clone(),
            patches: Linear::new(&kernel.flatten_from(1)?, None)?,
            class_embedding,
            positional_embedding,
            before: parameters.layer_norm("vision_model.ln_pre", vision.width)?,
            transformer: Transformer::take(parameters, lora, Tower::Vision, vision.layers, vision.width)?,
            after: parameters.layer_norm("vision_model.ln_post", vision.width)?,
            projection,
        })
    }

    /// Embeds images (images, 3, R, R), normalised as CLIP expects, to (images, embedding).
    ///
    /// # Errors
    /// Images of another shape than the tower's resolution.
    pub fn forward(&self, images: &Tensor, dropout: Dropout<'_>) -> candle_core::Result<Tensor> {
        let count = images.dim(0)?;
        let width = self.architecture.width;
        let patches = self.patches.forward(&self.cut(images)?)?;
        let class = self.class_embedding.broadcast_as((count, 1, width))?;
        let stream = Tensor::cat(&[class, patches], 1)?.broadcast_add(&self.positional_embedding)?;
        let class = |tokens: &Tensor| tokens.narrow(1, 0, 1)?.squeeze(1)?.contiguous();
        let class = self.transformer.forward(&self.before.forward(&stream)?, None, dropout, class)?;
        matmul(&self.after.forward(&class)?, &self.projection)
    }

    /// Patches in rows: (images, 3, R, R) → (images, patches, 3 · patch²).
    fn cut(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let (patch, grid) = (self.architecture.patch, self.architecture.grid());
        let count = images.dim(0)?;
        let split = images.reshape((count, CHANNELS, grid, patch, grid, patch))?;
        let rows = split.permute((0, 2, 4, 1, 3, 5))?;
        rows.reshape((count, grid * grid, CHANNELS * patch * patch))
    }
}
