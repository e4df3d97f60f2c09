//! How long the images of a batch of four nodules take on one core: `cargo bench -p pipe-stages --bench batches`.
//! To reach: 1.2 ms as they are (shift, window, enlargement), 15 ms augmented.

mod workload;

use divan::Bencher;
use pipe_learning::slice::augmentation::{Augmentation, Augmenter};
use pipe_learning::slice::planes::planes;
use pipe_learning::slice::window::{Window, WindowParameters, draw_jitter};
use pipe_numerics::random::RandomKey;

const NODULES: usize = 4;
const JITTER: u16 = 5;
/// What a shifted window of 50 voxels can reach.
const REACH: usize = 60;

fn main() {
    divan::main();
}

#[divan::bench]
fn as_they_are(bencher: Bencher<'_, '_>) {
    let whole = planes(&workload::cube(100), 100, -1000.0, 500.0).expect("planes");
    let planes = pipe_learning::slice::augmentation::central(&whole, 100, REACH);
    let window = Window::new(REACH, WindowParameters::default()).expect("sizes");
    let mut generator = RandomKey::new(1, "bench").generator();
    let mut images = vec![0.0; NODULES * window.image_values()];
    bencher.bench_local(|| {
        for images in images.chunks_exact_mut(window.image_values()) {
            window.images(&planes, &draw_jitter(&mut generator, JITTER), images).expect("images");
        }
    });
}

#[divan::bench]
fn augmented(bencher: Bencher<'_, '_>) {
    let share = |value: &f32| ((value.clamp(-1000.0, 500.0) + 1000.0) / 1500.0 * 65_535.0).round() as u16;
    let volume: Vec<u16> = workload::cube(100).iter().map(share).collect();
    let augmentation = Augmentation {
        flip_probability: 0.5,
        most_degrees: 10.0,
        noise_mean: 0.0,
        noise_deviation: 0.02,
        most_log_gamma: 0.2,
    };
    let augmenter = Augmenter::new(100, REACH).expect("sizes");
    let window = Window::new(REACH, WindowParameters::default()).expect("sizes");
    let mut generator = RandomKey::new(1, "bench").generator();
    let mut images = vec![0.0; NODULES * window.image_values()];
    bencher.bench_local(|| {
        for images in images.chunks_exact_mut(window.image_values()) {
            let draw = augmentation.draw(&mut generator);
            let planes = augmenter.planes(&volume, 0.0, &draw).expect("planes");
            window.images(&planes, &draw_jitter(&mut generator, JITTER), images).expect("images");
        }
    });
}
