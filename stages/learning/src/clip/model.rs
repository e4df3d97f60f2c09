//! The whole model: two towers, two heads, two classifiers and a temperature.
//!
//! What is trained depends on the tuning; everything else is frozen and gets no gradient. Names are
//! the reference's (SPEC section 4).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::dropout::Dropout;
use super::elementary::exp;
use super::frozen_weights::FrozenWeights;
use super::functions::unit_length;
use super::heads::{CLASSES, HeadSettings, ImageHead, TextHead};
use super::initialise;
use super::inputs::{Images, Texts};
use super::linear::Linear;
use super::lora::{LoraSettings, Tower};
use super::parameters::Parameters;
use super::product::matmul;
use super::text::{TextTower, Tokens};
use super::vision::VisionTower;
use super::{ModelError, Operations, Shapes, Tensors};
use pipe_numerics::random::RandomKey;

/// Largest value of `logit_scale` (ln 100 as the reference rounds it); the smallest is 0.
pub const LARGEST_LOGIT_SCALE: f32 = 4.6052;
/// The temperature's name.
const LOGIT_SCALE: &str = "logit_scale";

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tuning {
    /// Everything.
    Ft,
    /// Heads, classifiers and temperature.
    Pt,
    /// What `pt` trains, and low-rank adapters in the towers.
    #[default]
    Lora,
}

/// What a model consists of beyond its towers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// What is trained.
    pub tuning: Tuning,
    /// The heads.
    pub heads: HeadSettings,
    /// The adapters; there are none unless `tuning` is `lora`.
    pub lora: LoraSettings,
    /// In what the weights that are not trained are kept.
    #[serde(default)]
    pub frozen_weights: FrozenWeights,
}

impl ModelSettings {
    /// Name and shape of every tensor that comes on top of the towers: heads, classifiers, temperature
    /// and adapters.
    ///
    /// # Errors
    /// [`ModelError::NoAdapters`].
    pub fn added_shapes(&self, architecture: &Architecture) -> Result<Shapes, ModelError> {
        let mut shapes = self.heads.shapes(architecture.embedding);
        shapes.insert(LOGIT_SCALE.into(), Vec::new());
        if self.tuning == Tuning::Lora {
            shapes.extend(self.lora.shapes(architecture)?);
        }
        Ok(shapes)
    }

    /// Name and shape of every trained tensor, which is what a stored model holds.
    ///
    /// # Errors
    /// [`ModelError::NoAdapters`].
    pub fn trained_shapes(&self, architecture: &Architecture) -> Result<Shapes, ModelError> {
        let mut shapes = self.added_shapes(architecture)?;
        if self.tuning == Tuning::Ft {
            shapes.extend(architecture.base_shapes());
        }
        Ok(shapes)
    }

    /// Whether a tower stays as it is, adapters included.
    pub fn is_frozen(&self, tower: Tower) -> bool {
        match self.tuning {
            Tuning::Ft => false,
            Tuning::Pt => true,
            Tuning::Lora => !self.lora.in_tower(tower),
        }
    }

    /// Initial values of the added tensors; `tau` is the temperature's inverse at the start.
    ///
    /// # Errors
    /// [`ModelError::NoAdapters`].
    pub fn initial(
        &self,
        architecture: &Architecture,
        tau: f64,
        key: &RandomKey,
    ) -> Result<Tensors, ModelError> {
        let mut tensors = initialise::heads(architecture.embedding, &self.heads, tau, key)?;
        if self.tuning == Tuning::Lora {
            tensors.extend(initialise::adapters(architecture, &self.lora, key)?);
        }
        Ok(tensors)
    }
}

/// What a forward pass gives for N nodules.
#[derive(Clone, Debug)]
pub struct Output {
    /// Unit-length image embeddings (N, out_dim).
    pub image_embeddings: Tensor,
    /// Unit-length text embeddings (N, out_dim).
    pub text_embeddings: Tensor,
    /// Classifier of the image embedding (N, 2): benign, malignant.
    pub image_logits: Tensor,
    /// Classifier of the text embedding (N, 2).
    pub text_logits: Tensor,
    /// exp(logit_scale) · text · imageᵀ (N, N).
    pub pair_logits: Tensor,
}

/// A model on a device.
#[derive(Clone, Debug)]
pub struct Model {
    architecture: Architecture,
    device: Device,
    vision: VisionTower,
    text: TextTower,
    image_head: ImageHead,
    text_head: TextHead,
    image_classifier: Linear,
    text_classifier: Linear,
    logit_scale: Tensor,
    variables: BTreeMap<String, Var>,
}

