//! What evaluation says beyond probabilities, on small phantoms: thresholds, comparisons, subgroups, semantic features.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;

use support::Workspace;

/// Two trained and calibrated folds, and eight patients to test on.
fn workspace() -> Workspace {
    let workspace = Workspace::with_training(1);
    let trained = workspace.read("p.toml").replace("fold = 0\n", "").replace(
        "[stage.train]\n",
        "[stage.calibrate]\nforeach = { fold = [0, 1] }\ninputs = { model = \"@train\" }\n\
         [stage.train]\nforeach = { fold = [0, 1] }\n",
    );
    let cohort = "[stage.other]\nuses = \"phantom\"\n\
         params = { stream = \"other\", patients = 8, shape = [72, 72, 36] }\n\
         [stage.other-crop]\nuses = \"crop\"\nparams = { size_mm = 60 }\ninputs = { dataset = \"@other\" }\n\
         [stage.other-slice]\nuses = \"slice\"\ninputs = { volumes = \"@other-crop\" }\n";
    let tested = "dataset = \"@other\", slices = \"@other-slice\", models = \"@train\", weights = \"random\"";
    let evaluate =
        format!("[stage.evaluate]\ninputs = {{ {tested}, calibrators = \"@calibrate\" }}\npublish = \"e\"\n");
    let zero_shot =
        format!("[stage.zero-shot]\ninputs = {{ {tested}, prompts = \"prompts.toml\" }}\npublish = \"z\"\n");
    workspace.write("p.toml", format!("{trained}{cohort}{evaluate}{zero_shot}"));
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/prompts.toml");
    workspace.write("prompts.toml", fs::read(prompts).unwrap());
    workspace
}

#[test]
fn thresholds_comparisons_and_subgroups_are_given_where_asked_for() {
    let workspace = workspace();
    workspace.pipe_ok(&["run", "p.toml"]);
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
    assert_eq!(points.lines().filter(|line| line.contains(",specificity,")).count(), 6, "{points}");
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
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.stderr.contains("prompts.toml: `colour` is none of the semantic columns"),
        "{}",
        wrong.stderr
    );
}
