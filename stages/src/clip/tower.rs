//! The residual attention block that both CLIP towers are made of.

use candle_core::{Result, Tensor};

use super::architecture::HEAD_WIDTH;
use super::dropout::Dropout;
use super::functions::{LayerNorm, quick_gelu, softmax};
use super::linear::Linear;
use super::lora::{Adapters, LoraSettings, Tower};
use super::parameters::Parameters;
use super::{ModelError, lora};

/// The residual blocks of one tower.
#[derive(Clone, Debug)]
pub(crate) struct Transformer {
    blocks: Vec<Block>,
}

impl Transformer {
    /// Takes the tensors of all blocks of a tower.
    pub(crate) fn take(
        parameters: &mut Parameters<'_>,
        lora: Option<&LoraSettings>,
        tower: Tower,
        layers: usize,
        width: usize,
    ) -> std::result::Result<Self, ModelError> {
        let blocks = (0..layers).map(|block| Block::take(parameters, lora, tower, block, width));
        Ok(Self { blocks: blocks.collect::<std::result::Result<_, _>>()? })
    }

    /// Maps (batch, tokens, width) to the same shape; `mask` (tokens, tokens) is added to the scores.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        mask: Option<&Tensor>,
        dropout: Dropout<'_>,
    ) -> Result<Tensor> {
        self.blocks.iter().try_fold(input.clone(), |stream, block| block.forward(&stream, mask, dropout))
    }
}

/// Attention and perceptron, each behind a layer norm and added to the stream.
#[derive(Clone, Debug)]
struct Block {
    before_attention: LayerNorm,
    attention: Attention,
    before_perceptron: LayerNorm,
    expand: Linear,
    contract: Linear,
}

impl Block {
    fn take(
        parameters: &mut Parameters<'_>,
        lora: Option<&LoraSettings>,
        tower: Tower,
        block: usize,
        width: usize,
    ) -> std::result::Result<Self, ModelError> {
        let name = format!("{}{block}", tower.blocks());
        let adapters = Adapters::take(parameters, lora, tower, block, width)?;
        Ok(Self {
            before_attention: parameters.layer_norm(&format!("{name}.ln_1"), width)?,
            attention: Attention::take(parameters, &format!("{name}.attn"), adapters, width)?,
            before_perceptron: parameters.layer_norm(&format!("{name}.ln_2"), width)?,
            expand: parameters.linear(&format!("{name}.mlp.c_fc"), width, 4 * width)?,
            contract: parameters.linear(&format!("{name}.mlp.c_proj"), 4 * width, width)?,
        })
    }

    fn forward(&self, stream: &Tensor, mask: Option<&Tensor>, dropout: Dropout<'_>) -> Result<Tensor> {
        let attended = self.attention.forward(&self.before_attention.forward(stream)?, mask, dropout)?;
        let stream = (stream + attended)?;
        let expanded = quick_gelu(&self.expand.forward(&self.before_perceptron.forward(&stream)?)?)?;
        stream + self.contract.forward(&expanded)?
    }
}

/// Multi-head self-attention with a packed input projection and optional adapters.
#[derive(Clone, Debug)]
struct Attention {
    /// Queries, keys and values in this order.
    input: Linear,
    output: Linear,
    adapters: lora::Adapters,
    width: usize,
}

impl Attention {
    fn take(
        parameters: &mut Parameters<'_>,
        name: &str,
        adapters: lora::Adapters,
        width: usize,
    ) -> std::result::Result<Self, ModelError> {
        let (weight, bias) = (format!("{name}.in_proj_weight"), format!("{name}.in_proj_bias"));
        Ok(Self {
            input: parameters.linear_named(&weight, &bias, width, 3 * width)?,
            output: parameters.linear(&format!("{name}.out_proj"), width, width)?,
            adapters,
            width,
        })
    }

    /// (batch, tokens, width) → (batch, tokens, width).
    fn forward(&self, input: &Tensor, mask: Option<&Tensor>, dropout: Dropout<'_>) -> Result<Tensor> {
        let (batch, tokens, width) = input.dims3()?;
        let [queries, keys, values] = self.project(input, dropout)?;
        // Scaling the queries is cheaper than scaling the scores.
        let queries = (queries * (1.0 / (HEAD_WIDTH as f64).sqrt()))?;
        let mut scores = queries.matmul(&keys.t()?)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let mixed = softmax(&scores)?.matmul(&values)?;
        let heads = width / HEAD_WIDTH;
        let mixed = mixed.reshape((batch, heads, tokens, HEAD_WIDTH))?.transpose(1, 2)?;
        let mixed = mixed.reshape((batch, tokens, width))?;
        let output = self.output.forward(&mixed)?;
        match &self.adapters.output {
            Some(adapter) => output + adapter.forward(&mixed, dropout)?,
            None => Ok(output),
        }
    }

    /// Queries, keys and values, each (batch · heads, tokens, 64).
    fn project(&self, input: &Tensor, dropout: Dropout<'_>) -> Result<[Tensor; 3]> {
        let packed = self.input.forward(input)?;
        let [query, key, value] = &self.adapters.inputs;
        let part = |index: usize, adapter: &Option<lora::Adapter>| -> Result<Tensor> {
            let mut part = packed.narrow(2, index * self.width, self.width)?;
            if let Some(adapter) = adapter {
                part = (part + adapter.forward(input, dropout)?)?;
            }
            split_heads(&part)
        };
        Ok([part(0, query)?, part(1, key)?, part(2, value)?])
    }
}

/// (batch, tokens, width) → (batch · heads, tokens, 64).
fn split_heads(part: &Tensor) -> Result<Tensor> {
    let (batch, tokens, width) = part.dims3()?;
    let heads = width / HEAD_WIDTH;
    let split = part.reshape((batch, tokens, heads, HEAD_WIDTH))?.transpose(1, 2)?;
    split.reshape((batch * heads, tokens, HEAD_WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::functions::tests::{check_gradients, normals};

    #[test]
    fn attention_gradients_equal_finite_differences() {
        let width = HEAD_WIDTH;
        let scaled = |name: &str, shape: &[usize]| (normals(name, shape) * 0.2).expect("scaled");
        let input = scaled("input", &[1, 2, width]);
        let weight = scaled("weight", &[3 * width, width]);
        let bias = scaled("bias", &[3 * width]);
        let output = Linear::new(&scaled("output", &[width, width]), None).expect("output");
        let mask = Tensor::new(&[[0f32, f32::NEG_INFINITY], [0.0, 0.0]], &candle_core::Device::Cpu);
        let mask = mask.expect("mask");
        check_gradients(&[input, bias], |x| {
            let attention = Attention {
                input: Linear::new(&weight, Some(&x[1]))?,
                output: output.clone(),
                adapters: Adapters::default(),
                width,
            };
            attention.forward(&x[0], Some(&mask), Dropout::off())
        });
    }
}
