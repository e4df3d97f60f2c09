//! Augmented volumes against TorchIO's (SPEC section 5), by their three straight planes.

mod common;

use common::{fixture, values};
use pipe_learning::slice::augmentation::{Augmenter, Draw};
use serde_json::Value;

const EDGE: usize = 48;
const NOTHING: Draw = Draw {
    flips: [false; 3],
    scales: [1.0; 3],
    degrees: [0.0; 3],
    noise: [0.0; 2],
    noise_seed: 0,
    gamma: 1.0,
};

/// The fixtures' volume.
fn volume() -> Vec<f32> {
    let value = |index: usize| {
        let [i, j, k] = [index / (EDGE * EDGE), index / EDGE % EDGE, index % EDGE].map(|at| at as f64);
        let wave = (0.2 * i + 0.31 * j).sin() * (0.27 * k).cos();
        (0.5 + 0.3 * wave + 0.1 * (0.9 * k * j / EDGE as f64).sin()) as f32
    };
    (0..EDGE.pow(3)).map(value).collect()
}

fn three(value: &Value) -> [f64; 3] {
    serde_json::from_value(value.clone()).expect("three numbers")
}

/// The largest difference between the straight planes after a draw and those of the fixture.
fn difference(draw: &Draw, name: &str) -> f32 {
    let volume = volume();
    let lowest = volume.iter().copied().fold(f32::INFINITY, f32::min);
    let planes = Augmenter::new(EDGE, EDGE).expect("sizes").planes(&volume, lowest, draw).expect("planes");
    let file = candle_core::safetensors::load(
        fixture("../augment/augment_planes.safetensors"),
        &candle_core::Device::Cpu,
    );
    let expected = values(&file.expect("fixture")[name]);
    assert_eq!(expected.len(), 3 * EDGE * EDGE);
    planes.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn flips_turns_and_gammas_are_those_of_torchio() {
    let flipped = Draw { flips: [true, false, true], ..NOTHING };
    assert!(difference(&flipped, "flip_02") < 1e-7);
    let record = std::fs::read(fixture("../augment/augment.json")).expect("record");
    let record: Value = serde_json::from_slice(&record).expect("record");
    let cases = record["params"].as_array().expect("cases");
    assert_eq!(cases.len(), 4);
    for (index, case) in cases.iter().enumerate() {
        let turned = Draw { scales: three(&case["scales"]), degrees: three(&case["degrees"]), ..NOTHING };
        let found = difference(&turned, &format!("affine_{index}"));
        assert!(found < 1e-5, "affine_{index}: {found:e}");
        let gamma = case["gamma"].as_f64().expect("gamma") as f32;
        let found = difference(&Draw { gamma, ..turned }, &format!("affine_gamma_{index}"));
        assert!(found < 1e-5, "affine_gamma_{index}: {found:e}");
    }
}
