//! Trained models in forms for other programs: `pipe get --format`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use pipe_learning::clip::Tensors;
use pipe_learning::clip::weights::read_tensors;
use support::{Workspace, has_part};

/// Two trained and calibrated folds.
fn workspace(settings: &[&str]) -> Workspace {
    let workspace = Workspace::with_training(2);
    let manifest = workspace.read("p.toml").replace("fold = 0\n", "").replace(
        "[stage.train]\n",
        "[stage.calibrate]\nforeach = { fold = [0, 1] }\ninputs = { model = \"@train\" }\n\
         [stage.train]\nforeach = { fold = [0, 1] }\n",
    );
    workspace.write("p.toml", manifest);
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    workspace.pipe_ok(&[&["run", "p.toml"][..], &settings].concat());
    workspace
}

fn values(tensors: &Tensors, name: &str) -> Vec<f32> {
    tensors[name].flatten_all().unwrap().to_vec1().unwrap()
}

/// Rows of a matrix by columns of another.
fn product(left: &Tensors, [a, b]: [&str; 2]) -> Vec<f32> {
    let product = left[a].matmul(&left[b]).unwrap();
    product.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_checkpoint_is_a_whole_model_with_its_adapters_added() {
    let workspace = workspace(&[]);
    workspace.pipe_ok(&["get", "latest", "train", "--to", "stored"]);
    workspace.pipe_ok(&["get", "latest", "train", "--to", "whole", "--format", "pt"]);
    let block = "vision_model.transformer.resblocks.0.attn";
    let base = |name: &str| -> Vec<f32> {
        let whole = read_tensors(&workspace.path(&format!("whole/{name}.pt"))).unwrap();
        let stored = read_tensors(&workspace.path(&format!("stored/{name}.safetensors"))).unwrap();
        assert_eq!(values(&whole, "classifier_image.weight"), values(&stored, "classifier_image.weight"));
        assert!(!whole.contains_key(&format!("{block}.in_proj_weight")));
        assert_eq!(values(&whole, "pred_criterion_val.weight").iter().sum::<f32>(), 1.0);
        let adapter = [format!("{block}.q_proj.w_lora_B"), format!("{block}.q_proj.w_lora_A")];
        let added = product(&stored, [&adapter[0], &adapter[1]]);
        assert!(added.iter().any(|value| value.abs() > 1e-6), "trained");
        let merged = values(&whole, &format!("{block}.q_proj.weight"));
        merged.iter().zip(added).map(|(merged, added)| merged - added / 2.0_f32.sqrt()).collect()
    };
    // What is left without the adapters are the weights that all checkpoints began with.
    let first = base("fold_0/last");
    for other in ["fold_1/last", "fold_1/best_both"] {
        let largest = first.iter().zip(base(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-7, "{other}: {largest:e}");
    }
    // The same again writes nothing; another model does not replace it.
    let again = workspace.pipe_ok(&["get", "p.toml", "train", "--to", "whole", "--format", "pt"]);
    assert!(again.stderr.contains("0 files copied"), "{}", again.stderr);
    workspace.pipe_ok(&["run", "p.toml", "--set", "train.lr=0.01"]);
    let other = workspace.pipe(&["get", "latest", "train", "--to", "whole", "--format", "pt"]);
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("is there already and differs"), "{}", other.stderr);
}

/// The folder that is exported, imported again, has the same states in it.
#[test]
fn an_exported_experiment_is_imported_with_its_last_state() {
    let workspace = workspace(&["train.tuning=ft"]);
    let settings = ["--set", "train.tuning=ft"];
    let get = |what: &[&str]| workspace.pipe_ok(&[&["get", "p.toml"][..], what, &settings].concat());
    get(&["train", "--to", "e", "--format", "experiment"]);
    get(&["train", "--to", "stored"]);
    workspace.write("i.toml", "[stage.import-experiment]\ninputs = { experiment = \"e\" }\n");
    workspace.pipe_ok(&["run", "i.toml"]);
    workspace.pipe_ok(&["get", "latest", "import-experiment", "--to", "imported"]);
    for name in ["best_both", "last"] {
        let read = |folder: &str| {
            read_tensors(&workspace.path(&format!("{folder}/fold_1/{name}.safetensors"))).unwrap()
        };
        let (stored, imported) = (read("stored"), read("imported"));
        assert_eq!(values(&imported, "classifier_image.weight"), values(&stored, "classifier_image.weight"));
    }
}

#[test]
fn volumes_are_read_by_other_programs_where_they_lie() {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 2, shape = [72, 72, 36] }\n\
         [stage.crop]\nparams = { size_mm = 21, sampling = \"exact\" }\ninputs = { dataset = \"@phantom\" }\n\
         [stage.slice]\ninputs = { volumes = \"@crop\" }\n",
    );
    workspace.pipe_ok(&["run", "p.toml"]);
    for (stage, form) in [("crop", "pt"), ("crop", "nii"), ("crop", "png"), ("slice", "png")] {
        workspace.pipe_ok(&["get", "latest", stage, "--format", form, "--to", &format!("{stage}-{form}")]);
    }
    workspace.pipe_ok(&["get", "latest", "phantom", "--to", "phantom"]);
    // Both are the same picture: the slices have the published window.
    for entry in fs::read_dir(workspace.path("slice-png")).unwrap().flatten() {
        let twin = workspace.path("crop-png").join(entry.file_name());
        assert_eq!(fs::read(entry.path()).unwrap(), fs::read(twin).unwrap());
    }
    let test = "volumes_are_read_by_other_programs_where_they_lie";
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let has = |packages: &str| {
        let found = Command::new(&python).args(["-c", &format!("import {packages}")]).output();
        found.is_ok_and(|output| output.status.success())
    };
    if !has_part("python", has("nibabel, numpy"), test) || !has_part("torch", has("torch"), test) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_volumes.py");
    let output = Command::new(&python).arg(script).arg(workspace.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.starts_with("compared "), "{told}");
}

