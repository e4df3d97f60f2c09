//! Normal noise that a voxel's index gives.
//!
//! A hash of seed and index gives 24 bits; two halves of them each pick one of 4096 quantiles of the normal
//! distribution, and the scaled sum of both is the voxel's noise: mean 0, variance 1, up to 5.2 deviations.
//! No voxel waits for another, so any part of a volume can be computed alone.

use std::sync::LazyLock;

const QUANTILES: usize = 4096;
const MASK: u64 = QUANTILES as u64 - 1;

/// Quantiles of the normal distribution over √2, in order.
static TABLE: LazyLock<Box<[f32; QUANTILES]>> = LazyLock::new(table);

/// Noise of one seed.
#[derive(Clone, Copy)]
pub(super) struct Noise {
    seed: u64,
    table: &'static [f32; QUANTILES],
}

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, table: &TABLE }
    }

    /// The noise of a voxel.
    #[inline(always)]
    pub(super) fn at(self, index: usize) -> f32 {
        let bits = mixed(self.seed.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        self.table[(bits & MASK) as usize] + self.table[(bits >> 12 & MASK) as usize]
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood 2014).
#[inline(always)]
fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn table() -> Box<[f32; QUANTILES]> {
    let half: Vec<f64> =
        (0..QUANTILES / 2).map(|at| upper_quantile((at as f64 + 0.5) / QUANTILES as f64)).collect();
    // The middles of equal shares vary a little less than what they stand for.
    let variance = 2.0 * half.iter().map(|x| x * x).sum::<f64>() / QUANTILES as f64;
    let scale = libm::sqrt(0.5 / variance);
    let mut table = Box::new([0.0; QUANTILES]);
    for (at, quantile) in half.iter().enumerate() {
        table[at] = (-quantile * scale) as f32;
        table[QUANTILES - 1 - at] = (quantile * scale) as f32;
    }
    table
}

/// What a standard normal number exceeds with a probability, at most ½, by bisection.
fn upper_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 6.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        let exceeds = 0.5 * libm::erfc(middle * std::f64::consts::FRAC_1_SQRT_2);
        if exceeds > probability { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        // scipy.stats.norm.isf
        for (probability, expected) in
            [(0.5, 0.0), (0.158_655_253_931_457, 1.0), (1e-4, 3.719_016_485_455_709)]
        {
            assert!((upper_quantile(probability) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn noise_is_normal_and_neighbours_know_nothing_of_each_other() {
        let noise = Noise::new(3);
        let values: Vec<f64> = (0..400_000).map(|index| noise.at(index).into()).collect();
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.01, "{}", moment(2));
        assert!(moment(3).abs() < 0.03, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.06, "{}", moment(4));
        for step in [1, 2, 100, 10_000] {
            let product = values.iter().zip(&values[step..]).map(|(a, b)| a * b).sum::<f64>() / n;
            assert!(product.abs() < 0.01, "{step}: {product}");
        }
        let beyond = values.iter().filter(|x| x.abs() > 3.0).count() as f64 / n;
        assert!((beyond - 0.0027).abs() < 0.0004, "{beyond}");
    }
}
