//! What commands answer with `--json`: one object each, also where something is wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::{Value, json};
use support::{Ran, Workspace};

fn object(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", ran.stdout, ran.stderr))
}

fn answer(workspace: &Workspace, arguments: &[&str]) -> Value {
    let answer = object(&workspace.pipe_ok(&[arguments, &["--json"]].concat()));
    assert_eq!(answer["version"], 1, "{arguments:?}");
    answer
}

#[test]
fn every_command_answers_in_json() {
    let workspace = Workspace::with_training(1);
    let fresh = answer(&workspace, &["plan", "p.toml"]);
    assert_eq!((&fresh["known"], &fresh["running"]), (&json!(0), &json!(1)));
    let first = &fresh["instances"][0];
    assert_eq!((&first["instance"], &first["verdict"]), (&json!("phantom"), &json!("stale")));
    assert_eq!(first["reasons"][0], json!({ "reason": "new", "text": "it has not run yet" }));
    assert_eq!(answer(&workspace, &["check", "p.toml"])["errors"], 0);

    workspace.pipe_ok(&["run", "p.toml", "-q"]);
    let changed = answer(&workspace, &["plan", "p.toml", "--set", "train.lr=3e-5"]);
    let train =
        changed["instances"].as_array().unwrap().iter().find(|one| one["instance"] == "train").unwrap();
    let reason = &train["reasons"][0];
    assert_eq!((&reason["reason"], &reason["stage"]), (&json!("changed"), &json!("train")));
    assert_eq!(
        reason["change"],
        json!({ "changed": "parameter", "name": "lr", "before": 1e-4, "after": 3e-5 })
    );
    assert_eq!(reason["text"], "train.lr 1e-4 → 3e-5 (--set train.lr=3e-5)");

    let runs = answer(&workspace, &["runs"]);
    assert_eq!((&runs["runs"][0]["state"], &runs["runs"][0]["pipeline"]), (&json!("ok"), &json!("p")));
    let shown = answer(&workspace, &["show"]);
    assert_eq!((&shown["state"], &shown["asked"]["run"]), (&json!("ok"), &runs["runs"][0]["run"]));
    let instances = shown["instances"].as_array().unwrap();
    let train = instances.iter().find(|one| one["label"] == "train").unwrap();
    assert_eq!(train["scalars"]["epochs"], 1.0);
    assert_eq!(train["inputs"][0]["sources"][0]["output"]["instance"], "phantom");

    assert_eq!(answer(&workspace, &["get", "p.toml", "split", "--to", "out"])["files"], 4);
    assert_eq!(answer(&workspace, &["gc", "--dry-run"])["removed_blobs"], 0);
    assert!(answer(&workspace, &["cache", "stats"])["results"].as_u64().unwrap() >= 7);
    assert_eq!(answer(&workspace, &["cache", "verify"])["damaged"], json!([]));
    let kinds = answer(&workspace, &["stages", "split"]);
    assert_eq!(kinds["kinds"][0]["inputs"][0]["name"], "dataset");
    assert!(kinds["kinds"][0]["parameters"]["properties"]["n_splits"].is_object());
}

#[test]
fn what_is_refused_is_an_object_too() {
    let workspace = Workspace::new();
    workspace.write("p.toml", "[stage.split]\ninputs = { datasat = \"x.csv\" }\n");
    for arguments in
        [&["plan", "p.toml"][..], &["check", "p.toml"], &["show"], &["get", "p.toml", "x", "--to", "o"]]
    {
        let refused = workspace.pipe(&[arguments, &["--json"]].concat());
        assert_eq!(refused.code, 2, "{arguments:?}");
        let problems = object(&refused)["problems"].clone();
        assert!(problems[0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{problems}");
        assert!(!refused.stderr.is_empty());
    }
}
