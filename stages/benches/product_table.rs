//! The cost of products that are the same on every processor, beside candle's own: `cargo bench -p pipe-stages --bench product_table`.
//!
//! The shapes are those of a training step of ViT-B/32 with four nodules of nine slices: forward, gradient of the input,
//! gradient of the weight. Both are measured in turn; a ratio is the median over all turns.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::hint::black_box;
use std::time::Instant;

use candle_core::{Device, Tensor};
use pipe_learning::clip::product::matmul;

const TURNS: usize = 9;
/// Tokens of 36 slices of 50 patches.
const TOKENS: usize = 1800;

/// Rows, inner dimension, columns, and whether the left and the right factor are transposes.
type Shape = (&'static str, usize, usize, usize, bool, bool);

const SHAPES: [Shape; 12] = [
    ("patches, forward", 1764, 3072, 768, false, true),
    ("attention in, forward", TOKENS, 768, 2304, false, true),
    ("attention out, forward", TOKENS, 768, 768, false, true),
    ("perceptron up, forward", TOKENS, 768, 3072, false, true),
    ("perceptron down, forward", TOKENS, 3072, 768, false, true),
    ("perceptron up, of input", TOKENS, 3072, 768, false, false),
    ("perceptron down, of input", TOKENS, 768, 3072, false, false),
    ("perceptron up, of weight", 3072, TOKENS, 768, true, false),
    ("adapter down, forward", TOKENS, 768, 2, false, true),
    ("adapter up, forward", TOKENS, 2, 768, false, true),
    ("bias, gradient", 1, TOKENS, 3072, false, false),
    ("heads, forward", 36, 512, 256, false, true),
];

fn main() {
    println!("{:<28}{:>10}{:>10}{:>8}", "", "here", "candle's", "ratio");
    let (mut ours, mut theirs) = (0.0, 0.0);
    for (name, m, k, n, of_a, of_b) in SHAPES {
        let matrix = |rows: usize, columns: usize, is_transposed: bool| {
            let shape = if is_transposed { (columns, rows) } else { (rows, columns) };
            let tensor = Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
            if is_transposed { tensor.t().unwrap() } else { tensor }
        };
        let (a, b) = (matrix(m, k, of_a), matrix(k, n, of_b));
        let mut turns: Vec<(f64, f64)> = Vec::new();
        for _ in 0..TURNS {
            let here = timed(|| drop(black_box(matmul(&a, &b).unwrap())));
            turns.push((here, timed(|| drop(black_box(a.matmul(&b).unwrap())))));
        }
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let here = median(turns.iter().map(|(here, _)| *here).collect());
        let candle = median(turns.iter().map(|(_, candle)| *candle).collect());
        let ratio = median(turns.iter().map(|(here, candle)| here / candle).collect());
        (ours, theirs) = (ours + here, theirs + candle);
        println!("{name:<28}{:>7.2} ms{:>7.2} ms{ratio:>8.2}", here * 1e3, candle * 1e3);
    }
    println!("{:<28}{:>7.1} ms{:>7.1} ms{:>8.2}", "all", ours * 1e3, theirs * 1e3, ours / theirs);
}

/// The seconds that one of several runs takes.
fn timed(run: impl Fn()) -> f64 {
    const RUNS: u32 = 3;
    let began = Instant::now();
    (0..RUNS).for_each(|_| run());
    began.elapsed().as_secs_f64() / f64::from(RUNS)
}
