//! Losses of a batch and what an epoch sums up to.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::parameters::TrainParameters;
use crate::clip::ModelError;
use crate::clip::losses::{classification, contrastive};
use crate::clip::model::Output;
use pipe_statistics::metrics::{MetricError, auroc, average_precision};

/// A metric of labels and probabilities; `None` where only one class occurs.
type Metric = fn(&[bool], &[f64]) -> Result<Option<f64>, MetricError>;

/// The three losses of a batch, each a number on the graph.
#[derive(Clone, Debug)]
pub struct BatchLosses {
    /// Contrastive loss × its weight; `None` for a batch of one, which has no other pair.
    pub clip: Option<Tensor>,
    /// Image classifier's cross-entropy.
    pub image: Tensor,
    /// Text classifier's cross-entropy.
    pub text: Tensor,
    /// (image · weight + text · weight)/2.
    pub prediction: Tensor,
}

impl BatchLosses {
    /// The losses of a forward pass (SPEC section 4).
    ///
    /// # Errors
    /// Another number of labels than rows.
    pub fn new(
        output: &Output,
        malignant: &[bool],
        class_weights: Option<[f64; 2]>,
        parameters: &TrainParameters,
    ) -> Result<Self, ModelError> {
        let image = classification(&output.image_logits, malignant, class_weights)?;
        let text = classification(&output.text_logits, malignant, class_weights)?;
        let prediction = ((&image * (parameters.img_loss_weight / 2.0))?
            + (&text * (parameters.text_loss_weight / 2.0))?)?;
        let clip = match malignant.len() {
            0 | 1 => None,
            _ => Some((contrastive(&output.pair_logits)? * parameters.clip_loss_weight)?),
        };
        Ok(Self { clip, image, text, prediction })
    }

    /// What training descends.
    ///
    /// # Errors
    /// Never on sound tensors.
    pub fn total(&self) -> Result<Tensor, ModelError> {
        match &self.clip {
            Some(clip) => Ok((clip + &self.prediction)?),
            None => Ok(self.prediction.clone()),
        }
    }

    /// The losses as numbers, in one transfer from the device.
    ///
    /// # Errors
    /// The device fails.
    pub fn numbers(&self) -> Result<LossNumbers, ModelError> {
        let mut parts = vec![self.image.clone(), self.text.clone(), self.prediction.clone()];
        parts.extend(self.clip.clone());
        let numbers = Tensor::stack(&parts, 0)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let at = |index: usize| numbers.get(index).copied();
        let or_nan = |index: usize| at(index).unwrap_or(f64::NAN);
        Ok(LossNumbers { clip: at(3), image: or_nan(0), text: or_nan(1), prediction: or_nan(2) })
    }
}

/// The losses of a batch as numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossNumbers {
    /// Contrastive loss × its weight; `None` for a batch of one.
    pub clip: Option<f64>,
    /// Image classifier's cross-entropy.
    pub image: f64,
    /// Text classifier's cross-entropy.
    pub text: f64,
    /// (image · weight + text · weight)/2.
    pub prediction: f64,
}

impl LossNumbers {
    /// Whether all are finite.
    pub fn is_finite(&self) -> bool {
        let Self { clip, image, text, prediction } = *self;
        [clip.unwrap_or(0.0), image, text, prediction].iter().all(|loss| loss.is_finite())
    }

    /// What training descends.
    pub fn total(&self) -> f64 {
        self.clip.unwrap_or(0.0) + self.prediction
    }
}

/// Probability of malignancy from logits (N, 2): the softmax's second share, in f64.
///
/// # Errors
/// The logits are not a matrix of f32.
pub fn probabilities(logits: &Tensor) -> Result<Vec<f64>, ModelError> {
    let rows = logits.to_vec2::<f32>()?;
    let share = |row: Vec<f32>| match row.as_slice() {
        [benign, malignant] => 1.0 / (1.0 + libm::exp(f64::from(*benign) - f64::from(*malignant))),
        _ => f64::NAN,
    };
    Ok(rows.into_iter().map(share).collect())
}

