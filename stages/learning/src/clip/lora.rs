//! Low-rank adapters on the projections of attention (LoRA; SPEC section 4).
//!
//! An adapter adds `B·A·dropout(x) · alpha/√r` to a projection whose own weight stays as it is. The
//! reference splits the packed input projection into `q_proj`, `k_proj`, `v_proj` and calls the output
//! projection `proj`; the adapters carry those names, while the base tensors stay packed here.
//!
//! One trait of the reference is kept: at a dropout rate of 0 it adds the product to the weight before
//! the forward pass and takes it away again before the backward pass, so that no gradient passes
//! *through* an adapter to the layers below it. With dropout, and so by default, gradients are whole.

use candle_core::{D, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::architecture::Architecture;
use super::dropout::Dropout;
use super::linear::Linear;
use super::parameters::Parameters;
use super::{ModelError, Shapes};

/// Which blocks of a tower carry adapters, counted from the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Blocks 0 to 3.
    Bottom,
    /// Blocks 4 to 7.
    Mid,
    /// Blocks 8 to 11.
    Up,
    /// Blocks 0 to 5.
    HalfBottom,
    /// Blocks 6 to 11.
    HalfUp,
    /// Every block.
    #[default]
    All,
    /// Blocks 9 to 11.
    Top3,
}

impl Position {
    /// The name as written in parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bottom => "bottom",
            Self::Mid => "mid",
            Self::Up => "up",
            Self::HalfBottom => "half-bottom",
            Self::HalfUp => "half-up",
            Self::All => "all",
            Self::Top3 => "top3",
        }
    }

    /// Whether a block carries adapters.
    pub fn contains(self, block: usize) -> bool {
        match self {
            Self::Bottom => block <= 3,
            Self::Mid => (4..=7).contains(&block),
            Self::Up => (8..=11).contains(&block),
            Self::HalfBottom => block <= 5,
            Self::HalfUp => (6..=11).contains(&block),
            Self::All => true,
            Self::Top3 => (9..=11).contains(&block),
        }
    }
}

/// Which towers carry adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoder {
    /// The image tower.
    Vision,
    /// The text tower.
    Text,
    /// Both towers.
    #[default]
    Both,
}

/// A projection of attention that can carry an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Output.
    O,
}

impl Projection {
    /// The module's name in the reference's checkpoints.
    fn module(self) -> &'static str {
        match self {
            Self::Q => "q_proj",
            Self::K => "k_proj",
            Self::V => "v_proj",
            Self::O => "proj",
        }
    }
}

/// Everything about the adapters of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// Which blocks carry adapters.
    pub position: Position,
    /// Which towers carry adapters.
    pub encoder: Encoder,
    /// Which projections carry adapters.
    pub projections: Vec<Projection>,
    /// Rank r, at least 1.
    pub rank: usize,
    /// Numerator of the scaling alpha/√r.
    pub alpha: f64,
    /// Dropout rate of the adapters' input in training.
    pub dropout: f64,
}

impl LoraSettings {
    /// Name and shape of every adapter tensor.
    ///
    /// # Errors
    /// [`ModelError::NoAdapters`] when no block of the chosen towers is in the position.
    pub fn shapes(&self, architecture: &Architecture) -> Result<Shapes, ModelError> {
        let (vision, text) = (&architecture.vision, &architecture.text);
        let towers = [(Tower::Vision, vision.layers, vision.width), (Tower::Text, text.layers, text.width)];
        let mut shapes = Shapes::new();
        let mut deepest = 0;
        for (tower, layers, width) in towers {
            if !self.in_tower(tower) {
                continue;
            }
            deepest = deepest.max(layers);
            for block in (0..layers).filter(|&block| self.position.contains(block)) {
                for projection in &self.projections {
                    let name = format!("{}{block}.attn.{}", tower.blocks(), projection.module());
                    shapes.insert(format!("{name}.w_lora_A"), vec![self.rank, width]);
                    shapes.insert(format!("{name}.w_lora_B"), vec![width, self.rank]);
                }
            }
        }
        match shapes.is_empty() {
            true => Err(ModelError::NoAdapters { position: self.position.name(), layers: deepest }),
            false => Ok(shapes),
        }
    }

    /// What the product of an adapter is multiplied by, alpha/√r.
    pub fn scaling(&self) -> f64 {
        self.alpha / (self.rank as f64).sqrt()
    }

