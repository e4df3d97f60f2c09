//! From a published experiment and scans to predictions: `pipelines/infer.toml`, `import-experiment`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::Workspace;

const FIXTURES: &str = "stages/tests/fixtures";

/// The shipped manifest, with scans and an experiment of one fold beside it.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.copy("pipelines", "pipelines");
    workspace.copy(&format!("{FIXTURES}/crop/images"), "images");
    workspace.copy(&format!("{FIXTURES}/experiment"), "experiment");
    let table =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURES).join("crop/infer.csv")).unwrap();
    workspace.write("dataset_csv/infer.csv", table);
    workspace
}

/// Columns by name.
fn columns(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_string).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let rows: Vec<Vec<String>> = lines.collect();
    let column = |position: usize| rows.iter().map(|row| row[position].clone()).collect();
    header.iter().enumerate().map(|(position, name)| (name.clone(), column(position))).collect()
}

/// Compares the columns that both have.
fn assert_close(found: &str, expected: &str, tolerance: f64) {
    let (found, expected) = (columns(found), columns(expected));
    assert_eq!(found["pid"], expected["pid"]);
    for (name, expected) in expected.iter().filter(|(name, _)| !matches!(&name[..], "pid" | "nodule_id")) {
        for (row, (found, expected)) in found[name].iter().zip(expected).enumerate() {
            let (found, expected): (f64, f64) = (found.parse().unwrap(), expected.parse().unwrap());
            assert!((found - expected).abs() <= tolerance, "{name}, row {row}: {found} {expected}");
        }
    }
}

#[test]
fn a_published_experiment_predicts_as_its_authors_scripts_do() {
    let workspace = workspace();
    let ran = workspace.pipe_ok(&["run", "pipelines/infer.toml"]);
    assert!(ran.stdout.contains("The models do not say whom they were trained on"), "{}", ran.stdout);
    let predictions = workspace.read("results/infer/predictions.csv");
    assert!(predictions.starts_with("pid,nodule_id,raw_0,ensemble,calibrated_0,calibrated_ensemble\n"));
    assert_close(&predictions, &workspace.read("experiment/merged_once.csv"), 5e-5);
    // The published evaluation's slip on demand, and said.
    let ran = workspace.pipe_ok(&["run", "pipelines/infer.toml", "--set", "compat=reference", "--json"]);
    assert_eq!(ran.executed(), ["evaluate", "import-experiment"]);
    assert_close(
        &workspace.read("results/infer/predictions.csv"),
        &workspace.read("experiment/reference.csv"),
        5e-5,
    );
    assert!(workspace.read("results/infer/summary.txt").contains("fold 0: adapters added twice"));
    // What else lies in the folder changes nothing.
    workspace.write("experiment/log.txt", "epoch 1");
    workspace.write("experiment/fold_0/last.pt", "not read");
    let ran = workspace.pipe_ok(&["run", "pipelines/infer.toml", "--set", "compat=reference", "--json"]);
    assert_eq!(ran.count("executed"), 0);
}

#[test]
fn an_experiment_without_calibrators_predicts_without_them() {
    let workspace = workspace();
    fs::remove_file(workspace.path("experiment/fold_0/cal_0.pkl")).unwrap();
    workspace.pipe_ok(&["run", "pipelines/infer.toml"]);
    let predictions = workspace.read("results/infer/predictions.csv");
    assert!(predictions.starts_with("pid,nodule_id,raw_0,ensemble\n"), "{predictions}");
}

