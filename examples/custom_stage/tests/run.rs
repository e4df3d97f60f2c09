//! A third party's program runs its own kind beside the shipped ones.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

fn run(arguments: &[&str], folder: &std::path::Path) -> Output {
    let program = env!("CARGO_BIN_EXE_custom-stage");
    Command::new(program).args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn the_kind_runs_is_cached_and_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = include_str!("../pipeline.toml").replace("patients = 40", "patients = 3");
    std::fs::write(folder.path().join("pipeline.toml"), manifest).unwrap();
    let first = run(&["run", "pipeline.toml"], folder.path());
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(text.starts_with("value,nodules,malignant\n"), "{text}");
    let second = run(&["run", "pipeline.toml", "--json"], folder.path());
    let last = String::from_utf8_lossy(&second.stdout).lines().last().unwrap_or_default().to_string();
    assert!(last.contains("\"executed\":0,\"cached\":2"), "{last}");
    let explained = run(&["stages", "prevalence"], folder.path());
    assert!(String::from_utf8_lossy(&explained.stdout).contains("The column to group by."));
}
