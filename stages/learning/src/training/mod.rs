//! Training of the nodule model on one fold, and prediction with what it leaves.
//!
//! Numbers in, numbers out: examples come through a trait, checkpoints go out as tensors. Nothing here
//! knows of files, tables, stages or the clock. Every random draw is keyed by seed, fold, epoch, step and
//! purpose.

pub mod batches;
pub mod control;
pub mod early_stopping;
mod embeddings;
pub mod epoch;
pub mod error;
pub mod parameters;
pub mod prediction;
pub mod run;
pub mod schedule;
pub mod state;
pub mod tensorboard;
pub mod text_augmentation;
