//! Which rows train in which order, and how a batch is made of them.
//!
//! Examples and the making of pixels come through traits; this module knows of neither files nor
//! windows. What is random in an example (changes of the volume, shift of the window, changed words) draws from a generator of
//! its own, keyed by the batch and the example's position in it.

use std::borrow::Cow;
use std::error::Error;

use candle_core::{Device, Tensor};
use thiserror::Error;

use crate::clip::ModelError;
use crate::clip::architecture::{Architecture, CHANNELS};
use crate::clip::inputs::{Images, Texts};
use crate::clip::text::Tokens;
use pipe_numerics::random::{Generator, RandomKey};

/// Planes of a nodule.
pub const PLANES: usize = 9;

/// Why something outside could not give an example.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Nodules with their reports.
pub trait Examples {
    /// Number of rows.
    fn count(&self) -> usize;

    /// The label of a row.
    fn malignant(&self, row: usize) -> bool;

    /// The nine planes of a row, (9, P, P) in C order, windowed to [0, 1]. In training there is a generator to
    /// augment the images by.
    ///
    /// # Errors
    /// The planes cannot be had.
    fn planes(&self, row: usize, augment: Option<&mut Generator>) -> Result<Cow<'_, [f32]>, SourceError>;

    /// The token ids of a row's report. In training with text augmentation there is a generator to
    /// change the text by.
    ///
    /// # Errors
    /// The report cannot be had.
    fn tokens(&self, row: usize, augment: Option<&mut Generator>) -> Result<Vec<u32>, SourceError>;
}

/// Makes a tower's images of a nodule's planes.
pub trait MakePixels {
    /// Writes (9, 3, R, R) in C order, normalised as CLIP expects; in training there is a generator to
    /// shift the windows by.
    ///
    /// # Errors
    /// The planes do not fit.
    fn write(
        &self,
        planes: &[f32],
        shift: Option<&mut Generator>,
        pixels: &mut [f32],
    ) -> Result<(), SourceError>;
}

/// Why a batch cannot be made.
#[derive(Debug, Error)]
pub enum BatchError {
    /// An example cannot be had.
    #[error("row {row}: {what} cannot be had")]
    Example {
        /// The row, from 0.
        row: usize,
        /// "planes", "pixels" or "tokens".
        what: &'static str,
        /// Why.
        source: SourceError,
    },
    /// The examples do not fit the model.
    #[error("the batch of rows {rows:?} does not fit the model")]
    Model {
        /// The batch's rows.
        rows: Vec<usize>,
        /// Why.
        source: ModelError,
    },
}

/// What a forward pass takes.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Images of N nodules.
    pub images: Images,
    /// N texts.
    pub texts: Texts,
    /// N labels.
    pub malignant: Vec<bool>,
}

/// What is random in a training batch.
#[derive(Clone, Debug)]
pub struct BatchRandomness {
    /// Names seed, fold, epoch and step.
    pub key: RandomKey,
    /// Whether texts are augmented.
    pub texts: bool,
}

impl BatchRandomness {
    fn generator(&self, purpose: &str, position: usize) -> Generator {
        self.key.clone().text("purpose", purpose).number("position", position as u64).generator()
    }
}

/// What is known already of all rows, because the tower that made it does not change.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// (rows, 9, embedding)
    pub images: Option<Tensor>,
    /// (rows, embedding)
    pub texts: Option<Tensor>,
}

/// Makes batches of examples for a model.
#[derive(Clone, Copy)]
pub struct BatchMaker<'a> {
    /// Where rows come from.
    pub examples: &'a dyn Examples,
    /// Embeddings that take the place of pixels and tokens.
    pub known: &'a Known,
    /// How planes become pixels.
    pub pixels: &'a dyn MakePixels,
    /// The model's dimensions.
    pub architecture: &'a Architecture,
    /// Where the batch goes.
    pub device: &'a Device,
}

impl BatchMaker<'_> {
    /// A batch of rows with the given labels (one per row of all examples). Without randomness, as in
    /// validation, windows are central and texts as they are.
    ///
    /// # Errors
    /// An example cannot be had or does not fit the model.
    pub fn make(
        &self,
        rows: &[usize],
        labels: &[bool],
        randomness: Option<&BatchRandomness>,
    ) -> Result<Batch, BatchError> {
        let unfit = |error: candle_core::Error| unfit(rows, error.into());
        let of_rows = |known: &Tensor| {
            let positions = rows.iter().map(|&row| row as u32).collect::<Vec<_>>();
            Tensor::new(positions, self.device).and_then(|at| known.index_select(&at, 0)).map_err(unfit)
        };
        Ok(Batch {
            images: match &self.known.images {
                Some(known) => Images::Embeddings(of_rows(known)?),
                None => Images::Pixels(self.pixels(rows, randomness)?),
            },
            texts: match &self.known.texts {
                Some(known) => Texts::Embeddings(of_rows(known)?),
                None => Texts::Tokens(self.tokens(rows, randomness)?),
            },
            malignant: rows.iter().map(|&row| labels.get(row).copied().unwrap_or(false)).collect(),
        })
    }

    /// The pixels of rows, (N, 9, 3, R, R).
    ///
    /// # Errors
    /// As [`BatchMaker::make`].
    pub fn pixels(&self, rows: &[usize], randomness: Option<&BatchRandomness>) -> Result<Tensor, BatchError> {
        let resolution = self.architecture.vision.resolution;
        let shape = (rows.len(), PLANES, CHANNELS, resolution, resolution);
        Tensor::from_vec(self.pixel_values(rows, randomness)?, shape, self.device)
            .map_err(|error| unfit(rows, error.into()))
    }

    /// The tokens of rows.
    ///
    /// # Errors
    /// As [`BatchMaker::make`].
    pub fn tokens(&self, rows: &[usize], randomness: Option<&BatchRandomness>) -> Result<Tokens, BatchError> {
        let ids = self.ids(rows, randomness)?;
        Tokens::new(&ids, &self.architecture.text, self.device).map_err(|error| unfit(rows, error))
    }

    fn pixel_values(
        &self,
        rows: &[usize],
        randomness: Option<&BatchRandomness>,
    ) -> Result<Vec<f32>, BatchError> {
        let each = PLANES * CHANNELS * self.architecture.vision.resolution.pow(2);
        let mut pixels = vec![0.0; rows.len() * each];
        for (position, (&row, pixels)) in rows.iter().zip(pixels.chunks_exact_mut(each)).enumerate() {
            let failed = |what| move |source| BatchError::Example { row, what, source };
            let mut generator = randomness.map(|x| x.generator("augmentation", position));
            let planes = self.examples.planes(row, generator.as_mut()).map_err(failed("planes"))?;
            let mut generator = randomness.map(|x| x.generator("window", position));
            self.pixels.write(&planes, generator.as_mut(), pixels).map_err(failed("pixels"))?;
        }
        Ok(pixels)
    }

    fn ids(&self, rows: &[usize], randomness: Option<&BatchRandomness>) -> Result<Vec<Vec<u32>>, BatchError> {
        let randomness = randomness.filter(|x| x.texts);
        let text = |(position, &row): (usize, &usize)| {
            let mut generator = randomness.map(|x| x.generator("text", position));
            let tokens = self.examples.tokens(row, generator.as_mut());
            tokens.map_err(|source| BatchError::Example { row, what: "tokens", source })
        };
        rows.iter().enumerate().map(text).collect()
    }
}

fn unfit(rows: &[usize], source: ModelError) -> BatchError {
    BatchError::Model { rows: rows.to_vec(), source }
}
