//! A third party's program has every command, for its own kind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

fn run(arguments: &[&str], folder: &std::path::Path) -> Output {
    let program = env!("CARGO_BIN_EXE_custom-stage");
    Command::new(program).args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn the_kind_runs_is_cached_and_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pipeline.toml"), include_str!("../pipeline.toml")).unwrap();
    std::fs::write(folder.path().join("nodules.csv"), include_str!("../nodules.csv")).unwrap();
    let first = run(&["run", "pipeline.toml"], folder.path());
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(text.starts_with("value,nodules,malignant\n"), "{text}");
    let second = run(&["run", "pipeline.toml", "--json"], folder.path());
    let last = String::from_utf8_lossy(&second.stdout).lines().last().unwrap_or_default().to_string();
    assert!(last.contains("\"executed\":0,\"cached\":1"), "{last}");
    let explained = run(&["stages", "prevalence"], folder.path());
    assert!(String::from_utf8_lossy(&explained.stdout).contains("The column to group by."));
}

#[test]
fn the_program_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let listed = run(&["stages"], folder.path());
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(text, "prevalence  counts malignant nodules by the value of a column\n");
    let version = run(&["--version"], folder.path());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("prevalence 0.1.0"));
    let refused = run(&["run", "pipeline.toml", "--device", "cuda"], folder.path());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("do not compute on graphics processors"), "{told}");
}
