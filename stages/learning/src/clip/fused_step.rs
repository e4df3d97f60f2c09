//! One AdamW step as three passes over memory, in place, on all cores of the processor.
//!
//! The same arithmetic in tensor operations makes a dozen fresh tensors of each parameter's size, and most
//! of the time goes into their pages.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result};

use rayon::prelude::*;

use super::fused::storage::{floats, floats_mut};

/// Values that a thread takes at once.
const PART: usize = 16_384;

/// `mean ← rate · mean + rest · value`, or of the value's square. `rest` is 1 − `rate` rounded once: the
/// difference of f32 numbers would be off by 5e-5 of itself for a rate of 0.999.
pub(super) struct RunningMean {
    pub(super) rate: f32,
    pub(super) rest: f32,
    pub(super) squared: bool,
}

impl RunningMean {
    pub(super) fn new(rate: f64, squared: bool) -> Self {
        Self { rate: rate as f32, rest: (1.0 - rate) as f32, squared }
    }
}

impl InplaceOp2 for RunningMean {
    fn name(&self) -> &'static str {
        "running-mean"
    }

    fn cpu_fwd(&self, mean: &mut CpuStorage, l1: &Layout, value: &CpuStorage, l2: &Layout) -> Result<()> {
        let Self { rate, rest, squared } = *self;
        let parts = floats_mut(mean, l1)?.par_chunks_mut(PART).zip(floats(value, l2)?.par_chunks(PART));
        parts.for_each(|(means, values)| {
            for (mean, &value) in means.iter_mut().zip(values) {
                let value = if squared { value * value } else { value };
                *mean = *mean * rate + value * rest;
            }
        });
        Ok(())
    }
}

/// `parameter ← parameter · decay − first · scale / (√second / root + epsilon)`.
pub(super) struct Descend {
    pub(super) decay: f32,
    pub(super) scale: f32,
    pub(super) root: f32,
    pub(super) epsilon: f32,
}

impl InplaceOp3 for Descend {
    fn name(&self) -> &'static str {
        "descend"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        l1: &Layout,
        first: &CpuStorage,
        l2: &Layout,
        second: &CpuStorage,
        l3: &Layout,
    ) -> Result<()> {
        let Self { decay, scale, root, epsilon } = *self;
        let moments = floats(first, l2)?.par_chunks(PART).zip(floats(second, l3)?.par_chunks(PART));
        floats_mut(parameter, l1)?.par_chunks_mut(PART).zip(moments).for_each(
            |(parameters, (first, second))| {
                for (parameter, (&first, &second)) in parameters.iter_mut().zip(first.iter().zip(second)) {
                    *parameter = *parameter * decay - first * scale / (second.sqrt() / root + epsilon);
                }
            },
        );
        Ok(())
    }
}
