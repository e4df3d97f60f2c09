//! Seeded initial values, drawn on the host.
//!
//! Each tensor has its own stream, named by the tensor, so that adding one changes no other. The rules
//! are those of SPEC section 4 for heads and adapters, and of OpenAI's CLIP for towers without weights.

use candle_core::{Device, Tensor};

use super::architecture::{Architecture, CHANNELS};
use super::heads::HeadSettings;
use super::lora::LoraSettings;
use super::{ModelError, Shapes, Tensors};
use pipe_numerics::random::{Generator, RandomKey};

/// Distribution of a tensor's initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in [−bound, bound).
    Uniform(f64),
}

/// Initial heads, classifiers and temperature: Kaiming-normal for projection, fc and attention weights,
/// PyTorch's default elsewhere, `logit_scale` = ln(1/tau).
///
/// # Errors
/// The tensors do not fit in memory.
pub fn heads(
    embedding: usize,
    settings: &HeadSettings,
    tau: f64,
    key: &RandomKey,
) -> Result<Tensors, ModelError> {
    let shapes = settings.shapes(embedding);
    let mut tensors = draw(&shapes, key, |name| head_rule(name, &shapes))?;
    let scale = libm::log(1.0 / tau) as f32;
    tensors.insert("logit_scale".into(), Tensor::new(scale, &Device::Cpu)?);
    Ok(tensors)
}

/// Initial adapters: A Kaiming-uniform (a = √5), B zero.
///
/// # Errors
/// No block is in the settings' position.
pub fn adapters(
    architecture: &Architecture,
    settings: &LoraSettings,
    key: &RandomKey,
) -> Result<Tensors, ModelError> {
    let shapes = settings.shapes(architecture)?;
    draw(&shapes, key, |name| match name.ends_with("w_lora_A") {
        true => Rule::Uniform(inverse_root(inputs(&shapes, name))),
        false => Rule::Constant(0.0),
    })
}

/// Towers with random weights, initialised as OpenAI's CLIP is before its training.
///
/// # Errors
/// Impossible dimensions.
pub fn towers(architecture: &Architecture, key: &RandomKey) -> Result<Tensors, ModelError> {
    architecture.check()?;
    let shapes = architecture.base_shapes();
    draw(&shapes, key, |name| match name.strip_prefix("vision_model.") {
        Some(part) => vision_rule(part, architecture),
        None => text_rule(name, architecture),
    })
}

/// Draws every tensor by its rule.
fn draw(shapes: &Shapes, key: &RandomKey, rule: impl Fn(&str) -> Rule) -> Result<Tensors, ModelError> {
    let draw_one = |(name, shape): (&String, &Vec<usize>)| -> Result<(String, Tensor), ModelError> {
        let mut generator = key.clone().text("initialise", name).generator();
        let count = shape.iter().product();
        let values = values(rule(name), count, &mut generator);
        Ok((name.clone(), Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?))
    };
    shapes.iter().map(draw_one).collect()
}

fn values(rule: Rule, count: usize, generator: &mut Generator) -> Vec<f32> {
    let value = || match rule {
        Rule::Constant(value) => value as f32,
        Rule::Normal(deviation) => (deviation * generator.normal()) as f32,
        Rule::Uniform(bound) => generator.uniform_between(-bound, bound) as f32,
    };
    std::iter::repeat_with(value).take(count).collect()
}

/// Number of inputs of the affine map that a tensor belongs to; a bias follows its weight.
fn inputs(shapes: &Shapes, name: &str) -> usize {
    let weight = match name.strip_suffix(".bias") {
        Some(map) => format!("{map}.weight"),
        None => name.to_owned(),
    };
    shapes.get(&weight).and_then(|shape| shape.get(1)).copied().unwrap_or(1)
}

fn inverse_root(count: usize) -> f64 {
    1.0 / (count as f64).sqrt()
}

fn head_rule(name: &str, shapes: &Shapes) -> Rule {
    let inputs = inputs(shapes, name);
    if name.contains("layer_norm") {
        Rule::Constant(if name.ends_with("weight") { 1.0 } else { 0.0 })
    } else if name.ends_with(".weight") && !name.starts_with("classifier") {
        Rule::Normal((2.0 / inputs as f64).sqrt())
    } else {
        Rule::Uniform(inverse_root(inputs))
    }
}

/// What both towers have in common: layer norms, and zero biases of attention.
fn shared_rule(name: &str) -> Option<Rule> {
    let constant = |value| Some(Rule::Constant(value));
    match name.rsplit_once('.') {
        _ if name.ends_with("attn.in_proj_bias") || name.ends_with("out_proj.bias") => constant(0.0),
        Some((module, kind)) if module.rsplit('.').next().is_some_and(|x| x.starts_with("ln_")) => {
            constant(if kind == "weight" { 1.0 } else { 0.0 })
        }
        _ => None,
    }
}

