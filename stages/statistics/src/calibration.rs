//! Beta calibration: from a model's score to a probability that means what it says.
//!
//! The calibrated probability is a logistic function of ln p and ln(1−p), fitted to validation cases
//! by maximum likelihood (Kull, Silva Filho and Flach 2017; SPEC section 5). The four kinds differ in
//! what is free. The module does not know which model or fold the probabilities come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::logistic::{self, LogisticFit};
use super::metrics::{MetricError, check_probabilities};

/// Why no calibrator can be fitted or applied.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum CalibrationError {
    /// The name is that of no kind.
    #[error("unknown calibration kind `{0}`: expected abm, am, ab or a")]
    UnknownKind(String),
    /// The probabilities or labels are unusable.
    #[error("cannot calibrate: {0}")]
    Cases(#[from] MetricError),
    /// All cases have one label, so nothing can be learnt about the other.
    #[error("cannot calibrate on one class: {positives} of {n} cases are positive")]
    SingleClass {
        /// Number of cases.
        n: usize,
        /// Number of positive cases.
        positives: usize,
    },
}

/// Which of the parameters a, b and m are free.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationKind {
    /// a, b and m; of a and b at most one is fixed at 0, where it would be negative.
    Abm,
    /// a = b, and m.
    Am,
    /// a and b; m = ½.
    Ab,
    /// a = b; m = ½.
    A,
}

impl CalibrationKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Abm, Self::Am, Self::Ab, Self::A];

    /// The name of the kind in parameters and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Abm => "abm",
            Self::Am => "am",
            Self::Ab => "ab",
            Self::A => "a",
        }
    }
}

impl fmt::Display for CalibrationKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for CalibrationKind {
    type Err = CalibrationError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| CalibrationError::UnknownKind(name.to_owned()))
    }
}

/// A fitted calibrator: p becomes 1 / (1 + exp(−(a ln p − b ln(1−p) + intercept))).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BetaCalibrator {
    /// What was free in the fit.
    pub kind: CalibrationKind,
    /// Weight of ln p.
    pub a: f64,
    /// Weight of −ln(1−p).
    pub b: f64,
    /// The probability that becomes ½, in [0, 1]. It describes the intercept (b ln(1−m) − a ln m) where
    /// such a probability exists and is the nearer end of [0, 1] where not, so the intercept is what
    /// counts.
    pub m: f64,
    /// The constant of the linear predictor.
    pub intercept: f64,
    /// Number of cases of the fit; 0 when it is not known.
    pub n: usize,
    /// Number of positive cases of the fit; 0 when it is not known.
    pub positives: usize,
    /// Whether the fit reached the greatest likelihood. It does not where the probabilities separate
    /// the classes: the likelihood then has no maximum, and the calibrator is a steep but finite step.
    pub converged: bool,
}

impl BetaCalibrator {
    /// Fits a calibrator to probabilities and labels of the same cases.
    ///
    /// Probabilities are clipped to [ε, 1−ε] with the machine epsilon ε. Constant probabilities give
    /// a calibrator with the right mean where the kind has an intercept.
    ///
    /// # Errors
    /// No case, lengths that differ, a value outside [0, 1], or labels of one class only.
    pub fn fit(
        kind: CalibrationKind,
        probabilities: &[f64],
        labels: &[bool],
    ) -> Result<Self, CalibrationError> {
        check_probabilities(labels, probabilities)?;
        let (n, positives) = (labels.len(), labels.iter().filter(|&&label| label).count());
        if positives == 0 || positives == n {
            return Err(CalibrationError::SingleClass { n, positives });
        }
        let logs: Vec<Logs> = probabilities.iter().map(|&p| Logs::of(p)).collect();
        let line = Line::fit(kind, &logs, labels);
        Ok(Self {
            n,
            positives,
            converged: line.converged,
            ..Self::from_line(kind, line.a, line.b, line.intercept)
        })
    }

    /// A calibrator fitted elsewhere, from the linear predictor a ln p − b ln(1−p) + intercept.
    pub fn from_line(kind: CalibrationKind, a: f64, b: f64, intercept: f64) -> Self {
        Self { kind, a, b, m: midpoint(a, b, intercept), intercept, n: 0, positives: 0, converged: true }
    }