/// What one pass over the examples gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "[u64; 11]", from = "[u64; 11]")]
pub struct Summary {
    /// Contrastive + prediction loss.
    pub loss: f64,
    /// Contrastive loss × its weight, mean over the batches that have one; 0 if none has.
    pub clip: f64,
    /// Prediction loss, mean over batches.
    pub prediction: f64,
    /// Image classifier's cross-entropy, mean over batches.
    pub image: f64,
    /// Text classifier's cross-entropy, mean over batches.
    pub text: f64,
    /// Share of rows that the image classifier gets right.
    pub image_accuracy: f64,
    /// Share of rows that the text classifier gets right.
    pub text_accuracy: f64,
    /// AUROC of the image classifier; NaN when only one class occurs.
    pub image_auroc: f64,
    /// AUROC of the text classifier; NaN when only one class occurs.
    pub text_auroc: f64,
    /// Average precision of the image classifier; NaN when only one class occurs.
    pub image_auprc: f64,
    /// Average precision of the text classifier; NaN when only one class occurs.
    pub text_auprc: f64,
}

/// Bits of each number: exact in any text format, NaN included.
impl From<Summary> for [u64; 11] {
    fn from(summary: Summary) -> Self {
        let Summary { loss, clip, prediction, image, text, image_accuracy, text_accuracy, .. } = summary;
        let Summary { image_auroc, text_auroc, image_auprc, text_auprc, .. } = summary;
        let areas = [image_auroc, text_auroc, image_auprc, text_auprc];
        let [a, b, c, d] = areas.map(f64::to_bits);
        let [e, f, g, h, i, j, k] =
            [loss, clip, prediction, image, text, image_accuracy, text_accuracy].map(f64::to_bits);
        [e, f, g, h, i, j, k, a, b, c, d]
    }
}

impl From<[u64; 11]> for Summary {
    fn from(bits: [u64; 11]) -> Self {
        let [loss, clip, prediction, image, text, image_accuracy, text_accuracy, rest @ ..] =
            bits.map(f64::from_bits);
        let [image_auroc, text_auroc, image_auprc, text_auprc] = rest;
        Self {
            loss,
            clip,
            prediction,
            image,
            text,
            image_accuracy,
            text_accuracy,
            image_auroc,
            text_auroc,
            image_auprc,
            text_auprc,
        }
    }
}

/// Adds up the batches of an epoch.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    losses: Vec<LossNumbers>,
    malignant: Vec<bool>,
    image: Vec<f64>,
    text: Vec<f64>,
}

impl Tally {
    /// Adds a batch.
    ///
    /// # Errors
    /// The device fails.
    pub fn add(
        &mut self,
        losses: LossNumbers,
        output: &Output,
        malignant: &[bool],
    ) -> Result<(), ModelError> {
        self.losses.push(losses);
        self.malignant.extend_from_slice(malignant);
        self.image.extend(probabilities(&output.image_logits)?);
        self.text.extend(probabilities(&output.text_logits)?);
        Ok(())
    }

    /// The image classifier's probabilities so far.
    pub fn image_probabilities(&self) -> &[f64] {
        &self.image
    }

    /// Means, shares and areas of everything added.
    pub fn summary(&self) -> Summary {
        let mean_of = |part: fn(&LossNumbers) -> f64| mean(self.losses.iter().map(part));
        let clip = mean(self.losses.iter().filter_map(|losses| losses.clip));
        let prediction = mean_of(|losses| losses.prediction);
        Summary {
            loss: clip + prediction,
            clip,
            prediction,
            image: mean_of(|losses| losses.image),
            text: mean_of(|losses| losses.text),
            image_accuracy: self.accuracy(&self.image),
            text_accuracy: self.accuracy(&self.text),
            image_auroc: self.area(auroc, &self.image),
            text_auroc: self.area(auroc, &self.text),
            image_auprc: self.area(average_precision, &self.image),
            text_auprc: self.area(average_precision, &self.text),
        }
    }

    /// An exact tie counts as benign, as the first of equal logits does.
    fn accuracy(&self, probabilities: &[f64]) -> f64 {
        let right = self.malignant.iter().zip(probabilities);
        mean(right.map(|(&label, &probability)| if label == (probability > 0.5) { 1.0 } else { 0.0 }))
    }

