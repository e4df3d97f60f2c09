//! `pipe diff`: what differs between two runs is named, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::{Value, json};
use support::Workspace;

const PIPELINE: &str = "[vars]\nstream = \"a\"\n\
                        [stage.report]\nparams = { stream = \"${stream}\" }\n\
                        inputs = { dataset = \"nodules.csv\", dir = \"texts\" }\n\
                        [stage.text-encode]\ninputs = { reports = \"@report\" }\n";

/// Runs, and gives the run's id.
fn run(workspace: &Workspace, more: &[&str]) -> String {
    workspace.run(more).finished()["run"].as_str().unwrap().to_string()
}

fn diff(workspace: &Workspace, first: &str, second: &str) -> Value {
    let answer = workspace.pipe_ok(&["diff", first, second, "--json"]).stdout;
    serde_json::from_str::<Value>(&answer).unwrap()["diff"].clone()
}

#[test]
fn runs_of_the_same_differ_in_nothing() {
    let workspace = Workspace::with_reports(PIPELINE);
    let (first, second) = (run(&workspace, &[]), run(&workspace, &[]));
    let found = diff(&workspace, &first, &second);
    for part in ["asked", "crates", "manifest", "instances"] {
        assert_eq!(found[part], json!([]), "{part}");
    }
    assert_eq!(found["same"], 2);
    let told = workspace.pipe_ok(&["diff", &first, "latest"]).stdout;
    assert!(told.contains("no difference: 2 instances with the same results"), "{told}");
}

#[test]
fn what_was_asked_what_it_was_made_of_and_what_came_out_are_told_apart() {
    let workspace = Workspace::with_reports(PIPELINE);
    let first = run(&workspace, &[]);
    workspace.write("texts/2_1.txt", "Findings: two.\n\nImpression: third.\n");
    workspace.write("nodules.csv", "pid,nodule_id\n1,1\n2,1\n");
    let more = format!(
        "{PIPELINE}[stage.other]\nuses = \"phantom\"\nparams = {{ patients = 2, shape = [72, 72, 36] }}\n"
    );
    workspace.write("p.toml", more);
    let second = run(&workspace, &["--set", "stream=b"]);
    let found = diff(&workspace, &first, &second);
    let names = |part: &str| -> Vec<String> {
        found[part].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("asked"), ["set"]);
    assert_eq!(names("crates"), Vec::<String>::new());
    let manifest = names("manifest");
    assert!(manifest.iter().any(|name| name.ends_with("report.params.stream")), "{manifest:?}");
    assert!(manifest.iter().any(|name| name.contains("other")), "{manifest:?}");
    let told = workspace.pipe_ok(&["diff", &first, &second]).stdout;
    for expected in [
        "report.stream \"a\" → \"b\" (--set stream=b)",
        "input reports changed (@report, p.toml:7)",
        "not there → has a result",
        "3 instances differ, 0 have the same results",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // Back to front.
    assert_eq!(diff(&workspace, &second, &first)["instances"].as_array().unwrap().len(), 3);
}

#[test]
fn items_are_named_where_nothing_else_changed_and_runs_that_are_not_there_refused() {
    let workspace = Workspace::with_reports(PIPELINE);
    let first = run(&workspace, &[]);
    workspace.write("nodules.csv", "pid,nodule_id\n1,1\n");
    let second = run(&workspace, &[]);
    let told = workspace.pipe_ok(&["diff", &first, &second]).stdout;
    assert!(told.contains("items changed (1 items are gone); other reports"), "{told}");
    let refused = workspace.pipe(&["diff", &first, "nosuch"]);
    assert!(refused.code == 2 && refused.stderr.contains("no run `nosuch`"), "{}", refused.stderr);
}

#[test]
fn numbers_of_results_are_compared() {
    let workspace = Workspace::with_training(1);
    let first = run(&workspace, &[]);
    let second = run(&workspace, &["--set", "train.epochs=2"]);
    let found = diff(&workspace, &first, &second);
    let [train] = &found["instances"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!(train["instance"], "train");
    assert!(train["scalars"].as_array().unwrap().iter().all(|one| one["before"] != one["after"]), "{train}");
    let told = workspace.pipe_ok(&["diff", &first, &second]).stdout;
    assert!(told.contains("train.epochs 1 → 2 (--set train.epochs=2)"), "{told}");
}

#[test]
fn two_evaluations_of_the_same_cases_are_tested() {
    let workspace = Workspace::with_two_folds(8);
    let evaluate = "[stage.evaluate]\nparams = { draws = 20 }\ninputs = { dataset = \"@other\", slices = \"@other-slice\", \
                    models = \"@train\", weights = \"random\", calibrators = \"@calibrate\" }\npublish = \"e\"\n";
    workspace.write("p.toml", workspace.read("p.toml") + evaluate);
    workspace.pipe_ok(&["run", "p.toml"]);
    let cases = workspace.read("e/predictions.csv").lines().count() - 1;
    workspace.pipe_ok(&["run", "p.toml", "--set", "pipeline.seed=7", "--only", "split"]);
    workspace.pipe_ok(&["run", "p.toml", "--set", "train.lr=0.01"]);
    let runs: serde_json::Value =
        serde_json::from_str(&workspace.pipe_ok(&["runs", "--json"]).stdout).unwrap();
    let [last, first] = [0, 2].map(|place: usize| runs["runs"][place]["run"].as_str().unwrap().to_string());
    let told = workspace.pipe_ok(&["diff", &first, &last, "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let instances = told["diff"]["instances"].as_array().unwrap();
    let evaluate = instances.iter().find(|one| one["instance"] == "evaluate").unwrap();
    let compared = evaluate["comparisons"].as_array().unwrap();
    assert_eq!(compared[0]["name"], "AUROC of ensemble");
    assert_eq!(compared[0]["n"], cases);
    let p = compared[0]["p"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&p), "{p}");
    let text = workspace.pipe_ok(&["diff", &first, &last]).stdout;
    assert!(text.contains("AUROC of ensemble ") && text.contains(" cases of both (DeLong, "), "{text}");
}
