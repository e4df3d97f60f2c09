//! The examples of programs as stages run as they stand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Workspace, has_part};

/// PATH with the Python that has NumPy first, if there is one.
fn path_with_numpy() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_string());
    let path = std::env::var("PATH").unwrap_or_default();
    let has_numpy =
        Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|ran| ran.status.success());
    let folder = Path::new(&python).parent().filter(|folder| !folder.as_os_str().is_empty());
    has_numpy.then(|| folder.map_or(path.clone(), |folder| format!("{}:{path}", folder.display())))
}

#[test]
fn a_detector_in_python_gives_points_that_are_cropped() {
    let path = path_with_numpy();
    if !has_part("python", path.is_some(), "a detector in Python gives points that are cropped") {
        return;
    }
    let workspace = Workspace::new();
    workspace.copy("examples/programs", "examples/programs");
    let path = path.unwrap_or_default();
    let run = |more: &[&str]| {
        let arguments = [&["run", "examples/programs/detect.toml", "--json"], more].concat();
        let ran = workspace.pipe_with(&arguments, &[("PATH", &path)]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran
    };
    let first = run(&[]);
    assert_eq!(first.count("failed"), 0);
    workspace.pipe_ok(&["get", "latest", "detect", "--to", "points"]);
    let points = workspace.read("points/points.csv");
    assert!(points.starts_with("pid,nodule_id,image_path,coordX,coordY,coordZ,contrast\n"), "{points}");
    assert!(points.contains(",scans/phantom-0000.nii.gz,"), "paths lead to the scans: {points}");
    // Most nodules are found: those of the generator within 12 mm of a point.
    workspace.pipe_ok(&["get", "latest", "phantom.dataset", "--to", "truth"]);
    let (truth, found) = (centres(&workspace.read("truth/dataset.csv")), centres(&points));
    let is_found = |nodule: &&(String, [f64; 3])| {
        found.iter().any(|(pid, point)| *pid == nodule.0 && distance(point, &nodule.1) < 12.0)
    };
    let count = truth.iter().filter(is_found).count();
    assert!(2 * count >= truth.len(), "{count} of {} nodules", truth.len());
    // One parameter, and only the detector and what follows from it.
    let again = run(&["--set", "detect.most=1"]);
    assert_eq!(again.executed(), ["crop", "detect", "slice"]);
}

fn centres(table: &str) -> Vec<(String, [f64; 3])> {
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heads = lines.next().unwrap();
    let place = |name: &str| heads.iter().position(|head| *head == name).unwrap();
    let places = ["coordX", "coordY", "coordZ"].map(place);
    let pid = place("pid");
    lines.map(|cells| (cells[pid].to_string(), places.map(|place| cells[place].parse().unwrap()))).collect()
}

fn distance(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn a_plot_in_shell_draws_each_nodule() {
    let workspace = Workspace::new();
    workspace.copy("examples/programs", "examples/programs");
    workspace.copy("pipelines", "pipelines");
    let sets = [
        "phantom.patients=14",
        "test-phantom.patients=8",
        "phantom.shape=[72,72,36]",
        "test-phantom.shape=[72,72,36]",
        "train.epochs=1",
        "train.architecture.text={width=64, layers=1, vocabulary=49408, context=77}",
        "train.architecture.vision={width=64, layers=1, patch=24, resolution=48}",
        "evaluate.draws=50",
        "train.foreach.fold=[0]",
        "calibrate.foreach.fold=[0]",
    ];
    let mut arguments = vec!["run", "examples/programs/plot.toml"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    workspace.pipe_ok(&arguments);
    let picture = workspace.read("results/plot/predictions.svg");
    let nodules = workspace.read("results/phantom/predictions.csv").lines().count() - 1;
    assert_eq!(picture.matches("<circle").count(), nodules);
    assert!(picture.trim_end().ends_with("</svg>"));
}
