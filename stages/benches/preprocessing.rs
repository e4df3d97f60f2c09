//! How long preprocessing takes, one thread: `cargo bench --bench preprocessing`.

use divan::Bencher;
use divan::counter::ItemsCount;
use pipe_stages::slice::planes::{Instructions, planes_with};

fn main() {
    divan::main();
}

/// A cube with structure everywhere, HU.
fn volume(edge: usize) -> Vec<f32> {
    (0..edge * edge * edge).map(|index| ((index * 7919) % 1600) as f32 - 1100.0).collect()
}

#[divan::bench(args = [Instructions::Widest, Instructions::Baseline])]
fn nine_planes_of_100_mm(bencher: Bencher<'_, '_>, instructions: Instructions) {
    let volume = volume(100);
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| planes_with(instructions, &volume, 100, -1000.0, 500.0));
}
