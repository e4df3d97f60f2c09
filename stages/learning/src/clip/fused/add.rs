//! Sums of tensors, and of a row to every row.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::floats;
use pipe_numerics::lanes::widest;

/// Values that a thread takes at once.
const PART: usize = 8192;

/// `a + b` of contiguous f32 tensors of one shape on the processor.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.apply_op2(b, Sum)
}

struct Sum;

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if la.shape() != lb.shape() {
            candle_core::bail!("sum: shapes {:?} and {:?} differ", la.shape(), lb.shape());
        }
        let (a, b) = (floats(a, la)?, floats(b, lb)?);
        let mut output = vec![0.0; a.len()];
        let parts = output.par_chunks_mut(PART).zip(a.par_chunks(PART)).zip(b.par_chunks(PART));
        parts.for_each(|((output, a), b)| {
            widest(|| {
                for ((output, a), b) in output.iter_mut().zip(a).zip(b) {
                    *output = a + b;
                }
            });
        });
        Ok((CpuStorage::F32(output), la.shape().clone()))
    }

    fn bwd(
        &self,
        _a: &Tensor,
        _b: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(gradient.clone()), Some(gradient.clone())))
    }
}

/// Adds `row` to every row of `rows`.
pub(crate) fn add_to_rows(rows: &mut [f32], row: &[f32]) {
    let width = row.len().max(1);
    let part = (PART / width).max(1) * width;
    rows.par_chunks_mut(part).for_each(|rows| {
        widest(|| {
            for values in rows.chunks_exact_mut(width) {
                for (value, addend) in values.iter_mut().zip(row) {
                    *value += addend;
                }
            }
        });
    });
}
