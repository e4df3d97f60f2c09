//! Multi-head attention over packed queries, keys and values.
//!
//! A head of an image or a text is small enough for a cache, so scores are never written to memory: the backward pass
//! computes them again, which costs less than keeping them.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::product::{product, transpose};
use super::storage::floats;
use crate::clip::architecture::HEAD_WIDTH;
use pipe_numerics::lanes::{LANES, exponential, sum, widest};

/// Attention of `packed` (batch, tokens, 3 · width): queries, keys, values; gives (batch, tokens, width). With `causal`
/// no token sees a later one. Contiguous f32 on the processor.
pub(crate) fn attention(packed: &Tensor, causal: bool) -> Result<Tensor> {
    packed.apply_op1(Attention { causal })
}

struct Attention {
    causal: bool,
}

struct Backward {
    causal: bool,
}

/// Sizes of a batch.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    width: usize,
    /// Tokens, filled up for whole lanes.
    padded: usize,
    causal: bool,
}

impl Sizes {
    fn of(layout: &Layout, causal: bool) -> Result<Self> {
        let (_, tokens, packed) = layout.shape().dims3()?;
        if packed % (3 * HEAD_WIDTH) != 0 {
            candle_core::bail!("attention: {packed} is not three times a multiple of {HEAD_WIDTH}");
        }
        Ok(Self { tokens, width: packed / 3, padded: tokens.next_multiple_of(LANES), causal })
    }

    /// Copies one part (0 queries, 1 keys, 2 values) of one head of one sample, (tokens, 64).
    #[inline(always)]
    fn gather(&self, packed: &[f32], part: usize, head: usize, to: &mut [f32]) {
        let start = part * self.width + head * HEAD_WIDTH;
        for (to, token) in to.chunks_exact_mut(HEAD_WIDTH).zip(packed.chunks_exact(3 * self.width)) {
            to.copy_from_slice(&token[start..][..HEAD_WIDTH]);
        }
    }
}

/// One head's matrices.
struct Head {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// (64, padded).
    keys_across: Vec<f32>,
    /// (tokens, padded): softmax of the scores, 0 in the padding.
    shares: Vec<f32>,
}

impl Head {
    fn new(sizes: Sizes) -> Self {
        let rows = || vec![0.0; sizes.tokens * HEAD_WIDTH];
        Self {
            queries: rows(),
            keys: rows(),
            values: rows(),
            keys_across: vec![0.0; HEAD_WIDTH * sizes.padded],
            shares: vec![0.0; sizes.tokens * sizes.padded],
        }
    }

    /// Fills everything in from one head of a sample.
    #[inline(always)]
    fn set(&mut self, sizes: Sizes, packed: &[f32], head: usize) {
        sizes.gather(packed, 0, head, &mut self.queries);
        sizes.gather(packed, 1, head, &mut self.keys);
        sizes.gather(packed, 2, head, &mut self.values);
        let scale = 1.0 / (HEAD_WIDTH as f32).sqrt();
        self.queries.iter_mut().for_each(|query| *query *= scale);
        transpose(&self.keys, HEAD_WIDTH, &mut self.keys_across, sizes.padded);
        product(&self.queries, &self.keys_across, &mut self.shares, HEAD_WIDTH, sizes.padded);
        for (row, shares) in self.shares.chunks_exact_mut(sizes.padded).enumerate() {
            let seen = if sizes.causal { row + 1 } else { sizes.tokens };
            let (seen, hidden) = shares.split_at_mut(seen);
            hidden.fill(0.0);
            softmax(seen);
        }
    }
}

