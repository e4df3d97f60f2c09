//! What decisions at a threshold are worth: thresholds for a wanted sensitivity, intervals of proportions, net benefit.
//!
//! It counts decisions "positive from this threshold on"; what follows from one is not known here.

use super::confusion::Confusion;

/// The two-sided 95 % quantile of the normal distribution.
const QUANTILE: f64 = 1.959_963_984_540_054;

/// The highest threshold at which at least this share of the positive cases is called positive; `None` without any.
pub fn threshold_at_sensitivity(labels: &[bool], scores: &[f64], sensitivity: f64) -> Option<f64> {
    let mut positives: Vec<f64> =
        labels.iter().zip(scores).filter(|(label, _)| **label).map(|(_, score)| *score).collect();
    positives.sort_by(|a, b| b.total_cmp(a));
    // A share that is a whole number of cases may have been rounded up by its last bit.
    let wanted = (sensitivity * positives.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    positives.get(wanted - 1).copied()
}

/// The decisions of a threshold.
pub fn decide(labels: &[bool], scores: &[f64], threshold: f64) -> Confusion {
    let mut confusion = Confusion::default();
    for (label, score) in labels.iter().zip(scores) {
        let count = match (label, *score >= threshold) {
            (true, true) => &mut confusion.true_positives,
            (true, false) => &mut confusion.false_negatives,
            (false, true) => &mut confusion.false_positives,
            (false, false) => &mut confusion.true_negatives,
        };
        *count += 1;
    }
    confusion
}

/// A proportion with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// The share.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Proportion {
    /// `part` of `whole` with Wilson's interval (1927), which suits shares near 0 and 1; `None` of nothing.
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        let (n, p, z2) = (whole as f64, part as f64 / whole as f64, QUANTILE * QUANTILE);
        let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = QUANTILE / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Some(Self { value: p, low: (middle - half).clamp(0.0, p), high: (middle + half).clamp(p, 1.0) })
    }
}

/// Net benefit of a threshold probability (Vickers and Elkin 2006): true positives less false positives weighed by the
/// threshold's odds, per case.
pub fn net_benefit(confusion: &Confusion, threshold: f64) -> f64 {
    let Confusion { true_positives, false_positives, true_negatives, false_negatives } = *confusion;
    let n = (true_positives + false_positives + true_negatives + false_negatives) as f64;
    (true_positives as f64 - false_positives as f64 * threshold / (1.0 - threshold)) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_reaches_the_sensitivity_and_no_higher_one_does() {
        let labels = [true, false, true, true, true, false];
        let scores = [0.9, 0.8, 0.7, 0.4, 0.2, 0.1];
        for (sensitivity, threshold) in [(0.5, 0.7), (0.75, 0.4), (0.76, 0.2), (1.0, 0.2), (0.0, 0.9)] {
            assert_eq!(threshold_at_sensitivity(&labels, &scores, sensitivity), Some(threshold));
            let found = decide(&labels, &scores, threshold).sensitivity().expect("positives");
            assert!(found >= sensitivity);
        }
        assert_eq!(threshold_at_sensitivity(&[false], &[0.5], 0.9), None);
    }

    #[test]
    fn wilson_intervals_are_those_of_the_literature() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (part, whole, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let found = Proportion::of(part, whole).expect("cases");
            assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{found:?}");
        }
        assert_eq!(Proportion::of(0, 0), None);
    }

    #[test]
    fn net_benefit_weighs_false_alarms_by_the_odds() {
        let confusion =
            Confusion { true_positives: 30, false_positives: 20, true_negatives: 40, false_negatives: 10 };
        assert!((net_benefit(&confusion, 0.2) - (30.0 - 20.0 * 0.25) / 100.0).abs() < 1e-15);
    }
}
