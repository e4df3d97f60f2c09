//! The cost of preprocessing as a table of ratios: `cargo bench --bench preprocessing_table`.
//!
//! Two things whose times are compared are measured in turn, so that a machine that is busy for a
//! while slows both; a ratio is the median over all turns. Where the system tells it (Linux), the ratio
//! of processor times stands beside that of elapsed times: the one to look at when others use the
//! machine too. A synthetic scan is made first, unless one is named:
//! `cargo bench --bench preprocessing_table -- SCAN X Y Z [X Y Z …]` (points in LPS millimetres).

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

mod workload;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use pipe_stages::crop::geometry::LpsPoint;
use pipe_stages::slice::planes::{Instructions, planes_with};

use workload::{Cohort, Workload};

const TURNS: usize = 11;
const TURNS_OF_COHORT: usize = 3;
/// First argument of the child process that crops once and tells its peak memory.
const CHILD: &str = "peak-memory-of";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.split_first() {
        Some((first, rest)) if first == CHILD => tell_peak_memory(&named(rest)),
        Some(_) => scan_rows(&named(&arguments)),
        None => {
            scan_rows(&Workload::synthetic());
            plane_rows();
            cohort_row();
        }
    }
}

/// `SCAN X Y Z [X Y Z …]`.
fn named(arguments: &[String]) -> Workload {
    let (path, points) = arguments.split_first().unwrap();
    let numbers: Vec<f64> = points.iter().map(|number| number.parse().unwrap()).collect();
    let nodules: Vec<LpsPoint> =
        numbers.chunks_exact(3).map(|point| LpsPoint { x: point[0], y: point[1], z: point[2] }).collect();
    assert!(!nodules.is_empty(), "expected SCAN X Y Z [X Y Z …]");
    Workload::existing(PathBuf::from(path), nodules)
}

fn scan_rows(workload: &Workload) {
    let (middle, deepest) = (workload.middle(), workload.deepest());
    let prefix = workload.prefix(middle);
    workload.inflate(prefix);
    println!("{:<44}{:>10}{:>12}{:>8}{:>8}{:>10}", "", "time", "against", "ratio", "of cpu", "to reach");
    let crop = || drop(black_box(workload.crop(&[middle])));
    let inflate = || {
        black_box(workload.inflate(prefix));
    };
    row("crop of one nodule / its prefix inflated", &in_turn(TURNS, crop, inflate), "≤ 1.15");
    let read = || {
        black_box(workload.read(&[middle]));
    };
    row("  of that, reading its voxels / the prefix", &in_turn(TURNS, read, inflate), "");
    let memory = peak_memory(workload, &[middle]).map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"));
    println!("{:<44}{memory:>10}{:>38}", "  peak memory of the process", "≤ 150 MB");
    if workload.nodules.len() > 1 {
        let all = || drop(black_box(workload.crop(&workload.nodules)));
        let alone = || drop(black_box(workload.crop(&[deepest])));
        let name = format!("{} nodules / the deepest alone", workload.nodules.len());
        row(&name, &in_turn(TURNS, all, alone), "≤ 1.20");
        let memory =
            peak_memory(workload, &workload.nodules).map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"));
        println!("{:<44}{memory:>10}{:>38}", "  peak memory of the process", "≤ 150 MB");
    }
}

fn plane_rows() {
    let volume = workload::cube(100);
    for (instructions, to_reach) in [(Instructions::Widest, "≤ 1.6 ms"), (Instructions::Baseline, "≤ 2.5 ms")]
    {
        let mut times: Vec<f64> = (0..200)
            .map(|_| {
                times(|| drop(black_box(planes_with(instructions, &volume, 100, -1000.0, 500.0)))).elapsed
            })
            .collect();
        let name = format!("nine planes of 100³, {instructions:?}");
        println!("{name:<44}{:>7.2} ms{to_reach:>38}", 1e3 * median(&mut times));
    }
}

fn cohort_row() {
    let cohort = Cohort::synthetic();
    let (one, two) = (workload::pool(1), workload::pool(2));
    let crop = |pool: &rayon::ThreadPool| {
        black_box(cohort.crop(pool));
    };
    let mut compared = in_turn(TURNS_OF_COHORT, || crop(&one), || crop(&two));
    // The work is done by other threads than the one that measures.
    compared.processor_ratio = None;
    row("200 small scans, one thread / two", &compared, "≥ 1.80");
}

/// Medians over all turns.
struct Compared {
    /// Elapsed seconds of both.
    elapsed: [f64; 2],
    ratio: f64,
    processor_ratio: Option<f64>,
}

fn in_turn(turns: usize, first: impl Fn(), second: impl Fn()) -> Compared {
    let turns: Vec<[Times; 2]> = (0..turns).map(|_| [times(&first), times(&second)]).collect();
    let median_of = |value: fn(&[Times; 2]) -> f64| median(&mut turns.iter().map(value).collect::<Vec<_>>());
    let processor_ratio = median_of(|[a, b]| a.processor / b.processor);
    Compared {
        elapsed: [median_of(|[a, _]| a.elapsed), median_of(|[_, b]| b.elapsed)],
        ratio: median_of(|[a, b]| a.elapsed / b.elapsed),
        processor_ratio: processor_ratio.is_finite().then_some(processor_ratio),
    }
}

/// Seconds of one run.
struct Times {
    elapsed: f64,
    /// In which this thread had a processor.
    processor: f64,
}

fn times(run: impl FnOnce()) -> Times {
    let (start, processor) = (Instant::now(), processor_seconds());
    run();
    Times { elapsed: start.elapsed().as_secs_f64(), processor: processor_seconds() - processor }
}

/// Seconds that this thread has had a processor so far; NaN where the system does not tell.
fn processor_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ')
        .next()
        .and_then(|nanoseconds| nanoseconds.parse::<f64>().ok())
        .map_or(f64::NAN, |n| n / 1e9)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(name: &str, compared: &Compared, to_reach: &str) {
    let [first, second] = compared.elapsed.map(|seconds| 1e3 * seconds);
    let processor = compared.processor_ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
    println!("{name:<44}{first:>7.0} ms{second:>9.0} ms{:>8.3}{processor:>8}{to_reach:>10}", compared.ratio);
}

/// Peak resident memory in megabytes of a process that does nothing but crop these nodules; `None`
/// where the system does not tell.
fn peak_memory(workload: &Workload, nodules: &[LpsPoint]) -> Option<f64> {
    let numbers = nodules.iter().flat_map(|point| [point.x, point.y, point.z]);
    let output = Command::new(std::env::current_exe().unwrap())
        .arg(CHILD)
        .arg(&workload.path)
        .args(numbers.map(|number| number.to_string()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().ok()
}

fn tell_peak_memory(workload: &Workload) {
    black_box(workload.crop(&workload.nodules));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    println!(
        "{}",
        kilobytes.map_or("unknown".to_owned(), |kilobytes| (kilobytes * 1024.0 / 1e6).to_string())
    );
}
