//! How long preprocessing takes: `cargo bench -p pipe-stages --bench preprocessing`. For the ratios between these
//! figures, and for memory, see `preprocessing_table`.

mod workload;

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use pipe_imaging::affine::Affine;
use pipe_imaging::voxels::{Block, Voxels};
use pipe_learning::slice::planes::{Instructions, planes_with};
use pipe_stages::crop::geometry::{LpsPoint, ScanSpace};
use pipe_stages::crop::reference::Grid;
use pipe_stages::crop::sample::sample;

use workload::{Cohort, Workload};

static WORKLOAD: LazyLock<Workload> = LazyLock::new(Workload::synthetic);
static COHORT: LazyLock<Cohort> = LazyLock::new(Cohort::synthetic);

fn main() {
    divan::main();
}

#[divan::bench(args = [Instructions::Widest, Instructions::Baseline])]
fn nine_planes_of_100_mm(bencher: Bencher<'_, '_>, instructions: Instructions) {
    let volume = workload::cube(100);
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

#[divan::bench(sample_count = 10)]
fn crop_of_one_nodule(bencher: Bencher<'_, '_>) {
    let nodule = WORKLOAD.middle();
    bencher.counter(BytesCount::new(WORKLOAD.prefix(nodule))).bench_local(|| WORKLOAD.crop(&[nodule]));
}

#[divan::bench(sample_count = 10)]
fn inflating_its_prefix_alone(bencher: Bencher<'_, '_>) {
    let prefix = WORKLOAD.prefix(WORKLOAD.middle());
    bencher.counter(BytesCount::new(prefix)).bench_local(|| WORKLOAD.inflate(prefix));
}

#[divan::bench(sample_count = 10)]
fn crops_of_three_nodules(bencher: Bencher<'_, '_>) {
    LazyLock::force(&WORKLOAD);
    bencher.counter(ItemsCount::new(3usize)).bench_local(|| WORKLOAD.crop(&WORKLOAD.nodules));
}

#[divan::bench(sample_count = 10)]
fn crop_of_the_deepest_alone(bencher: Bencher<'_, '_>) {
    let nodule = WORKLOAD.deepest();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| WORKLOAD.crop(&[nodule]));
}

#[divan::bench(sample_count = 3, args = [1, 2])]
fn crops_of_200_small_scans(bencher: Bencher<'_, '_>, threads: usize) {
    let pool = workload::pool(threads);
    bencher.counter(ItemsCount::new(COHORT.len())).bench_local(|| COHORT.crop(&pool));
}