impl Model {
    /// A model to be trained, from tower tensors and added tensors (reference names). The tensors given
    /// are never changed: what is trained is copied.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen or has no place.
    pub fn trainable(
        architecture: &Architecture,
        settings: &ModelSettings,
        towers: &Tensors,
        added: &Tensors,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let operations = Operations::of(device);
        Self::trainable_with(operations, architecture, settings, towers, added, device)
    }

    /// As [`Model::trainable`], with the operations chosen.
    ///
    /// # Errors
    /// As [`Model::trainable`].
    pub fn trainable_with(
        operations: Operations,
        architecture: &Architecture,
        settings: &ModelSettings,
        towers: &Tensors,
        added: &Tensors,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let shapes = settings.trained_shapes(architecture)?;
        let (tensors, trained) = (merged(towers, added), |name: &str| shapes.contains_key(name));
        Self::build(architecture, settings, tensors, &trained, device, operations)
    }

    /// A model that only predicts. Tensors of a stored model replace those of the towers of the same name.
    ///
    /// # Errors
    /// As [`Model::trainable`].
    pub fn frozen(
        architecture: &Architecture,
        settings: &ModelSettings,
        towers: &Tensors,
        trained: &Tensors,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let tensors = merged(towers, trained);
        Self::build(architecture, settings, tensors, &|_| false, device, Operations::of(device))
    }

    fn build(
        architecture: &Architecture,
        settings: &ModelSettings,
        tensors: Tensors,
        trained: &dyn Fn(&str) -> bool,
        device: &Device,
        operations: Operations,
    ) -> Result<Self, ModelError> {
        architecture.check()?;
        let shapes = architecture.base_shapes();
        let lora = (settings.tuning == Tuning::Lora).then_some(&settings.lora);
        let (embedding, out_dim) = (architecture.embedding, settings.heads.out_dim);
        let trainable = settings.trained_shapes(architecture)?;
        let narrow =
            |name: &str| settings.frozen_weights.narrower().filter(|_| !trainable.contains_key(name));
        let mut parameters = Parameters::new(tensors, trained, device, operations, &narrow);
        Ok(Self {
            architecture: architecture.clone(),
            device: device.clone(),
            vision: VisionTower::take(&mut parameters, architecture, &shapes, lora)?,
            text: TextTower::take(&mut parameters, architecture, &shapes, lora)?,
            image_head: ImageHead::take(&mut parameters, embedding, out_dim)?,
            text_head: TextHead::take(&mut parameters, embedding, &settings.heads)?,
            image_classifier: parameters.linear("classifier_image", out_dim, CLASSES)?,
            text_classifier: parameters.linear("classifier_text", out_dim, CLASSES)?,
            logit_scale: parameters.take(LOGIT_SCALE, &[])?,
            variables: parameters.finish()?,
        })
    }

    /// The model's dimensions.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What is trained, by name.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// The current value of `logit_scale`.
    ///
    /// # Errors
    /// The device fails.
    pub fn logit_scale(&self) -> Result<f32, ModelError> {
        Ok(self.logit_scale.to_scalar()?)
    }

    /// A copy of everything that is trained, unchanged by later steps.
    ///
    /// # Errors
    /// The copy does not fit in memory.
    pub fn snapshot(&self) -> Result<Tensors, ModelError> {
        let copy = |(name, variable): (&String, &Var)| -> Result<(String, Tensor), ModelError> {
            Ok((name.clone(), variable.as_tensor().copy()?.detach().to_device(&Device::Cpu)?))
        };
        self.variables.iter().map(copy).collect()
    }

    /// Sets everything that is trained.
    ///
    /// # Errors
    /// A tensor is missing, misshapen or not trained.
    pub fn set(&self, tensors: &Tensors) -> Result<(), ModelError> {
        if let Some(name) = tensors.keys().find(|name| !self.variables.contains_key(*name)) {
            return Err(ModelError::Unexpected { count: 1, name: name.clone() });
        }
        for (name, variable) in &self.variables {
            let tensor = tensors.get(name).ok_or_else(|| ModelError::Missing { name: name.clone() })?;
            if tensor.dims() != variable.dims() {
                let (found, expected) = (tensor.dims().to_vec(), variable.dims().to_vec());
                return Err(ModelError::Shape { name: name.clone(), found, expected });
            }
            variable.set(&tensor.to_device(&self.device)?)?;
        }
        Ok(())
    }

