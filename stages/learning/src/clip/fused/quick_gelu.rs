//! CLIP's approximation of GELU: x · σ(1.702 x).

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::floats;
use pipe_numerics::lanes::{exponential, widest};

const SLOPE: f32 = 1.702;
/// Values that a thread takes at once.
const PART: usize = 8192;

/// x · σ(1.702 x) of a contiguous f32 tensor on the processor.
pub(crate) fn quick_gelu(input: &Tensor) -> Result<Tensor> {
    input.apply_op1(QuickGelu)
}

struct QuickGelu;
struct Backward;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

impl CustomOp1 for QuickGelu {
    fn name(&self) -> &'static str {
        "quick-gelu"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = floats(input, layout)?;
        let mut output = vec![0.0; input.len()];
        output.par_chunks_mut(PART).zip(input.par_chunks(PART)).for_each(|(output, input)| {
            widest(|| {
                for (output, &x) in output.iter_mut().zip(input) {
                    *output = x * sigmoid(SLOPE * x);
                }
            });
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, input: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(input.detach().apply_op2_no_bwd(&gradient.contiguous()?, &Backward)?))
    }
}

impl CustomOp2 for Backward {
    fn name(&self) -> &'static str {
        "quick-gelu-backward"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (input, gradient) = (floats(input, layout)?, floats(gradient, gradient_layout)?);
        let mut output = vec![0.0; input.len()];
        let parts = output.par_chunks_mut(PART).zip(input.par_chunks(PART)).zip(gradient.par_chunks(PART));
        parts.for_each(|((output, input), gradient)| {
            widest(|| {
                for ((output, &x), &gradient) in output.iter_mut().zip(input).zip(gradient) {
                    let share = sigmoid(SLOPE * x);
                    *output = gradient * (share + SLOPE * x * share * (1.0 - share));
                }
            });
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}
