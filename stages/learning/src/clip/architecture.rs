//! Dimensions of a CLIP model, given or read from its weights, and the tensors that they imply.
//!
//! Names are the reference's: OpenAI's, with `vision_model.` for `visual.`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ModelError, Shapes, Tensors};

/// Width of one attention head in every CLIP model.
pub const HEAD_WIDTH: usize = 64;
/// Colour channels of an image.
pub const CHANNELS: usize = 3;
/// Largest value of any dimension; real ones are far below.
const LARGEST: usize = 1 << 20;

/// Dimensions of a CLIP model; the default is ViT-B/32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Architecture {
    /// The image tower.
    pub vision: VisionArchitecture,
    /// The text tower.
    pub text: TextArchitecture,
    /// Number of values that both towers project to.
    pub embedding: usize,
}

impl Default for Architecture {
    fn default() -> Self {
        Self { vision: VisionArchitecture::default(), text: TextArchitecture::default(), embedding: 512 }
    }
}

/// Dimensions of the image tower; the default is ViT-B/32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VisionArchitecture {
    /// Width of the residual stream, a multiple of 64; there are width/64 heads.
    pub width: usize,
    /// Number of residual blocks.
    pub layers: usize,
    /// Edge of a patch in pixels.
    pub patch: usize,
    /// Edge of an image in pixels, a multiple of `patch`.
    pub resolution: usize,
}

impl Default for VisionArchitecture {
    fn default() -> Self {
        Self { width: 768, layers: 12, patch: 32, resolution: 224 }
    }
}

impl VisionArchitecture {
    /// Patches along one edge of an image.
    pub fn grid(&self) -> usize {
        self.resolution / self.patch.max(1)
    }

    /// Number of tokens of an image: one per patch and the class token.
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid() + 1
    }
}

/// Dimensions of the text tower; the default is ViT-B/32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TextArchitecture {
    /// Width of the residual stream, a multiple of 64; there are width/64 heads.
    pub width: usize,
    /// Number of residual blocks.
    pub layers: usize,
    /// Number of tokens that exist.
    pub vocabulary: usize,
    /// Number of tokens of a text.
    pub context: usize,
}

impl Default for TextArchitecture {
    fn default() -> Self {
        Self { width: 512, layers: 12, vocabulary: 49_408, context: 77 }
    }
}

impl Architecture {
    /// Reads the dimensions from the shapes of base tensors (reference names).
    ///
    /// Only the tensors that tell a dimension are looked at; [`Architecture::base_shapes`] then says
    /// what every tensor must be.
    ///
    /// # Errors
    /// [`ModelError::Missing`] or [`ModelError::Shape`] for a telling tensor, and those of
    /// [`Architecture::check`].
    pub fn from_tensors(tensors: &Tensors) -> Result<Self, ModelError> {
        let [vision_width, _, patch, _] = dims(tensors, "vision_model.conv1.weight")?;
        let [image_tokens, _] = dims(tensors, "vision_model.positional_embedding")?;
        let [text_width, embedding] = dims(tensors, "text_projection")?;
        let [vocabulary, _] = dims(tensors, "token_embedding.weight")?;
        let [context, _] = dims(tensors, "positional_embedding")?;
        let grid = image_tokens.saturating_sub(1).isqrt();
        let architecture = Self {
            vision: VisionArchitecture {
                width: vision_width,
                layers: layers(tensors, "vision_model.transformer.resblocks."),
                patch,
                resolution: patch.saturating_mul(grid),
            },
            text: TextArchitecture {
                width: text_width,
                layers: layers(tensors, "transformer.resblocks."),
                vocabulary,
                context,
            },
            embedding,
        };
        architecture.check()?;
        Ok(architecture)
    }

    /// Checks that the dimensions are possible.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] naming the first impossible dimension.
    pub fn check(&self) -> Result<(), ModelError> {
        match self.problems().into_iter().next() {
            Some(what) => Err(ModelError::Architecture { what }),
            None => Ok(()),
        }
    }

    /// Everything that is impossible about the dimensions, each as one fragment of text.
    pub fn problems(&self) -> Vec<String> {
        let Self { vision, text, embedding } = self;
        let ranges = [
            ("vision.width", vision.width),
            ("vision.layers", vision.layers),
            ("vision.patch", vision.patch),
            ("vision.resolution", vision.resolution),
            ("text.width", text.width),
            ("text.layers", text.layers),
            ("text.vocabulary", text.vocabulary),
            ("text.context", text.context),
            ("embedding", *embedding),
        ];
        let mut problems: Vec<String> = ranges
            .iter()
            .filter(|(_, value)| !(1..=LARGEST).contains(value))
            .map(|(name, value)| format!("{name} is {value}, not between 1 and {LARGEST}"))
            .collect();
        for (name, width) in [("vision.width", vision.width), ("text.width", text.width)] {
            if width % HEAD_WIDTH != 0 {
                problems.push(format!("{name} is {width}, not a multiple of {HEAD_WIDTH}"));
            }
        }
        if vision.patch > 0 && vision.resolution % vision.patch != 0 {
            let (resolution, patch) = (vision.resolution, vision.patch);
            problems
                .push(format!("vision.resolution {resolution} is not a multiple of vision.patch {patch}"));
        }
        problems
    }

