//! Instances in processes of their own: the same bytes as in threads, and no worker that outlives its run.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Workspace, wait_until};

const LONG: Duration = Duration::from_secs(60);

/// All files below a folder, by path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(
                files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn processes_give_what_threads_give() {
    let workspace = Workspace::with_two_folds(12);
    let mut results = Vec::new();
    for executor in ["local", "process"] {
        let ran =
            workspace.pipe_ok(&["run", "p.toml", "--json", "--executor", executor, "--cache", executor]);
        assert_eq!(ran.count("failed"), 0);
        let mut all = BTreeMap::new();
        for stage in ["slice", "text-encode", "split", "train"] {
            let to = format!("{executor}-{stage}");
            workspace.pipe_ok(&["get", "p.toml", stage, "--cache", executor, "--to", &to]);
            all.extend(
                files(&workspace.path(&to))
                    .into_iter()
                    .map(|(name, bytes)| (format!("{stage}/{name}"), bytes)),
            );
        }
        let mut executed = ran.executed();
        executed.sort();
        results.push((executed, ran.count("items_executed"), all));
    }
    let (local, process) = (&results[0], &results[1]);
    assert_eq!((&local.0, local.1), (&process.0, process.1));
    assert!(local.2 == process.2 && local.2.len() > 10, "{:?}", local.2.keys());
    // What workers found is found again, whoever looks.
    for executor in ["local", "process"] {
        let again =
            workspace.pipe_ok(&["run", "p.toml", "--json", "--executor", executor, "--cache", "process"]);
        assert_eq!(again.executed(), Vec::<String>::new());
    }
}

/// The processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// The worker that trains.
fn trainer(process: u32) -> Option<u32> {
    let trains = |child: &u32| {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("jobs/train")
    };
    children(process).into_iter().find(trains)
}

fn is_gone(process: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z ")
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
}

