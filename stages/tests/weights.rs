//! Weight files: three formats of one model, and files that must be refused.

mod common;

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use common::{fixture, values};
use pipe_stages::clip::weights::{read_tensors, read_towers, to_safetensors};

fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn refused(path: &Path) -> String {
    message(&read_towers(path).expect_err("refused"))
}

#[test]
fn three_formats_give_the_same_towers() {
    let towers = common::towers();
    assert_eq!((towers.architecture.vision.width, towers.architecture.vision.layers), (64, 2));
    assert_eq!((towers.architecture.vision.patch, towers.architecture.vision.resolution), (32, 224));
    assert_eq!((towers.architecture.text.width, towers.architecture.text.layers), (64, 2));
    assert_eq!((towers.architecture.text.vocabulary, towers.architecture.text.context), (600, 77));
    assert_eq!(towers.architecture.embedding, 512);
    for name in ["clip_tiny.pt", "clip_tiny.jit.pt"] {
        let other = read_towers(&fixture(name)).expect(name);
        assert_eq!(other.architecture, towers.architecture, "{name}");
        assert!(other.tensors.keys().eq(towers.tensors.keys()), "{name}");
        for (tensor, expected) in other.tensors.iter().zip(towers.tensors.values()) {
            assert_eq!(values(tensor.1), values(expected), "{name} {}", tensor.0);
        }
    }
}

#[test]
fn raw_files_keep_their_own_names() {
    let tensors = read_tensors(&fixture("clip_tiny.pt")).expect("tensors");
    assert_eq!(tensors.len(), 62);
    assert!(tensors.contains_key("visual.conv1.weight") && tensors.contains_key("logit_scale"));
}

#[test]
fn wrong_towers_are_refused_by_file_and_tensor() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("towers.safetensors");
    let whole = read_tensors(&fixture("clip_tiny.safetensors")).expect("tensors");
    let refused_with = |change: &dyn Fn(&mut pipe_stages::clip::Tensors)| {
        let mut tensors = whole.clone();
        change(&mut tensors);
        fs::write(&path, to_safetensors(&tensors).expect("bytes")).expect("written");
        refused(&path)
    };
    let small = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).expect("zeros");
    let name = "transformer.resblocks.1.attn.in_proj_bias";
    let table: [(&str, String); 4] = [
        ("tensor `ln_final.bias` is missing", refused_with(&|x| drop(x.remove("ln_final.bias")))),
        (
            "tensor `transformer.resblocks.1.attn.in_proj_bias` has shape [3], expected [192]",
            refused_with(&|x| drop(x.insert(name.into(), small.clone()))),
        ),
        (
            "1 tensors have no place in the model, the first is `classifier.bias`",
            refused_with(&|x| drop(x.insert("classifier.bias".into(), small.clone()))),
        ),
        (
            "tensor `vision_model.conv1.weight` is missing",
            refused_with(&|x| x.retain(|name, _| !name.starts_with("visual"))),
        ),
    ];
    for (expected, found) in table {
        assert!(found.contains("towers.safetensors") && found.ends_with(expected), "{found}");
    }
}

#[test]
fn damaged_files_are_errors_and_not_panics() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("damaged.pt");
    for name in ["clip_tiny.pt", "clip_tiny.jit.pt", "clip_tiny.safetensors"] {
        let bytes = fs::read(fixture(name)).expect("fixture");
        for length in [0, 3, 4, 100, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).expect("written");
            assert!(refused(&path).contains("damaged.pt"), "{name} cut to {length}");
        }
        // Damage in the description of the tensors: never a panic, whatever it turns into.
        for at in (0..bytes.len().min(8000)).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            fs::write(&path, damaged).expect("written");
            let _ = read_towers(&path);
        }
    }
    assert!(refused(&folder.path().join("absent.pt")).contains("cannot be read"));
}
