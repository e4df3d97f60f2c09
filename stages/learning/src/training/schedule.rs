//! The learning rate of each step of the optimiser.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays, as in the published training.
    #[default]
    Constant,
    /// It falls to 0 along half a cosine, which the last step of the last epoch reaches.
    Cosine,
}

/// The learning rates of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRates {
    /// The highest.
    pub peak: f64,
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Epochs over which the rate rises evenly to the peak.
    pub warmup_epochs: u32,
    /// All epochs.
    pub epochs: u32,
    /// Steps of the optimiser in an epoch.
    pub steps_per_epoch: usize,
}

impl LearningRates {
    /// The rate of a step, counted from 0 over all epochs.
    pub fn at(&self, step: usize) -> f64 {
        let count = |epochs: u32| f64::from(epochs) * self.steps_per_epoch as f64;
        let (done, warmup, all) = (step as f64 + 1.0, count(self.warmup_epochs), count(self.epochs));
        if done <= warmup {
            return self.peak * done / warmup;
        }
        match self.schedule {
            Schedule::Constant => self.peak,
            Schedule::Cosine => {
                let share = ((done - warmup) / (all - warmup).max(1.0)).clamp(0.0, 1.0);
                self.peak * 0.5 * (1.0 + libm::cos(PI * share))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, warmup_epochs: u32) -> Vec<f64> {
        let rates = LearningRates { peak: 2.0, schedule, warmup_epochs, epochs: 4, steps_per_epoch: 2 };
        (0..8).map(|step| (rates.at(step) * 1e4).round() / 1e4).collect()
    }

    #[test]
    fn rates_rise_and_fall_as_asked() {
        assert_eq!(rates(Schedule::Constant, 0), [2.0; 8]);
        assert_eq!(rates(Schedule::Constant, 2), [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(rates(Schedule::Cosine, 0), [1.9239, 1.7071, 1.3827, 1.0, 0.6173, 0.2929, 0.0761, 0.0]);
        assert_eq!(rates(Schedule::Cosine, 2), [0.5, 1.0, 1.5, 2.0, 1.7071, 1.0, 0.2929, 0.0]);
    }
}