    /// Whether a tower may carry adapters.
    pub fn in_tower(&self, tower: Tower) -> bool {
        match tower {
            Tower::Vision => self.encoder != Encoder::Text,
            Tower::Text => self.encoder != Encoder::Vision,
        }
    }
}

/// One of the two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// That of the images.
    Vision,
    /// That of the texts.
    Text,
}

impl Tower {
    /// Prefix of the names of its blocks.
    pub fn blocks(self) -> &'static str {
        match self {
            Self::Vision => "vision_model.transformer.resblocks.",
            Self::Text => "transformer.resblocks.",
        }
    }
}

/// One adapter.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    /// Tells this adapter's dropout masks from others.
    name: String,
    /// (r, inputs)
    down: Linear,
    /// (outputs, r)
    up: Linear,
    scaling: f64,
    dropout: f64,
}

impl Adapter {
    /// What is to be added to the projection of `input` (…, inputs).
    pub(crate) fn forward(&self, input: &Tensor, dropout: Dropout<'_>) -> candle_core::Result<Tensor> {
        self.up.forward(&self.reduced(input, dropout)?)
    }

    /// The scaled values of low rank between both factors, (…, r).
    fn reduced(&self, input: &Tensor, dropout: Dropout<'_>) -> candle_core::Result<Tensor> {
        let input = match self.dropout > 0.0 {
            true => dropout.apply(input, self.dropout, &self.name)?,
            false => input.detach(),
        };
        self.down.forward(&input)? * self.scaling
    }
}

/// The adapters of one block's attention.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adapters {
    /// Queries, keys and values.
    pub(crate) inputs: [Option<Adapter>; 3],
    /// Output projection.
    pub(crate) output: Option<Adapter>,
}

impl Adapters {
    /// Takes the adapters of one block, none where the settings name none.
    pub(crate) fn take(
        parameters: &mut Parameters<'_>,
        settings: Option<&LoraSettings>,
        tower: Tower,
        block: usize,
        width: usize,
    ) -> Result<Self, ModelError> {
        let settings = settings.filter(|x| x.in_tower(tower) && x.position.contains(block));
        let Some(settings) = settings else { return Ok(Self::default()) };
        let mut take = |projection: Projection| -> Result<Option<Adapter>, ModelError> {
            if !settings.projections.contains(&projection) {
                return Ok(None);
            }
            let name = format!("{}{block}.attn.{}", tower.blocks(), projection.module());
            let down = parameters.take(&format!("{name}.w_lora_A"), &[settings.rank, width])?;
            let up = parameters.take(&format!("{name}.w_lora_B"), &[width, settings.rank])?;
            Ok(Some(Adapter {
                name,
                down: Linear::new(&down, None)?,
                up: Linear::new(&up, None)?,
                scaling: settings.scaling(),
                dropout: settings.dropout,
            }))
        };
        Ok(Self {
            inputs: [take(Projection::Q)?, take(Projection::K)?, take(Projection::V)?],
            output: take(Projection::O)?,
        })
    }
}

