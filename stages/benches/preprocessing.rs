//! How long preprocessing takes: `cargo bench --bench preprocessing`. For the ratios between these
//! figures, and for memory, see `preprocessing_table`.

mod workload;

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use pipe_stages::slice::planes::{Instructions, planes_with};

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
