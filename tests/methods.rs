//! `pipe export --format methods`: sentences that say what was computed, with the run's numbers, and what nobody has said.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::Workspace;

const EVALUATE: &str = "[stage.evaluate]\nparams = { draws = 20 }\ninputs = { dataset = \"@other\", slices = \"@other-slice\", \
                        models = \"@train\", weights = \"random\", calibrators = \"@calibrate\" }\npublish = \"e\"\n";

fn workspace() -> Workspace {
    let workspace = Workspace::with_two_folds(6);
    workspace.write("p.toml", workspace.read("p.toml") + EVALUATE);
    workspace
}

/// The account of the last run, as values.
fn account(workspace: &Workspace, to: &str) -> Value {
    workspace.pipe_ok(&["export", "latest", "--format", "methods", "--to", to]);
    serde_json::from_str(&workspace.read(&format!("{to}/methods.json"))).unwrap()
}

fn sections(account: &Value) -> &Vec<Value> {
    account["sections"].as_array().unwrap()
}

/// All sentences on a topic.
fn said(account: &Value, topic: &str) -> String {
    let section = sections(account).iter().find(|section| section["topic"] == topic).unwrap();
    let texts = section["sentences"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap());
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_number_is_the_runs() {
    let workspace = workspace();
    workspace.run(&[]);
    let first = account(&workspace, "first");
    let training = said(&first, "training");
    assert!(training.contains("a learning rate of 0.0001,") && training.contains("rank 2 "), "{training}");
    let model = said(&first, "model");
    assert!(
        model.contains(
            "a vision transformer with 1 layers of width 64 and patches of 24 pixels, for images of 48 × 48"
        ),
        "{model}"
    );
    let partitions = said(&first, "partitions");
    assert!(partitions.contains("Patients were divided 2 times"), "{partitions}");
    let training_part = workspace.pipe_ok(&["get", "p.toml", "split", "--to", "split"]);
    assert_eq!(training_part.code, 0);
    let patients = workspace.read("split/fold_0/train_pid.csv").lines().count() - 1;
    assert!(partitions.contains(&format!("Training parts have {patients} patients")), "{partitions}");
    let metrics: Value = serde_json::from_str(&workspace.read("e/metrics.json")).unwrap();
    let metrics = &metrics["dataset"]["test"];
    let auroc = &metrics["ensemble"]["auroc"];
    let number = |end: &str| format!("{:.3}", auroc[end].as_f64().unwrap());
    let expected =
        format!("The ensemble has an AUROC of {} ({} to {})", number("value"), number("low"), number("high"));
    let performance = said(&first, "performance");
    assert!(performance.contains(&expected), "{performance}");
    let cases = format!(
        "Of the {} test nodules that have a label, {} are malignant",
        metrics["n"], metrics["positive"]
    );
    assert!(said(&first, "characteristics").contains(&cases), "{cases}");
    assert!(said(&first, "uncertainty").contains("20 bootstrap draws"));
    // What is said follows the run.
    workspace.run(&[
        "--set",
        "train.lr=0.002",
        "--set",
        "crop.pad_hu=-1000",
        "--set",
        "other-crop.pad_hu=-1000",
        "--set",
        "train.weighted=semantic",
    ]);
    let second = account(&workspace, "second");
    assert!(said(&second, "training").contains("a learning rate of 0.002,"));
    assert!(said(&second, "data-preparation").contains("outside the scan is -1000 HU"));
    assert!(said(&second, "class-imbalance").contains("the rarity of their semantic features"));
    assert_ne!(first["head"], second["head"]);
    // What was known is said to be of the run that computed it.
    let run = first["run"].as_str().unwrap();
    assert!(said(&second, "record").contains(run));
    assert!(!said(&first, "record").contains("were computed in"));
}

#[test]
fn each_item_is_answered_by_a_sentence_or_said_to_be_open() {
    let workspace = workspace();
    workspace.run(&[]);
    let account = account(&workspace, "m");
    for (list, items) in [("TRIPOD+AI", 52), ("CLAIM 2024", 44)] {
        let answered: BTreeSet<&str> = sections(&account)
            .iter()
            .flat_map(|section| section["items"][list].as_array().unwrap())
            .map(|item| item.as_str().unwrap())
            .collect();
        let open: BTreeSet<&str> = account["unanswered"][list]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["item"].as_str().unwrap())
            .collect();
        assert_eq!(answered.intersection(&open).count(), 0);
        assert_eq!(answered.len() + open.len(), items, "{list}");
    }
    let markdown = workspace.read("m/methods.md");
    for section in sections(&account) {
        assert!(markdown.contains(&format!("### {}", section["title"].as_str().unwrap())));
        for sentence in section["sentences"].as_array().unwrap() {
            let plain = markdown.replace('\\', "");
            let text = sentence["text"].as_str().unwrap();
            assert!(plain.contains(text) && !text.contains("  "), "{sentence}");
        }
    }
    for open in
        ["- 17: ethical approval", "- 10: sample size", "- 18: variability within and between annotators"]
    {
        assert!(markdown.contains(open), "{open}");
    }
    // The same words twice, and of stages of one kind that did the same, once.
    workspace.pipe_ok(&["export", "latest", "--format", "methods", "--to", "again"]);
    assert_eq!(markdown, workspace.read("again/methods.md"));
    assert_eq!(markdown.matches("sees nine planes through the middle").count(), 1);
    assert!(markdown.contains("(slice, other-slice)") || markdown.contains("(other-slice, slice)"));
}

