//! The text tower of CLIP: a causal transformer read out at the end token.

use candle_core::{Device, Tensor};

use super::architecture::{Architecture, TextArchitecture};
use super::dropout::Dropout;
use super::functions::LayerNorm;
use super::lora::{LoraSettings, Tower};
use super::parameters::Parameters;
use super::product::matmul;
use super::tower::Transformer;
use super::{ModelError, Shapes};

/// Token ids of a batch of texts, checked and on the device.
///
/// No token sees a later one and a text is read out at its end token, so what follows the last of the batch's end
/// tokens changes neither values nor gradients and is left away.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// (texts · length)
    ids: Tensor,
    /// Position of each text's end token among all ids, (texts).
    ends: Tensor,
    texts: usize,
    /// Ids of each text up to the last end token of the batch.
    length: usize,
}

impl Tokens {
    /// Checks texts of `context` ids each. The end token is the largest id of a text, at its first
    /// occurrence, as in CLIP.
    ///
    /// # Errors
    /// [`ModelError::Tokens`] for a wrong length or an id outside the vocabulary.
    pub fn new(
        texts: &[impl AsRef<[u32]>],
        architecture: &TextArchitecture,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let context = architecture.context;
        let mut ends = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            if text.len() != context {
                let what = format!("{} ids, expected {context}", text.len());
                return Err(ModelError::Tokens { row, what });
            }
            if let Some(id) = text.iter().find(|&&id| id as usize >= architecture.vocabulary) {
                let what = format!("id {id} is not below {}", architecture.vocabulary);
                return Err(ModelError::Tokens { row, what });
            }
            let largest = text.iter().max();
            ends.push(text.iter().position(|id| Some(id) == largest).unwrap_or(0));
        }
        let (count, length) = (texts.len(), ends.iter().max().map_or(0, |&end| end + 1));
        let ids: Vec<u32> =
            texts.iter().flat_map(|text| text.as_ref().iter().take(length)).copied().collect();
        let ends = ends.iter().enumerate().map(|(row, end)| (row * length + end) as u32).collect();
        Ok(Self {
            ids: Tensor::from_vec(ids, count * length, device)?,
            ends: Tensor::from_vec(ends, count, device)?,
            texts: count,
            length,
        })
    }
}

/// The text tower.
#[derive(Clone, Debug)]
pub struct TextTower {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    /// 0 on and below the diagonal, −∞ above: no token sees a later one.
    mask: Tensor,
    transformer: Transformer,
    after: LayerNorm,
    projection: Tensor,
}

impl TextTower {
    pub(crate) fn take(
        parameters: &mut Parameters<'_>,
        architecture: &Architecture,
        shapes: &Shapes,
        lora: Option<&LoraSettings>,
    ) -> Result<Self, ModelError> {
        let text = &architecture.text;
        let mut take = |name: &str| -> Result<Tensor, ModelError> {
            let shape = shapes.get(name).ok_or_else(|| ModelError::Missing { name: name.to_owned() })?;
            parameters.take(name, shape)
        };
        let token_embedding = take("token_embedding.weight")?;
        let positional_embedding = take("positional_embedding")?;
        let projection = take("text_projection")?;
        Ok(Self {
            mask: causal_mask(text.context, token_embedding.device())?,
            token_embedding,
            positional_embedding,
            transformer: Transformer::take(parameters, lora, Tower::Text, text.layers, text.width)?,
            after: parameters.layer_norm("ln_final", text.width)?,
            projection,
        })
    }

    /// Embeds texts to (texts, embedding).
    ///
    /// # Errors
    /// The tokens are on another device.
    pub fn forward(&self, tokens: &Tokens, dropout: Dropout<'_>) -> candle_core::Result<Tensor> {
        let (texts, length, width) = (tokens.texts, tokens.length, self.positional_embedding.dim(1)?);
        let embedded = self.token_embedding.index_select(&tokens.ids, 0)?;
        let embedded = embedded.reshape((texts, length, width))?;
        let stream = embedded.broadcast_add(&self.positional_embedding.narrow(0, 0, length)?)?;
        let mask = self.mask.narrow(0, 0, length)?.narrow(1, 0, length)?.contiguous()?;
        let ends = |stream: &Tensor| stream.reshape((texts * length, width))?.index_select(&tokens.ends, 0);
        let ends = self.transformer.forward(&stream, Some(&mask), dropout, ends)?;
        matmul(&self.after.forward(&ends)?, &self.projection)
    }
}

fn causal_mask(context: usize, device: &Device) -> candle_core::Result<Tensor> {
    let value = |index: usize| if index % context > index / context { f32::NEG_INFINITY } else { 0.0 };
    let values: Vec<f32> = (0..context * context).map(value).collect();
    Tensor::from_vec(values, (context, context), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture() -> TextArchitecture {
        TextArchitecture { width: 64, layers: 1, vocabulary: 10, context: 4 }
    }

    #[test]
    fn the_end_token_is_the_first_of_the_largest_ids() {
        let texts = [[1, 9, 0, 0], [1, 2, 9, 9], [0, 0, 0, 0]];
        let tokens = Tokens::new(&texts, &architecture(), &Device::Cpu).expect("tokens");
        assert_eq!(tokens.ends.to_vec1::<u32>().expect("ends"), [1, 5, 6]);
        assert_eq!(tokens.ids.to_vec1::<u32>().expect("ids"), [1, 9, 0, 1, 2, 9, 0, 0, 0]);
    }

    #[test]
    fn wrong_tokens_are_errors_that_name_the_row() {
        let table: [(&[&[u32]], &str); 2] = [
            (&[&[1, 2, 3, 4], &[1, 2]], "the tokens of row 1 of the batch: 2 ids, expected 4"),
            (&[&[1, 2, 10, 4]], "the tokens of row 0 of the batch: id 10 is not below 10"),
        ];
        for (texts, message) in table {
            let error = Tokens::new(texts, &architecture(), &Device::Cpu).expect_err("tokens");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_mask_hides_what_comes_later() {
        let mask = causal_mask(2, &Device::Cpu).expect("mask").to_vec2::<f32>().expect("values");
        assert_eq!(mask, [[0.0, f32::NEG_INFINITY], [0.0, 0.0]]);
    }
}