/// Starts a run whose training takes long; gives it and the worker that trains.
fn training(workspace: &Workspace) -> (std::process::Child, u32) {
    let head = workspace.start(&["run", "p.toml", "--executor", "process"]);
    let mut worker = None;
    wait_until(LONG, "a worker that trains", || {
        worker = trainer(head.id());
        worker.is_some()
    });
    // Before its first epoch it may not hear yet what it is told.
    let runs = workspace.path(".pipe/runs");
    let has_log = || {
        let runs = fs::read_dir(&runs).into_iter().flatten().flatten();
        runs.into_iter().any(|run| run.path().join("logs/train.log").is_file())
    };
    wait_until(LONG, "the first epoch", has_log);
    (head, worker.unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn what_an_instance_takes_is_its_own_or_not_told() {
    let workspace = Workspace::with_two_folds(4);
    workspace.pipe_ok(&["run", "p.toml", "--executor", "process"]);
    let usage = |label: &str| -> Vec<f64> {
        let run: serde_json::Value =
            serde_json::from_str(&workspace.pipe_ok(&["show", "--json"]).stdout).unwrap();
        let mut instances = run["instances"].as_array().unwrap().iter();
        let instance = instances.find(|one| one["label"] == label).unwrap();
        let names = ["cpu_seconds", "peak_memory_bytes", "read_bytes", "written_bytes"];
        names.into_iter().filter_map(|name| instance[name].as_f64()).collect()
    };
    // In a process of its own each is measured, whatever runs beside it.
    for label in ["phantom", "train[fold=0]", "train[fold=1]"] {
        let taken = usage(label);
        assert!(taken.len() == 4 && taken.iter().all(|value| *value > 0.0), "{label}: {taken:?}");
    }
    let [split, train] = ["split", "train[fold=0]"].map(|label| usage(label)[1]);
    assert!(split < train, "{split} {train}");
    // What was known took nothing.
    workspace.pipe_ok(&["run", "p.toml"]);
    assert_eq!(usage("phantom"), [0.0_f64; 0]);
    // Alone in the run's process it is measured, too.
    workspace.pipe_ok(&["run", "p.toml", "--force", "split"]);
    assert_eq!(usage("split").len(), 4);
}

#[test]
fn a_worker_that_is_killed_fails_its_stage_and_the_next_run_goes_on() {
    let workspace = Workspace::with_training(200);
    let (mut head, worker) = training(&workspace);
    kill(worker);
    assert_eq!(head.wait().unwrap().code(), Some(1));
    let told = workspace.pipe_ok(&["show", "latest"]).stdout;
    assert!(told.contains("its worker ended without a result (signal: 9"), "{told}");
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json", "--set", "train.epochs=2"]);
    assert!(ran.executed().iter().all(|label| label.starts_with("train")), "{:?}", ran.executed());
}

#[test]
fn a_worker_that_others_stop_fails_its_stage() {
    let workspace = Workspace::with_training(200);
    let (mut head, worker) = training(&workspace);
    assert!(Command::new("kill").args(["-TERM", &worker.to_string()]).status().unwrap().success());
    assert_eq!(head.wait().unwrap().code(), Some(1), "the run lacks a result");
    let told = workspace.pipe_ok(&["show", "latest"]).stdout;
    assert!(told.contains("failed") && told.contains("asked to stop, and not by this run"), "{told}");
}

#[test]
fn an_interrupt_stops_workers_and_is_no_failure() {
    let workspace = Workspace::with_training(200);
    let (mut head, worker) = training(&workspace);
    // Only the run is told; its worker hears of it by the end of its input.
    assert!(Command::new("kill").args(["-INT", &head.id().to_string()]).status().unwrap().success());
    assert_eq!(head.wait().unwrap().code(), Some(130));
    wait_until(LONG, "the worker to end", || is_gone(worker));
    assert!(workspace.pipe_ok(&["show", "latest"]).stdout.contains("interrupted"));
}

#[test]
fn damage_forcing_and_time_limits_are_handled_as_by_threads() {
    let workspace = Workspace::with_training(1);
    workspace.pipe_ok(&["run", "p.toml", "-q", "--executor", "process"]);
    let before = workspace.pipe_ok(&["get", "p.toml", "train", "--to", "before"]);
    assert_eq!(before.code, 0);
    let forced = workspace.pipe_ok(&["run", "p.toml", "--json", "--executor", "process", "--force", "train"]);
    assert_eq!(forced.executed(), ["train"]);
    // A stage upstream is gone from the store when the one below is to be computed anew.
    for entry in fs::read_dir(workspace.path(".pipe/packs")).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    let repaired = workspace.pipe_ok(&["run", "p.toml", "--json", "--executor", "process"]);
    assert!(repaired.executed().contains(&"slice".to_string()), "{:?}", repaired.executed());
    workspace.pipe_ok(&["get", "p.toml", "train", "--to", "after"]);
    assert!(files(&workspace.path("before")) == files(&workspace.path("after")));

    let manifest = workspace.read("p.toml").replace("epochs = 1", "epochs = 500");
    workspace.write(
        "p.toml",
        manifest.replace("[stage.train.params]", "resources = { time = \"1s\" }\n[stage.train.params]"),
    );
    let late = workspace.pipe(&["run", "p.toml", "--executor", "process"]);
    assert_eq!(late.code, 1, "{}", late.stderr);
    assert!(late.stderr.contains("it took longer than 1 s"), "{}", late.stderr);
}

#[test]
fn no_worker_outlives_its_run() {
    let workspace = Workspace::with_training(200);
    let (mut head, worker) = training(&workspace);
    kill(head.id());
    head.wait().unwrap();
    wait_until(LONG, "the worker to end", || is_gone(worker));
}

#[test]
fn a_job_of_another_program_is_refused() {
    let workspace = Workspace::new();
    workspace.write("job.json", "{}");
    let refused = workspace.pipe(&["worker", "job.json"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("job.json is no job of this program's version"), "{}", refused.stderr);
    let refused = workspace.pipe(&["worker", "none.json"]);
    assert!(refused.stderr.contains("cannot read the job none.json"), "{}", refused.stderr);
}
