//! Parameters of training, with the reference's defaults, and what is wrong with given ones.

mod checks;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use super::text_augmentation::TextAugmentation;
use crate::clip::architecture::Architecture;
use crate::clip::frozen_weights::FrozenWeights;
use crate::clip::heads::HeadSettings;
use crate::clip::lora::{Encoder, LoraSettings, Position, Projection};
use crate::clip::model::{ModelSettings, Tuning};
use crate::preprocessing::{CLIP_MAX, CLIP_MIN, Preprocessing};
use crate::slice::augmentation::Augmentation;

/// The published training's intensity window in HU, for slices that do not say theirs.
const PUBLISHED_WINDOW: [f64; 2] = [-1000.0, 500.0];

/// What sample weights balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// The two diagnoses.
    #[default]
    Diagnosis,
    /// The values of the semantic features; the training loss is then class-weighted.
    Semantic,
}

/// Parameters of training on one fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainParameters {
    /// Number of the fold, which also keys the random draws.
    pub fold: u32,
    /// Nodules in a batch.
    pub batch_size: usize,
    /// Batches whose gradients are summed before a step of the optimiser.
    pub ga: usize,
    /// Largest number of epochs.
    pub epochs: u32,
    /// Learning rate of AdamW, the highest where it changes.
    pub lr: f64,
    /// How the learning rate goes on after the warm-up: `constant`, or `cosine` to 0 at the end of the last epoch.
    pub lr_schedule: Schedule,
    /// Epochs over which the learning rate rises evenly to `lr`.
    pub lr_warmup: u32,
    /// Largest norm of all gradients of a step together; longer ones are shortened to it. 0: none are.
    pub gradient_clip: f64,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Epochs before early stopping looks at the losses.
    pub es_warmup: u32,
    /// Epochs without improvement after which early stopping gives up on a loss.
    pub es_patience: u32,
    /// What is trained: everything, the heads, or the heads and low-rank adapters.
    pub tuning: Tuning,
    /// Which blocks carry adapters. This and the next five count only with tuning `lora`.
    pub position: Position,
    /// Which towers carry adapters.
    pub encoder: Encoder,
    /// Which projections of attention carry adapters.
    pub params: Vec<Projection>,
    /// Rank of the adapters.
    pub r: usize,
    /// Numerator of the adapters' scaling alpha/√r.
    pub alpha: f64,
    /// Dropout rate of the adapters' input.
    pub dropout_rate: f64,
    /// In what numbers the frozen towers' weights are kept: `f32`, or half the memory with `bf16` or `f16`. Published
    /// weights lose nothing as `f16`. Products are f32 in any case. Counts only with `lora` and `pt`.
    pub frozen_weights: FrozenWeights,
    /// Dropout rate of the text head.
    pub dropout: f64,
    /// Width of both heads' embeddings.
    pub out_dim: usize,
    /// Initial temperature: logit_scale starts at ln(1/tau).
    pub tau: f64,
    /// Weight of the contrastive loss.
    pub clip_loss_weight: f64,
    /// Weight of the image classifier's loss.
    pub img_loss_weight: f64,
    /// Weight of the text classifier's loss.
    pub text_loss_weight: f64,
    /// What the sample weights balance.
    pub weighted: Weighting,
    /// Permutes the labels that training and validation see: a control run, whose models must be no better than
    /// chance on average.
    pub shuffle_labels: bool,
    /// Edge of the window cut from each plane, in mm.
    pub crop_size: usize,
    /// Largest shift of the window in training, in mm.
    pub jitter: u16,
    /// Augmentation of the volumes in training: flips, rotation and stretching by up to a tenth, noise, gamma. Needs
    /// the input `volumes`.
    pub augmentation: bool,
    /// Lower end of the intensity window in HU that the slices must have; theirs if not given.
    pub clip_min: Option<f64>,
    /// Upper end of the intensity window in HU that the slices must have; theirs if not given.
    pub clip_max: Option<f64>,
    /// Probability of a flip along each axis. This and the next four count only with `augmentation`.
    pub random_flip_prob: f64,
    /// Largest rotation about each axis, in degrees.
    pub random_affine_degree: f64,
    /// Mean of the added noise.
    pub random_noise_mean: f64,
    /// Standard deviation of the added noise.
    pub random_noise_std: f64,
    /// Largest absolute logarithm of gamma.
    pub random_gamma: f64,
    /// Augmentation of the report texts in training; if not given, on for `ft` and `lora`.
    pub text_augmentation: Option<bool>,
    /// Largest number of phrases replaced by synonyms. This and the next count only with `text_augmentation`.
    pub reverse_max: usize,
    /// Share of a text's words that is removed.
    pub random_crop_prob: f64,
    /// Dimensions of the towers, used only with random weights.
    pub architecture: Architecture,
}