#[inline(always)]
fn softmax(scores: &mut [f32]) {
    // A NaN must not be lost here, and it is not: it stays in its own exponential, and so in the sum.
    let largest = scores
        .iter()
        .fold(f32::NEG_INFINITY, |largest, &score| if score > largest { score } else { largest });
    for score in scores.iter_mut() {
        *score = exponential(*score - largest);
    }
    let total = sum(scores, scores, |score, _| score);
    for score in scores {
        *score /= total;
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, packed: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(layout, self.causal)?;
        let (tokens, width) = (sizes.tokens, sizes.width);
        let packed = floats(packed, layout)?;
        let samples = layout.dims().first().copied().unwrap_or(0);
        let mut output = vec![0.0; samples * tokens * width];
        let pairs = output.par_chunks_mut(tokens * width).zip(packed.par_chunks(3 * tokens * width));
        pairs.for_each(|(output, packed)| {
            let (mut head, mut mixed) = (Head::new(sizes), vec![0.0; tokens * HEAD_WIDTH]);
            let mut values = vec![0.0; sizes.padded * HEAD_WIDTH];
            widest(|| {
                for index in 0..width / HEAD_WIDTH {
                    head.set(sizes, packed, index);
                    values[..tokens * HEAD_WIDTH].copy_from_slice(&head.values);
                    product(&head.shares, &values, &mut mixed, sizes.padded, HEAD_WIDTH);
                    let rows = output.chunks_exact_mut(width).zip(mixed.chunks_exact(HEAD_WIDTH));
                    rows.for_each(|(row, mixed)| {
                        row[index * HEAD_WIDTH..][..HEAD_WIDTH].copy_from_slice(mixed);
                    });
                }
            });
        });
        Ok((CpuStorage::F32(output), Shape::from((samples, tokens, width))))
    }

    fn bwd(&self, packed: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let backward = Backward { causal: self.causal };
        Ok(Some(packed.detach().apply_op2_no_bwd(&gradient.contiguous()?, &backward)?))
    }
}

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "attention-backward"
    }

    fn cpu_fwd(
        &self,
        packed: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(layout, self.causal)?;
        let (tokens, width) = (sizes.tokens, sizes.width);
        let (packed, gradient) = (floats(packed, layout)?, floats(gradient, gradient_layout)?);
        let mut output = vec![0.0; packed.len()];
        let samples = output
            .par_chunks_mut(3 * tokens * width)
            .zip(packed.par_chunks(3 * tokens * width))
            .zip(gradient.par_chunks(tokens * width));
        samples.for_each(|((output, packed), gradient)| {
            let mut work = BackwardHead::new(sizes);
            widest(|| {
                for head in 0..width / HEAD_WIDTH {
                    work.run(sizes, packed, gradient, head, output);
                }
            });
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

/// One head's matrices on the way back; S are the scores, P their softmax, O = P · V the output.
struct BackwardHead {
    head: Head,
    /// dO, (tokens, 64), padded with rows of zeros.
    of_output: Vec<f32>,
    /// Vᵀ, (64, padded).
    values_across: Vec<f32>,
    /// dP, then dS, (tokens, padded).
    of_scores: Vec<f32>,
    /// A (tokens, padded) matrix transposed: (padded, padded).
    across: Vec<f32>,
    /// A right factor of padded rows, (padded, 64).
    right: Vec<f32>,
    /// dQ, dK or dV, (padded, 64).
    result: Vec<f32>,
}

impl BackwardHead {
    fn new(sizes: Sizes) -> Self {
        let Sizes { tokens, padded, .. } = sizes;
        Self {
            head: Head::new(sizes),
            of_output: vec![0.0; padded * HEAD_WIDTH],
            values_across: vec![0.0; HEAD_WIDTH * padded],
            of_scores: vec![0.0; tokens * padded],
            across: vec![0.0; padded * padded],
            right: vec![0.0; padded * HEAD_WIDTH],
            result: vec![0.0; padded * HEAD_WIDTH],
        }
    }

    #[inline(always)]
    fn run(&mut self, sizes: Sizes, packed: &[f32], gradient: &[f32], index: usize, output: &mut [f32]) {
        let Sizes { tokens, padded, width, .. } = sizes;
        let filled = tokens * HEAD_WIDTH;
        self.head.set(sizes, packed, index);
        for (to, token) in self.of_output.chunks_exact_mut(HEAD_WIDTH).zip(gradient.chunks_exact(width)) {
            to.copy_from_slice(&token[index * HEAD_WIDTH..][..HEAD_WIDTH]);
        }
        // dV = Pᵀ · dO
        transpose(&self.head.shares, padded, &mut self.across, padded);
        product(&self.across, &self.of_output, &mut self.result, padded, HEAD_WIDTH);
        scatter(&self.result, 2, index, width, output);
        // dP = dO · Vᵀ, dS = P ∘ (dP − row sums of P ∘ dP)
        transpose(&self.head.values, HEAD_WIDTH, &mut self.values_across, padded);
        product(&self.of_output[..filled], &self.values_across, &mut self.of_scores, HEAD_WIDTH, padded);
        let rows = self.of_scores.chunks_exact_mut(padded).zip(self.head.shares.chunks_exact(padded));
        for (of_scores, shares) in rows {
            let total = sum(of_scores, shares, |gradient, share| gradient * share);
            for (gradient, share) in of_scores.iter_mut().zip(shares) {
                *gradient = share * (*gradient - total);
            }
        }
        // dQ = dS · K / 8; the queries at hand are divided already, and so is dK = dSᵀ · Q.
        let scale = 1.0 / (HEAD_WIDTH as f32).sqrt();
        let keys = self.head.keys.iter().map(|key| key * scale);
        self.right.iter_mut().zip(keys).for_each(|(right, key)| *right = key);
        product(&self.of_scores, &self.right, &mut self.result[..filled], padded, HEAD_WIDTH);
        scatter(&self.result[..filled], 0, index, width, output);
        transpose(&self.of_scores, padded, &mut self.across, padded);
        self.right[..filled].copy_from_slice(&self.head.queries);
        product(&self.across, &self.right, &mut self.result, padded, HEAD_WIDTH);
        scatter(&self.result, 1, index, width, output);
    }
}

/// Puts one part of one head in its place in a sample, (tokens, 3 · width).
#[inline(always)]
fn scatter(rows: &[f32], part: usize, head: usize, width: usize, output: &mut [f32]) {
    let start = part * width + head * HEAD_WIDTH;
    for (token, row) in output.chunks_exact_mut(3 * width).zip(rows.chunks_exact(HEAD_WIDTH)) {
        token[start..][..HEAD_WIDTH].copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn what_is_not_a_number_stays_so_and_other_samples_stay_whole() {
        let (tokens, packed) = (5, 3 * HEAD_WIDTH);
        let mut values = vec![0.25_f32; 2 * tokens * packed];
        // A key of the first sample's fourth token.
        values[3 * packed + HEAD_WIDTH] = f32::NAN;
        let input = Tensor::from_vec(values, (2, tokens, packed), &Device::Cpu).expect("input");
        let output = attention(&input, true).expect("attention").to_vec3::<f32>().expect("values");
        let is_nan = |sample: usize, token: usize| output[sample][token].iter().all(|value| value.is_nan());
        assert!(is_nan(0, 3) && is_nan(0, 4), "those that see the token");
        assert!(output[0][..3].iter().chain(&output[1]).flatten().all(|value| (value - 0.25).abs() < 1e-6));
    }
}