#[test]
fn what_is_wrong_with_an_experiment_is_told_by_file() {
    let workspace = workspace();
    // Before any work where a look at it is quick, else by `check` and by the stage that reads it.
    let refused = |code: i32, message: &str| {
        for (command, code) in [("check", 2), ("run", code)] {
            let ran = workspace.pipe(&[command, "pipelines/infer.toml"]);
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.code, code, "{command}: {message}\n{told}");
            assert!(told.contains(message), "{command}: {message}\n{told}");
        }
    };
    let arguments = workspace.read("experiment/args.txt");
    workspace.write("experiment/args.txt", arguments.replace("r=2", "r=4"));
    refused(1, "`r` is 4, which a training cannot have been run with");
    workspace.write("experiment/args.txt", "{}");
    refused(2, "args.txt: it must read `Namespace(name=value, …)`");
    fs::remove_file(workspace.path("experiment/args.txt")).unwrap();
    refused(2, "has no args.txt");
    workspace.write("experiment/args.txt", arguments);
    // A pickle that would run a command: refused by name.
    let mark = workspace.path("mark");
    let order = format!("touch {}", mark.display());
    let length = (order.len() as u32).to_le_bytes();
    let pickle = [&b"cos\nsystem\nX"[..], &length, order.as_bytes(), b"\x85R."].concat();
    let calibrator = fs::read(workspace.path("experiment/fold_0/cal_0.pkl")).unwrap();
    workspace.write("experiment/fold_0/cal_0.pkl", pickle);
    refused(1, "cal_0.pkl: the pickle asks for `os.system`");
    workspace.write("experiment/fold_0/cal_0.pkl", calibrator);
    let checkpoint = fs::read(workspace.path("experiment/fold_0/best_both.pt")).unwrap();
    // The same length, so that the archive stays sound but for a checksum that is not looked at before.
    let text = b"ctorch._utils\n_rebuild_tensor_v2\n";
    let at = checkpoint.windows(text.len()).position(|part| part == text).unwrap();
    let mut hostile = checkpoint.clone();
    hostile[at..at + text.len()].copy_from_slice(b"cbuiltins.abc\n_rebuild_tensor_v2\n");
    workspace.write("experiment/fold_0/best_both.pt", hostile);
    refused(1, "best_both.pt");
    workspace.write("experiment/fold_0/best_both.pt", &checkpoint[..checkpoint.len() / 2]);
    refused(1, "best_both.pt");
    assert!(!mark.exists());
}

/// Two folds trained here, exported as a published experiment and imported again, predict the same.
#[test]
fn an_exported_experiment_comes_back_as_it_was() {
    for tuning in ["lora", "ft"] {
        let workspace = Workspace::with_two_folds(4);
        let trained = workspace.read("p.toml");
        let evaluate = "[stage.evaluate]\ninputs = { dataset = \"@other\", slices = \"@other-slice\", \
             models = \"@train\", calibrators = \"@calibrate\", weights = \"random\" }\npublish = \"here\"\n";
        workspace.write("p.toml", format!("{trained}{evaluate}"));
        let setting = format!("train.tuning={tuning}");
        workspace.pipe_ok(&["run", "p.toml", "--set", &setting]);
        let get = ["get", "p.toml", "train", "--to", "e", "--format", "experiment", "--set", &setting];
        workspace.pipe_ok(&get);
        let again = "[stage.import-experiment]\ninputs = { experiment = \"e\" }\n\
             [stage.evaluate]\ninputs = { dataset = \"@other\", slices = \"@other-slice\", \
             models = \"@import-experiment\" }\npublish = \"back\"\n";
        workspace.write("q.toml", Workspace::other_patients(4) + again);
        workspace.pipe_ok(&["run", "q.toml"]);
        let (here, back) = (workspace.read("here/predictions.csv"), workspace.read("back/predictions.csv"));
        assert_eq!(here.lines().next(), back.lines().next());
        // Adapters that are merged round otherwise, and calibrators of few cases are steep.
        assert_close(&back, &here, 1e-4);
    }
}

