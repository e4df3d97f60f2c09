//! Sweeps: points as one pipeline, what they share once, and what is missing only.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use support::{Ran, Workspace, wait_until};

/// Shared preprocessing, two folds, a score: all of them shell commands.
const MANIFEST: &str = r#"
[stage.prepare]
uses = "command"
outputs = { made = "made.txt" }
params = { shell = "echo prepared > {out.made}" }

[stage.train]
uses = "command"
foreach = { fold = [0, 1] }
inputs = { data = "@prepare" }
outputs = { model = "model.txt" }
params.lr = 0.1
params.shell = """
if [ {params.lr} = 0.5 ] && [ {params.fold} = 1 ]; then echo diverged >&2; exit 3; fi
echo "$(cat {data}) {params.lr} {params.fold}" > {out.model}
"""

[stage.score]
uses = "command"
inputs = { models = "@train" }
outputs = { metrics = "table" }
publish = "results/score"
params.power = 1
params.shell = """
lr=$(cut -d' ' -f2 {models}/fold=0*)
printf 'set,metric,value,low,high\nother,auroc,%s,0.1,0.9\n' "$lr" > {out.metrics}
"""
"#;

fn workspace(sweep: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("p.toml", format!("{MANIFEST}\n[sweep]\n{sweep}\n"));
    workspace
}

fn sweep(workspace: &Workspace, more: &[&str]) -> Ran {
    workspace.pipe(&[&["sweep", "p.toml", "--json"], more].concat())
}

/// How many were executed of a sweep that ends well.
fn executed(workspace: &Workspace, more: &[&str]) -> u64 {
    let ran = sweep(workspace, more);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    ran.count("executed")
}

fn points(workspace: &Workspace) -> Vec<Value> {
    let shown = workspace.pipe_ok(&["sweep", "show", "--json"]).stdout;
    serde_json::from_str::<Value>(&shown).unwrap()["points"].as_array().unwrap().clone()
}

