//! `pipe why`: each single change is named as what it is, down to where it was written; bytes lead to what they follow from.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use serde_json::Value;
use support::Workspace;

const PIPELINE: &str = "[pipeline]\nseed = 1\n\
                        [stage.report]\nparams = { stream = \"a\" }\n\
                        inputs = { dataset = \"nodules.csv\", dir = \"texts\" }\npublish = \"out\"\n\
                        [stage.text-encode]\ninputs = { reports = \"@report\" }\n\
                        [stage.other]\nuses = \"phantom\"\nparams = { patients = 2, shape = [72, 72, 36] }\n";

fn workspace() -> Workspace {
    let workspace = Workspace::with_reports(PIPELINE);
    run(&workspace, &[]);
    workspace
}

fn run(workspace: &Workspace, more: &[&str]) {
    std::thread::sleep(std::time::Duration::from_millis(80));
    workspace.pipe_ok(&[&["run", "p.toml"], more].concat());
}

/// The causes that are told of a stage, one for each way.
fn causes(workspace: &Workspace, target: &[&str]) -> Vec<String> {
    let told = workspace.pipe_ok(&[&["why"], target].concat()).stdout;
    let (first, rest) = told.split_once('\n').unwrap_or((&told, ""));
    assert!(!first.is_empty());
    rest.lines().map(|line| line.trim().to_string()).collect()
}

#[test]
fn each_single_change_is_named_and_nothing_else() {
    type Change = fn(&Workspace);
    let through = "→ report was computed → input reports changed (@report, p.toml:8)";
    let changes: [(&str, Change, &[&str], &str, String); 8] = [
        (
            "a parameter",
            |w| w.write("p.toml", PIPELINE.replace("stream = \"a\"", "stream = \"b\"")),
            &[],
            "report",
            "report.stream \"a\" → \"b\" (p.toml:4)".to_string(),
        ),
        (
            "a parameter on the command line",
            |_| {},
            &["--set", "report.stream=c"],
            "report",
            "report.stream \"a\" → \"c\" (--set report.stream=c)".to_string(),
        ),
        (
            "a text, seen from what builds on it",
            |w| w.write("texts/2_1.txt", "Findings: two.\n\nImpression: third.\n"),
            &[],
            "text-encode",
            format!("items changed (2_1: dir changed) {through}"),
        ),
        (
            "a row",
            |w| w.write("nodules.csv", "pid,nodule_id\n1,1\n"),
            &[],
            "text-encode",
            format!("items changed (1 items are gone) {through}"),
        ),
        (
            "a number",
            |w| w.write("p.toml", PIPELINE.replace("patients = 2", "patients = 3")),
            &[],
            "other",
            "other.patients 2 → 3 (p.toml:11)".to_string(),
        ),
        (
            "the seed",
            |w| w.write("p.toml", PIPELINE.replace("seed = 1", "seed = 2")),
            &[],
            "other",
            "seed 1 → 2 (p.toml:2)".to_string(),
        ),
        ("a wish", |_| {}, &["--force", "report"], "report", "--force".to_string()),
        (
            "a lost result",
            |w| fs::remove_dir_all(w.path(".pipe/results")).unwrap(),
            &[],
            "report",
            "its result is no longer in the cache".to_string(),
        ),
    ];
    for (what, change, set, target, expected) in changes {
        let workspace = workspace();
        change(&workspace);
        run(&workspace, set);
        assert_eq!(causes(&workspace, &[target]), [expected], "{what}");
    }
}

#[test]
fn what_would_change_a_manifest_is_refused_where_a_run_is_named() {
    let workspace = workspace();
    let commands: [&[&str]; 2] = [&["why", "report", "latest"], &["get", "latest", "report", "--to", "got"]];
    for command in commands {
        for (more, told) in [
            (["--set", "report.stream=b"], "`report.stream=b` changes a manifest, but latest names a run"),
            (["--profile", "fast"], "`fast` changes a manifest, but latest names a run"),
            (["--device", "cuda"], "--device is of a manifest, but latest names a run"),
        ] {
            let refused = workspace.pipe(&[command, &more].concat());
            assert!(refused.code == 2 && refused.stderr.contains(told), "{command:?} {}", refused.stderr);
        }
    }
    assert!(!workspace.path("got").exists());
}