    /// A calibrator fitted elsewhere, from its map (a, b, m) with m strictly between 0 and 1.
    pub fn from_map(kind: CalibrationKind, a: f64, b: f64, m: f64) -> Self {
        let logs = Logs::of(m);
        let intercept = -(a * logs.p + b * logs.rest);
        Self { kind, a, b, m, intercept, n: 0, positives: 0, converged: true }
    }

    /// The calibrated probability; values outside [0, 1] count as the nearer end, NaN stays NaN.
    pub fn apply(&self, probability: f64) -> f64 {
        let logs = Logs::of(probability);
        logistic::sigmoid(self.a * logs.p + self.b * logs.rest + self.intercept)
    }

    /// The range of probabilities in which a higher one gives a lower calibrated one, which turns the ranking of cases
    /// round; `None` where there is no such range.
    pub fn falling(&self) -> Option<[f64; 2]> {
        // The linear predictor's slope is a / p + b / (1 − p), whose sign changes once at most.
        let turning = self.a / (self.a - self.b);
        match (self.a < 0.0, self.b < 0.0) {
            (false, false) => None,
            (true, true) => Some([0.0, 1.0]),
            (true, false) => Some([0.0, turning]),
            (false, true) => Some([turning, 1.0]),
        }
    }

    /// Whether it falls anywhere between two probabilities.
    pub fn falls_between(&self, low: f64, high: f64) -> bool {
        self.falling().is_some_and(|[from, to]| from.max(low) < to.min(high))
    }

    /// Mean −ln(probability given to the true label) over the cases, in nats: what the fit minimises.
    ///
    /// # Errors
    /// No case, lengths that differ, or a value outside [0, 1].
    pub fn log_loss(&self, probabilities: &[f64], labels: &[bool]) -> Result<f64, CalibrationError> {
        check_probabilities(labels, probabilities)?;
        let features: Vec<[f64; 3]> =
            probabilities.iter().map(|&p| Logs::of(p)).map(|logs| [logs.p, logs.rest, 1.0]).collect();
        let line = [self.a, self.b, self.intercept];
        Ok(logistic::negative_log_likelihood(&line, &features, labels) / labels.len() as f64)
    }
}

/// The two logarithms of a clipped probability: ln p and −ln(1−p).
#[derive(Clone, Copy)]
struct Logs {
    p: f64,
    rest: f64,
}

impl Logs {
    fn of(probability: f64) -> Self {
        let p = probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        Self { p: libm::log(p), rest: -libm::log(1.0 - p) }
    }
}

/// The linear predictor a ln p − b ln(1−p) + intercept of a fit.
struct Line {
    a: f64,
    b: f64,
    intercept: f64,
    converged: bool,
}

impl Line {
    fn fit(kind: CalibrationKind, logs: &[Logs], labels: &[bool]) -> Self {
        let odds = |logs: &Logs| logs.p + logs.rest;
        match kind {
            CalibrationKind::Abm => Self::fit_abm(logs, labels),
            CalibrationKind::Am => {
                let LogisticFit { coefficients: [a, intercept], converged } =
                    regress(logs, labels, |logs| [odds(logs), 1.0]);
                Self { a, b: a, intercept, converged }
            }
            CalibrationKind::Ab => {
                let ln_2 = std::f64::consts::LN_2;
                let LogisticFit { coefficients: [a, b], converged } =
                    regress(logs, labels, |logs| [logs.p + ln_2, logs.rest - ln_2]);
                Self { a, b, intercept: (a - b) * ln_2, converged }
            }
            CalibrationKind::A => {
                let LogisticFit { coefficients: [a], converged } = regress(logs, labels, |logs| [odds(logs)]);
                Self { a, b: a, intercept: 0.0, converged }
            }
        }
    }

    /// Both coefficients, or one of them when the other would be negative: the first is looked at
    /// first, and what remains may be negative.
    fn fit_abm(logs: &[Logs], labels: &[bool]) -> Self {
        let both = regress(logs, labels, |logs| [logs.p, logs.rest, 1.0]);
        let [a, b, intercept] = both.coefficients;
        if a < 0.0 {
            let LogisticFit { coefficients: [b, intercept], converged } =
                regress(logs, labels, |logs| [logs.rest, 1.0]);
            Self { a: 0.0, b, intercept, converged }
        } else if b < 0.0 {
            let LogisticFit { coefficients: [a, intercept], converged } =
                regress(logs, labels, |logs| [logs.p, 1.0]);
            Self { a, b: 0.0, intercept, converged }
        } else {
            Self { a, b, intercept, converged: both.converged }
        }
    }
}

