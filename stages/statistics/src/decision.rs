//! What decisions at a threshold are worth: thresholds for a wanted sensitivity, intervals of proportions, net
//! benefit.
//!
//! It counts decisions "positive from this threshold on"; what follows from one is not known here.

use super::clusters::Clusters;
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
    /// The share of the cases of which something holds, among those of which it may hold (`Some`); `None` of nothing.
    ///
    /// The interval is Wilson's (1927), which suits shares near 0 and 1, for as many independent cases as those of the
    /// clusters are worth: their number over the design effect, which is how much greater the share's variance between
    /// clusters is than that of independent cases (Rao and Scott 1992). With one case for each cluster that is their
    /// number.
    pub fn of(outcomes: &[Option<bool>], clusters: &Clusters) -> Option<Self> {
        let sums =
            clusters.sums(outcomes.iter().map(|outcome| outcome.map(|holds| f64::from(u8::from(holds)))));
        let cases: usize = sums.iter().map(|(count, _)| count).sum();
        if cases == 0 {
            return None;
        }
        let value = sums.iter().map(|(_, sum)| sum).sum::<f64>() / cases as f64;
        Some(Self::wilson(value, independent_cases(&sums, value)))
    }

    fn wilson(p: f64, n: f64) -> Self {
        let z2 = QUANTILE * QUANTILE;
        let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = QUANTILE / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Self { value: p, low: (middle - half).clamp(0.0, p), high: (middle + half).clamp(p, 1.0) }
    }
}

/// How many independent cases a share of clustered ones is worth, by each cluster's number of cases and sum.
///
/// Where the clusters do not differ nothing is known of how alike their cases are: then they count as wholly alike.
fn independent_cases(sums: &[(usize, f64)], share: f64) -> f64 {
    let over_clusters = |value: fn(f64, f64, f64) -> f64| -> f64 {
        sums.iter().map(|(count, sum)| value(*count as f64, *sum, share)).sum()
    };
    let cases = over_clusters(|count, _, _| count);
    let wholly_alike = cases * cases / over_clusters(|count, _, _| count * count);
    let clusters = sums.iter().filter(|(count, _)| *count > 0).count() as f64;
    let between = over_clusters(|count, sum, share| (sum - share * count) * (sum - share * count));
    if between <= 0.0 || clusters < 2.0 {
        return wholly_alike;
    }
    let variance = clusters / (clusters - 1.0) * between / (cases * cases);
    let design_effect = variance / (share * (1.0 - share) / (cases - 1.0));
    (cases / design_effect).clamp(1.0, cases)
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

    fn share(part: usize, whole: usize, clusters: &Clusters) -> Option<Proportion> {
        let outcomes: Vec<Option<bool>> = (0..whole).map(|case| Some(case < part)).collect();
        Proportion::of(&outcomes, clusters)
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
            let found = share(part, whole, &Clusters::of_single_cases(whole)).expect("cases");
            assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{found:?}");
        }
        assert_eq!(share(0, 0, &Clusters::of_single_cases(0)), None);
        assert_eq!(Proportion::of(&[None, None], &Clusters::of_single_cases(2)), None);
    }

    #[test]
    fn cases_of_a_patient_that_are_alike_count_once() {
        let once = share(15, 40, &Clusters::of_single_cases(40)).expect("cases");
        // Each case twice, in one patient: an outcome of 80 cases that is worth 40, but for 1 in the degrees of freedom.
        let pairs = Clusters::new((0..80).map(|case| case / 2));
        let twice = share(30, 80, &pairs).expect("cases");
        assert!((twice.low - once.low).abs() < 0.002 && (twice.high - once.high).abs() < 0.002, "{twice:?}");
        let apart = share(30, 80, &Clusters::of_single_cases(80)).expect("cases");
        assert!(apart.high - apart.low < 0.75 * (once.high - once.low), "{apart:?}");
        // All hold: nothing tells how alike a patient's cases are.
        let all = share(40, 40, &Clusters::new((0..40).map(|case| case / 2))).expect("cases");
        assert_eq!(all, share(20, 20, &Clusters::of_single_cases(20)).expect("cases"));
        // One patient says what one case says.
        let one = share(3, 4, &Clusters::new([0; 4])).expect("cases");
        assert!(one.high - one.low > 0.8, "{one:?}");
    }

    #[test]
    fn cases_of_which_it_cannot_hold_do_not_count() {
        let outcomes = [Some(true), None, Some(false), None];
        let found = Proportion::of(&outcomes, &Clusters::new(["a", "a", "b", "c"])).expect("cases");
        let alone = share(1, 2, &Clusters::of_single_cases(2)).expect("cases");
        assert_eq!(found, alone);
    }

    #[test]
    fn net_benefit_weighs_false_alarms_by_the_odds() {
        let confusion =
            Confusion { true_positives: 30, false_positives: 20, true_negatives: 40, false_negatives: 10 };
        assert!((net_benefit(&confusion, 0.2) - (30.0 - 20.0 * 0.25) / 100.0).abs() < 1e-15);
    }
}
