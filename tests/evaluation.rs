//! What evaluation says beyond probabilities, on small phantoms: thresholds, comparisons, subgroups, semantic features.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;

use support::Workspace;

/// Two trained and calibrated folds, and eight patients to test on.
fn workspace() -> Workspace {
    let workspace = Workspace::with_two_folds(8);
    let trained = workspace.read("p.toml");
    let tested = "dataset = \"@other\", slices = \"@other-slice\", models = \"@train\", weights = \"random\"";
    let evaluate =
        format!("[stage.evaluate]\ninputs = {{ {tested}, calibrators = \"@calibrate\" }}\npublish = \"e\"\n");
    let zero_shot =
        format!("[stage.zero-shot]\ninputs = {{ {tested}, prompts = \"prompts.toml\" }}\npublish = \"z\"\n");
    workspace.write("p.toml", format!("{trained}{evaluate}{zero_shot}"));
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/prompts.toml");
    workspace.write("prompts.toml", fs::read(prompts).unwrap());
    workspace
}

#[test]
fn thresholds_comparisons_and_subgroups_are_given_where_asked_for() {
    let workspace = workspace();
    let ran = workspace.pipe_ok(&["run", "p.toml"]);
    // So few cases are warned of, where people see it and in the last line.
    for stage in ["calibrate[fold=0]", "calibrate[fold=1]", "evaluate", "zero-shot"] {
        assert!(ran.stderr.contains(&format!("  warning: {stage}: ")), "{stage} in {}", ran.stderr);
    }
    let is_last = |line: &str| line.starts_with("done: ") && line.contains(" warnings; ");
    assert!(ran.stderr.lines().any(is_last), "{}", ran.stderr);
    assert!(
        !workspace.path("e/operating_points.csv").exists() && !workspace.path("e/subgroups.csv").exists()
    );
    let comparisons = workspace.read("e/comparisons.csv");
    for second in ["raw_0", "raw_1", "calibrated_ensemble"] {
        assert!(comparisons.contains(&format!("test,ensemble,{second},")), "{comparisons}");
    }
    let curve = workspace.read("e/decision_curve.csv");
    assert_eq!(curve.lines().count(), 1 + 99 * 8, "six predictions, all and none");

    // Against the run before, and by columns; only the evaluation runs again.
    fs::copy(workspace.path("e/predictions.csv"), workspace.path("before.csv")).unwrap();
    let settings = [
        "evaluate.sensitivity=0.9",
        "evaluate.subgroups=[\"nodule_consistency\"]",
        "evaluate.inputs.against=before.csv",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let ran = workspace.pipe_ok(&[&["run", "p.toml", "--json"][..], &settings].concat());
    assert_eq!(ran.executed(), ["evaluate"]);
    let comparisons = workspace.read("e/comparisons.csv");
    let same = comparisons.lines().find(|line| line.contains("ensemble of against")).unwrap();
    assert!(same.ends_with(",0.0,0.0,0.0,1.0"), "the same predictions do not differ: {same}");
    let points = workspace.read("e/operating_points.csv");
    // Calibrators of so few cases may fall, and then have no threshold.
    let uncalibrated = |line: &&str| line.contains(",specificity,") && !line.contains("calibrated");
    assert_eq!(points.lines().filter(uncalibrated).count(), 3, "{points}");
    assert!(workspace.read("e/subgroups.csv").contains("nodule_consistency,"));
    let summary = workspace.read("e/summary.txt");
    for part in [
        "Thresholds with a sensitivity of 0.9 on validation:",
        "ensemble less that of against: AUROC +0.000",
        "ensemble by nodule_consistency:",
    ] {
        assert!(summary.contains(part), "{part} in {summary}");
    }
    assert!(summary.lines().all(|line| line.chars().count() <= 100), "{summary}");
    // A column that is not there is named.
    let missing = workspace.pipe(&["run", "p.toml", "--set", "evaluate.subgroups=[\"sex\"]"]);
    assert_ne!(missing.code, 0);
    assert!(format!("{}{}", missing.stdout, missing.stderr).contains("sex"), "{}", missing.stderr);
}

#[test]
fn semantic_features_are_predicted_by_sentences() {
    let workspace = workspace();
    workspace.pipe_ok(&["run", "p.toml"]);
    let predictions = workspace.read("z/predictions.csv");
    let mut lines = predictions.lines();
    assert_eq!(lines.next(), Some("pid,nodule_id,feature,value,raw_0,raw_1,ensemble,truth"));
    // Values of a feature add up to 1 for each nodule and fold.
    let mut sums: std::collections::BTreeMap<String, [f64; 3]> = std::collections::BTreeMap::new();
    let mut known = 0;
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let sum = sums.entry(cells[..3].join(",")).or_default();
        for (sum, cell) in sum.iter_mut().zip(&cells[4..7]) {
            *sum += cell.parse::<f64>().unwrap();
        }
        known += usize::from(cells[7] == "1");
    }
    assert_eq!(sums.len() % 17, 0, "seventeen features of each nodule");
    assert!(sums.values().flatten().all(|sum| (sum - 1.0).abs() < 1e-9));
    assert!(known > 0, "the phantoms' features are known");
    let metrics: serde_json::Value = serde_json::from_str(&workspace.read("z/metrics.json")).unwrap();
    let solid = &metrics["feature"]["nodule_consistency"]["Solid"];
    assert!(solid["n"].as_u64().unwrap() >= 8, "{solid}");
    assert!(workspace.read("z/summary.txt").lines().all(|line| line.chars().count() <= 100));
    // Sentences count: other ones, other probabilities; nothing else runs.
    let prompts = workspace.read("prompts.toml").replace("ovoid in shape", "egg-like");
    workspace.write("prompts.toml", prompts);
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(ran.executed(), ["zero-shot"]);
    assert_ne!(workspace.read("z/predictions.csv"), predictions);
    workspace.write("prompts.toml", "templates = ['{}']\n[feature.colour]\nRed = ['red']\nBlue = ['blue']\n");
    let wrong = workspace.pipe(&["run", "p.toml"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("prompts.toml: `colour` is none of the semantic columns"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn several_data_sets_are_reported_side_by_side() {
    let workspace = workspace();
    let more = "[stage.more]\nuses = \"phantom\"\n\
         params = { stream = \"more\", patients = 6, shape = [72, 72, 36] }\n\
         [stage.more-crop]\nuses = \"crop\"\nparams = { size_mm = 60 }\ninputs = { dataset = \"@more\" }\n\
         [stage.more-slice]\nuses = \"slice\"\ninputs = { volumes = \"@more-crop\" }\n\
         [stage.both]\nuses = \"evaluate\"\npublish = \"b\"\nparams = { subgroups = [\"nodule_shape\"] }\n\
         [stage.both.inputs]\ndataset = { here = \"@other\", elsewhere = \"@more\" }\n\
         slices = { elsewhere = \"@more-slice\", here = \"@other-slice\" }\n\
         models = \"@train\"\ncalibrators = \"@calibrate\"\nweights = \"random\"\n";
    let manifest = workspace.read("p.toml") + more;
    workspace.write("p.toml", &manifest);
    workspace.pipe_ok(&["run", "p.toml"]);
    let table = workspace.read("b/predictions.csv");
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("dataset,pid,nodule_id,raw_0,raw_1,ensemble,calibrated_0,"));
    // One of them is the evaluation of that data set alone.
    let alone: Vec<String> =
        workspace.read("e/predictions.csv").lines().skip(1).map(|line| format!("here,{line}")).collect();
    let here: Vec<&str> = lines.clone().filter(|line| line.starts_with("here,")).collect();
    assert_eq!(here, alone);
    assert!(lines.any(|line| line.starts_with("elsewhere,")));
    let metrics: serde_json::Value = serde_json::from_str(&workspace.read("b/metrics.json")).unwrap();
    let alone: serde_json::Value = serde_json::from_str(&workspace.read("e/metrics.json")).unwrap();
    assert_eq!(metrics["dataset"]["here"], alone["dataset"]["test"]);
    assert!(metrics["dataset"]["elsewhere"]["ensemble"]["auroc"]["value"].is_number(), "{metrics}");
    let summary = workspace.read("b/summary.txt");
    assert!(summary.starts_with("ensemble\ndataset "), "{summary}");
    assert!(summary.contains("\nelsewhere: n = ") && summary.contains("\nhere: n = "), "{summary}");
    for name in ["comparisons.csv", "decision_curve.csv", "subgroups.csv"] {
        let table = workspace.read(&format!("b/{name}"));
        assert_eq!(table.lines().filter(|line| line.starts_with("dataset,")).count(), 1, "{name}");
        assert!(table.contains("\nhere,") && table.contains("\nelsewhere,"), "{name}");
    }
    // Names count, and must be those of both inputs.
    let renamed = manifest.replace("here = ", "there = ");
    workspace.write("p.toml", &renamed);
    assert_eq!(workspace.pipe_ok(&["run", "p.toml", "--json"]).executed(), ["both"]);
    workspace.write("p.toml", manifest.replace("elsewhere = \"@more-slice\", ", ""));
    let missing = workspace.pipe(&["run", "p.toml"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("there are no slices for `elsewhere`"), "{}", missing.stderr);
    for (inputs, message) in [
        ("volumes = { a = \"@more-crop\" }", "`volumes` takes one artifact"),
        ("volumes = 1", "`stage.more-slice.inputs.volumes` must be"),
    ] {
        workspace.write("p.toml", manifest.replace("volumes = \"@more-crop\"", inputs));
        let ran = workspace.pipe(&["check", "p.toml"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    workspace.write("p.toml", manifest.replace("{ here = \"@other\", elsewhere = \"@more\" }", "{}"));
    let empty = workspace.pipe(&["check", "p.toml"]);
    assert!(empty.stderr.contains("`dataset` is an empty table"), "{}", empty.stderr);
}