#[test]
fn a_run_of_some_kinds_says_only_what_these_did() {
    let workspace =
        Workspace::with_reports("[stage.report]\ninputs = { dataset = \"nodules.csv\", dir = \"texts\" }\n");
    workspace.run(&[]);
    let account = account(&workspace, "m");
    let topics: BTreeSet<&str> =
        sections(&account).iter().map(|section| section["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, BTreeSet::from(["missing-data", "predictors", "record", "software"]));
    assert!(said(&account, "predictors").contains("The reports on 2 nodules were given as texts."));
    assert!(workspace.read("m/methods.md").contains("- 27: ensembling (other pipelines can answer it)"));
}

#[test]
fn what_was_done_in_several_ways_is_said_of_each() {
    let workspace = workspace();
    let manifest = workspace.read("p.toml");
    let manifest = manifest.replace("tuning = \"lora\"\n", "").replace(
        "foreach = { fold = [0, 1] }\ninputs = { dataset",
        "foreach = { fold = [0, 1], tuning = [\"ft\", \"pt\"] }\ninputs = { dataset",
    );
    let (trained, _) = manifest.split_once("[stage.other]").unwrap();
    let trained = trained
        .replace("[stage.calibrate]\nforeach = { fold = [0, 1] }\ninputs = { model = \"@train\" }\n", "");
    workspace.write("p.toml", trained);
    workspace.run(&[]);
    let account = account(&workspace, "m");
    let training = said(&account, "training");
    assert!(training.contains("tuning ft: All weights were trained"), "{training}");
    assert!(training.contains("tuning pt: Heads, classifiers and temperature were trained"), "{training}");
    assert!(!training.contains("dapters"), "{training}");
    assert!(said(&account, "participants").contains("tuning ft: 2 folds, each of 10 patients"));
}

#[test]
fn what_was_not_measured_is_not_said() {
    // Without labels, by one model, without calibration.
    let workspace = Workspace::with_training(1);
    let trained = workspace.read("p.toml");
    workspace.write("p.toml", Workspace::other_patients(6));
    workspace.pipe_ok(&["run", "p.toml", "--only", "other"]);
    workspace.pipe_ok(&["get", "p.toml", "other", "--to", "cohort"]);
    let table = workspace.read("cohort/dataset.csv").replace("malignant", "unknown");
    workspace.write("cohort/dataset.csv", table.replace("scans/", "cohort/scans/"));
    let other = Workspace::other_patients(6) + &EVALUATE.replace(", calibrators = \"@calibrate\"", "");
    workspace.write("p.toml", trained + &other.replace("@other\"", "cohort/dataset.csv\""));
    workspace.run(&[]);
    let account = account(&workspace, "m");
    let topics: Vec<&str> =
        sections(&account).iter().map(|section| section["topic"].as_str().unwrap()).collect();
    assert!(!topics.contains(&"measures") && !topics.contains(&"performance"), "{topics:?}");
    assert!(said(&account, "missing-data").contains("The labels of the test nodules are not known."));
    assert!(!said(&account, "output").contains("Youden"));
    assert!(said(&account, "participants").contains("nodules of 6 patients"));
}
