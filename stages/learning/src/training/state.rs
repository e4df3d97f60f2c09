//! The state of training between two epochs, as tensors and a record.
//!
//! Numbers of the record are kept as bits, so that a training resumed from any exact copy of the
//! state gives the same bytes as one that was never interrupted.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::early_stopping::{Best, EarlyStopping};
use super::epoch::HistoryRow;
use super::error::TrainError;
use super::run::{Checkpoint, Trainer};
use crate::clip::Tensors;
use crate::clip::optimiser::Moments;
use crate::clip::weights::to_safetensors;

/// Everything that a [`Trainer`] needs to go on.
#[derive(Clone, Debug)]
pub struct TrainingState {
    /// Tensors named `GROUP/NAME`: `model`, `first`, `second`, `pending`, `best_both`, ….
    pub tensors: Tensors,
    /// Everything else.
    pub record: StateRecord,
}

/// What of a state is not tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateRecord {
    stopping: EarlyStopping,
    history: Vec<HistoryRow>,
    /// Steps of the optimiser, by tensor.
    steps: BTreeMap<String, u32>,
    /// Epoch and predictions (bits) of each best checkpoint.
    best: BTreeMap<Best, (u32, Vec<u64>)>,
    /// Predictions of the last validation (bits).
    validation: Vec<u64>,
}

impl TrainingState {
    /// All of it: the record's length (64 bits, little-endian), the record as JSON, the tensors as safetensors.
    ///
    /// # Errors
    /// A tensor cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let unfit = |error: &dyn std::fmt::Display| TrainError::State { what: error.to_string() };
        let record = serde_json::to_vec(&self.record).map_err(|error| unfit(&error))?;
        let tensors = to_safetensors(&self.tensors).map_err(|error| unfit(&error))?;
        let mut bytes = (record.len() as u64).to_le_bytes().to_vec();
        bytes.reserve_exact(record.len() + tensors.len());
        bytes.extend(record);
        bytes.extend(tensors);
        Ok(bytes)
    }

    /// Reads what [`TrainingState::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`TrainError::State`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrainError> {
        let unfit = |what: &str| TrainError::State { what: what.to_owned() };
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| unfit("it is cut off"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (record, tensors) = rest.split_at_checked(length).ok_or_else(|| unfit("it is cut off"))?;
        let record = serde_json::from_slice(record).map_err(|error| unfit(&error.to_string()))?;
        let tensors = candle_core::safetensors::load_buffer(tensors, &Device::Cpu)
            .map_err(|error| unfit(&error.to_string()))?;
        Ok(Self { tensors: tensors.into_iter().collect(), record })
    }
}

impl Trainer<'_> {
    /// The state after the last epoch.
    ///
    /// # Errors
    /// The copy does not fit in memory.
    pub fn state(&self) -> Result<TrainingState, TrainError> {
        let mut tensors = Tensors::new();
        add_group(&mut tensors, "model", &self.model.snapshot()?);
        add_group(&mut tensors, "pending", &self.pending);
        let mut steps = BTreeMap::new();
        for (name, Moments { first, second, steps: count }) in self.optimiser.state() {
            tensors.insert(format!("first/{name}"), first.copy()?);
            tensors.insert(format!("second/{name}"), second.copy()?);
            steps.insert(name.clone(), *count);
        }
        for (best, checkpoint) in &self.best {
            add_group(&mut tensors, best.name(), &checkpoint.tensors);
        }
        let of_best = |(&best, x): (&Best, &Checkpoint)| (best, (x.epoch, bits(&x.validation)));
        let record = StateRecord {
            stopping: self.stopping.clone(),
            history: self.history.clone(),
            steps,
            best: self.best.iter().map(of_best).collect(),
            validation: bits(&self.validation),
        };
        Ok(TrainingState { tensors, record })
    }

    /// Goes on from a state of a training with the same parameters, data and seed.
    ///
    /// # Errors
    /// The state's tensors are not this model's.
    pub fn restore(&mut self, state: TrainingState) -> Result<(), TrainError> {
        let TrainingState { tensors, record } = state;
        let StateRecord { stopping, history, steps, best, validation } = record;
        self.model.set(&group(&tensors, "model"))?;
        self.optimiser.restore(moments(self, &tensors, &steps)?);
        self.pending = pending(self, &tensors)?;
        let mut checkpoints = BTreeMap::new();
        for (best, (epoch, validation)) in best {
            let tensors = group(&tensors, best.name());
            if !tensors.keys().eq(self.model.variables().keys()) {
                return Err(TrainError::State { what: format!("{} has other tensors", best.name()) });
            }
            checkpoints.insert(best, Checkpoint { epoch, tensors, validation: numbers(&validation) });
        }
        self.best = checkpoints;
        self.stopping = stopping;
        self.history = history;
        self.validation = numbers(&validation);
        Ok(())
    }
}

/// The optimiser's memory.
fn moments(
    trainer: &Trainer<'_>,
    tensors: &Tensors,
    steps: &BTreeMap<String, u32>,
) -> Result<BTreeMap<String, Moments>, TrainError> {
    let mut moments = BTreeMap::new();
    for (name, &steps) in steps {
        let first = fitting(trainer, name, "first", tensors.get(&format!("first/{name}")))?;
        let second = fitting(trainer, name, "second", tensors.get(&format!("second/{name}")))?;
        moments.insert(name.clone(), Moments { first, second, steps });
    }
    Ok(moments)
}

/// Gradients since the optimiser's last step.
fn pending(trainer: &Trainer<'_>, tensors: &Tensors) -> Result<Tensors, TrainError> {
    let check = |(name, tensor): (String, Tensor)| -> Result<(String, Tensor), TrainError> {
        let tensor = fitting(trainer, &name, "pending", Some(&tensor))?;
        Ok((name, tensor))
    };
    group(tensors, "pending").into_iter().map(check).collect()
}

/// A tensor on the model's device, checked against the variable of that name.
fn fitting(
    trainer: &Trainer<'_>,
    name: &str,
    group: &str,
    tensor: Option<&Tensor>,
) -> Result<Tensor, TrainError> {
    let variable = trainer.model.variables().get(name);
    match variable.zip(tensor) {
        Some((variable, tensor)) if variable.dims() == tensor.dims() => {
            Ok(tensor.to_device(trainer.model.device())?)
        }
        _ => Err(TrainError::State { what: format!("`{group}/{name}` does not fit the model") }),
    }
}

fn add_group(tensors: &mut Tensors, group: &str, members: &Tensors) {
    tensors.extend(members.iter().map(|(name, tensor)| (format!("{group}/{name}"), tensor.clone())));
}

fn group(tensors: &Tensors, group: &str) -> Tensors {
    let member = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix(group)?.strip_prefix('/')?.to_owned(), tensor.clone()))
    };
    tensors.iter().filter_map(member).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn numbers(bits: &[u64]) -> Vec<f64> {
    bits.iter().map(|&bits| f64::from_bits(bits)).collect()
}
