//! The training loop of one fold (SPEC section 4).
//!
//! A [`Trainer`] advances epoch by epoch and can be stopped and resumed between epochs with the same
//! result to the byte. It prints nothing, reads no clock and does not know where its data comes from.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::Var;

use super::batches::{BatchMaker, BatchRandomness, Examples, Known, MakePixels};
use super::early_stopping::{Best, EarlyStopping};
use super::embeddings::{Constant, embed};
use super::epoch::{BatchLosses, HistoryRow, LossNumbers, Tally};
use super::error::TrainError;
use super::parameters::{TrainParameters, Weighting};
use super::schedule::LearningRates;
use crate::clip::Tensors;
use crate::clip::dropout::Dropout;
use crate::clip::model::Model;
use crate::clip::optimiser::AdamW;
use pipe_numerics::random::RandomKey;
use pipe_statistics::sampling::WeightedSampler;

/// The rows of a fold.
#[derive(Clone, Copy)]
pub struct FoldData<'a> {
    /// Training rows.
    pub train: &'a dyn Examples,
    /// One weight per training row, by which epochs are drawn.
    pub sample_weights: &'a [f64],
    /// Weights of benign and malignant in class-weighted losses.
    pub class_weights: [f64; 2],
    /// Validation rows.
    pub validation: &'a dyn Examples,
    /// How planes become pixels.
    pub pixels: &'a dyn MakePixels,
}

/// What training tells while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Rows have passed the towers that do not change, before the first epoch.
    Embedded {
        /// Rows done.
        rows: usize,
        /// Rows of the part, training or validation.
        of: usize,
    },
    /// A training batch is done.
    Batch {
        /// The epoch, from 0.
        epoch: u32,
        /// The batch within the epoch, from 0.
        batch: usize,
        /// Batches of an epoch.
        batches: usize,
        /// Rows of the batch.
        rows: usize,
        /// The batch's loss.
        loss: f64,
    },
    /// An epoch is done.
    Epoch(&'a HistoryRow),
}

/// What is told of progress; `Break` cancels.
pub type OnProgress<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + 'a;

/// The trained tensors after an epoch, with what they predict.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The epoch, from 0.
    pub epoch: u32,
    /// The trained tensors, on the host.
    pub tensors: Tensors,
    /// Probability of malignancy of each validation row.
    pub validation: Vec<f64>,
}

/// What training leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The best checkpoints. A loss of weight 0 has none.
    pub best: BTreeMap<Best, Checkpoint>,
    /// The state after the last epoch.
    pub last: Checkpoint,
    /// One row per epoch.
    pub history: Vec<HistoryRow>,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
}

/// The key of everything random in a fold's training.
pub fn fold_key(seed: u64, fold: u32) -> RandomKey {
    RandomKey::new(seed, "train").number("fold", fold.into())
}

/// Training between two epochs. Two trainers with the same seed, parameters, data and class of device give the same
/// bytes.
pub struct Trainer<'a> {
    parameters: &'a TrainParameters,
    data: FoldData<'a>,
    key: RandomKey,
    labels: Vec<bool>,
    /// What the towers that do not change make of training and validation rows, once that is known.
    known: Option<[Known; 2]>,
    sampler: WeightedSampler,
    pub(super) model: Model,
    pub(super) optimiser: AdamW,
    /// Gradients since the optimiser's last step; they outlive the epoch.
    pub(super) pending: Tensors,
    pub(super) stopping: EarlyStopping,
    pub(super) best: BTreeMap<Best, Checkpoint>,
    pub(super) history: Vec<HistoryRow>,
    /// Predictions of the last epoch's validation.
    pub(super) validation: Vec<f64>,
}

