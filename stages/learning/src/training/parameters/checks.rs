//! What is wrong with parameters.

use std::fmt;

use super::{TrainParameters, Tuning};

/// Something that is wrong with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterProblem {
    /// The parameter's name.
    pub name: &'static str,
    /// What is wrong, as a fragment that follows the name.
    pub what: String,
}

impl fmt::Display for ParameterProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` {}", self.name, self.what)
    }
}

impl TrainParameters {
    /// Everything that is wrong, in the order of the parameters; empty if nothing is.
    pub fn validate(&self) -> Vec<ParameterProblem> {
        let mut problems = Problems::default();
        self.check_schedule(&mut problems);
        self.check_model(&mut problems);
        self.check_losses(&mut problems);
        self.check_augmentation(&mut problems);
        problems.0
    }

    fn check_schedule(&self, problems: &mut Problems) {
        problems.count("batch_size", self.batch_size, 1, 65_536);
        if self.batch_size == 1 && self.clip_loss_weight > 0.0 {
            let what = "is 1, but the contrastive loss compares nodules with each other: set it to 2 or more, or \
                        `clip_loss_weight` to 0";
            problems.add("batch_size", what.to_owned());
        }
        problems.count("ga", self.ga, 1, 65_536);
        problems.count("epochs", self.epochs as usize, 1, 100_000);
        problems.above_zero("lr", self.lr);
        if self.lr_warmup >= self.epochs.max(1) {
            let what = format!("is {}, not less than `epochs` {}", self.lr_warmup, self.epochs);
            problems.add("lr_warmup", what);
        }
        problems.number("gradient_clip", self.gradient_clip, 0.0, f64::MAX);
        problems.number("weight_decay", self.weight_decay, 0.0, f64::MAX);
        problems.count("es_patience", self.es_patience as usize, 1, 100_000);
        if self.es_warmup >= self.epochs.max(1) {
            let what =
                format!("is {}, not less than `epochs` {}: no checkpoint", self.es_warmup, self.epochs);
            problems.add("es_warmup", what);
        }
    }

    fn check_model(&self, problems: &mut Problems) {
        if self.tuning == Tuning::Lora && self.params.is_empty() {
            problems.add("params", "is empty, which leaves tuning `lora` without adapters".into());
        }
        let mut sorted = self.params.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            problems.add("params", "names a projection twice".into());
        }
        problems.count("r", self.r, 1, 4096);
        problems.above_zero("alpha", self.alpha);
        problems.rate("dropout_rate", self.dropout_rate);
        problems.rate("dropout", self.dropout);
        problems.count("out_dim", self.out_dim, 2, 4096);
        if !self.out_dim.is_multiple_of(2) {
            problems.add(
                "out_dim",
                format!("is {}, but the attention's hidden layer is half of it", self.out_dim),
            );
        }
        // Beyond this range the clamp of logit_scale would change it at once.
        problems.number("tau", self.tau, 0.01, 1.0);
    }

    fn check_losses(&self, problems: &mut Problems) {
        let weights = [
            ("clip_loss_weight", self.clip_loss_weight),
            ("img_loss_weight", self.img_loss_weight),
            ("text_loss_weight", self.text_loss_weight),
        ];
        for (name, weight) in weights {
            problems.number(name, weight, 0.0, f64::MAX);
        }
        if weights.iter().all(|&(_, weight)| weight == 0.0) {
            problems.add("clip_loss_weight", "is 0 like the other loss weights: nothing to train".into());
        }
    }

    fn check_augmentation(&self, problems: &mut Problems) {
        problems.count("crop_size", self.crop_size, 2, 4096);
        if let (Some(low), Some(high)) = (self.clip_min, self.clip_max) {
            // As the numbers that the window is computed with.
            let width = high as f32 - low as f32;
            if !(width > 0.0 && width.is_finite()) {
                problems.add("clip_max", format!("is {high}, not a finite number above `clip_min` {low}"));
            }
        }
        problems.rate("random_flip_prob", self.random_flip_prob);
        problems.number("random_affine_degree", self.random_affine_degree, 0.0, 180.0);
        problems.number("random_noise_mean", self.random_noise_mean, -f64::MAX, f64::MAX);
        problems.number("random_noise_std", self.random_noise_std, 0.0, f64::MAX);
        problems.number("random_gamma", self.random_gamma, 0.0, 10.0);
        problems.rate("random_crop_prob", self.random_crop_prob);
        for what in self.architecture.problems() {
            problems.add("architecture", format!("is impossible: {what}"));
        }
    }
}

/// Collects problems.
#[derive(Default)]
struct Problems(Vec<ParameterProblem>);

impl Problems {
    fn add(&mut self, name: &'static str, what: String) {
        self.0.push(ParameterProblem { name, what });
    }

    fn count(&mut self, name: &'static str, value: usize, least: usize, most: usize) {
        if !(least..=most).contains(&value) {
            self.add(name, format!("is {value}, not between {least} and {most}"));
        }
    }

    /// A NaN is in no range.
    fn number(&mut self, name: &'static str, value: f64, least: f64, most: f64) {
        if !(least..=most).contains(&value) {
            let range = match (least <= -f64::MAX, most >= f64::MAX) {
                (true, _) => "a finite number".to_owned(),
                (false, true) => format!("a finite number of at least {least}"),
                (false, false) => format!("between {least} and {most}"),
            };
            self.add(name, format!("is {value}, not {range}"));
        }
    }

    fn above_zero(&mut self, name: &'static str, value: f64) {
        if !(value > 0.0 && value.is_finite()) {
            self.add(name, format!("is {value}, not a finite number above 0"));
        }
    }

    fn rate(&mut self, name: &'static str, value: f64) {
        self.number(name, value, 0.0, 1.0);
    }
}
