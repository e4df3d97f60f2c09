//! Random numbers that depend on what they are for and on nothing else.
//!
//! A [`RandomKey`] names a purpose, for example (seed 42, kind "train", fold 3, epoch 7, "shuffle").
//! Its generator is ChaCha8 keyed by the BLAKE3 digest of that name, so two purposes never share a
//! stream, and no thread order, call order or host changes a draw. Everything is drawn on the CPU;
//! transcendental functions come from `libm`, so the bytes are the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The name of one purpose for which random numbers are drawn.
#[derive(Clone, Debug)]
pub struct RandomKey {
    hasher: blake3::Hasher,
}

impl RandomKey {
    /// Starts a key from the pipeline's seed and the stage kind that draws.
    pub fn new(seed: u64, kind: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("pipe random numbers, version 1");
        hasher.update(&seed.to_le_bytes());
        Self { hasher }.text("kind", kind)
    }

    /// Narrows the key by a named text, for example `("purpose", "shuffle")`.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        for part in [name, value] {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part.as_bytes());
        }
        self
    }

    /// Narrows the key by a named number, for example `("epoch", 7)`.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        self.text(name, &value.to_string())
    }

    /// The generator of this key; equal keys give equal sequences.
    pub fn generator(&self) -> Generator {
        Generator { source: ChaCha8Rng::from_seed(*self.hasher.finalize().as_bytes()) }
    }
}

/// A sequence of random draws.
#[derive(Clone, Debug)]
pub struct Generator {
    source: ChaCha8Rng,
}

impl Generator {
    /// The generator after so many more draws of 64 bits, without making them: threads can share a sequence.
    #[must_use]
    pub fn skipping(mut self, draws: u64) -> Self {
        // A word has 32 bits.
        self.source.set_word_pos(self.source.get_word_pos() + 2 * u128::from(draws));
        self
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// Uniform in [0, 1), with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn uniform_between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Standard normal, by the Box-Muller transform; one draw uses two uniforms.
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(2.0 * std::f64::consts::PI * self.uniform())
    }

    /// Uniform in [0, bound), without modulo bias; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound == 0 {
            return 0;
        }
        let reject_from = u64::MAX - u64::MAX % bound;
        loop {
            let bits = self.bits();
            if bits < reject_from {
                return (bits % bound) as usize;
            }
        }
    }

    /// A uniformly random order of the slice (Fisher-Yates, from the end).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }

    /// Uniform choice of one element; `None` from an empty slice.
    pub fn choose<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        values.get(self.below(values.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_agree_and_different_keys_do_not() {
        let key = |fold| RandomKey::new(42, "train").number("fold", fold);
        assert_eq!(key(1).generator().bits(), key(1).generator().bits());
        assert_ne!(key(1).generator().bits(), key(2).generator().bits());
    }

    #[test]
    fn names_and_values_do_not_run_into_each_other() {
        let first = RandomKey::new(1, "k").text("ab", "c");
        let second = RandomKey::new(1, "k").text("a", "bc");
        assert_ne!(first.generator().bits(), second.generator().bits());
    }

    /// Stored results hold these draws: a change to them is a new version of the key's derivation.
    #[test]
    fn the_sequence_is_pinned() {
        let key = RandomKey::new(42, "train").text("purpose", "shuffle");
        let mut generator = key.generator();
        assert_eq!(
            [generator.bits(), generator.bits()],
            [8_628_345_390_309_836_969, 10_856_139_467_753_717_235]
        );
        let mut order: Vec<usize> = (0..8).collect();
        key.generator().shuffle(&mut order);
        assert_eq!(order, [4, 2, 7, 5, 3, 6, 0, 1]);
        assert_eq!(key.generator().normal().to_bits(), 0xbfee85a10160edc3);
    }

    #[test]
    fn skipped_draws_are_those_that_were_not_made() {
        let key = RandomKey::new(3, "test");
        for skipped in [0, 1, 7, 8, 1000] {
            let mut generator = key.generator();
            for _ in 0..skipped {
                generator.bits();
            }
            assert_eq!(key.generator().skipping(skipped).bits(), generator.bits());
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut generator = RandomKey::new(7, "test").generator();
        let n = 40_000;
        let normals: Vec<f64> = (0..n).map(|_| generator.normal()).collect();
        let mean = normals.iter().sum::<f64>() / n as f64;
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / n as f64 - mean * mean;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.03, "variance {variance}");
        let uniform = (0..n).map(|_| generator.uniform()).sum::<f64>() / n as f64;
        assert!((uniform - 0.5).abs() < 0.01, "uniform mean {uniform}");
    }
}
