//! Prediction with a stored model.
//!
//! A stored model is its trained tensors; they go over the towers they were trained on, adapters beside
//! the base weights and not merged into them. Windows are central and nothing is dropped.

use candle_core::{Device, Tensor};

use super::batches::{BatchError, MakePixels, PLANES};
use super::epoch::probabilities;
use crate::clip::architecture::{Architecture, CHANNELS};
use crate::clip::model::{Model, ModelSettings};
use crate::clip::{ModelError, Tensors};

/// A stored model, ready to predict.
#[derive(Clone, Debug)]
pub struct Predictor {
    model: Model,
}

impl Predictor {
    /// Loads trained tensors over towers.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen or has no place, also when a trained tensor is missing for
    /// which the towers would have a stand-in.
    pub fn new(
        architecture: &Architecture,
        settings: &ModelSettings,
        towers: &Tensors,
        trained: &Tensors,
        device: &Device,
    ) -> Result<Self, ModelError> {
        crate::clip::weights::check_shapes(trained, &settings.trained_shapes(architecture)?)?;
        Ok(Self { model: Model::frozen(architecture, settings, towers, trained, device)? })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Central windows of nodules given by their nine planes, (9, P, P) each, as images (N, 9, 3, R, R).
    ///
    /// # Errors
    /// Planes that do not fit.
    pub fn images(&self, planes: &[&[f32]], pixels: &dyn MakePixels) -> Result<Tensor, BatchError> {
        let resolution = self.model.architecture().vision.resolution;
        let each = PLANES * CHANNELS * resolution.pow(2);
        let mut values = vec![0.0; planes.len() * each];
        for (row, (planes, values)) in planes.iter().zip(values.chunks_exact_mut(each)).enumerate() {
            let failed = |source| BatchError::Example { row, what: "pixels", source };
            pixels.write(planes, None, values).map_err(failed)?;
        }
        let failed = |source| BatchError::Model { rows: (0..planes.len()).collect(), source };
        let shape = (planes.len(), PLANES, CHANNELS, resolution, resolution);
        Tensor::from_vec(values, shape, self.model.device()).map_err(|x| failed(x.into()))
    }

    /// Probability of malignancy of nodules given by their nine planes, which pass the tower as one batch.
    ///
    /// # Errors
    /// Planes that do not fit.
    pub fn predict(&self, planes: &[&[f32]], pixels: &dyn MakePixels) -> Result<Vec<f64>, BatchError> {
        let images = self.images(planes, pixels)?;
        let failed = |source| BatchError::Model { rows: (0..planes.len()).collect(), source };
        self.predict_pixels(&images).map_err(failed)
    }

    /// Probability of malignancy of pixels (N, 9, 3, R, R): class 1 of the image classifier's softmax.
    ///
    /// # Errors
    /// Pixels of another resolution.
    pub fn predict_pixels(&self, pixels: &Tensor) -> Result<Vec<f64>, ModelError> {
        probabilities(&self.model.image_logits(pixels)?)
    }
}