impl<'a> Trainer<'a> {
    /// Ready for the first epoch.
    ///
    /// # Errors
    /// No rows, weights that do not fit the rows, or class weights that are not above 0.
    pub fn new(
        parameters: &'a TrainParameters,
        data: FoldData<'a>,
        model: Model,
        seed: u64,
    ) -> Result<Self, TrainError> {
        check_data(&data)?;
        let key = fold_key(seed, parameters.fold);
        let labels: Vec<bool> = (0..data.train.count()).map(|row| data.train.malignant(row)).collect();
        let prediction = parameters.img_loss_weight > 0.0 || parameters.text_loss_weight > 0.0;
        let clip = parameters.clip_loss_weight > 0.0;
        Ok(Self {
            sampler: WeightedSampler::new(data.sample_weights)?,
            optimiser: AdamW::new(parameters.lr, parameters.weight_decay),
            stopping: EarlyStopping::new(parameters.es_warmup, parameters.es_patience, clip, prediction),
            parameters,
            data,
            key,
            labels,
            known: None,
            model,
            pending: Tensors::new(),
            best: BTreeMap::new(),
            history: Vec::new(),
            validation: Vec::new(),
        })
    }

    /// Number of epochs done.
    pub fn epochs_done(&self) -> u32 {
        self.history.len() as u32
    }

    /// Whether there is nothing left to do.
    pub fn finished(&self) -> bool {
        self.epochs_done() >= self.parameters.epochs || self.stopping.stopped()
    }

    /// The model as it is.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// One row per epoch done.
    pub fn history(&self) -> &[HistoryRow] {
        &self.history
    }

    /// Trains one epoch, validates, and keeps what is best.
    ///
    /// # Errors
    /// Data that does not fit, a loss that is not finite, or cancellation. After an error the trainer must not be used further.
    pub fn epoch(&mut self, progress: &mut OnProgress<'_>) -> Result<(), TrainError> {
        let epoch = self.epochs_done();
        if self.known.is_none() {
            self.known = Some(self.embed(epoch, progress)?);
        }
        let train = self.train_epoch(epoch, progress)?;
        let validation = self.validate(epoch)?;
        let logit_scale = self.model.logit_scale()?;
        let row = HistoryRow { epoch, logit_scale, train: train.summary(), validation: validation.summary() };
        self.validation = validation.image_probabilities().to_vec();
        let saved = self.stopping.see(epoch, row.validation.clip, row.validation.prediction);
        if !saved.is_empty() {
            // Copied once; checkpoints share it.
            let checkpoint = self.checkpoint(epoch)?;
            self.best.extend(saved.into_iter().map(|best| (best, checkpoint.clone())));
        }
        self.history.push(row);
        told(progress, epoch, &Progress::Epoch(&row))
    }

    /// What training leaves, once it is [`Trainer::finished`].
    ///
    /// # Errors
    /// No epoch was trained.
    pub fn outcome(self) -> Result<Outcome, TrainError> {
        let Some(last) = self.epochs_done().checked_sub(1) else {
            return Err(TrainError::Data { what: "no epoch was trained".into() });
        };
        let last = self.checkpoint(last)?;
        let stopped_early = self.stopping.stopped();
        Ok(Outcome { best: self.best, last, history: self.history, stopped_early })
    }