    /// Name and shape of every tensor of the two towers. CLIP's own `logit_scale` is not among them:
    /// training starts its own.
    pub fn base_shapes(&self) -> Shapes {
        let Self { vision, text, embedding } = self;
        let mut shapes = Shapes::new();
        let mut add = |name: &str, shape: &[usize]| shapes.insert(name.to_owned(), shape.to_vec());
        add("vision_model.conv1.weight", &[vision.width, CHANNELS, vision.patch, vision.patch]);
        add("vision_model.class_embedding", &[vision.width]);
        add("vision_model.positional_embedding", &[vision.tokens(), vision.width]);
        add("vision_model.proj", &[vision.width, *embedding]);
        add("token_embedding.weight", &[text.vocabulary, text.width]);
        add("positional_embedding", &[text.context, text.width]);
        add("text_projection", &[text.width, *embedding]);
        for (norm, width) in [
            ("vision_model.ln_pre", vision.width),
            ("vision_model.ln_post", vision.width),
            ("ln_final", text.width),
        ] {
            add(&format!("{norm}.weight"), &[width]);
            add(&format!("{norm}.bias"), &[width]);
        }
        add_blocks(&mut shapes, "vision_model.transformer.resblocks.", vision.layers, vision.width);
        add_blocks(&mut shapes, "transformer.resblocks.", text.layers, text.width);
        shapes
    }
}

/// Adds the tensors of `layers` residual blocks.
fn add_blocks(shapes: &mut Shapes, prefix: &str, layers: usize, width: usize) {
    for layer in 0..layers {
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
            shapes.insert(format!("{prefix}{layer}.{name}"), shape);
        }
    }
}

/// The shape of a tensor that must be there with a given rank.
fn dims<const RANK: usize>(tensors: &Tensors, name: &str) -> Result<[usize; RANK], ModelError> {
    let tensor = tensors.get(name).ok_or_else(|| ModelError::Missing { name: name.to_owned() })?;
    <[usize; RANK]>::try_from(tensor.dims()).map_err(|_| ModelError::Shape {
        name: name.to_owned(),
        found: tensor.dims().to_vec(),
        expected: vec![0; RANK],
    })
}

/// One more than the largest block number after `prefix`. A gap shows later as a missing tensor.
fn layers(tensors: &Tensors, prefix: &str) -> usize {
    let numbers = tensors.keys().filter_map(|name| {
        let number = name.strip_prefix(prefix)?.split('.').next()?;
        number.parse::<usize>().ok().filter(|&number| number < LARGEST)
    });
    numbers.max().map_or(0, |largest| largest + 1)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    fn tiny() -> Architecture {
        Architecture {
            vision: VisionArchitecture { width: 128, layers: 3, patch: 16, resolution: 64 },
            text: TextArchitecture { width: 64, layers: 2, vocabulary: 90, context: 12 },
            embedding: 32,
        }
    }

    fn zeros(shapes: Shapes) -> Tensors {
        let zeros = |shape: Vec<usize>| Tensor::zeros(shape, DType::F32, &Device::Cpu).expect("zeros");
        shapes.into_iter().map(|(name, shape)| (name, zeros(shape))).collect()
    }

    #[test]
    fn dimensions_are_read_back_from_the_tensors_they_imply() {
        let tensors = zeros(tiny().base_shapes());
        assert_eq!(Architecture::from_tensors(&tensors).expect("architecture"), tiny());
    }

    #[test]
    fn vit_b_32_has_its_known_number_of_parameters() {
        let shapes = Architecture::default().base_shapes();
        let count: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
        // OpenAI's ViT-B/32 has 151,277,313 parameters, one of them logit_scale.
        assert_eq!(count, 151_277_312);
    }

    #[test]
    fn telling_tensors_are_required_with_their_rank() {
        let mut tensors = zeros(tiny().base_shapes());
        let flat = tensors["text_projection"].flatten_all().expect("flat");
        tensors.insert("text_projection".into(), flat);
        let error = Architecture::from_tensors(&tensors).expect_err("rank").to_string();
        assert!(error.contains("text_projection"), "{error}");
        tensors.remove("text_projection");
        let error = Architecture::from_tensors(&tensors).expect_err("missing").to_string();
        assert_eq!(error, "tensor `text_projection` is missing");
    }

    #[test]
    fn impossible_dimensions_are_named() {
        let mut architecture = tiny();
        architecture.vision.width = 100;
        architecture.vision.resolution = 70;
        architecture.text.layers = 0;
        let problems = architecture.problems().join("; ");
        for part in ["vision.width is 100", "vision.resolution 70", "text.layers is 0"] {
            assert!(problems.contains(part), "{problems}");
        }
    }
}
