//! The residual attention block that both CLIP towers are made of.

use candle_core::{Result, Tensor};

use super::architecture::HEAD_WIDTH;
use super::dropout::Dropout;
use super::functions::{LayerNorm, add, quick_gelu, softmax};
use super::fused::attention::attention;
use super::linear::Linear;
use super::lora::{Adapters, LoraSettings, Tower};
use super::parameters::Parameters;
use super::product::matmul;
use super::{ModelError, Operations, lora};

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

    /// Maps (batch, tokens, width) to what `read_out` takes of it, (batch, width): one token of each sample. A `mask`
    /// (tokens, tokens), which hides what comes later, is added to the scores.
    ///
    /// Nobody looks at the other tokens of the last block, so it works out no more of them than the keys and
    /// values that the read-out token attends to.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        mask: Option<&Tensor>,
        dropout: Dropout<'_>,
        read_out: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let Some((last, blocks)) = self.blocks.split_last() else { return read_out(input) };
        let whole = |tokens: &Tensor| Ok(tokens.clone());
        let stream = blocks
            .iter()
            .try_fold(input.clone(), |stream, block| block.forward(&stream, mask, dropout, whole))?;
        last.forward(&stream, mask, dropout, read_out)
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
    operations: Operations,
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
            operations: parameters.operations(),
        })
    }

    /// The block's output at the tokens that `select` takes of any (batch, tokens, width).
    fn forward(
        &self,
        stream: &Tensor,
        mask: Option<&Tensor>,
        dropout: Dropout<'_>,
        select: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mixed = self.attention.mix(&self.before_attention.forward(stream)?, mask, dropout)?;
        let attended = self.attention.project(&select(&mixed)?, dropout)?;
        let stream = add(&select(stream)?, &attended, self.operations)?;
        let expanded = self.expand.forward(&self.before_perceptron.forward(&stream)?)?;
        let contracted = self.contract.forward(&quick_gelu(&expanded, self.operations)?)?;
        add(&stream, &contracted, self.operations)
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
    operations: Operations,
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
            operations: parameters.operations(),
        })
    }

    /// What the heads make of all tokens, (batch, tokens, width) → (batch, tokens, width).
    fn mix(&self, input: &Tensor, mask: Option<&Tensor>, dropout: Dropout<'_>) -> Result<Tensor> {
        let packed = self.packed(input, dropout)?;
        match self.operations {
            Operations::Fused => attention(&packed, mask.is_some()),
            Operations::Plain => self.mixed(&packed, mask),
        }
    }

    /// The output projection, (…, width) → (…, width).
    fn project(&self, mixed: &Tensor, dropout: Dropout<'_>) -> Result<Tensor> {
        let output = self.output.forward(mixed)?;
        match &self.adapters.output {
            Some(adapter) => add(&output, &adapter.forward(mixed, dropout)?, self.operations),
            None => Ok(output),
        }
    }

    /// Queries, keys and values beside each other, (batch, tokens, 3 · width).
    fn packed(&self, input: &Tensor, dropout: Dropout<'_>) -> Result<Tensor> {
        let packed = self.input.forward(input)?;
        match self.adapters.packed(input, dropout)? {
            Some(adapted) => add(&packed, &adapted, self.operations),
            None => Ok(packed),
        }
    }

    /// What the heads make of their values, (batch, tokens, width), of what [`Attention::packed`] gives.
    fn mixed(&self, packed: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, tokens, _) = packed.dims3()?;
        let part = |index: usize| split_heads(&packed.narrow(2, index * self.width, self.width)?);
        // Scaling the queries is cheaper than scaling the scores.
        let queries = (part(0)? * (1.0 / (HEAD_WIDTH as f64).sqrt()))?;
        let mut scores = matmul(&queries, &part(1)?.t()?)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let mixed = matmul(&softmax(&scores)?, &part(2)?)?;
        let heads = self.width / HEAD_WIDTH;
        let mixed = mixed.reshape((batch, heads, tokens, HEAD_WIDTH))?.transpose(1, 2)?;
        mixed.reshape((batch, tokens, self.width))
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
        for (operations, mask) in [
            (Operations::Fused, None),
            (Operations::Plain, None),
            (Operations::Fused, Some(&mask)),
            (Operations::Plain, Some(&mask)),
        ] {
            check_gradients(&[input.clone(), bias.clone()], |x| {
                let attention = Attention {
                    input: Linear::new(&weight, Some(&x[1]))?,
                    output: output.clone(),
                    adapters: Adapters::default(),
                    width,
                    operations,
                };
                attention.project(&attention.mix(&x[0], mask, Dropout::off())?, Dropout::off())
            });
        }
    }

    const TOKENS: usize = 19;

    /// The whole stream, and one token of it.
    fn whole(stream: &Tensor) -> Result<Tensor> {
        Ok(stream.clone())
    }
    fn seventh(stream: &Tensor) -> Result<Tensor> {
        stream.narrow(1, 6, 1)?.squeeze(1)?.contiguous()
    }

    /// Output and gradients of a whole block of two heads, with more tokens than lanes and a rest. The loss is a sum
    /// over the seventh token alone, which is taken `early`, as the last block does it, or of the output.
    fn block(operations: Operations, causal: bool, early: bool) -> Vec<f32> {
        let (width, tokens) = (2 * HEAD_WIDTH, TOKENS);
        let scaled = |name: &str, shape: &[usize]| (normals(name, shape) * 0.1).expect("scaled");
        let linear = |name: &str, inputs: usize, outputs: usize| {
            Linear::new(&scaled(name, &[outputs, inputs]), Some(&scaled("bias", &[outputs]))).expect("linear")
        };
        let norm = |name: &str| LayerNorm {
            weight: (scaled(name, &[width]) + 1.0).expect("weight"),
            bias: scaled("shift", &[width]),
            operations,
        };
        let attention = Attention {
            input: linear("input", width, 3 * width),
            output: linear("output", width, width),
            adapters: Adapters::default(),
            width,
            operations,
        };
        let block = Block {
            before_attention: norm("first"),
            attention,
            before_perceptron: norm("second"),
            expand: linear("expand", width, 4 * width),
            contract: linear("contract", 4 * width, width),
            operations,
        };
        let mask: Vec<f32> = (0..tokens * tokens)
            .map(|index| if index % tokens > index / tokens { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        let mask = Tensor::from_vec(mask, (tokens, tokens), &candle_core::Device::Cpu).expect("mask");
        let input = candle_core::Var::from_tensor(&normals("stream", &[3, tokens, width])).expect("input");
        let mask = causal.then_some(&mask);
        let output = match early {
            true => block.forward(&input, mask, Dropout::off(), seventh).expect("forward"),
            false => {
                let output = block.forward(&input, mask, Dropout::off(), whole).expect("forward");
                seventh(&output).expect("a token")
            }
        };
        let loss = (&output * normals("gradient", output.dims())).expect("product").sum_all().expect("loss");
        let gradients = loss.backward().expect("backward");
        let tensors = [&output, gradients.get(&input).expect("a gradient")];
        tensors
            .iter()
            .flat_map(|tensor| tensor.flatten_all().expect("flat").to_vec1::<f32>().expect("values"))
            .collect()
    }

    #[test]
    fn a_fused_block_is_the_plain_one_but_for_rounding() {
        let operations = [Operations::Fused, Operations::Plain];
        let variants = [(false, false), (true, false), (false, true), (true, true)];
        for (causal, early) in variants {
            let [fused, plain] = operations.map(|operations| block(operations, causal, early));
            for (index, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
                assert!((fused - plain).abs() < 2e-5 * (1.0 + plain.abs()), "{index}: {fused} {plain}");
            }
        }
    }

    #[test]
    fn a_token_taken_early_is_the_one_taken_of_the_output() {
        for causal in [false, true] {
            let [early, late] = [true, false].map(|early| block(Operations::Fused, causal, early));
            assert_eq!(early.len(), late.len());
            for (early, late) in early.iter().zip(&late) {
                assert!((early - late).abs() < 1e-5 * (1.0 + late.abs()), "{early} {late}");
            }
        }
    }
}