fn names(workspace: &Workspace) -> BTreeSet<String> {
    points(workspace).iter().map(|point| point["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn what_points_share_runs_once_and_a_repeat_runs_nothing() {
    let workspace = workspace("\"train.lr\" = [0.1, 0.2, 0.3]");
    let ran = sweep(&workspace, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let first: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["points"], &first["instances"]), (&3.into(), &10.into()), "told before work");
    assert_eq!(first["instances_of_points"], 12);
    assert_eq!(ran.count("executed"), 10, "one of prepare, of each point two of train and one of score");
    let told = points(&workspace);
    assert!(told.iter().all(|point| point["state"] == "finished"), "{told:?}");
    assert_eq!(told[1]["values"]["train.lr"], 0.2);
    assert_eq!(told[1]["metrics"]["score/other/auroc"]["value"], 0.2);
    assert_eq!(told[1]["metrics"]["score/other/auroc"]["high"], 0.9);
    assert_eq!(executed(&workspace, &[]), 0);
    // Longer, in another order, with numbers written otherwise: what is missing only.
    let before = names(&workspace);
    let manifest = workspace.read("p.toml").replace("[0.1, 0.2, 0.3]", "[4e-1, 3.0e-1, 0.2, 0.1]");
    workspace.write("p.toml", manifest);
    assert_eq!(executed(&workspace, &[]), 3);
    assert!(names(&workspace).is_superset(&before));
    // A run of one point's values knows its results.
    assert_eq!(workspace.pipe_ok(&["run", "p.toml", "--json", "--set", "train.lr=0.4"]).count("executed"), 0);
}

#[test]
fn values_of_the_command_line_are_points_or_take_the_place_of_the_sweeps() {
    let workspace = workspace("\"train.lr\" = [0.1, 0.2]\n\"score.power\" = [1, 2]");
    assert_eq!(executed(&workspace, &[]), 1 + 4 + 4);
    let all = names(&workspace);
    assert_eq!((all.len(), executed(&workspace, &["--set", "train.lr=0.2"])), (4, 0));
    let one_rate = names(&workspace);
    assert!(one_rate.len() == 2 && one_rate.is_subset(&all));
    for (words, executed_now, count) in
        [("train.lr=0.1,0.3", 4, 4), ("train.lr=[0.1, 0.2, 0.3]", 0, 6), ("score.power=3", 2, 2)]
    {
        assert_eq!(executed(&workspace, &["--set", words]), executed_now, "{words}");
        assert_eq!(names(&workspace).len(), count, "{words}");
    }
    let ran = sweep(&workspace, &["--set", "train.rate=1,2"]);
    assert_eq!(ran.code, 0, "a parameter of a program may have any name: {}", ran.stdout);
    let ran = sweep(&workspace, &["--set", "trian.lr=1,2"]);
    assert!(ran.code == 2 && ran.stdout.contains("there is no stage `trian`"), "{}", ran.stdout);
}

#[test]
fn a_fold_that_fails_spoils_its_point_only_and_is_tried_again() {
    let workspace = workspace("\"train.lr\" = [0.1, 0.5, 0.2]");
    let ran = sweep(&workspace, &["--jobs", "1"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    let told = points(&workspace);
    let states: Vec<&str> = told.iter().map(|point| point["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["finished", "failed", "finished"]);
    let failed = told[1]["failed"][0].as_str().unwrap();
    assert!(failed.starts_with("train@") && failed.ends_with("[fold=1]"), "{failed}");
    let shown = workspace.pipe_ok(&["sweep", "show"]).stdout;
    assert!(shown.contains("2 finished, 1 failed"), "{shown}");
    assert!(workspace.pipe_ok(&["logs", "latest", failed]).stdout.contains("diverged"));
    let ran = sweep(&workspace, &[]);
    assert_eq!((ran.code, ran.count("executed"), ran.count("failed")), (1, 0, 1), "{}", ran.stdout);
}

#[test]
fn seeds_are_values_like_others_and_reach_only_what_draws_random_numbers() {
    let workspace = workspace("\"pipeline.seed\" = [1, 2]");
    let manifest = workspace.read("p.toml").replace("{params.lr} {params.fold}\"", "{params.lr} {seed}\"");
    workspace.write("p.toml", manifest);
    assert_eq!(executed(&workspace, &[]), 1 + 2 * 3);
    // The same results as with each seed by itself.
    for seed in ["pipeline.seed=1", "pipeline.seed=2"] {
        assert_eq!(workspace.pipe_ok(&["run", "p.toml", "--json", "--set", seed]).count("executed"), 0);
    }
}

#[test]
fn a_sweep_is_a_run_like_any_other() {
    let workspace = workspace("\"train.lr\" = [0.1, 0.2]");
    executed(&workspace, &[]);
    let published = fs::read_dir(workspace.path("results")).unwrap().count();
    assert_eq!(published, 2, "a folder for each version of the stage");
    let audit = workspace.pipe_ok(&["audit", "latest", "--replay"]).stdout;
    assert!(audit.contains("level: computed again"), "{audit}");
    workspace.pipe_ok(&["pack", "latest", "--to", "sweep.tar"]);
    workspace.pipe_ok(&["audit", "sweep.tar"]);
    let label = workspace.pipe_ok(&["show", "latest"]).stdout;
    let label = label.split_whitespace().find(|word| word.starts_with("train@")).unwrap().to_string();
    assert!(workspace.pipe_ok(&["why", &label, "latest"]).stdout.contains("train@"));
    // In processes of their own, and with a check before.
    workspace.pipe_ok(&["check", "p.toml"]);
    assert_eq!(executed(&workspace, &["--force", "prepare", "--executor", "process"]), 1);
    let shown = workspace.pipe_ok(&["sweep", "show", "--csv"]).stdout;
    assert!(shown.starts_with("point,state,train.lr,score/other/auroc,score/other/auroc/low"), "{shown}");
    let shown = workspace.pipe_ok(&["sweep", "show", "--metric", "auroc"]).stdout;
    assert!(shown.contains("0.2000 [0.1000, 0.9000]"), "{shown}");
    let ran = workspace.pipe(&["sweep", "show", "--metric", "aurok"]);
    assert!(ran.code == 2 && ran.stderr.contains("known: score/other/auroc"), "{}", ran.stderr);
    workspace.pipe_ok(&["run", "p.toml"]);
    let ran = workspace.pipe(&["sweep", "show"]);
    assert!(ran.code == 2 && ran.stderr.contains("is no run of a sweep"), "{}", ran.stderr);
}

#[test]
fn a_sweep_that_is_killed_goes_on_where_it_was() {
    let rates: Vec<String> = (1..=40).map(|number| format!("{number}")).collect();
    let workspace = workspace(&format!("\"score.power\" = [{}]", rates.join(", ")));
    let mut known = 0;
    for _ in 0..2 {
        let mut child = workspace.start(&["sweep", "p.toml", "--quiet"]);
        let results = || {
            let runs = fs::read_dir(workspace.path(".pipe/runs")).into_iter().flatten().flatten();
            let records = runs.filter_map(|run| fs::read_to_string(run.path().join("record.jsonl")).ok());
            records.map(|text| text.matches("\"status\":\"executed\"").count()).sum::<usize>()
        };
        wait_until(Duration::from_secs(60), "some points are done", || results() >= known + 5);
        child.kill().unwrap();
        child.wait().unwrap();
        known = results();
    }
    let ran = sweep(&workspace, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let (executed, cached) = (ran.count("executed") as usize, ran.count("cached") as usize);
    assert_eq!(executed + cached, 1 + 2 + 40, "the union of all points");
    assert!(known >= 10 && cached >= known, "{known} were known, {cached} were used");
    assert!(points(&workspace).iter().all(|point| point["state"] == "finished"));
}