fn regress<const K: usize>(
    logs: &[Logs],
    labels: &[bool],
    features: impl Fn(&Logs) -> [f64; K],
) -> LogisticFit<K> {
    let features: Vec<[f64; K]> = logs.iter().map(features).collect();
    logistic::fit(&features, labels)
}

/// The probability whose linear predictor is 0, for a and b of one sign (or one of them 0); ½ when
/// both are 0.
///
/// Found by bisection over the log-odds t, where a ln p − b ln(1−p) = b·ln(1+eᵗ) − a·ln(1+e⁻ᵗ).
fn midpoint(a: f64, b: f64, intercept: f64) -> f64 {
    let direction = a + b;
    if direction == 0.0 {
        return 0.5;
    }
    let predictor =
        |t: f64| b * logistic::log_one_plus_exp(t) - a * logistic::log_one_plus_exp(-t) + intercept;
    let (mut low, mut high) = (-750.0, 750.0);
    // Each step halves the bracket; 64 exhaust a double.
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if (predictor(middle) < 0.0) == (direction > 0.0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    logistic::sigmoid(0.5 * (low + high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_kinds_agree() {
        for (kind, name) in CalibrationKind::ALL.into_iter().zip(["abm", "am", "ab", "a"]) {
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(kind.to_string(), name);
            assert_eq!(serde_json::to_string(&kind).expect("json"), format!("\"{name}\""));
        }
        assert_eq!("beta".parse::<CalibrationKind>(), Err(CalibrationError::UnknownKind("beta".to_owned())));
    }

    #[test]
    fn the_midpoint_becomes_one_half() {
        for (a, b, intercept) in
            [(1.0, 1.0, 0.3), (2.0, 0.5, -4.0), (-1.0, -2.0, 0.5), (0.0, -2.0, 1.6), (1.5, 0.0, 2.0)]
        {
            let calibrator = BetaCalibrator::from_line(CalibrationKind::Abm, a, b, intercept);
            let there = calibrator.apply(calibrator.m);
            assert!((there - 0.5).abs() < 1e-9, "({a}, {b}, {intercept}) gives {there}");
        }
    }

    #[test]
    fn without_a_midpoint_the_nearer_end_is_given() {
        let always_positive = BetaCalibrator::from_line(CalibrationKind::Abm, 0.0, 1.0, 2.0);
        assert!(always_positive.m < 1e-9);
        assert!(always_positive.apply(0.0) > 0.5);
        assert_eq!(BetaCalibrator::from_line(CalibrationKind::A, 0.0, 0.0, 0.0).m, 0.5);
    }

    #[test]
    fn a_map_and_its_line_agree() {
        let line = BetaCalibrator::from_line(CalibrationKind::Abm, 1.3, 0.4, 0.7);
        let map = BetaCalibrator::from_map(CalibrationKind::Abm, line.a, line.b, line.m);
        assert!((line.intercept - map.intercept).abs() < 1e-9);
        let half = BetaCalibrator::from_map(CalibrationKind::Ab, 1.3, 0.4, 0.5);
        assert!((half.intercept - 0.9 * std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn where_a_calibrator_falls_is_known() {
        for (a, b, falling) in [
            (1.0, 2.0, None),
            (0.0, 1.0, None),
            (0.0, 0.0, None),
            (-1.0, -2.0, Some([0.0, 1.0])),
            (0.0, -2.0, Some([0.0, 1.0])),
            (-2.0, 0.0, Some([0.0, 1.0])),
            (3.0, -1.0, Some([0.75, 1.0])),
            (-1.0, 3.0, Some([0.0, 0.25])),
        ] {
            let calibrator = BetaCalibrator::from_line(CalibrationKind::Abm, a, b, 0.5);
            assert_eq!(calibrator.falling(), falling, "({a}, {b})");
            // Not where it turns, at 0.25 and 0.75.
            for p in (1..99).map(|percent| (f64::from(percent) + 0.5) / 100.0) {
                let falls = calibrator.apply(p + 0.001) < calibrator.apply(p);
                assert_eq!(calibrator.falls_between(p, p + 0.001), falls, "({a}, {b}) at {p}");
            }
            assert!(!calibrator.falls_between(0.5, 0.5));
        }
    }

    #[test]
    fn separated_classes_give_a_steep_but_finite_calibrator() {
        let (probabilities, labels) = ([0.0, 0.1, 0.2, 0.8, 1.0], [false, false, false, true, true]);
        for kind in CalibrationKind::ALL {
            let calibrator = BetaCalibrator::fit(kind, &probabilities, &labels).expect("fitted");
            assert!(!calibrator.converged, "{kind}");
            for p in [0.0, 0.2, 0.5, 0.8, 1.0] {
                assert!((0.0..=1.0).contains(&calibrator.apply(p)), "{kind} at {p}");
            }
            assert!(calibrator.apply(0.2) < 0.01 && calibrator.apply(0.8) > 0.99, "{kind}");
        }
    }

    #[test]
    fn constant_probabilities_calibrate_to_the_prevalence() {
        let labels = [true, false, false, false];
        for kind in [CalibrationKind::Abm, CalibrationKind::Am] {
            for p in [0.0, 0.3, 0.5, 1.0] {
                let calibrator = BetaCalibrator::fit(kind, &[p; 4], &labels).expect("fitted");
                assert!((calibrator.apply(p) - 0.25).abs() < 1e-6, "{kind} at {p}: {calibrator:?}");
            }
        }
    }

    #[test]
    fn bad_input_is_named() {
        let fit = |probabilities: &[f64], labels: &[bool]| {
            BetaCalibrator::fit(CalibrationKind::Abm, probabilities, labels)
        };
        assert_eq!(
            fit(&[0.1, 0.2], &[true, true]),
            Err(CalibrationError::SingleClass { n: 2, positives: 2 })
        );
        assert_eq!(fit(&[], &[]), Err(CalibrationError::Cases(MetricError::Empty)));
        let outside = MetricError::NotAProbability { case: 0, score: -0.1 };
        assert_eq!(fit(&[-0.1, 0.2], &[true, false]), Err(CalibrationError::Cases(outside)));
    }

    #[test]
    fn a_calibrator_survives_json() {
        let fitted =
            BetaCalibrator::fit(CalibrationKind::Am, &[0.1, 0.7, 0.4, 0.3], &[false, true, false, true]);
        let fitted = fitted.expect("fitted");
        let text = serde_json::to_string(&fitted).expect("json");
        let read: BetaCalibrator = serde_json::from_str(&text).expect("calibrator");
        assert_eq!(read, fitted);
        assert!(serde_json::from_str::<BetaCalibrator>(&text.replace("\"m\"", "\"q\"")).is_err());
    }

    proptest! {
        /// Coarse probabilities with both ends: separated, half separated, constant and ordinary cases.
        #[test]
        fn every_fit_predicts_probabilities_and_beats_a_coin(
            cases in prop::collection::vec((0..9u8, any::<bool>()), 2..30),
            kind in prop::sample::select(CalibrationKind::ALL.to_vec()),
        ) {
            let (steps, labels): (Vec<u8>, Vec<bool>) = cases.into_iter().unzip();
            let positives = labels.iter().filter(|&&label| label).count();
            prop_assume!(positives > 0 && positives < labels.len());
            let probabilities: Vec<f64> = steps.iter().map(|&step| f64::from(step) / 8.0).collect();
            let fitted = BetaCalibrator::fit(kind, &probabilities, &labels).expect("fitted");
            for p in [0.0, 1e-300, 0.1, 0.5, 0.9, 1.0] {
                prop_assert!((0.0..=1.0).contains(&fitted.apply(p)), "{:?} at {}", fitted, p);
            }
            prop_assert!((0.0..=1.0).contains(&fitted.m));
            // Constant predictions are among the candidates: ½ for every kind.
            let loss = fitted.log_loss(&probabilities, &labels).expect("loss");
            prop_assert!(loss <= std::f64::consts::LN_2 + 1e-9, "{:?}: loss {}", fitted, loss);
        }
    }
}
