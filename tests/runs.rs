//! What is known of runs: their order, what became of them, and the names that they and their stages go by.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use support::{Workspace, wait_until};

/// A quick stage in two variants.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id,margin\n1,1,Poorly defined\n2,1,Sharp\n");
    workspace.write(
        "p.toml",
        "[stage.report]\nforeach = { stream = [\"a\", \"b\"] }\ninputs = { dataset = \"nodules.csv\" }\n",
    );
    workspace
}

/// Runs with a seed of its own, and gives the run's id.
fn run(workspace: &Workspace, seed: u32) -> String {
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json", "--set", &format!("pipeline.seed={seed}")]);
    ran.finished()["run"].as_str().unwrap().to_owned()
}

fn ids(workspace: &Workspace) -> Vec<String> {
    let listed = workspace.pipe_ok(&["runs"]).stdout;
    listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Lets a run have begun on a host whose clock was far ahead.
fn date_forward(workspace: &Workspace, run: &str) -> String {
    let other = format!("2099{}", &run[4..]);
    let record = workspace.read(&format!(".pipe/runs/{run}/record.jsonl"));
    fs::rename(workspace.path(&format!(".pipe/runs/{run}")), workspace.path(&format!(".pipe/runs/{other}")))
        .unwrap();
    workspace.write(&format!(".pipe/runs/{other}/record.jsonl"), record.replace(run, &other));
    other
}

#[test]
fn a_clock_that_is_ahead_does_not_make_a_run_the_latest() {
    let workspace = workspace();
    let ahead = date_forward(&workspace, &run(&workspace, 1));
    let second = run(&workspace, 2);
    assert_eq!(ids(&workspace), [second.clone(), ahead.clone()]);
    assert!(workspace.pipe_ok(&["show"]).stdout.contains(&second));
    let got = workspace.pipe_ok(&["get", "latest", "report", "--to", "got"]);
    assert!(got.stderr.contains(&format!("from run {second}, begun 20")), "{}", got.stderr);
    assert!(got.stderr.contains(" UTC\n"), "{}", got.stderr);
    workspace.pipe_ok(&["gc", "--keep-runs", "1", "--grace", "0"]);
    let plan = |seed: &str| workspace.pipe_ok(&["plan", "p.toml", "--set", seed]).stdout;
    assert!(
        plan("pipeline.seed=2").contains("nothing to do"),
        "gc kept the run that only seemed to be the last"
    );
    assert!(!plan("pipeline.seed=1").contains("nothing to do"));
    // Of those that had no numbers yet, the ids tell the order; all of them began before.
    let path = format!(".pipe/runs/{ahead}/record.jsonl");
    let record = workspace.read(&path).replace("\"sequence\":1,", "");
    assert!(!record.contains("\"sequence\""));
    workspace.write(&path, record);
    let third = run(&workspace, 3);
    assert_eq!(ids(&workspace), [third, second, ahead]);
}

#[test]
fn runs_that_begin_at_the_same_time_get_numbers_of_their_own() {
    let workspace = workspace();
    let mut children: Vec<_> = (0..32).map(|_| workspace.start(&["run", "p.toml"])).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let number = |id: String| -> u64 {
        let record = workspace.read(&format!(".pipe/runs/{id}/record.jsonl"));
        let header: serde_json::Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
        header["sequence"].as_u64().unwrap()
    };
    let numbers: Vec<u64> = ids(&workspace).into_iter().map(number).collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 32, "{numbers:?}");
    assert!(numbers.is_sorted_by(|a, b| a > b), "the last one first: {numbers:?}");
}

#[test]
fn what_became_of_a_run_is_told() {
    let workspace = workspace();
    run(&workspace, 1);
    let states = || -> Vec<String> {
        let listed = workspace.pipe_ok(&["runs"]).stdout;
        listed.lines().map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(states(), ["ok"]);
    workspace.write("q.toml", "[stage.phantom]\nparams = { patients = 4000, shape = [160, 160, 120] }\n");
    let mut child = workspace.start(&["run", "q.toml"]);
    wait_until(Duration::from_secs(60), "the run is listed", || states().len() == 2);
    wait_until(Duration::from_secs(60), "its header is there", || states()[0] == "running");
    assert!(workspace.pipe_ok(&["show"]).stdout.contains("status    running"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(states(), ["killed", "ok"]);
    let refused = workspace.pipe(&["get", "latest", "phantom", "--to", "x"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("the run, which is killed, has not come to `phantom`"),
        "{}",
        refused.stderr
    );
    workspace.write("nodules.csv", "pid,nodule_id,image_path,coordX,coordY,coordZ\n1,1,x.nii,0,0,0\n");
    workspace.write("x.nii", "no scan");
    workspace.write("r.toml", "[stage.crop]\ninputs = { dataset = \"nodules.csv\" }\n");
    assert_eq!(workspace.pipe(&["run", "r.toml"]).code, 1);
    assert_eq!(states(), ["failed", "killed", "ok"]);
}

#[test]
fn labels_are_names_wherever_a_stage_is_named() {
    let workspace = workspace();
    let only = workspace.pipe_ok(&["run", "p.toml", "--json", "--only", "report[stream=b]"]);
    assert_eq!(only.executed(), ["report[stream=b]"]);
    let forced = ["run", "p.toml", "--json", "--force", "report[stream=b]"];
    assert_eq!(workspace.pipe_ok(&forced).executed(), ["report[stream=a]", "report[stream=b]"]);
    assert_eq!(workspace.pipe_ok(&forced).executed(), ["report[stream=b]"]);
    let output = ["run", "p.toml", "--json", "--force", "report[stream=a].reports"];
    assert_eq!(workspace.pipe_ok(&output).executed(), ["report[stream=a]"]);
    let planned = workspace.pipe_ok(&["plan", "p.toml", "--force", "report[stream=a]"]).stdout;
    assert!(planned.contains("1 instances run, 1 have"), "{planned}");
    for (name, files) in [("report[stream=a]", 2), ("report[stream=a].reports", 2), ("report", 4)] {
        let to = format!("got/{name}");
        let got = workspace.pipe_ok(&["get", "latest", name, "--to", &to]);
        assert!(got.stderr.contains(&format!("{files} files copied")), "{name}: {}", got.stderr);
    }
    for arguments in [
        &["get", "latest", "report[stream=c]", "--to", "x"][..],
        &["run", "p.toml", "--only", "report[stream=c]"],
        &["plan", "p.toml", "--force", "report[stream=c]"],
    ] {
        let refused = workspace.pipe(arguments);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains("there is no stage `report[stream=c]`"), "{}", refused.stderr);
        assert!(refused.stderr.contains("stages: report[stream=a], report[stream=b]"), "{}", refused.stderr);
    }
}

#[test]
fn a_beginning_that_several_ids_have_lists_them() {
    let workspace = workspace();
    let (first, second) = (run(&workspace, 1), run(&workspace, 2));
    let refused = workspace.pipe(&["show", "20"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains(&format!("`20` may be any of {second}, {first}")), "{}", refused.stderr);
    assert!(workspace.pipe_ok(&["show", &first]).stdout.contains(&first));
    assert_eq!(workspace.pipe(&["show", ""]).code, 2);
    assert_eq!(workspace.pipe(&["show", "../runs"]).code, 2);
}