#[test]
fn bytes_are_looked_for_in_the_run_that_is_named() {
    let workspace = workspace();
    let first = workspace.run(&[]).finished()["run"].as_str().unwrap().to_string();
    let former = workspace.path("out/1_1.txt");
    fs::copy(&former, workspace.path("former.txt")).unwrap();
    workspace.write("texts/1_1.txt", "Findings: other.\n\nImpression: other.\n");
    workspace.run(&[]);
    assert!(workspace.pipe_ok(&["why", "former.txt"]).stdout.contains("1_1.txt in output"));
    assert!(workspace.pipe_ok(&["why", "former.txt", &first]).stdout.contains("1_1.txt in output"));
    let none = workspace.pipe(&["why", "former.txt", "latest"]);
    assert!(none.stderr.contains("no result of run latest holds the bytes of former.txt"), "{}", none.stderr);
}

#[test]
fn a_change_is_followed_through_training_to_its_origin() {
    let workspace = Workspace::with_training(1);
    run(&workspace, &[]);
    workspace.write("p.toml", workspace.read("p.toml").replace("size_mm = 60", "size_mm = 64"));
    let before = causes(&workspace, &["train", "p.toml"]);
    let first = "crop.size_mm 60 → 64 (p.toml:4) → crop would be computed → ";
    assert!(!before.is_empty() && before.iter().all(|way| way.starts_with(first)), "{before:?}");
    run(&workspace, &[]);
    let ways = causes(&workspace, &["train"]);
    let [way] = &ways[..] else { panic!("{ways:?}") };
    assert!(
        way.starts_with("crop.size_mm 60 → 64 (p.toml:4) → crop was computed → items changed ("),
        "{way}"
    );
    assert!(way.contains(" → slice was computed → input slices changed (@slice, p.toml:"), "{way}");
    // As values, too.
    let json: Value = serde_json::from_str(&workspace.pipe_ok(&["why", "train", "--json"]).stdout).unwrap();
    let cause = &json["instances"][0]["causes"][0];
    assert_eq!((&cause["reason"]["change"]["input"], &json["version"]), (&"slices".into(), &1.into()));
    assert_eq!(cause["upstream"][0]["causes"][0]["upstream"][0]["instance"], "crop");
    // Back again: known, and still another result than the run before had.
    workspace.write("p.toml", workspace.read("p.toml").replace("size_mm = 64", "size_mm = 60"));
    run(&workspace, &[]);
    let told = workspace.pipe_ok(&["why", "crop"]).stdout;
    assert!(
        told.contains("crop was known in run") && told.contains("crop.size_mm 64 → 60 (p.toml:4)"),
        "{told}"
    );
    let told = workspace.pipe_ok(&["why", "phantom"]).stdout;
    assert!(told.contains("nothing that counts has changed since run"), "{told}");
    assert!(told.contains("it had not run before"), "{told}");
    // A run between that came to crop only: what matters to train is what it used last.
    workspace.write("p.toml", workspace.read("p.toml").replace("size_mm = 60", "size_mm = 68"));
    run(&workspace, &["--only", "crop"]);
    run(&workspace, &[]);
    let ways = causes(&workspace, &["train"]);
    let first = "crop.size_mm 60 → 68 (p.toml:4) → crop has another known result → items changed (";
    assert!(ways.len() == 1 && ways[0].starts_with(first), "{ways:?}");
}

#[test]
fn of_gathered_inputs_each_is_followed_to_its_own_maker() {
    let workspace = Workspace::with_two_folds(10);
    let evaluate = "[stage.evaluate]\nparams = { draws = 20 }\n\
        inputs = { dataset = \"@other\", slices = \"@other-slice\", models = \"@train\", \
        calibrators = \"@calibrate\", weights = \"random\" }\n";
    workspace.write("p.toml", workspace.read("p.toml") + evaluate);
    run(&workspace, &[]);
    run(&workspace, &["--set", "train.lr=2e-5"]);
    let json: Value =
        serde_json::from_str(&workspace.pipe_ok(&["why", "evaluate", "--json"]).stdout).unwrap();
    let causes = json["instances"][0]["causes"].as_array().unwrap();
    for (input, maker) in [("models", "train"), ("calibrators", "calibrate")] {
        for fold in 0..2 {
            let name = format!("{input}[fold={fold}]");
            let cause = causes.iter().find(|cause| cause["reason"]["change"]["input"] == name.as_str());
            let upstream = cause.unwrap()["upstream"].as_array().unwrap();
            let makers: Vec<&str> = upstream.iter().map(|why| why["instance"].as_str().unwrap()).collect();
            assert_eq!(makers, [format!("{maker}[fold={fold}]")], "{name}");
        }
    }
    let ways = self::causes(&workspace, &["evaluate"]);
    assert_eq!(ways.len(), 1, "{ways:?}");
    assert!(ways[0].contains("(--set train.lr=2e-5) → train[fold=0] was computed → "), "{ways:?}");
}

