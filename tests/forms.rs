//! Results in forms that other programs open.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;

use support::{Workspace, has_part};

fn project() -> Workspace {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 2, shape = [72, 72, 36] }\n\
         [stage.crop]\ninputs = { dataset = \"@phantom\" }\nparams = { size_mm = 20 }\n\
         [stage.slice]\ninputs = { volumes = \"@crop\" }\n",
    );
    workspace.run(&[]);
    workspace
}

#[test]
fn tables_and_tensors_are_converted_and_the_rest_is_told() {
    let workspace = project();
    let told =
        workspace.pipe_ok(&["get", "latest", "phantom.dataset", "--format", "json", "--to", "json"]).stderr;
    assert!(told.contains("2 files have no form `json` and were left out"), "{told}");
    let rows: serde_json::Value = serde_json::from_str(&workspace.read("json/dataset.json")).unwrap();
    let first = &rows.as_array().unwrap()[0];
    assert_eq!(first["pid"], "phantom-0000");
    assert!(first["coordX"].is_f64() && first["malignant"].is_i64(), "{first}");
    workspace.pipe_ok(&["get", "latest", "phantom.dataset", "--format", "csv", "--to", "csv"]);
    assert!(workspace.read("csv/dataset.csv").starts_with("pid,"));
    workspace.pipe_ok(&["get", "latest", "phantom.dataset", "--format", "parquet", "--to", "parquet"]);
    assert!(fs::read(workspace.path("parquet/dataset.parquet")).unwrap().starts_with(b"PAR1"));
    // Again it is the same, byte for byte; another file is not written over.
    workspace.pipe_ok(&["get", "latest", "phantom.dataset", "--format", "parquet", "--to", "parquet"]);
    workspace.write("parquet/dataset.parquet", "mine");
    assert_eq!(
        workspace.pipe(&["get", "latest", "phantom.dataset", "--format", "parquet", "--to", "parquet"]).code,
        1
    );
    for (stage, format, expected) in
        [("slice", "json", "none of the"), ("slice", "xlsx", "all results have csv, json, parquet, npz")]
    {
        let ran = workspace.pipe(&["get", "latest", stage, "--format", format, "--to", "none"]);
        assert!(ran.code == 2 && ran.stderr.contains(expected), "{stage} {format}: {}", ran.stderr);
    }
}

#[test]
fn numpy_opens_tensors() {
    let workspace = project();
    workspace.pipe_ok(&["get", "latest", "slice", "--format", "npz", "--to", "npz"]);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_string());
    let has_numpy =
        Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|ran| ran.status.success());
    if !has_part("python", has_numpy, "NumPy opens tensors") {
        return;
    }
    let script = "import glob, numpy, sys\n\
        for path in sorted(glob.glob('npz/*.npz')):\n    planes = numpy.load(path)['planes']\n    \
        print(planes.shape, planes.dtype, bool(((planes >= 0) & (planes <= 1)).all()))\n";
    let ran = Command::new(&python).args(["-c", script]).current_dir(workspace.path("")).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(told.starts_with("(9, 20, 20) float32 True\n"), "{told}{}", String::from_utf8_lossy(&ran.stderr));
}
