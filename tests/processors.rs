//! The same bytes on another processor: the whole workflow, run here and on an emulated one with AVX2 only.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Workspace, has_part};

/// The digests of all outputs, by instance and name, and the class of the device.
fn outputs(workspace: &Workspace, cache: &str) -> (BTreeMap<String, String>, String) {
    let run = workspace.pipe_ok(&["show", "--cache", cache, "--json"]).stdout;
    let run: Value = serde_json::from_str(&run).unwrap();
    let mut digests = BTreeMap::new();
    for instance in run["instances"].as_array().unwrap() {
        for (output, artifact) in instance["outputs"].as_object().unwrap() {
            let name = format!("{}.{output}", instance["label"].as_str().unwrap());
            digests.insert(name, artifact["digest"].as_str().unwrap().to_string());
        }
    }
    (digests, run["asked"]["device_class"].as_str().unwrap().to_string())
}

#[test]
fn training_calibration_and_evaluation_give_the_same_bytes_on_a_processor_with_other_registers() {
    let test = "training_calibration_and_evaluation_give_the_same_bytes_on_a_processor_with_other_registers";
    let qemu = Command::new("qemu-x86_64").arg("--version").stdout(Stdio::null()).status();
    if !has_part("qemu", cfg!(target_arch = "x86_64") && qemu.is_ok(), test) {
        return;
    }
    let workspace = Workspace::with_two_folds(6);
    let trained =
        workspace.read("p.toml").replace("tuning = \"lora\"\n", "tuning = \"lora\"\naugmentation = true\n");
    let trained =
        trained.replace("slices = \"@slice\", text", "slices = \"@slice\", volumes = \"@crop\", text");
    let tested = "dataset = \"@other\", slices = \"@other-slice\", models = \"@train\", weights = \"random\"";
    let more = format!(
        "[stage.evaluate]\nparams = {{ draws = 50 }}\ninputs = {{ {tested}, calibrators = \"@calibrate\" }}\n\
         [stage.zero-shot]\nparams = {{ draws = 50 }}\ninputs = {{ {tested}, prompts = \"prompts.toml\" }}\n\
         [stage.whole]\nuses = \"train\"\ninputs = {{ dataset = \"@phantom\", slices = \"@slice\", \
         text = \"@text-encode\", splits = \"@split\", weights = \"random\" }}\n\
         params = {{ fold = 0, epochs = 1, tuning = \"ft\", es_patience = 100, text_augmentation = false, \
         architecture = {{ text = {{ width = 64, layers = 1, vocabulary = 49408, context = 77 }}, \
         vision = {{ width = 64, layers = 2, patch = 24, resolution = 48 }} }} }}\n"
    );
    workspace.write("p.toml", trained + &more);
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/prompts.toml");
    workspace.write("prompts.toml", fs::read(prompts).unwrap());
    workspace.pipe_ok(&["run", "p.toml", "--cache", "here"]);
    let there = Command::new("qemu-x86_64")
        .args(["-cpu", "Haswell", env!("CARGO_BIN_EXE_pipe"), "run", "p.toml", "--cache", "there"])
        .current_dir(workspace.path(""))
        .output()
        .unwrap();
    assert!(there.status.success(), "{}", String::from_utf8_lossy(&there.stderr));
    let (here, there) = (outputs(&workspace, "here"), outputs(&workspace, "there"));
    assert_eq!(here.1, "cpu");
    assert_eq!(here, there);
    // On another host, what this one has computed is known.
    let again = workspace.pipe_ok(&["run", "p.toml", "--cache", "there", "--json"]);
    assert_eq!(again.count("executed"), 0);
}