/// PyTorch's defaults within the blocks, `width^−½` normal for the embeddings.
fn vision_rule(name: &str, architecture: &Architecture) -> Rule {
    let (width, patch) = (architecture.vision.width, architecture.vision.patch);
    if let Some(rule) = shared_rule(name) {
        return rule;
    }
    match name {
        "conv1.weight" => Rule::Uniform(inverse_root(CHANNELS * patch * patch)),
        "class_embedding" | "positional_embedding" | "proj" => Rule::Normal(inverse_root(width)),
        // Xavier-uniform of a (3 width, width) matrix.
        _ if name.ends_with("in_proj_weight") => Rule::Uniform((6.0 / (4 * width) as f64).sqrt()),
        _ if name.contains("mlp.c_proj.") => Rule::Uniform(inverse_root(4 * width)),
        _ => Rule::Uniform(inverse_root(width)),
    }
}

/// Normal values that shrink with depth, as in GPT-2.
fn text_rule(name: &str, architecture: &Architecture) -> Rule {
    let (width, layers) = (architecture.text.width, architecture.text.layers);
    if let Some(rule) = shared_rule(name) {
        return rule;
    }
    let residual = Rule::Normal(inverse_root(width) * inverse_root(2 * layers));
    match name {
        "token_embedding.weight" => Rule::Normal(0.02),
        "positional_embedding" => Rule::Normal(0.01),
        _ if name.ends_with("in_proj_weight") || name == "text_projection" => {
            Rule::Normal(inverse_root(width))
        }
        _ if name.ends_with("out_proj.weight") || name.ends_with("c_proj.weight") => residual,
        _ if name.ends_with("c_fc.weight") => Rule::Normal(inverse_root(2 * width)),
        _ if name.ends_with("c_proj.bias") => Rule::Uniform(inverse_root(4 * width)),
        _ => Rule::Uniform(inverse_root(width)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::architecture::{TextArchitecture, VisionArchitecture};

    fn spread(tensor: &Tensor) -> (f64, f64) {
        let values = tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
        let square = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
        (square.sqrt(), values.iter().fold(0.0, |a: f64, &b| a.max(f64::from(b).abs())))
    }

    #[test]
    fn heads_spread_as_the_reference_heads_do() {
        let settings = HeadSettings { out_dim: 256, dropout: 0.1 };
        let tensors = heads(512, &settings, 0.07, &RandomKey::new(1, "train")).expect("heads");
        let expected = [
            ("image_projection.projector.0.weight", (2.0f64 / 512.0).sqrt()),
            ("image_projection.attention.0.weight", (2.0f64 / 256.0).sqrt()),
            ("semantic_projection.fc.weight", (2.0f64 / 256.0).sqrt()),
            ("classifier_image.weight", 1.0 / (3.0f64 * 256.0).sqrt()),
            ("image_projection.projector.0.bias", 1.0 / (3.0f64 * 512.0).sqrt()),
        ];
        for (name, deviation) in expected {
            let (found, _) = spread(&tensors[name]);
            assert!((found / deviation - 1.0).abs() < 0.12, "{name}: {found} against {deviation}");
        }
        let (_, largest) = spread(&tensors["classifier_text.weight"]);
        assert!(largest <= 1.0 / 16.0);
        let scale: f32 = tensors["logit_scale"].to_scalar().expect("scalar");
        assert!((scale.exp() * 0.07 - 1.0).abs() < 1e-6, "{scale}");
        assert_eq!(tensors.len(), settings.shapes(512).len() + 1);
    }

    #[test]
    fn towers_have_every_tensor_and_depend_on_the_key_only() {
        let architecture = Architecture {
            vision: VisionArchitecture { width: 64, layers: 2, patch: 8, resolution: 16 },
            text: TextArchitecture { width: 64, layers: 2, vocabulary: 50, context: 9 },
            embedding: 16,
        };
        let make = |seed| towers(&architecture, &RandomKey::new(seed, "train")).expect("towers");
        let tensors = make(1);
        let shapes: Shapes = tensors.iter().map(|(name, x)| (name.clone(), x.dims().to_vec())).collect();
        assert_eq!(shapes, architecture.base_shapes());
        let name = "transformer.resblocks.1.mlp.c_proj.weight";
        let values = |x: &Tensors| x[name].flatten_all().expect("flat").to_vec1::<f32>().expect("values");
        assert_eq!(values(&tensors), values(&make(1)));
        assert_ne!(values(&tensors), values(&make(2)));
        let (deviation, _) = spread(&tensors[name]);
        assert!((deviation / (0.125 * 0.5) - 1.0).abs() < 0.05, "{deviation}");
        assert_eq!(spread(&tensors["ln_final.weight"]).0, 1.0);
        assert_eq!(spread(&tensors["vision_model.ln_pre.bias"]).0, 0.0);
        assert_eq!(spread(&tensors["vision_model.transformer.resblocks.0.attn.out_proj.bias"]).0, 0.0);
    }
}
