//! The cost of preprocessing as a table of ratios: `cargo bench -p pipe-stages --bench preprocessing_table`.
//!
//! Two things whose times are compared are measured in turn, so that a machine that is busy for a
//! while slows both; a ratio is the median over all turns. A synthetic scan is made first, unless one is named:
//! `cargo bench -p pipe-stages --bench preprocessing_table -- SCAN X Y Z [X Y Z …]` (points in LPS millimetres).
//! The words `planes` and `cohort` in its place give these rows alone.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

mod workload;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use pipe_learning::slice::planes::{Instructions, planes_with};
use pipe_stages::crop::geometry::LpsPoint;

use workload::{Cohort, Workload};

const TURNS: usize = 15;
/// First argument of the child process that crops once and tells its peak memory.
const CHILD: &str = "peak-memory-of";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.split_first() {
        Some((first, rest)) if first == CHILD => tell_peak_memory(&named(rest)),
        Some((first, [])) if first == "planes" => plane_rows(),
        Some((first, [])) if first == "cohort" => cohort_row(),
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
    println!("{:<44}{:>10}{:>12}{:>10}{:>10}", "", "time", "against", "ratio", "to reach");
    let crop = || drop(black_box(workload.crop(&[middle])));
    let inflate = || {
        black_box(workload.inflate(prefix));
    };
    row("crop of one nodule / its prefix inflated", in_turn(crop, inflate), "≤ 1.15");
    let memory = peak_memory(workload, &[middle]).map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"));
    println!("{:<44}{memory:>10}{:>32}", "  peak memory of the process", "≤ 150 MB");
    if workload.nodules.len() > 1 {
        let all = || drop(black_box(workload.crop(&workload.nodules)));
        let alone = || drop(black_box(workload.crop(&[deepest])));
        let name = format!("{} nodules / the deepest alone", workload.nodules.len());
        row(&name, in_turn(all, alone), "≤ 1.20");
        let memory =
            peak_memory(workload, &workload.nodules).map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"));
        println!("{:<44}{memory:>10}{:>32}", "  peak memory of the process", "≤ 150 MB");
    }
}

fn plane_rows() {
    let volume = workload::cube(100);
    for (instructions, to_reach) in [(Instructions::Widest, "≤ 1.6 ms"), (Instructions::Baseline, "≤ 2.5 ms")]
    {
        let mut times: Vec<f64> = (0..200)
            .map(|_| seconds(|| drop(black_box(planes_with(instructions, &volume, 100, -1000.0, 500.0)))))
            .collect();
        let name = format!("nine planes of 100³, {instructions:?}");
        let middle = median(&mut times);
        println!("{name:<44}{:>7.2} ms{to_reach:>32}  {}", 1e3 * middle, verdict(1e3 * middle, to_reach));
        println!("{:<44}{:>7.2} ms", "  a tenth of the runs is faster than", 1e3 * times[times.len() / 10]);
    }
}

fn cohort_row() {
    let cohort = Cohort::synthetic();
    let (one, two) = (workload::pool(1), workload::pool(2));
    let crop = |pool: &rayon::ThreadPool| {
        black_box(cohort.crop(pool));
    };
    row("200 small scans, one thread / two", in_turn(|| crop(&one), || crop(&two)), "≥ 1.80");
}

/// Median times of both, and the median of their ratios.
fn in_turn(first: impl Fn(), second: impl Fn()) -> [f64; 3] {
    let pairs: Vec<(f64, f64)> = (0..TURNS).map(|_| (seconds(&first), seconds(&second))).collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
    let (mut firsts, mut seconds): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    [median(&mut firsts), median(&mut seconds), median(&mut ratios)]
}

fn seconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(name: &str, [first, second, ratio]: [f64; 3], to_reach: &str) {
    let verdict = verdict(ratio, to_reach);
    println!(
        "{name:<44}{:>7.0} ms{:>9.0} ms{ratio:>10.3}{to_reach:>10}  {verdict}",
        1e3 * first,
        1e3 * second
    );
}

/// Whether a value is on the right side of a bound such as "≤ 1.6 ms".
fn verdict(value: f64, to_reach: &str) -> &'static str {
    let mut words = to_reach.split_whitespace();
    let (sign, bound) = (words.next(), words.next().and_then(|bound| bound.parse::<f64>().ok()));
    match (sign, bound) {
        (Some("≤"), Some(bound)) if value <= bound => "met",
        (Some("≥"), Some(bound)) if value >= bound => "met",
        _ => "missed",
    }
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