impl Adapters {
    /// What is to be added to queries, keys and values beside each other, (…, width) → (…, 3 · width); nothing where
    /// there are no such adapters.
    ///
    /// One product with the factors on a block diagonal: its zeros cost less than setting wide results side by side.
    pub(crate) fn packed(&self, input: &Tensor, dropout: Dropout<'_>) -> candle_core::Result<Option<Tensor>> {
        let (mut reduced, mut factors) = (Vec::new(), Vec::new());
        for (part, adapter) in self.inputs.iter().enumerate() {
            let Some(adapter) = adapter else { continue };
            let width = adapter.up.weight().dim(0)?;
            reduced.push(adapter.reduced(input, dropout)?);
            factors.push(adapter.up.weight().pad_with_zeros(0, part * width, (2 - part) * width)?);
        }
        if reduced.is_empty() {
            return Ok(None);
        }
        let (reduced, factors) = (Tensor::cat(&reduced, D::Minus1)?, Tensor::cat(&factors, 1)?);
        Linear::new(&factors, None)?.forward(&reduced).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::clip::functions::tests::{check_gradients, normals};
    use pipe_numerics::random::RandomKey;

    fn settings() -> LoraSettings {
        LoraSettings {
            position: Position::All,
            encoder: Encoder::Both,
            projections: vec![Projection::Q, Projection::O],
            rank: 3,
            alpha: 1.0,
            dropout: 0.0,
        }
    }

    #[test]
    fn positions_are_the_reference_block_sets() {
        let blocks = |position: Position| (0..12).filter(|&x| position.contains(x)).collect::<Vec<_>>();
        let table = [
            (Position::Bottom, 0..4),
            (Position::Mid, 4..8),
            (Position::Up, 8..12),
            (Position::HalfBottom, 0..6),
            (Position::HalfUp, 6..12),
            (Position::All, 0..12),
            (Position::Top3, 9..12),
        ];
        for (position, expected) in table {
            assert_eq!(blocks(position), expected.collect::<Vec<_>>(), "{position:?}");
            let json = serde_json::to_string(&position).expect("json");
            assert_eq!(json, format!("\"{}\"", position.name()));
        }
    }

    #[test]
    fn adapters_have_the_reference_names_and_shapes() {
        let mut settings = settings();
        settings.position = Position::Top3;
        settings.encoder = Encoder::Vision;
        let shapes = settings.shapes(&Architecture::default()).expect("shapes");
        assert_eq!(shapes.len(), 3 * 2 * 2);
        assert_eq!(shapes["vision_model.transformer.resblocks.11.attn.proj.w_lora_A"], [3, 768]);
        assert_eq!(shapes["vision_model.transformer.resblocks.9.attn.q_proj.w_lora_B"], [768, 3]);
    }

    #[test]
    fn a_position_beyond_the_tower_is_an_error() {
        let mut architecture = Architecture::default();
        architecture.vision.layers = 2;
        architecture.text.layers = 3;
        let mut settings = settings();
        settings.position = Position::Top3;
        let error = settings.shapes(&architecture).expect_err("no block").to_string();
        assert_eq!(error, "no block of the chosen towers (3 layers) is in position `top3`");
    }

    /// An adapter of these factors and dropout rate.
    fn adapter(down: &Tensor, up: &Tensor, dropout: f64) -> Adapter {
        Adapter {
            name: "adapter".into(),
            down: Linear::new(down, None).expect("down"),
            up: Linear::new(up, None).expect("up"),
            scaling: 0.7,
            dropout,
        }
    }

    #[test]
    fn with_dropout_gradients_pass_through_an_adapter_and_are_whole() {
        let tensors = [normals("input", &[2, 3, 6]), normals("down", &[2, 6]), normals("up", &[5, 2])];
        let key = RandomKey::new(1, "test");
        check_gradients(&tensors, |x| adapter(&x[1], &x[2], 0.25).forward(&x[0], Dropout::on(&key)));
    }

    #[test]
    fn packed_adapters_are_single_ones_beside_each_other() {
        let (input, width) = (normals("input", &[2, 3, 6]), 6);
        let [query, value] = ["query", "value"].map(|name| {
            let down = normals(&format!("{name} down"), &[2, width]);
            Adapter { name: name.into(), ..adapter(&down, &normals(name, &[width, 2]), 0.25) }
        });
        let key = RandomKey::new(1, "test");
        let single = |adapter: &Adapter| adapter.forward(&input, Dropout::on(&key)).expect("adapted");
        let between = input.zeros_like().expect("zeros");
        let expected = Tensor::cat(&[single(&query), between, single(&value)], 2).expect("parts");
        let adapters = Adapters { inputs: [Some(query), None, Some(value)], output: None };
        let found = adapters.packed(&input, Dropout::on(&key)).expect("packed").expect("adapters");
        assert_eq!(found.dims(), expected.dims());
        let flat = |tensor: &Tensor| tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values");
        for (found, expected) in flat(&found).iter().zip(flat(&expected)) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert!(Adapters::default().packed(&input, Dropout::off()).expect("nothing").is_none());
    }

    #[test]
    fn without_dropout_no_gradient_passes_through_an_adapter() {
        let variable = |name, shape: &[usize]| Var::from_tensor(&normals(name, shape)).expect("variable");
        let (input, down, up) =
            (variable("input", &[3, 6]), variable("down", &[2, 6]), variable("up", &[5, 2]));
        let output = adapter(&down, &up, 0.0).forward(&input, Dropout::off()).expect("forward");
        let gradients = output.sum_all().expect("sum").backward().expect("backward");
        assert!(gradients.get(&input).is_none());
        assert!(gradients.get(&down).is_some() && gradients.get(&up).is_some());
    }
}
