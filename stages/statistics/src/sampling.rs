//! Weighted sampling with replacement: how training draws the rows of an epoch.
//!
//! Weights become a running sum once; a draw is one uniform number and a binary search. The module
//! does not know what the weights stand for.

use thiserror::Error;

use pipe_numerics::random::Generator;

/// Why nothing can be drawn by these weights.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum SamplingError {
    /// A weight is negative, infinite or NaN.
    #[error("the weight of row {row} is {weight}, not a finite number of at least 0")]
    BadWeight {
        /// Position of the row, from 0.
        row: usize,
        /// Its weight.
        weight: f64,
    },
    /// There are no weights, all are 0, or their sum overflows.
    #[error("the weights of {rows} rows sum to {sum}: nothing can be drawn")]
    BadSum {
        /// Number of rows.
        rows: usize,
        /// Sum of the weights.
        sum: f64,
    },
}

/// Draws rows with probabilities proportional to their weights, with replacement.
#[derive(Clone, Debug)]
pub struct WeightedSampler {
    /// Sum of the weights up to and including each row, never falling.
    sums: Vec<f64>,
    /// Sum of all weights.
    total: f64,
    /// Last row of positive weight.
    last: usize,
}

impl WeightedSampler {
    /// A sampler by one weight per row; the weights need not sum to 1.
    ///
    /// # Errors
    /// A negative, infinite or NaN weight; no positive weight; a sum that overflows.
    pub fn new(weights: &[f64]) -> Result<Self, SamplingError> {
        let mut total = 0.0;
        let mut last = None;
        let mut sums = Vec::with_capacity(weights.len());
        for (row, &weight) in weights.iter().enumerate() {
            if !weight.is_finite() || weight < 0.0 {
                return Err(SamplingError::BadWeight { row, weight });
            }
            total += weight;
            if weight > 0.0 {
                last = Some(row);
            }
            sums.push(total);
        }
        match last {
            Some(last) if total.is_finite() => Ok(Self { sums, total, last }),
            _ => Err(SamplingError::BadSum { rows: weights.len(), sum: total }),
        }
    }

    /// One row, from 0; uses one uniform number. A row of weight 0 is never drawn.
    pub fn draw(&self, generator: &mut Generator) -> usize {
        let target = generator.uniform() * self.total;
        // Rounding can lift the target to the total, beyond the last row that may be drawn.
        self.sums.partition_point(|&sum| sum <= target).min(self.last)
    }

    /// As many rows as there are weights: one epoch.
    pub fn epoch(&self, generator: &mut Generator) -> Vec<usize> {
        self.sums.iter().map(|_| self.draw(generator)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    #[test]
    fn rows_occur_as_often_as_they_weigh() {
        let sampler = WeightedSampler::new(&[0.0, 1.0, 3.0, 0.0, 4.0, 0.0]).expect("sampler");
        let mut generator = RandomKey::new(5, "test").generator();
        let mut counts = [0u32; 6];
        for _ in 0..40_000 {
            counts[sampler.draw(&mut generator)] += 1;
        }
        for (count, expected) in counts.iter().zip([0, 5000, 15_000, 0, 20_000, 0]) {
            assert!(count.abs_diff(expected) < 400, "{counts:?}");
        }
        assert_eq!((counts[0], counts[3], counts[5]), (0, 0, 0));
    }

    #[test]
    fn an_epoch_has_one_draw_per_row_and_depends_on_its_key_only() {
        let sampler = WeightedSampler::new(&[0.2; 50]).expect("sampler");
        let epoch = |epoch| sampler.epoch(&mut RandomKey::new(5, "train").number("epoch", epoch).generator());
        assert_eq!(epoch(0).len(), 50);
        assert_eq!(epoch(0), epoch(0));
        assert_ne!(epoch(0), epoch(1));
    }

    #[test]
    fn weights_that_cannot_be_drawn_by_are_named() {
        let error = |weights: &[f64]| WeightedSampler::new(weights).err();
        assert_eq!(error(&[1.0, -1.0]), Some(SamplingError::BadWeight { row: 1, weight: -1.0 }));
        assert!(matches!(error(&[f64::NAN]), Some(SamplingError::BadWeight { row: 0, .. })));
        assert_eq!(error(&[0.0, 0.0]), Some(SamplingError::BadSum { rows: 2, sum: 0.0 }));
        assert_eq!(error(&[]), Some(SamplingError::BadSum { rows: 0, sum: 0.0 }));
        assert!(matches!(error(&[f64::MAX, f64::MAX]), Some(SamplingError::BadSum { rows: 2, .. })));
    }
}
