//! Layer normalisation over the last dimension, ε = 1e-5.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::floats;
use pipe_numerics::lanes::{sum, widest};

const EPSILON: f32 = 1e-5;
/// Rows whose contributions to the gradients of weight and bias are summed together.
const ROWS: usize = 16;

/// Normalises (…, width), then multiplies with weight and adds bias, each (width); all f32 on the processor.
pub(crate) fn layer_norm(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    input.apply_op3(weight, bias, LayerNorm)
}

/// Mean and inverse standard deviation.
#[inline(always)]
fn moments(row: &[f32]) -> (f32, f32) {
    let mean = sum(row, row, |x, _| x) / row.len() as f32;
    let variance = sum(row, row, |x, _| (x - mean) * (x - mean)) / row.len() as f32;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

fn width(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1).max(1)
}

struct LayerNorm;
/// Gradient of the input from input, weight and the output's gradient.
struct OfInput;
/// Gradients of weight and bias, (2, width), from input and the output's gradient.
struct OfParameters;

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = width(layout);
        let (input, weight, bias) =
            (floats(input, layout)?, floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        if weight.len() != width || bias.len() != width {
            candle_core::bail!(
                "layer-norm: weight {} and bias {} for width {width}",
                weight.len(),
                bias.len()
            );
        }
        let mut output = vec![0.0; input.len()];
        let rows = output.par_chunks_mut(width * ROWS).zip(input.par_chunks(width * ROWS));
        rows.for_each(|(output, input)| {
            widest(|| {
                for (output, row) in output.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
                    let (mean, scale) = moments(row);
                    let terms = row.iter().zip(weight).zip(bias);
                    for (output, ((x, weight), bias)) in output.iter_mut().zip(terms) {
                        *output = (x - mean) * scale * weight + bias;
                    }
                }
            });
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let of_input = match input.track_op() {
            true => Some(input.detach().apply_op3_no_bwd(&weight.detach(), &gradient, &OfInput)?),
            false => None,
        };
        if !weight.track_op() && !bias.track_op() {
            return Ok((of_input, None, None));
        }
        let of_parameters = input.detach().apply_op2_no_bwd(&gradient, &OfParameters)?;
        Ok((of_input, Some(of_parameters.get(0)?), Some(of_parameters.get(1)?)))
    }
}

impl CustomOp3 for OfInput {
    fn name(&self) -> &'static str {
        "layer-norm-backward"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = width(layout);
        let (input, weight) = (floats(input, layout)?, floats(weight, weight_layout)?);
        let gradient = floats(gradient, gradient_layout)?;
        let mut output = vec![0.0; input.len()];
        let parts = output
            .par_chunks_mut(width * ROWS)
            .zip(input.par_chunks(width * ROWS))
            .zip(gradient.par_chunks(width * ROWS));
        parts.for_each(|((output, input), gradient)| {
            widest(|| {
                let rows = input.chunks_exact(width).zip(gradient.chunks_exact(width));
                for (output, (row, gradient)) in output.chunks_exact_mut(width).zip(rows) {
                    of_row(output, row, weight, gradient);
                }
            });
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

/// With n = (x − mean) · scale and h = gradient · weight: scale · (h − mean(h) − n · mean(h · n)).
#[inline(always)]
fn of_row(output: &mut [f32], row: &[f32], weight: &[f32], gradient: &[f32]) {
    let (mean, scale) = moments(row);
    let width = row.len() as f32;
    for (output, (gradient, weight)) in output.iter_mut().zip(gradient.iter().zip(weight)) {
        *output = gradient * weight;
    }
    let of_mean = sum(output, output, |h, _| h) / width;
    let of_scale = sum(output, row, |h, x| h * (x - mean) * scale) / width;
    for (output, x) in output.iter_mut().zip(row) {
        *output = scale * (*output - of_mean - (x - mean) * scale * of_scale);
    }
}

impl CustomOp2 for OfParameters {
    fn name(&self) -> &'static str {
        "layer-norm-parameters-backward"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = width(layout);
        let (input, gradient) = (floats(input, layout)?, floats(gradient, gradient_layout)?);
        let parts = input.par_chunks(width * ROWS).zip(gradient.par_chunks(width * ROWS));
        let partial: Vec<Vec<f32>> = parts
            .map(|(input, gradient)| {
                let mut sums = vec![0.0; 2 * width];
                let (of_weight, of_bias) = sums.split_at_mut(width);
                widest(|| {
                    for (row, gradient) in input.chunks_exact(width).zip(gradient.chunks_exact(width)) {
                        let (mean, scale) = moments(row);
                        let sums = of_weight.iter_mut().zip(of_bias.iter_mut());
                        for ((of_weight, of_bias), (x, gradient)) in sums.zip(row.iter().zip(gradient)) {
                            *of_weight += gradient * (x - mean) * scale;
                            *of_bias += gradient;
                        }
                    }
                });
                sums
            })
            .collect();
        let mut sums = vec![0.0; 2 * width];
        for part in partial {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        Ok((CpuStorage::F32(sums), Shape::from((2, width))))
    }
}
