//! Dropout whose masks depend on what they are for and on nothing else.
//!
//! Masks are drawn on the host from a [`RandomKey`], so that every device and every number of threads
//! sees the same ones; candle's own generator cannot be seeded on the CPU.

use candle_core::{Result, Tensor};

use crate::numerics::random::RandomKey;

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
                input * Tensor::from_vec(mask, input.shape(), input.device())?
            }
            _ => Ok(input.clone()),
        }
    }
}

/// Factors 0 or `1/(1 − rate)`. Each takes 32 random bits, so a rate is met to within 2⁻³².
fn mask(key: &RandomKey, rate: f64, count: usize) -> Vec<f32> {
    let dropped_below = (rate.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
    let kept = if rate < 1.0 { (1.0 / (1.0 - rate)) as f32 } else { 0.0 };
    let factor = |bits: u64| if bits < dropped_below { 0.0 } else { kept };
    let mut generator = key.generator();
    let mut mask = Vec::with_capacity(count + 1);
    while mask.len() < count {
        let bits = generator.bits();
        mask.push(factor(bits & 0xffff_ffff));
        mask.push(factor(bits >> 32));
    }
    mask.truncate(count);
    mask
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
    fn evaluation_changes_nothing() {
        let input = Tensor::new(&[1f32, 2.0], &candle_core::Device::Cpu).expect("input");
        let output = Dropout::off().apply(&input, 0.9, "any").expect("output");
        assert_eq!(output.to_vec1::<f32>().expect("values"), [1.0, 2.0]);
    }
}