#[test]
fn a_stage_that_failed_says_so_and_is_the_reason_of_the_next_try() {
    let workspace = workspace();
    let split = "[stage.split]\nparams = { n_splits = 2 }\ninputs = { dataset = \"@other\" }\n";
    workspace.write("p.toml", format!("{PIPELINE}{split}"));
    for reason in ["it had not run before", "it failed in run "] {
        assert_eq!(workspace.pipe(&["run", "p.toml"]).code, 1);
        let told = workspace.pipe_ok(&["why", "split"]).stdout;
        assert!(told.starts_with("split failed in run ") && told.contains(reason), "{told}");
    }
    let told = workspace.pipe_ok(&["why", "report"]).stdout;
    assert!(told.starts_with("report was known in run "), "{told}");
}

#[test]
fn bytes_lead_to_run_stage_and_inputs_wherever_they_were_copied() {
    let workspace = workspace();
    let told = workspace.pipe_ok(&["why", "out/1_1.txt"]).stdout;
    for expected in [
        "1_1.txt in output reports of report (kind report), computed in run ",
        "dataset = nodules.csv (item 1_1: dir ",
        "dir = texts",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let digest = told.lines().next().unwrap().strip_prefix("blake3 ").unwrap().to_string();
    assert_eq!(workspace.pipe_ok(&["why", &digest]).stdout, told);
    fs::copy(workspace.path("out/1_1.txt"), workspace.path("copy.txt")).unwrap();
    assert_eq!(workspace.pipe_ok(&["why", "copy.txt"]).stdout, told);
    workspace.write("copy.txt", "other bytes");
    let refused = workspace.pipe(&["why", "copy.txt"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("no result in") && refused.stderr.contains("copy.txt"),
        "{}",
        refused.stderr
    );
    let refused = workspace.pipe(&["why", "nothing"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("no stage or instance nothing"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_file_of_one_item_leads_to_its_scan_and_back() {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 2, shape = [72, 72, 36] }\npublish = \"data\"\n\
         [stage.crop]\nparams = { size_mm = 60 }\ninputs = { dataset = \"@phantom\" }\n\
         [stage.slice]\ninputs = { volumes = \"@crop\" }\npublish = \"planes\"\n",
    );
    workspace.run(&[]);
    let file = fs::read_dir(workspace.path("planes")).unwrap().flatten();
    let mut items: Vec<String> = file.map(|file| file.file_name().into_string().unwrap()).collect();
    items.retain(|name| name.ends_with(".safetensors"));
    items.sort();
    let (item, patient) =
        (items[0].strip_suffix(".safetensors").unwrap(), items[0].rsplit_once('_').unwrap().0);
    let told = workspace.pipe_ok(&["why", &format!("planes/{}", items[0])]).stdout;
    let scan = format!("data/scans/{patient}.nii.gz");
    let digest = pipe_cache::Digest::of(&fs::read(workspace.path(&scan)).unwrap());
    for expected in [
        format!("volumes = @crop (item {item}: volumes "),
        format!("dataset = @phantom (item {item}: image_path {digest}, coordX "),
    ] {
        assert!(told.contains(&expected), "{expected}: {told}");
    }
    // And from the scan to what uses it.
    let told = workspace.pipe_ok(&["why", &scan]).stdout;
    assert!(told.contains(&format!("scans/{patient}.nii.gz in output dataset of phantom")), "{told}");
    assert!(told.contains(&format!("used as image_path of item {item} of crop")), "{told}");
    let told = workspace.pipe_ok(&["why", &scan, "latest", "--json"]).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(!told["bytes"]["used_by"].as_array().unwrap().is_empty());
}

#[test]
fn of_a_run_that_goes_on_it_is_told_what_is_expected() {
    let workspace = Workspace::with_training(400);
    workspace.pipe_ok(&["run", "p.toml", "--set", "train.epochs=1"]);
    let mut going_on = workspace.start(&["run", "p.toml"]);
    support::wait_until(std::time::Duration::from_secs(60), "the training begins", || {
        let runs: Value = serde_json::from_str(&workspace.pipe_ok(&["runs", "--json"]).stdout).unwrap();
        runs["runs"][0]["state"] == "running"
    });
    let ways = causes(&workspace, &["train"]);
    going_on.kill().unwrap();
    going_on.wait().unwrap();
    assert!(ways.iter().any(|way| way == "train.epochs 1 → 400 (the run's manifest)"), "{ways:?}");
}
