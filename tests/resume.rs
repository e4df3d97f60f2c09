//! Training that is killed at any moment goes on from its last epoch and ends in the same bytes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use support::Workspace;

/// How often training is killed.
const KILLS: usize = 20;
const EPOCHS: usize = 24;

fn workspace() -> Workspace {
    Workspace::with_training(EPOCHS)
}

/// Starts a run that can be killed.
fn train(workspace: &Workspace, cache: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(["run", "p.toml", "--cache", cache])
        .current_dir(workspace.path("."))
        .env_remove("PIPE_CACHE")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn resume_points(workspace: &Workspace, cache: &str) -> usize {
    fs::read_dir(workspace.path(cache).join("resume")).map_or(0, |entries| {
        entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    })
}

#[test]
fn a_fold_that_is_killed_twenty_times_ends_in_the_same_bytes() {
    let workspace = workspace();
    let before = ["slice", "text-encode", "split"];
    let only: Vec<&str> = before.iter().flat_map(|stage| ["--only", stage]).collect();
    for cache in ["whole", "killed"] {
        workspace.pipe_ok(&[&["run", "p.toml", "--cache", cache][..], &only].concat());
    }
    let started = Instant::now();
    workspace.pipe_ok(&["run", "p.toml", "--cache", "whole"]);
    let whole = started.elapsed();
    workspace.pipe_ok(&["get", "p.toml", "train", "--cache", "whole", "--to", "expected"]);
    assert_eq!(resume_points(&workspace, "whole"), 0, "removed when the result is there");

    let (mut kills, mut went_on) = (0, 0);
    while kills < KILLS {
        let mut child = train(&workspace, "killed");
        // At moments all over an epoch, the writing of its state included.
        let share = (kills * 7 % KILLS) as u32 + 2;
        std::thread::sleep(whole * share / (4 * KILLS as u32));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        if ended {
            // So quick a machine leaves nothing to kill: begin anew.
            fs::remove_dir_all(workspace.path("killed/results")).unwrap();
        }
        kills += 1;
        went_on += usize::from(resume_points(&workspace, "killed") > 0);
    }
    assert!(went_on > 0, "no kill left a state to go on from");
    let last = workspace.pipe_ok(&["run", "p.toml", "--cache", "killed"]);
    workspace.pipe_ok(&["get", "p.toml", "train", "--cache", "killed", "--to", "found"]);
    let (expected, found) = (files(&workspace.path("expected")), files(&workspace.path("found")));
    assert!(expected.len() >= 6, "{:?}", expected.keys());
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs; last run:\n{}", last.stderr);
    }
    let logs = log_lines(&workspace.path("killed/runs"));
    assert!(logs.iter().any(|line| line.starts_with("going on after epoch ")), "{logs:?}");
}

/// The lines of all logs of training.
fn log_lines(runs: &Path) -> Vec<String> {
    let logs = fs::read_dir(runs).unwrap().flatten().map(|run| run.path().join("logs/train.log"));
    logs.filter_map(|log| fs::read_to_string(log).ok())
        .flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>())
        .collect()
}

#[test]
fn force_begins_anew_and_a_damaged_state_is_passed_over() {
    let workspace = workspace();
    let interrupted = || {
        let mut child = train(&workspace, ".pipe");
        while resume_points(&workspace, ".pipe") == 0 {
            assert!(child.try_wait().unwrap().is_none(), "training ended before its first state was seen");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    interrupted();
    let went_on = || log_lines(&workspace.path(".pipe/runs")).iter().any(|line| line.starts_with("going on"));
    let forced = workspace.pipe_ok(&["run", "p.toml", "--force", "train", "--json"]);
    assert_eq!(forced.executed(), ["train"]);
    assert!(!went_on());

    fs::remove_dir_all(workspace.path(".pipe/results")).unwrap();
    interrupted();
    let state = fs::read_dir(workspace.path(".pipe/resume")).unwrap().flatten().next().unwrap().path();
    let mut bytes = fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&state, bytes).unwrap();
    workspace.pipe_ok(&["run", "p.toml"]);
    assert!(!went_on());
}