    fn checkpoint(&self, epoch: u32) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint { epoch, tensors: self.model.snapshot()?, validation: self.validation.clone() })
    }

    fn train_epoch(&mut self, epoch: u32, progress: &mut OnProgress<'_>) -> Result<Tally, TrainError> {
        let key = self.key.clone().number("epoch", epoch.into());
        let order = self.sampler.epoch(&mut key.clone().text("purpose", "order").generator());
        let batches = order.len().div_ceil(self.parameters.batch_size.max(1));
        let rates = LearningRates {
            peak: self.parameters.lr,
            schedule: self.parameters.lr_schedule,
            warmup_epochs: self.parameters.lr_warmup,
            epochs: self.parameters.epochs,
            steps_per_epoch: batches / self.parameters.ga.max(1),
        };
        let mut tally = Tally::default();
        for (batch, rows) in order.chunks(self.parameters.batch_size.max(1)).enumerate() {
            let key = key.clone().number("step", batch as u64);
            let losses = self.train_batch(epoch, batch, rows, &key, &mut tally)?;
            if (batch + 1) % self.parameters.ga.max(1) == 0 {
                let step = epoch as usize * rates.steps_per_epoch + batch / self.parameters.ga.max(1);
                self.optimiser.set_learning_rate(rates.at(step));
                let gradients = clipped(std::mem::take(&mut self.pending), self.parameters.gradient_clip)?;
                self.optimiser.step(self.model.variables(), &gradients)?;
            }
            let loss = losses.total();
            let rows = rows.len();
            told(progress, epoch, &Progress::Batch { epoch, batch, batches, rows, loss })?;
        }
        Ok(tally)
    }

    /// Forward and backward of one batch; the gradients are added to the pending ones.
    fn train_batch(
        &mut self,
        epoch: u32,
        batch: usize,
        rows: &[usize],
        key: &RandomKey,
        tally: &mut Tally,
    ) -> Result<LossNumbers, TrainError> {
        let phase = "training";
        let texts = self.parameters.text_augmentation().is_some();
        let randomness = BatchRandomness { key: key.clone(), texts };
        let made = self.maker(self.data.train, self.known(0)).make(rows, &self.labels, Some(&randomness));
        let made = made.map_err(|source| TrainError::batch(epoch, phase, batch, source))?;
        self.model.clamp_logit_scale()?;
        let output = self.model.forward(&made.images, &made.texts, Dropout::on(key))?;
        let weighted = self.parameters.weighted == Weighting::Semantic;
        let class_weights = weighted.then_some(self.data.class_weights);
        let losses = BatchLosses::new(&output, &made.malignant, class_weights, self.parameters)?;
        let numbers = finite(losses.numbers()?, epoch, phase, batch)?;
        let scaled = (losses.total()? * (1.0 / self.parameters.ga.max(1) as f64))?;
        accumulate(&mut self.pending, self.model.variables(), &scaled.backward()?)?;
        tally.add(numbers, &output, &made.malignant)?;
        Ok(numbers)
    }

    /// Validation in row order, always class-weighted.
    fn validate(&self, epoch: u32) -> Result<Tally, TrainError> {
        let phase = "validation";
        let examples = self.data.validation;
        let labels: Vec<bool> = (0..examples.count()).map(|row| examples.malignant(row)).collect();
        let rows: Vec<usize> = (0..examples.count()).collect();
        let mut tally = Tally::default();
        self.model.clamp_logit_scale()?;
        for (batch, rows) in rows.chunks(self.parameters.batch_size.max(1)).enumerate() {
            let made = self.maker(examples, self.known(1)).make(rows, &labels, None);
            let made = made.map_err(|source| TrainError::batch(epoch, phase, batch, source))?;
            let output = self.model.forward(&made.images, &made.texts, Dropout::off())?;
            let class_weights = Some(self.data.class_weights);
            let losses = BatchLosses::new(&output, &made.malignant, class_weights, self.parameters)?;
            let numbers = finite(losses.numbers()?, epoch, phase, batch)?;
            tally.add(numbers, &output, &made.malignant)?;
        }
        Ok(tally)
    }

    /// What need not be computed in each epoch.
    fn embed(&self, epoch: u32, progress: &mut OnProgress<'_>) -> Result<[Known; 2], TrainError> {
        let parts = [
            (self.data.train, Constant::in_training(self.parameters), "training"),
            (self.data.validation, Constant::in_validation(self.parameters), "validation"),
        ];
        let nothing = Known::default();
        let mut known = [Known::default(), Known::default()];
        for (known, (examples, constant, phase)) in known.iter_mut().zip(parts) {
            let of = examples.count();
            let mut tell = |rows| told(progress, epoch, &Progress::Embedded { rows, of });
            let failed = |batch, source| TrainError::batch(epoch, phase, batch, source);
            let maker = self.maker(examples, &nothing);
            *known = embed(constant, &self.model, &maker, self.parameters.batch_size, &mut tell, &failed)?;
        }
        Ok(known)
    }

    fn known(&self, part: usize) -> &Known {
        const NOTHING: &Known = &Known { images: None, texts: None };
        self.known.as_ref().and_then(|known| known.get(part)).unwrap_or(NOTHING)
    }

    fn maker<'b>(&'b self, examples: &'b dyn Examples, known: &'b Known) -> BatchMaker<'b> {
        BatchMaker {
            examples,
            known,
            pixels: self.data.pixels,
            architecture: self.model.architecture(),
            device: self.model.device(),
        }
    }
}

