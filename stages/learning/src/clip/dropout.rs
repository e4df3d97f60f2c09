//! Dropout whose masks depend on what they are for and on nothing else.
//!
//! Masks are drawn on the host from a [`RandomKey`], so that every device and every number of threads
//! sees the same ones; candle's own generator cannot be seeded on the CPU.

use candle_core::backend::BackendStorage;
use candle_core::op::Mul;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use pipe_numerics::random::RandomKey;

/// Dropout of one forward pass: with a key in training, none in evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Dropout<'a> {
    key: Option<&'a RandomKey>,
}

impl<'a> Dropout<'a> {
    /// No dropout: evaluation.
    pub fn off() -> Self {
        Self { key: None }
    }

    /// Dropout with masks of this key, which names seed, fold, epoch and step.
    pub fn on(key: &'a RandomKey) -> Self {
        Self { key: Some(key) }
    }

    /// Sets each value to 0 with probability `rate` and scales the others by `1/(1 − rate)`; `purpose`
    /// tells one mask of the pass from another. A rate of 1 drops everything.
    ///
    /// # Errors
    /// The mask does not fit on the device.
    pub fn apply(&self, input: &Tensor, rate: f64, purpose: &str) -> Result<Tensor> {
        match self.key {
            Some(key) if rate > 0.0 => {
                let mask = mask(&key.clone().text("dropout", purpose), rate, input.elem_count());
                let mask = Tensor::from_vec(mask, input.shape(), input.device())?;
                input.contiguous()?.apply_op2(&mask, Masked)
            }
            _ => Ok(input.clone()),
        }
    }
}

/// Factors that one thread draws.
const PART: usize = 1 << 15;

/// Factors 0 or `1/(1 − rate)`. Each takes 32 random bits, so a rate is met to within 2⁻³².
fn mask(key: &RandomKey, rate: f64, count: usize) -> Vec<f32> {
    let dropped_below = (rate.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
    let kept = if rate < 1.0 { (1.0 / (1.0 - rate)) as f32 } else { 0.0 };
    let factor = |bits: u64| if bits < dropped_below { 0.0 } else { kept };
    let mut mask = vec![0.0; count];
    mask.par_chunks_mut(PART).enumerate().for_each(|(part, mask)| {
        let mut generator = key.generator().skipping((part * PART / 2) as u64);
        for pair in mask.chunks_mut(2) {
            let bits = generator.bits();
            let factors = [factor(bits & 0xffff_ffff), factor(bits >> 32)];
            pair.iter_mut().zip(factors).for_each(|(to, factor)| *to = factor);
        }
    });
    mask
}

/// The product with a mask. candle's own product would work out a gradient of the mask, too.
struct Masked;

impl CustomOp2 for Masked {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        mask: &CpuStorage,
        mask_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output = input.binary_impl::<Mul>(mask, input_layout, mask_layout)?;
        Ok((output, input_layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        input: &CudaStorage,
        input_layout: &Layout,
        mask: &CudaStorage,
        mask_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let output = input.binary_impl::<Mul>(mask, input_layout, mask_layout)?;
        Ok((output, input_layout.shape().clone()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        mask: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_input = input.track_op().then(|| gradient * mask).transpose()?;
        Ok((of_input, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_mean_and_depends_on_its_purpose() {
        let key = RandomKey::new(3, "train").number("step", 5);
        let first = mask(&key.clone().text("dropout", "a"), 0.25, 40_001);
        assert_eq!(first.len(), 40_001);
        let mean = first.iter().map(|&x| f64::from(x)).sum::<f64>() / first.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean}");
        assert!(first.iter().all(|&x| x == 0.0 || x == 4.0 / 3.0));
        assert_eq!(first, mask(&key.clone().text("dropout", "a"), 0.25, 40_001));
        assert_ne!(first, mask(&key.text("dropout", "b"), 0.25, 40_001));
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let key = RandomKey::new(3, "train");
        assert!(mask(&key, 1.0, 1000).iter().all(|&x| x == 0.0));
        assert!(mask(&key, 0.0, 1000).iter().all(|&x| x == 1.0));
    }

    #[test]
    fn a_mask_in_parts_is_one_sequence() {
        let key = RandomKey::new(3, "train");
        let (count, mut generator) = (2 * PART + 7, key.generator());
        let bits: Vec<u64> = (0..count.div_ceil(2)).map(|_| generator.bits()).collect();
        let halves = bits.iter().flat_map(|bits| [bits & 0xffff_ffff, bits >> 32]).take(count);
        let expected: Vec<bool> = halves.map(|bits| bits >= 1 << 31).collect();
        let found: Vec<bool> = mask(&key, 0.5, count).iter().map(|&factor| factor == 2.0).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn evaluation_changes_nothing() {
        let input = Tensor::new(&[1f32, 2.0], &candle_core::Device::Cpu).expect("input");
        let output = Dropout::off().apply(&input, 0.9, "any").expect("output");
        assert_eq!(output.to_vec1::<f32>().expect("values"), [1.0, 2.0]);
    }
}
