//! The published configuration with nothing but its variables overridden.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use safetensors::tensor::{Dtype, TensorView, serialize};
use support::Workspace;

/// CLIP weights of the smallest possible dimensions, in OpenAI's names.
fn tiny_weights() -> Vec<u8> {
    let (width, embedding, patch, image_tokens) = (64, 32, 32, 5);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("visual.conv1.weight".into(), vec![width, 3, patch, patch]),
        ("visual.class_embedding".into(), vec![width]),
        ("visual.positional_embedding".into(), vec![image_tokens, width]),
        ("visual.proj".into(), vec![width, embedding]),
        ("token_embedding.weight".into(), vec![49408, width]),
        ("positional_embedding".into(), vec![77, width]),
        ("text_projection".into(), vec![width, embedding]),
        ("logit_scale".into(), vec![]),
    ];
    for norm in ["visual.ln_pre", "visual.ln_post", "ln_final"] {
        shapes.push((format!("{norm}.weight"), vec![width]));
        shapes.push((format!("{norm}.bias"), vec![width]));
    }
    for block in ["visual.transformer.resblocks.0", "transformer.resblocks.0"] {
        for (name, shape) in [
            ("attn.in_proj_weight", vec![3 * width, width]),
            ("attn.in_proj_bias", vec![3 * width]),
            ("attn.out_proj.weight", vec![width, width]),
            ("attn.out_proj.bias", vec![width]),
            ("ln_1.weight", vec![width]),
            ("ln_1.bias", vec![width]),
            ("ln_2.weight", vec![width]),
            ("ln_2.bias", vec![width]),
            ("mlp.c_fc.weight", vec![4 * width, width]),
            ("mlp.c_fc.bias", vec![4 * width]),
            ("mlp.c_proj.weight", vec![width, 4 * width]),
            ("mlp.c_proj.bias", vec![width]),
        ] {
            shapes.push((format!("{block}.{name}"), shape));
        }
    }
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.1
    };
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = (0..shape.iter().product::<usize>()).flat_map(|_| next().to_le_bytes()).collect();
            (name, shape, values)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    serialize(views, None).unwrap()
}

#[test]
fn a_fresh_clone_is_told_which_files_are_missing_and_how_to_give_them() {
    let workspace = Workspace::new();
    workspace.copy("pipelines", "pipelines");
    let checked = workspace.pipe(&["check", "pipelines/nlst.toml"]);
    assert_eq!(checked.code, 2);
    insta::assert_snapshot!(checked.stderr);
}

#[test]
fn the_published_configuration_runs_on_phantom_tables_and_tiny_weights() {
    let workspace = Workspace::new();
    workspace.copy("pipelines", "pipelines");
    workspace.write(
        "make.toml",
        "[stage.train]\nuses = \"phantom\"\nparams = { patients = 12, stream = \"train\", shape = [72,72,36] }\n\
         [stage.test]\nuses = \"phantom\"\nparams = { patients = 6, stream = \"test\", shape = [72,72,36] }\n",
    );
    workspace.pipe_ok(&["run", "make.toml", "--cache", "make"]);
    // Scans are named in the tables against the pipeline's root, so both sets go to that folder.
    for stage in ["train", "test"] {
        workspace.pipe_ok(&[
            "get",
            "make.toml",
            &format!("{stage}.dataset"),
            "--to",
            stage,
            "--cache",
            "make",
        ]);
        let table = workspace.read(&format!("{stage}/dataset.csv"));
        workspace.write(&format!("{stage}.csv"), table.replace(",scans/", &format!(",{stage}/scans/")));
    }
    workspace.write("tiny.safetensors", tiny_weights());
    let arguments = [
        "run",
        "pipelines/nlst.toml",
        "--json",
        "--set",
        "dataset=train.csv",
        "--set",
        "test_dataset=test.csv",
        "--set",
        "weights=tiny.safetensors",
    ];
    let ran = workspace.pipe(&arguments);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.count("executed"), 18);
    let predictions = workspace.read("results/nlst/predictions.csv");
    let header = "pid,nodule_id,raw_0,raw_1,raw_2,raw_3,raw_4,ensemble,calibrated_0,calibrated_1,calibrated_2,\
                  calibrated_3,calibrated_4,calibrated_ensemble,malignant";
    assert_eq!(predictions.lines().next(), Some(header));
    assert_eq!(workspace.pipe(&arguments).count("executed"), 0);
}
