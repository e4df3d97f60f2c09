//! How long preprocessing takes, one thread: `cargo bench --bench preprocessing`.

use divan::Bencher;
use divan::counter::ItemsCount;
use pipe_stages::crop::geometry::{LpsPoint, ScanSpace};
use pipe_stages::crop::reference::Grid;
use pipe_stages::crop::sample::sample;
use pipe_stages::imaging::affine::Affine;
use pipe_stages::imaging::voxels::{Block, Voxels};
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

fn crop_of(affine: Affine, shape: [usize; 3], bencher: Bencher<'_, '_>) {
    let space = ScanSpace::new(shape, &affine).expect("regular");
    let [x, y, z] = affine.apply(shape.map(|n| n as f64 / 2.0));
    let crop_box = Grid::new(&space).crop_box(LpsPoint { x: -x, y: -y, z }, 100);
    let region = crop_box.region();
    let stored = (0..region.voxels()).map(|i| ((i * 7919) % 1600) as i16 - 1100).collect();
    let block = Block { region, voxels: Voxels::Stored(stored), slope: 1.0, intercept: -1024.0 };
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| sample(&crop_box, &block, 0.0));
}

#[divan::bench]
fn crop_100_mm_axis_aligned(bencher: Bencher<'_, '_>) {
    crop_of(Affine::from_spacing([-0.7, -0.7, 1.0]), [512, 512, 300], bencher);
}

#[divan::bench]
fn crop_100_mm_oblique(bencher: Bencher<'_, '_>) {
    crop_of(
        Affine::from_quaternion([0.05, 0.02, 0.01], [0.7, 0.7, 1.0], false, [0.0; 3]),
        [512, 512, 300],
        bencher,
    );
}