    fn area(&self, metric: Metric, probabilities: &[f64]) -> f64 {
        metric(&self.malignant, probabilities).ok().flatten().unwrap_or(f64::NAN)
    }
}

/// Mean in order; 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// One line of the training's history.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Number of the epoch, from 0.
    pub epoch: u32,
    /// `logit_scale` after the epoch, within its bounds.
    pub logit_scale: f32,
    /// Over the drawn training rows.
    pub train: Summary,
    /// Over the validation rows.
    pub validation: Summary,
}

impl HistoryRow {
    /// Names of the columns of a history table, in the order of [`HistoryRow::values`].
    pub const COLUMNS: [&'static str; 24] = [
        "epoch",
        "logit_scale",
        "train_loss",
        "train_loss_clip",
        "train_loss_pred",
        "train_loss_image",
        "train_loss_text",
        "train_accuracy_image",
        "train_accuracy_text",
        "train_auroc_image",
        "train_auroc_text",
        "train_auprc_image",
        "train_auprc_text",
        "val_loss",
        "val_loss_clip",
        "val_loss_pred",
        "val_loss_image",
        "val_loss_text",
        "val_accuracy_image",
        "val_accuracy_text",
        "val_auroc_image",
        "val_auroc_text",
        "val_auprc_image",
        "val_auprc_text",
    ];

    /// The row's values, one per column.
    pub fn values(&self) -> Vec<f64> {
        let summaries = [self.train, self.validation].map(<[u64; 11]>::from);
        let start = [f64::from(self.epoch), f64::from(self.logit_scale)];
        start.into_iter().chain(summaries.into_iter().flatten().map(f64::from_bits)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(clip: Option<f64>, prediction: f64) -> LossNumbers {
        LossNumbers { clip, image: 1.0, text: 2.0, prediction }
    }

    #[test]
    fn an_epoch_is_the_mean_of_its_batches() {
        let tally = Tally {
            losses: vec![numbers(Some(1.0), 0.5), numbers(Some(3.0), 1.0), numbers(None, 3.0)],
            malignant: vec![true, false, true, false],
            image: vec![0.9, 0.1, 0.4, 0.6],
            text: vec![0.5; 4],
        };
        let summary = tally.summary();
        assert_eq!((summary.clip, summary.prediction, summary.loss), (2.0, 1.5, 3.5));
        assert_eq!((summary.image_accuracy, summary.text_accuracy), (0.5, 0.5));
        assert_eq!((summary.image_auroc, summary.text_auroc), (0.75, 0.5));
    }

    #[test]
    fn one_class_has_no_area() {
        let tally = Tally { malignant: vec![true], image: vec![0.9], text: vec![0.9], ..Tally::default() };
        let summary = tally.summary();
        assert!(summary.image_auroc.is_nan());
        assert_eq!((summary.image_accuracy, summary.clip), (1.0, 0.0));
    }

    #[test]
    fn probabilities_are_the_second_share_of_the_softmax() {
        let logits = Tensor::new(&[[0f32, 0.0], [500.0, -500.0], [-1.0, 1.0]], &candle_core::Device::Cpu);
        let found = probabilities(&logits.expect("logits")).expect("probabilities");
        assert_eq!(found[..2], [0.5, 0.0]);
        assert!((found[2] - 0.880_797_077_977_882_3).abs() < 1e-15);
    }

    #[test]
    fn a_row_of_history_is_exact_in_text_and_has_a_value_per_column() {
        let summary = Tally::default().summary();
        let row = HistoryRow { epoch: 3, logit_scale: 0.1, train: summary, validation: summary };
        let text = serde_json::to_string(&row).expect("text");
        let back: HistoryRow = serde_json::from_str(&text).expect("row");
        assert!(back.train.image_auroc.is_nan());
        assert_eq!(serde_json::to_string(&back).expect("text"), text);
        assert_eq!(row.values().len(), HistoryRow::COLUMNS.len());
    }
}