/// Whom an exported experiment was trained on, and what its folds lack, is found before the work.
#[test]
fn an_experiment_is_compared_with_the_test_table_before_any_work() {
    let workspace = Workspace::with_two_folds(4);
    workspace.pipe_ok(&["run", "p.toml"]);
    for (stage, to) in [("phantom", "cohort"), ("slice", "planes"), ("split", "folds")] {
        workspace.pipe_ok(&["get", "p.toml", stage, "--to", to]);
    }
    let export = |to: &str, settings: &[&str]| {
        let get = ["get", "p.toml", "train", "--to", to, "--format", "experiment"];
        workspace.pipe_ok(&[&get[..], settings].concat())
    };
    export("e", &[]);
    let evaluate = |experiment: &str| {
        format!(
            "[stage.import-experiment]\ninputs = {{ {experiment} }}\n[stage.evaluate]\nparams = {{ draws = 20 }}\n\
             inputs = {{ dataset = \"cohort/dataset.csv\", slices = \"planes\", models = \"@import-experiment\" }}\n"
        )
    };
    let told = |command: &[&str]| {
        let ran = workspace.pipe(command);
        (ran.code, format!("{}{}", ran.stdout, ran.stderr))
    };
    let patients = "test patients are in the training of @import-experiment.models";
    workspace.write("q.toml", evaluate("experiment = \"e\""));
    for command in ["check", "run"] {
        let (code, text) = told(&[command, "q.toml"]);
        assert!(code == 2 && text.contains(patients), "{command}\n{text}");
    }
    // Without patients the scans tell.
    let without = |name: &str| {
        for fold in ["fold_0", "fold_1"] {
            fs::remove_file(workspace.path(&format!("e/{fold}/{name}"))).unwrap();
        }
    };
    without("training_patients.csv");
    let (code, text) = told(&["run", "q.toml"]);
    assert!(code == 1 && text.contains("test nodules are of scans that fold_0 of"), "{text}");
    // Published experiments name neither: the splits do.
    without("training_images.csv");
    workspace.write("q.toml", evaluate("experiment = \"e\", splits = \"folds\""));
    let (code, text) = told(&["run", "q.toml"]);
    assert!(code == 2 && text.contains(patients), "{text}");
    // Nobody says whom.
    workspace.write("q.toml", evaluate("experiment = \"e\""));
    assert_eq!(told(&["check", "q.toml"]).0, 0);
    let calibrator = fs::read(workspace.path("e/fold_1/cal_1.pkl")).unwrap();
    fs::remove_file(workspace.path("e/fold_1/cal_1.pkl")).unwrap();
    for command in ["check", "run"] {
        let (code, text) = told(&[command, "q.toml"]);
        let message = "@import-experiment.models has no cal_k.pkl of fold 1";
        assert!(code == 2 && text.contains(message), "{command}\n{text}");
    }
    assert_eq!(told(&["check", "q.toml", "--set", "evaluate.calibrated=false"]).0, 0);
    workspace.write("e/fold_1/cal_1.pkl", calibrator);
    fs::remove_file(workspace.path("e/fold_1/best_pred.pt")).unwrap();
    let (code, text) = told(&["run", "q.toml", "--set", "evaluate.checkpoint=best_pred"]);
    assert!(
        code == 2
            && text.contains("not every fold of @import-experiment.models has the checkpoint best_pred")
    );
    assert!(text.contains("one that all have: best_both, best_clip, last"), "{text}");
    // Calibrators of another checkpoint have no place in an experiment.
    let other = ["--set", "calibrate.checkpoint=last"];
    workspace.pipe_ok(&[&["run", "p.toml"][..], &other].concat());
    let ran = export("f", &other);
    assert!(
        ran.stderr.contains("the calibrators are left out: they are of checkpoint last"),
        "{}",
        ran.stderr
    );
    assert!(!workspace.path("f/fold_0/cal_0.pkl").exists() && workspace.path("f/fold_0/ckpt.pt").exists());
}

#[test]
fn one_nodule_is_predicted_on_the_command_line() {
    let workspace = workspace();
    let table = columns(&workspace.read("dataset_csv/infer.csv"));
    let expected = columns(&workspace.read("experiment/merged_once.csv"));
    let row = table["pid"].iter().position(|pid| pid == "oblique").unwrap();
    let at = ["coordX", "coordY", "coordZ"].map(|column| table[column][row].clone()).join(",");
    let image = table["image_path"][row].clone();
    let ran = workspace.pipe_ok(&["predict", &image, "--at", &at, "--model", "experiment", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    for (name, found) in [
        ("raw_0", &found["folds"]["0"]["raw"]),
        ("calibrated_0", &found["folds"]["0"]["calibrated"]),
        ("raw_0", &found["ensemble"]),
    ] {
        let expected: f64 = expected[name][row].parse().unwrap();
        assert!((found.as_f64().unwrap() - expected).abs() < 5e-5, "{name}: {found} {expected}");
    }
    assert!(!workspace.path(".pipe").exists(), "a cache where none was asked for");
    let ran =
        workspace.pipe_ok(&["predict", &image, "--at", &at, "--model", "experiment", "--cache", "kept"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[1], "          malignant  calibrated");
    assert!(
        lines[2].starts_with("fold 0       0.") && lines[3].starts_with("ensemble     0."),
        "{}",
        ran.stdout
    );
    assert!(workspace.path("kept").exists());
    // What is wrong is told without words of the table that nobody wrote.
    let outside = workspace.pipe(&["predict", &image, "--at", "9000,0,0", "--model", "experiment"]);
    assert_eq!(outside.code, 1);
    assert!(
        outside.stderr.contains("outside the scan") && !outside.stderr.contains("dataset.csv"),
        "{}",
        outside.stderr
    );
    for (arguments, message) in [
        (["--at", "1,2", "--model", "experiment"], "three numbers"),
        (["--at", "1,2,3", "--model", "nowhere"], "the models' folder nowhere cannot be read"),
    ] {
        let ran = workspace.pipe(&[&["predict", &image][..], &arguments].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    let none = workspace.pipe(&["predict", &image, "--at", &at, "--model", "images"]);
    assert!(none.stderr.contains("holds no model"), "{}", none.stderr);
}
