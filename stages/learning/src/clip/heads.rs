//! The heads on the two towers: attention over nine slices, and a projection of the text.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use super::elementary::{gelu, tanh};
use super::functions::{LayerNorm, relu, softmax};
use super::linear::Linear;
use super::parameters::Parameters;
use super::product::matmul;
use super::{ModelError, Shapes};

/// Number of classes: benign and malignant.
pub const CLASSES: usize = 2;

/// Dimensions and dropout of the heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadSettings {
    /// Width of both heads' output (256 in the reference), even: the attention's hidden layer is half.
    pub out_dim: usize,
    /// Dropout rate of the text head in training.
    pub dropout: f64,
}

impl HeadSettings {
    /// Name and shape of every tensor of the heads and classifiers.
    pub fn shapes(&self, embedding: usize) -> Shapes {
        let out = self.out_dim;
        let affine = [
            ("image_projection.projector.0", out, embedding),
            ("image_projection.attention.0", out / 2, out),
            ("image_projection.attention.2", 1, out / 2),
            ("semantic_projection.projection", out, embedding),
            ("semantic_projection.fc", out, out),
            ("classifier_image", CLASSES, out),
            ("classifier_text", CLASSES, out),
        ];
        let mut shapes = Shapes::new();
        for (name, outputs, inputs) in affine {
            shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
            shapes.insert(format!("{name}.bias"), vec![outputs]);
        }
        shapes.insert("semantic_projection.layer_norm.weight".into(), vec![out]);
        shapes.insert("semantic_projection.layer_norm.bias".into(), vec![out]);
        shapes
    }
}

/// Pools the nine slice embeddings of a nodule by attention.
#[derive(Clone, Debug)]
pub struct ImageHead {
    projector: Linear,
    hidden: Linear,
    score: Linear,
}

impl ImageHead {
    pub(crate) fn take(
        parameters: &mut Parameters<'_>,
        embedding: usize,
        out_dim: usize,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            projector: parameters.linear("image_projection.projector.0", embedding, out_dim)?,
            hidden: parameters.linear("image_projection.attention.0", out_dim, out_dim / 2)?,
            score: parameters.linear("image_projection.attention.2", out_dim / 2, 1)?,
        })
    }

    /// (nodules, slices, embedding) → (nodules, out_dim).
    ///
    /// # Errors
    /// Another embedding width.
    pub fn forward(&self, slices: &Tensor) -> candle_core::Result<Tensor> {
        let projected = relu(&self.projector.forward(slices)?)?;
        let scores = self.score.forward(&tanh(&self.hidden.forward(&projected)?)?)?;
        let (nodules, slices, _) = scores.dims3()?;
        let shares = softmax(&scores.reshape((nodules, 1, slices))?)?;
        matmul(&shares, &projected)?.squeeze(1)
    }
}

/// Projects a text embedding, with a residual perceptron and a layer norm.
#[derive(Clone, Debug)]
pub struct TextHead {
    projection: Linear,
    perceptron: Linear,
    norm: LayerNorm,
    dropout: f64,
}

impl TextHead {
    pub(crate) fn take(
        parameters: &mut Parameters<'_>,
        embedding: usize,
        settings: &HeadSettings,
    ) -> Result<Self, ModelError> {
        let out_dim = settings.out_dim;
        Ok(Self {
            projection: parameters.linear("semantic_projection.projection", embedding, out_dim)?,
            perceptron: parameters.linear("semantic_projection.fc", out_dim, out_dim)?,
            norm: parameters.layer_norm("semantic_projection.layer_norm", out_dim)?,
            dropout: settings.dropout,
        })
    }

    /// (texts, embedding) → (texts, out_dim).
    ///
    /// # Errors
    /// Another embedding width.
    pub fn forward(&self, texts: &Tensor, dropout: Dropout<'_>) -> candle_core::Result<Tensor> {
        let projected = self.projection.forward(texts)?;
        let refined = self.perceptron.forward(&gelu(&projected)?)?;
        let refined = dropout.apply(&refined, self.dropout, "semantic_projection")?;
        self.norm.forward(&(refined + projected)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::functions::tests::{check_gradients, normals};

    fn linear(name: &str, outputs: usize, inputs: usize) -> Linear {
        Linear::new(&normals(name, &[outputs, inputs]), Some(&normals(name, &[outputs]))).expect("linear")
    }

    #[test]
    fn gradients_of_the_heads_equal_finite_differences() {
        let image = ImageHead {
            projector: linear("projector", 4, 6),
            hidden: linear("hidden", 2, 4),
            score: linear("score", 1, 2),
        };
        check_gradients(&[normals("slices", &[2, 9, 6])], |x| image.forward(&x[0]));
        let text = TextHead {
            projection: linear("projection", 4, 6),
            perceptron: linear("perceptron", 4, 4),
            norm: LayerNorm {
                weight: normals("scale", &[4]),
                bias: normals("shift", &[4]),
                operations: crate::clip::Operations::Fused,
            },
            dropout: 0.0,
        };
        check_gradients(&[normals("texts", &[3, 6])], |x| text.forward(&x[0], Dropout::off()));
    }
}
