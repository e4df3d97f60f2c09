//! A toy problem: bright planes and one word are malignant, dim planes and another are benign.

use std::borrow::Cow;
use std::ops::ControlFlow;

use candle_core::Device;
use pipe_learning::clip::Tensors;
use pipe_learning::clip::architecture::{Architecture, CHANNELS, TextArchitecture, VisionArchitecture};
use pipe_learning::clip::initialise;
use pipe_learning::clip::model::Model;
use pipe_learning::training::batches::{Examples, MakePixels, PLANES, SourceError};
use pipe_learning::training::error::TrainError;
use pipe_learning::training::parameters::TrainParameters;
use pipe_learning::training::run::{FoldData, OnProgress, Outcome, Trainer, fold_key};
use pipe_numerics::random::{Generator, RandomKey};

/// Edge of a plane, and of the tower's images.
pub const EDGE: usize = 16;

pub fn architecture() -> Architecture {
    Architecture {
        vision: VisionArchitecture { width: 64, layers: 2, patch: 8, resolution: EDGE },
        text: TextArchitecture { width: 64, layers: 2, vocabulary: 20, context: 6 },
        embedding: 32,
    }
}

pub fn parameters() -> TrainParameters {
    TrainParameters {
        epochs: 3,
        lr: 1e-3,
        out_dim: 16,
        architecture: architecture(),
        ..TrainParameters::default()
    }
}

pub fn towers() -> Tensors {
    initialise::towers(&architecture(), &RandomKey::new(7, "train").text("purpose", "towers"))
        .expect("towers")
}

pub fn model(parameters: &TrainParameters, seed: u64) -> Model {
    let settings = parameters.model_settings();
    let key = fold_key(seed, parameters.fold);
    let added = settings.initial(&architecture(), parameters.tau, &key).expect("initial");
    Model::trainable(&architecture(), &settings, &towers(), &added, &Device::Cpu).expect("model")
}

/// Nodules of alternating diagnosis.
pub struct Toy {
    planes: Vec<Vec<f32>>,
    /// A value that replaces the first voxel of the last row.
    pub poison: Option<f32>,
}

impl Toy {
    pub fn new(name: &str, count: usize) -> Self {
        let nodule = |row: usize| {
            let key = RandomKey::new(5, "toy").text("set", name).number("row", row as u64);
            let mut generator = key.generator();
            let brightness = if row % 2 == 1 { 0.7 } else { 0.3 };
            let voxel = || (brightness + 0.1 * generator.normal()) as f32;
            std::iter::repeat_with(voxel).take(PLANES * EDGE * EDGE).collect()
        };
        Self { planes: (0..count).map(nodule).collect(), poison: None }
    }
}

impl Examples for Toy {
    fn count(&self) -> usize {
        self.planes.len()
    }

    fn malignant(&self, row: usize) -> bool {
        row % 2 == 1
    }

    fn planes(&self, row: usize, _augment: Option<&mut Generator>) -> Result<Cow<'_, [f32]>, SourceError> {
        let planes = self.planes.get(row).ok_or("no such row")?;
        match self.poison {
            Some(poison) if row + 1 == self.count() => {
                let mut planes = planes.clone();
                planes[0] = poison;
                Ok(Cow::Owned(planes))
            }
            _ => Ok(Cow::Borrowed(planes)),
        }
    }

    fn tokens(&self, row: usize, augment: Option<&mut Generator>) -> Result<Vec<u32>, SourceError> {
        let word = if self.malignant(row) { 3 } else { 4 };
        let filler = augment.map_or(5, |generator| 5 + generator.below(10) as u32);
        Ok(vec![18, word, filler, 19, 0, 0])
    }
}

/// Planes as images, shifted in brightness in training.
pub struct PlainPixels;

impl MakePixels for PlainPixels {
    fn write(
        &self,
        planes: &[f32],
        shift: Option<&mut Generator>,
        pixels: &mut [f32],
    ) -> Result<(), SourceError> {
        if planes.len() * CHANNELS != pixels.len() {
            return Err("wrong size".into());
        }
        let shift = shift.map_or(0.0, |generator| generator.uniform_between(-0.05, 0.05)) as f32;
        let images = pixels.chunks_exact_mut(CHANNELS * EDGE * EDGE);
        for (plane, image) in planes.chunks_exact(EDGE * EDGE).zip(images) {
            for channel in image.chunks_exact_mut(EDGE * EDGE) {
                channel.iter_mut().zip(plane).for_each(|(pixel, voxel)| *pixel = 4.0 * (voxel - 0.5) + shift);
            }
        }
        Ok(())
    }
}

pub fn fold<'a>(train: &'a Toy, weights: &'a [f64], validation: &'a Toy) -> FoldData<'a> {
    FoldData { train, sample_weights: weights, class_weights: [0.5, 0.5], validation, pixels: &PlainPixels }
}

/// Trains on toy nodules.
pub fn run(parameters: &TrainParameters, rows: [usize; 2], seed: u64) -> Result<Outcome, TrainError> {
    let (training, validation) = (Toy::new("training", rows[0]), Toy::new("validation", rows[1]));
    let weights = vec![1.0; rows[0]];
    let data = fold(&training, &weights, &validation);
    train(parameters, data, model(parameters, seed), seed, &mut |_| ControlFlow::Continue(()))
}

/// Trains until early stopping or the last epoch.
pub fn train(
    parameters: &TrainParameters,
    data: FoldData<'_>,
    model: Model,
    seed: u64,
    progress: &mut OnProgress<'_>,
) -> Result<Outcome, TrainError> {
    let mut trainer = Trainer::new(parameters, data, model, seed)?;
    while !trainer.finished() {
        trainer.epoch(progress)?;
    }
    trainer.outcome()
}