#[test]
fn a_form_that_is_not_there_is_told_with_those_that_are() {
    let workspace = workspace(&["train.epochs=1"]);
    let settings = ["--set", "train.epochs=1"];
    let get = |arguments: &[&str]| workspace.pipe(&[&["get", "p.toml"][..], arguments, &settings].concat());
    let unknown = get(&["train", "--to", "x", "--format", "onnx"]);
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("have no form `onnx`") && unknown.stderr.contains("experiment:"));
    let none = get(&["split", "--to", "x", "--format", "pt"]);
    assert!(none.stderr.contains("the results of `split` have no form `pt`"), "{}", none.stderr);
    let part = get(&["train.model", "--to", "x", "--format", "pt"]);
    assert!(part.stderr.contains("as a whole"), "{}", part.stderr);
    assert!(!workspace.path("x").exists());
}

/// What the script prints; `None` where Python or its packages are missing.
fn read_by_python(test: &str, folder: &Path, probabilities: &[f64]) -> Option<serde_json::Value> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import torch, joblib, betacal"]).output();
    if !has_part("torch", found.is_ok_and(|output| output.status.success()), test) {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_experiment.py");
    let probabilities = probabilities.iter().map(ToString::to_string);
    let output = Command::new(&python).arg(script).arg(folder).args(probabilities).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn an_experiment_is_a_folder_that_the_published_scripts_read() {
    let workspace = workspace(&["train.tuning=ft"]);
    let settings = ["--set", "train.tuning=ft"];
    workspace.pipe_ok(
        &[&["get", "p.toml", "train", "--to", "e", "--format", "experiment"][..], &settings].concat(),
    );
    let arguments = workspace.read("e/args.txt");
    assert!(arguments.starts_with("Namespace(dataset_path='.', result_dir='.'"), "{arguments}");
    for part in ["n_splits=2", "lr=0.0001", "augmentation=False", "tuning='ft'", "model='openai_ViT-B/24'"] {
        assert!(arguments.contains(part), "{part} in {arguments}");
    }
    for fold in [0, 1] {
        let whole = read_tensors(&workspace.path(&format!("e/fold_{fold}/best_both.pt"))).unwrap();
        assert!(whole.contains_key("transformer.resblocks.0.attn.in_proj_weight"));
        assert!(fs::metadata(workspace.path(&format!("e/fold_{fold}/cal_{fold}.pkl"))).unwrap().len() > 100);
        workspace.pipe_ok(&[&["get", "p.toml", "train", "--to", "stored"][..], &settings].concat());
        let last = read_tensors(&workspace.path(&format!("e/fold_{fold}/ckpt.pt"))).unwrap();
        let stored = read_tensors(&workspace.path(&format!("stored/fold_{fold}/last.safetensors"))).unwrap();
        assert_eq!(values(&last, "classifier_image.weight"), values(&stored, "classifier_image.weight"));
    }
    let given = [0.0, 0.2, 0.5, 0.9, 1.0];
    let test = "an_experiment_is_a_folder_that_the_published_scripts_read";
    let Some(read) = read_by_python(test, &workspace.path("e"), &given) else { return };
    workspace.pipe_ok(&[&["get", "p.toml", "calibrate", "--to", "c"][..], &settings].concat());
    for fold in ["0", "1"] {
        let text = workspace.read(&format!("c/fold_{fold}/calibrator.json"));
        let calibrator: serde_json::Value = serde_json::from_str(&text).unwrap();
        let [a, b, intercept] = ["a", "b", "intercept"].map(|name| calibrator[name].as_f64().unwrap());
        let expected = |p: f64| {
            let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            1.0 / (1.0 + (-(a * p.ln() - b * (1.0 - p).ln() + intercept)).exp())
        };
        for (index, p) in given.iter().enumerate() {
            let found = read["folds"][fold]["calibrated"][index].as_f64().unwrap();
            assert!((found - expected(*p)).abs() < 1e-9, "{p}: {found} {}", expected(*p));
        }
        let shapes = read["folds"][fold]["shapes"].as_object().unwrap();
        assert_eq!(shapes["pred_criterion_train.weight"], serde_json::json!([2]));
    }
    assert_eq!(read["arguments"]["lr"], 1e-4);
}