    /// Keeps the **value** of `logit_scale` in [0, 4.6052]; its gradient is not cut. To be called before
    /// each forward pass in training and validation.
    ///
    /// # Errors
    /// The device fails.
    pub fn clamp_logit_scale(&self) -> Result<(), ModelError> {
        if let Some(variable) = self.variables.get(LOGIT_SCALE) {
            let value: f32 = variable.to_scalar()?;
            let clamped = value.clamp(0.0, LARGEST_LOGIT_SCALE);
            if clamped != value {
                variable.set(&Tensor::new(clamped, &self.device)?)?;
            }
        }
        Ok(())
    }

    /// Runs the image tower alone: (images, 3, R, R) → (images, embedding).
    ///
    /// # Errors
    /// Images of another resolution.
    pub fn image_tower(&self, images: &Tensor, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        Ok(self.vision.forward(images, dropout)?)
    }

    /// Runs the text tower alone: N texts → (N, embedding).
    ///
    /// # Errors
    /// Tokens on another device.
    pub fn text_tower(&self, tokens: &Tokens, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        Ok(self.text.forward(tokens, dropout)?)
    }

    /// Embeds the slices of nodules, (N, 9, 3, R, R) → (N, 9, embedding). All slices pass the tower at once.
    ///
    /// # Errors
    /// Pixels of another resolution.
    pub fn embed_slices(&self, pixels: &Tensor, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        let (nodules, slices, ..) = pixels.dims5()?;
        let features = self.image_tower(&pixels.flatten(0, 1)?, dropout)?;
        Ok(features.reshape((nodules, slices, self.architecture.embedding))?)
    }

    /// What the image head makes of nodules: (N, out_dim), of any length.
    ///
    /// # Errors
    /// Pixels of another resolution, or embeddings of another width.
    pub fn image_features(&self, images: &Images, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        let embeddings = match images {
            Images::Pixels(pixels) => &self.embed_slices(pixels, dropout)?,
            Images::Embeddings(embeddings) => embeddings,
        };
        Ok(self.image_head.forward(embeddings)?)
    }

    /// What the text head makes of texts: (N, out_dim), of any length.
    ///
    /// # Errors
    /// Tokens on another device, or embeddings of another width.
    pub fn text_features(&self, texts: &Texts, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        let embeddings = match texts {
            Texts::Tokens(tokens) => &self.text_tower(tokens, dropout)?,
            Texts::Embeddings(embeddings) => embeddings,
        };
        Ok(self.text_head.forward(embeddings, dropout)?)
    }

    /// Unit-length embeddings of nodules' images, (N, out_dim).
    ///
    /// # Errors
    /// As [`Model::image_features`].
    pub fn image_embeddings(&self, images: &Images, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        Ok(unit_length(&self.image_features(images, dropout)?)?)
    }

    /// Unit-length embeddings of texts, (N, out_dim).
    ///
    /// # Errors
    /// As [`Model::text_features`].
    pub fn text_embeddings(&self, texts: &Texts, dropout: Dropout<'_>) -> Result<Tensor, ModelError> {
        Ok(unit_length(&self.text_features(texts, dropout)?)?)
    }

    /// The image classifier (N, 2) of pixels (N, 9, 3, R, R), which is all that a prediction needs.
    ///
    /// # Errors
    /// Pixels of another resolution.
    pub fn image_logits(&self, pixels: &Tensor) -> Result<Tensor, ModelError> {
        let embeddings = self.image_embeddings(&Images::Pixels(pixels.clone()), Dropout::off())?;
        Ok(self.image_classifier.forward(&embeddings)?)
    }

    /// A whole forward pass of N nodules with their texts.
    ///
    /// # Errors
    /// Inputs that do not fit the model, or another number of texts.
    pub fn forward(
        &self,
        images: &Images,
        texts: &Texts,
        dropout: Dropout<'_>,
    ) -> Result<Output, ModelError> {
        let image_embeddings = self.image_embeddings(images, dropout)?;
        let text_embeddings = self.text_embeddings(texts, dropout)?;
        let similarities = matmul(&text_embeddings, &image_embeddings.t()?)?;
        Ok(Output {
            image_logits: self.image_classifier.forward(&image_embeddings)?,
            text_logits: self.text_classifier.forward(&text_embeddings)?,
            pair_logits: similarities.broadcast_mul(&exp(&self.logit_scale)?)?,
            image_embeddings,
            text_embeddings,
        })
    }
}

/// Both sets of tensors, the second winning.
fn merged(first: &Tensors, second: &Tensors) -> Tensors {
    first.iter().chain(second).map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
}