impl Default for TrainParameters {
    fn default() -> Self {
        Self {
            fold: 0,
            batch_size: 4,
            ga: 1,
            epochs: 100,
            lr: 1e-4,
            lr_schedule: Schedule::Constant,
            lr_warmup: 0,
            gradient_clip: 0.0,
            weight_decay: 0.1,
            es_warmup: 0,
            es_patience: 5,
            tuning: Tuning::Lora,
            position: Position::All,
            encoder: Encoder::Both,
            params: vec![Projection::Q, Projection::K, Projection::V],
            r: 2,
            alpha: 1.0,
            dropout_rate: 0.25,
            frozen_weights: FrozenWeights::F32,
            dropout: 0.1,
            out_dim: 256,
            tau: 0.07,
            clip_loss_weight: 1.0,
            img_loss_weight: 1.0,
            text_loss_weight: 1.0,
            weighted: Weighting::Diagnosis,
            shuffle_labels: false,
            crop_size: 50,
            jitter: 5,
            augmentation: false,
            clip_min: None,
            clip_max: None,
            random_flip_prob: 0.5,
            random_affine_degree: 10.0,
            random_noise_mean: 0.0,
            random_noise_std: 0.02,
            random_gamma: 0.2,
            text_augmentation: None,
            reverse_max: 2,
            random_crop_prob: 0.1,
            architecture: Architecture::default(),
        }
    }
}

/// How volumes are augmented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageAugmentation {
    /// The intensity window in HU.
    pub window: [f32; 2],
    /// How strongly.
    pub strength: Augmentation,
}

impl TrainParameters {
    /// What the model consists of.
    pub fn model_settings(&self) -> ModelSettings {
        ModelSettings {
            tuning: self.tuning,
            heads: HeadSettings { out_dim: self.out_dim, dropout: self.dropout },
            lora: LoraSettings {
                position: self.position,
                encoder: self.encoder,
                projections: self.params.clone(),
                rank: self.r,
                alpha: self.alpha,
                dropout: self.dropout_rate,
            },
            frozen_weights: self.frozen_weights,
        }
    }

    /// How report texts are augmented in training, if they are.
    pub fn text_augmentation(&self) -> Option<TextAugmentation> {
        let on = self.text_augmentation.unwrap_or(self.tuning != Tuning::Pt);
        on.then_some(TextAugmentation {
            most_replaced: self.reverse_max,
            removed_share: self.random_crop_prob,
        })
    }

    /// The intensity window as far as it is stated.
    pub fn window(&self) -> Preprocessing {
        let stated = [(CLIP_MIN, self.clip_min), (CLIP_MAX, self.clip_max)];
        let add = |window: Preprocessing, (name, value): (&str, Option<f64>)| match value {
            Some(value) => window.with(name, value),
            None => window,
        };
        stated.into_iter().fold(Preprocessing::default(), add)
    }

    /// With the intensity window that slices say they have, where none is stated.
    #[must_use]
    pub fn with_window(&self, slices: &Preprocessing) -> Self {
        Self {
            clip_min: self.clip_min.or(slices.number(CLIP_MIN)),
            clip_max: self.clip_max.or(slices.number(CLIP_MAX)),
            ..self.clone()
        }
    }

    /// How volumes are augmented in training, if they are.
    pub fn image_augmentation(&self) -> Option<ImageAugmentation> {
        self.augmentation.then_some(ImageAugmentation {
            window: [
                self.clip_min.unwrap_or(PUBLISHED_WINDOW[0]) as f32,
                self.clip_max.unwrap_or(PUBLISHED_WINDOW[1]) as f32,
            ],
            strength: Augmentation {
                flip_probability: self.random_flip_prob,
                most_degrees: self.random_affine_degree,
                noise_mean: self.random_noise_mean,
                noise_deviation: self.random_noise_std,
                most_log_gamma: self.random_gamma,
            },
        })
    }

    /// Gives every parameter its final value: defaults that depend on others, and the default for those that do not
    /// count, so that changing them changes nothing.
    pub fn settle(&mut self) {
        let standard = Self::default();
        if self.tuning != Tuning::Lora {
            self.position = standard.position;
            self.encoder = standard.encoder;
            self.params = standard.params;
            self.r = standard.r;
            self.alpha = standard.alpha;
            self.dropout_rate = standard.dropout_rate;
        }
        if self.tuning == Tuning::Ft {
            self.frozen_weights = standard.frozen_weights;
        }
        if !self.augmentation {
            self.random_flip_prob = standard.random_flip_prob;
            self.random_affine_degree = standard.random_affine_degree;
            self.random_noise_mean = standard.random_noise_mean;
            self.random_noise_std = standard.random_noise_std;
            self.random_gamma = standard.random_gamma;
        }
        let text_augmentation = self.text_augmentation().is_some();
        self.text_augmentation = Some(text_augmentation);
        if !text_augmentation {
            self.reverse_max = standard.reverse_max;
            self.random_crop_prob = standard.random_crop_prob;
        }
    }
}

#[cfg(test)]
mod tests;