fn check_data(data: &FoldData<'_>) -> Result<(), TrainError> {
    let (train, weights) = (data.train.count(), data.sample_weights.len());
    let what = if train == 0 || data.validation.count() == 0 {
        format!("{train} training and {} validation rows: neither may be 0", data.validation.count())
    } else if train != weights {
        format!("{train} training rows but {weights} sample weights")
    } else if !data.class_weights.iter().all(|weight| weight.is_finite() && *weight > 0.0) {
        format!("the class weights {:?} are not finite numbers above 0", data.class_weights)
    } else {
        return Ok(());
    };
    Err(TrainError::Data { what })
}

fn told(progress: &mut OnProgress<'_>, epoch: u32, what: &Progress<'_>) -> Result<(), TrainError> {
    match progress(what) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(TrainError::Cancelled { epoch }),
    }
}

fn finite(
    losses: LossNumbers,
    epoch: u32,
    phase: &'static str,
    batch: usize,
) -> Result<LossNumbers, TrainError> {
    match losses.is_finite() {
        true => Ok(losses),
        false => Err(TrainError::NotFinite { epoch, phase, batch, losses }),
    }
}

/// Gradients whose norm, all taken together, is no more than `longest`; as they are if that is 0.
fn clipped(gradients: Tensors, longest: f64) -> Result<Tensors, TrainError> {
    if longest == 0.0 {
        return Ok(gradients);
    }
    let mut squares = 0.0;
    for gradient in gradients.values() {
        squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    // As PyTorch's clip_grad_norm_.
    let factor = longest / (squares.sqrt() + 1e-6);
    if factor >= 1.0 {
        return Ok(gradients);
    }
    gradients.into_iter().map(|(name, gradient)| Ok((name, (gradient * factor)?))).collect()
}

/// Adds a backward pass's gradients. A variable that took no part in the batch adds nothing.
///
/// Candle's gradients of variables still hold the graph that they came from, with every activation in it;
/// what outlives the step is cut off.
fn accumulate(
    pending: &mut Tensors,
    variables: &BTreeMap<String, Var>,
    gradients: &candle_core::backprop::GradStore,
) -> Result<(), TrainError> {
    for (name, variable) in variables {
        let Some(gradient) = gradients.get(variable.as_tensor()) else { continue };
        let sum = match pending.remove(name) {
            Some(earlier) => (earlier + gradient.detach())?,
            None => gradient.detach(),
        };
        pending.insert(name.clone(), sum);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn long_gradients_are_shortened_together() {
        let gradients = || -> Tensors {
            let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).expect("tensor");
            Tensors::from([("a".to_owned(), tensor(&[3.0])), ("b".to_owned(), tensor(&[0.0, 4.0]))])
        };
        let values = |longest: f64| -> Vec<f32> {
            let clipped = clipped(gradients(), longest).expect("clipped");
            clipped.values().flat_map(|tensor| tensor.to_vec1::<f32>().expect("values")).collect()
        };
        assert_eq!(values(0.0), [3.0, 0.0, 4.0]);
        assert_eq!(values(6.0), [3.0, 0.0, 4.0]);
        let short = values(1.0);
        assert!(
            (short[0] - 0.6).abs() < 1e-6 && short[1] == 0.0 && (short[2] - 0.8).abs() < 1e-6,
            "{short:?}"
        );
    }
}
