//! Fixtures of the model that several tests read.

#![allow(dead_code, reason = "each test binary uses its own part of these helpers")]

pub mod toy;

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use pipe_learning::clip::Tensors;
use pipe_learning::clip::frozen_weights::FrozenWeights;
use pipe_learning::clip::heads::HeadSettings;
use pipe_learning::clip::lora::{Encoder, LoraSettings, Position, Projection};
use pipe_learning::clip::model::{ModelSettings, Tuning};
use pipe_learning::clip::weights::{Towers, read_tensors, read_towers};

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/model").join(name)
}

pub fn towers() -> Towers {
    read_towers(&fixture("clip_tiny.safetensors")).expect("towers")
}

/// The fixtures' settings: adapters on q, k, v of all blocks with r = 2, no dropout.
pub fn settings(tuning: Tuning) -> ModelSettings {
    ModelSettings {
        frozen_weights: FrozenWeights::F32,
        tuning,
        heads: HeadSettings { out_dim: 256, dropout: 0.0 },
        lora: LoraSettings {
            position: Position::All,
            encoder: Encoder::Both,
            projections: vec![Projection::Q, Projection::K, Projection::V],
            rank: 2,
            alpha: 1.0,
            dropout: 0.0,
        },
    }
}

/// Tensors of `expected.safetensors` under a prefix, without it.
pub fn expected(prefix: &str) -> Tensors {
    let all = read_tensors(&fixture("expected.safetensors")).expect("expected tensors");
    let part = |(name, tensor): (String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor));
    all.into_iter().filter_map(part).collect()
}

/// Initial heads, which are the same for every tuning, and the tuning's adapters.
pub fn initial(tuning: &str) -> Tensors {
    let mut tensors = expected("init.");
    tensors.extend(expected(&format!("{tuning}.init.")));
    tensors
}

/// Pixels (4, 9, 3, 224, 224), token ids and labels of the fixtures' batch.
pub struct Batch {
    pub pixels: Tensor,
    pub tokens: Vec<Vec<u32>>,
    pub malignant: Vec<bool>,
}

pub fn batch() -> Batch {
    let tensors = candle_core::safetensors::load(fixture("batch.safetensors"), &Device::Cpu).expect("batch");
    // Every cell of the grid stands for 16 × 16 pixels.
    let grid = tensors["pixel_grid"].reshape(&[108, 14, 1, 14, 1]).expect("grid");
    let pixels = grid.broadcast_as(&[108, 14, 16, 14, 16]).expect("cells");
    let tokens = tensors["input_ids"].to_dtype(DType::U32).expect("ids").to_vec2().expect("ids");
    let labels = tensors["labels"].flatten_all().expect("flat").to_vec1::<f32>().expect("labels");
    Batch {
        pixels: pixels.reshape((4, 9, 3, 224, 224)).expect("pixels"),
        tokens,
        malignant: labels.iter().map(|&label| label > 0.5).collect(),
    }
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().expect("flat").to_vec1().expect("values")
}

pub fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// ‖found − reference‖ / ‖reference‖.
pub fn relative(found: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let pairs = found.iter().zip(reference).map(|(&a, &b)| f64::from(a) - f64::from(b));
    norm(pairs) / norm(reference.iter().map(|&x| f64::from(x)))
}
