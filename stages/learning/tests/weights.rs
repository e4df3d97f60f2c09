//! Weight files: three formats of one model, and files that must be refused.

mod common;

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use common::{fixture, values};
use pipe_learning::clip::Tensors;
use pipe_learning::clip::weights::{read_tensors, read_towers, to_safetensors};

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

/// Hugging Face's names and layout of towers under the reference's.
fn hugging_face(towers: &Tensors) -> Tensors {
    let mut renamed = Tensors::new();
    for (name, tensor) in towers {
        let (tower, part) = match name.strip_prefix("vision_model.") {
            Some(part) => ("vision_model.", part),
            None => ("text_model.", name.as_str()),
        };
        if let Some(part) = part.strip_prefix("transformer.resblocks.") {
            let (block, part) = part.split_once('.').expect("a block");
            let block = format!("{tower}encoder.layers.{block}.");
            match part.strip_prefix("attn.in_proj_") {
                Some(kind) => {
                    for (part, letter) in tensor.chunk(3, 0).expect("parts").into_iter().zip(["q", "k", "v"])
                    {
                        renamed.insert(format!("{block}self_attn.{letter}_proj.{kind}"), part);
                    }
                }
                None => {
                    let part = part
                        .replace("attn.out_proj", "self_attn.out_proj")
                        .replace("ln_", "layer_norm")
                        .replace("mlp.c_fc", "mlp.fc1")
                        .replace("mlp.c_proj", "mlp.fc2");
                    renamed.insert(format!("{block}{part}"), tensor.clone());
                }
            }
            continue;
        }
        let name = match part {
            "token_embedding.weight" => "text_model.embeddings.token_embedding.weight",
            "positional_embedding" => &format!("{tower}embeddings.position_embedding.weight"),
            "class_embedding" => "vision_model.embeddings.class_embedding",
            "conv1.weight" => "vision_model.embeddings.patch_embedding.weight",
            "proj" => "visual_projection.weight",
            "text_projection" => "text_projection.weight",
            other => {
                let norm = other.replace("ln_pre", "pre_layrnorm").replace("ln_post", "post_layernorm");
                &format!("{tower}{}", norm.replace("ln_final", "final_layer_norm"))
            }
        };
        let tensor =
            if name.ends_with("projection.weight") { tensor.t().expect("matrix") } else { tensor.clone() };
        renamed.insert(name.to_owned(), tensor);
    }
    renamed
}

#[test]
fn hugging_faces_names_give_the_same_towers() {
    let towers = common::towers();
    let mut renamed = hugging_face(&towers.tensors);
    renamed.insert("logit_scale".into(), Tensor::new(2.6_f32, &Device::Cpu).expect("scale"));
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("model.safetensors");
    let write =
        |tensors: &Tensors| fs::write(&path, to_safetensors(tensors).expect("bytes")).expect("written");
    write(&renamed);
    let found = read_towers(&path).expect("towers");
    assert_eq!(found.architecture, towers.architecture);
    for ((name, tensor), (other, expected)) in found.tensors.iter().zip(&towers.tensors) {
        assert_eq!((name, values(tensor)), (other, values(expected)));
    }
    let keys = "vision_model.encoder.layers.1.self_attn.k_proj.bias";
    let without = renamed.remove(keys).expect("there");
    write(&renamed);
    assert!(refused(&path).contains(&format!("tensor `{keys}` is missing")), "{}", refused(&path));
    renamed.insert(keys.into(), without);
    renamed.insert("text_model.pooler.weight".into(), Tensor::new(&[1.0_f32], &Device::Cpu).expect("odd"));
    write(&renamed);
    assert!(refused(&path).contains("`text_model.pooler.weight`"), "{}", refused(&path));
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
    let refused_with = |change: &dyn Fn(&mut pipe_learning::clip::Tensors)| {
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
