//! The towers' forward pass against candle-transformers' CLIP, on random weights.

mod common;

use std::collections::HashMap;

use candle_core::{DType, Device, Module as _, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig, ClipTextTransformer};
use candle_transformers::models::clip::vision_model::{ClipVisionConfig, ClipVisionTransformer};
use common::{relative, values};
use pipe_learning::clip::architecture::{Architecture, TextArchitecture, VisionArchitecture};
use pipe_learning::clip::dropout::Dropout;
use pipe_learning::clip::model::Model;
use pipe_learning::clip::text::Tokens;
use pipe_learning::clip::{Tensors, initialise};
use pipe_learning::training::parameters::TrainParameters;
use pipe_numerics::random::RandomKey;

fn architecture() -> Architecture {
    Architecture {
        vision: VisionArchitecture { width: 128, layers: 3, patch: 8, resolution: 32 },
        text: TextArchitecture { width: 64, layers: 2, vocabulary: 50, context: 11 },
        embedding: 24,
    }
}

/// Hugging Face's name of a block's tensor.
fn block_name(name: &str) -> String {
    [
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The tensors of a tower in Hugging Face's layout, queries, keys and values apart.
fn renamed(tensors: &Tensors, prefix: &str, outside: &[(&str, &str)]) -> VarBuilder<'static> {
    let mut renamed = HashMap::new();
    for (from, to) in outside {
        renamed.insert((*to).to_owned(), tensors[*from].clone());
    }
    for (name, tensor) in tensors {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        match name.split_once("attn.in_proj_") {
            Some((block, kind)) => {
                let parts = tensor.chunk(3, 0).expect("parts");
                for (part, letter) in parts.into_iter().zip(["q", "k", "v"]) {
                    renamed.insert(format!("encoder.layers.{block}self_attn.{letter}_proj.{kind}"), part);
                }
            }
            None => drop(renamed.insert(format!("encoder.layers.{}", block_name(name)), tensor.clone())),
        }
    }
    VarBuilder::from_tensors(renamed, DType::F32, &Device::Cpu)
}

fn random(shape: &[usize]) -> Tensor {
    let mut generator = RandomKey::new(2, "test").generator();
    let count = shape.iter().product();
    let values: Vec<f32> = std::iter::repeat_with(|| generator.normal() as f32).take(count).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor")
}

/// Random towers in which nothing, norms and biases included, has a neutral value.
fn towers() -> Tensors {
    let mut towers = initialise::towers(&architecture(), &RandomKey::new(1, "test")).expect("towers");
    for tensor in towers.values_mut().filter(|tensor| tensor.rank() == 1) {
        *tensor = (&*tensor + (random(tensor.dims()) * 0.1).expect("noise")).expect("sum");
    }
    towers
}

fn model(towers: &Tensors) -> Model {
    let settings = TrainParameters::default().model_settings();
    let added = settings.initial(&architecture(), 0.07, &RandomKey::new(1, "test")).expect("added");
    Model::frozen(&architecture(), &settings, towers, &added, &Device::Cpu).expect("model")
}

#[test]
fn the_image_tower_agrees() {
    let (towers, vision) = (towers(), architecture().vision);
    let config = ClipVisionConfig {
        embed_dim: vision.width,
        activation: Activation::QuickGelu,
        intermediate_size: 4 * vision.width,
        num_hidden_layers: vision.layers,
        num_attention_heads: vision.width / 64,
        projection_dim: 24,
        num_channels: 3,
        image_size: vision.resolution,
        patch_size: vision.patch,
    };
    let outside = [
        ("vision_model.class_embedding", "embeddings.class_embedding"),
        ("vision_model.conv1.weight", "embeddings.patch_embedding.weight"),
        ("vision_model.positional_embedding", "embeddings.position_embedding.weight"),
        ("vision_model.ln_pre.weight", "pre_layrnorm.weight"),
        ("vision_model.ln_pre.bias", "pre_layrnorm.bias"),
        ("vision_model.ln_post.weight", "post_layernorm.weight"),
        ("vision_model.ln_post.bias", "post_layernorm.bias"),
    ];
    let weights = renamed(&towers, "vision_model.transformer.resblocks.", &outside);
    let oracle = ClipVisionTransformer::new(weights, &config).expect("oracle");
    let images = random(&[2, 3, vision.resolution, vision.resolution]);
    let expected =
        oracle.forward(&images).expect("pooled").matmul(&towers["vision_model.proj"]).expect("out");
    let found = model(&towers).image_tower(&images, Dropout::off()).expect("embedded");
    let difference = relative(&values(&found), &values(&expected));
    assert!(difference < 1e-5, "{difference:e}");
}

#[test]
fn the_text_tower_agrees() {
    let (towers, text) = (towers(), architecture().text);
    let config = ClipTextConfig {
        vocab_size: text.vocabulary,
        embed_dim: text.width,
        activation: Activation::QuickGelu,
        intermediate_size: 4 * text.width,
        max_position_embeddings: text.context,
        pad_with: None,
        num_hidden_layers: text.layers,
        num_attention_heads: text.width / 64,
        projection_dim: 24,
    };
    let outside = [
        ("token_embedding.weight", "embeddings.token_embedding.weight"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("ln_final.weight", "final_layer_norm.weight"),
        ("ln_final.bias", "final_layer_norm.bias"),
    ];
    let weights = renamed(&towers, "transformer.resblocks.", &outside);
    let oracle = ClipTextTransformer::new(weights, &config).expect("oracle");
    let texts = [[48, 3, 17, 49, 0, 0, 0, 0, 0, 0, 0], [48, 9, 9, 8, 7, 6, 5, 4, 3, 2, 49]];
    let ids = Tensor::new(&texts.map(|text| text.map(|id: u32| id)), &Device::Cpu).expect("ids");
    let expected = oracle.forward(&ids).expect("pooled").matmul(&towers["text_projection"]).expect("out");
    let tokens = Tokens::new(&texts, &text, &Device::Cpu).expect("tokens");
    let found = model(&towers).text_tower(&tokens, Dropout::off()).expect("embedded");
    let difference = relative(&values(&found), &values(&expected));
    assert!(difference < 1e-5, "{difference:e}");
}
