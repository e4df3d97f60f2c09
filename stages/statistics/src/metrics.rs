//! How well scores tell positive cases from negative ones.
//!
//! [`RankedCases`] sorts the cases of one score vector once; every metric is then one pass over the
//! sorted cases, for the cases as they are or with a count per case. The bootstrap uses the counts, so
//! that no resample is sorted. The definitions are scikit-learn's (SPEC section 5): ties count half in
//! the AUROC, and average precision is the step-wise sum without interpolation. The module does not
//! know where the scores come from; a higher score means "more likely positive".

use std::ops::Range;

use thiserror::Error;

use super::confusion::{Confusion, YoudenPoint, share};

/// Why no metric can be computed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// There is no case at all.
    #[error("no cases to evaluate")]
    Empty,
    /// Labels and scores do not belong to the same cases.
    #[error("{labels} labels but {scores} scores")]
    LengthMismatch {
        /// Number of labels.
        labels: usize,
        /// Number of scores.
        scores: usize,
    },
    /// A score is NaN and has no rank.
    #[error("the score of case {case} is not a number")]
    NotANumber {
        /// Position of the case, from 0.
        case: usize,
    },
    /// A score that must be a probability is not one.
    #[error("the score of case {case} is {score}, not a probability between 0 and 1")]
    NotAProbability {
        /// Position of the case, from 0.
        case: usize,
        /// Its score.
        score: f64,
    },
}

/// The cases of one score vector in the order of falling scores, ready for any metric.
///
/// A `counts` argument says how often each case occurs, by its original position; a position beyond
/// its end counts as 0. Metrics that need both classes are `None` when one is missing.
#[derive(Clone, Debug)]
pub struct RankedCases {
    /// Labels by falling score.
    labels: Vec<bool>,
    /// Scores, falling.
    scores: Vec<f64>,
    /// Original positions by falling score.
    positions: Vec<usize>,
    /// Runs of equal scores, in order.
    ties: Vec<Range<usize>>,
}

impl RankedCases {
    /// Ranks `scores`, one per label; any number but NaN is a score. Costs O(n log n).
    ///
    /// # Errors
    /// No case, lengths that differ, or a NaN score.
    pub fn new(labels: &[bool], scores: &[f64]) -> Result<Self, MetricError> {
        check_lengths(labels, scores.len())?;
        if let Some(case) = scores.iter().position(|score| score.is_nan()) {
            return Err(MetricError::NotANumber { case });
        }
        let mut cases: Vec<(usize, bool, f64)> = labels
            .iter()
            .zip(scores)
            .enumerate()
            .map(|(case, (&label, &score))| (case, label, score))
            .collect();
        // A stable sort keeps tied cases in their original order; -0.0 and 0.0 are one score.
        cases.sort_by(|a, b| (b.2 + 0.0).total_cmp(&(a.2 + 0.0)));
        let scores: Vec<f64> = cases.iter().map(|case| case.2).collect();
        Ok(Self {
            labels: cases.iter().map(|case| case.1).collect(),
            positions: cases.iter().map(|case| case.0).collect(),
            ties: runs_of_equal(&scores),
            scores,
        })
    }

    /// Area under the receiver operating characteristic: the probability that a positive case scores
    /// above a negative one, ties counting half.
    pub fn auroc(&self) -> Option<f64> {
        self.weighted_auroc(&self.once())
    }

    /// [`auroc`](Self::auroc) with a count per case.
    pub fn weighted_auroc(&self, counts: &[u32]) -> Option<f64> {
        let mut halves: u128 = 0;
        let mut seen = Tally::default();
        for tie in self.tallies(counts) {
            let won = 2 * u128::from(seen.positives) + u128::from(tie.positives);
            halves += u128::from(tie.negatives) * won;
            seen.add(tie);
        }
        let pairs = u128::from(seen.positives) * u128::from(seen.negatives);
        (pairs > 0).then(|| halves as f64 / (2.0 * pairs as f64))
    }

    /// Average precision: the sum over falling thresholds of precision times the step in recall;
    /// `None` without positive cases.
    pub fn average_precision(&self) -> Option<f64> {
        self.weighted_average_precision(&self.once())
    }

    /// [`average_precision`](Self::average_precision) with a count per case.
    pub fn weighted_average_precision(&self, counts: &[u32]) -> Option<f64> {
        let mut sum = 0.0;
        let mut seen = Tally::default();
        for tie in self.tallies(counts) {
            seen.add(tie);
            if tie.positives > 0 {
                sum += tie.positives as f64 * seen.positives as f64 / seen.total() as f64;
            }
        }
        (seen.positives > 0).then(|| sum / seen.positives as f64)
    }

    /// Mean squared difference between score and label (1 or 0): the Brier score when the scores are
    /// probabilities. `None` when every count is 0.
    pub fn weighted_brier(&self, counts: &[u32]) -> Option<f64> {
        let (mut sum, mut total) = (0.0, 0u64);
        for ((&label, &score), &position) in self.labels.iter().zip(&self.scores).zip(&self.positions) {
            let count = counts.get(position).copied().unwrap_or(0);
            sum += f64::from(count) * squared_error(label, score);
            total += u64::from(count);
        }
        (total > 0).then(|| sum / total as f64)
    }

    /// The confusion table when cases scoring at least `threshold` are called positive.
    pub fn confusion(&self, threshold: f64) -> Confusion {
        self.weighted_confusion(&self.once(), threshold)
    }

    /// [`confusion`](Self::confusion) with a count per case.
    pub fn weighted_confusion(&self, counts: &[u32], threshold: f64) -> Confusion {
        let called_positive = self.scores.partition_point(|&score| score >= threshold);
        let above = self.tally(&(0..called_positive), counts);
        let below = self.tally(&(called_positive..self.scores.len()), counts);
        Confusion {
            true_positives: above.positives,
            false_positives: above.negatives,
            true_negatives: below.negatives,
            false_negatives: below.positives,
        }
    }

    /// The best threshold by Youden's index among the scores; of equally good ones the highest.
    /// `None` when a class is missing.
    pub fn youden(&self) -> Option<YoudenPoint> {
        let once = self.once();
        let all = self.tally(&(0..self.scores.len()), &once);
        let mut seen = Tally::default();
        let mut best: Option<(i128, usize, Tally)> = None;
        for (tie, tally) in self.ties.iter().zip(self.tallies(&once)) {
            seen.add(tally);
            // Youden's index times positives times negatives: exact, so that equal indices compare equal.
            let index = i128::from(seen.positives) * i128::from(all.negatives)
                - i128::from(seen.negatives) * i128::from(all.positives);
            if best.is_none_or(|(greatest, _, _)| index > greatest) {
                best = Some((index, tie.start, seen));
            }
        }
        let (_, first, above) = best?;
        Some(YoudenPoint {
            threshold: *self.scores.get(first)?,
            sensitivity: share(above.positives, all.positives)?,
            specificity: share(all.negatives - above.negatives, all.negatives)?,
        })
    }

    /// Every case counted once.
    fn once(&self) -> Vec<u32> {
        vec![1; self.labels.len()]
    }

    /// The tally of each run of equal scores, by falling score.
    fn tallies<'a>(&'a self, counts: &'a [u32]) -> impl Iterator<Item = Tally> + 'a {
        self.ties.iter().map(|tie| self.tally(tie, counts))
    }

    /// The tally of the cases at these ranks.
    fn tally(&self, ranks: &Range<usize>, counts: &[u32]) -> Tally {
        let mut tally = Tally::default();
        let labels = self.labels.get(ranks.clone()).unwrap_or_default();
        let positions = self.positions.get(ranks.clone()).unwrap_or_default();
        for (&label, &position) in labels.iter().zip(positions) {
            let count = u64::from(counts.get(position).copied().unwrap_or(0));
            if label {
                tally.positives += count;
            } else {
                tally.negatives += count;
            }
        }
        tally
    }
}

/// Area under the receiver operating characteristic; `None` when a class is missing.
///
/// # Errors
/// See [`RankedCases::new`].
pub fn auroc(labels: &[bool], scores: &[f64]) -> Result<Option<f64>, MetricError> {
    Ok(RankedCases::new(labels, scores)?.auroc())
}

/// Average precision, step-wise; `None` without positive cases.
///
/// # Errors
/// See [`RankedCases::new`].
pub fn average_precision(labels: &[bool], scores: &[f64]) -> Result<Option<f64>, MetricError> {
    Ok(RankedCases::new(labels, scores)?.average_precision())
}

/// Brier score: mean squared difference between probability and label (1 or 0).
///
/// # Errors
/// No case, lengths that differ, or a value outside [0, 1].
pub fn brier(labels: &[bool], probabilities: &[f64]) -> Result<f64, MetricError> {
    check_probabilities(labels, probabilities)?;
    let sum: f64 = labels.iter().zip(probabilities).map(|(&label, &score)| squared_error(label, score)).sum();
    Ok(sum / labels.len() as f64)
}

/// Checks that there is one probability in [0, 1] per label, and at least one.
///
/// # Errors
/// No case, lengths that differ, NaN, or a value outside [0, 1].
pub fn check_probabilities(labels: &[bool], probabilities: &[f64]) -> Result<(), MetricError> {
    check_lengths(labels, probabilities.len())?;
    for (case, &score) in probabilities.iter().enumerate() {
        if score.is_nan() {
            return Err(MetricError::NotANumber { case });
        }
        if !(0.0..=1.0).contains(&score) {
            return Err(MetricError::NotAProbability { case, score });
        }
    }
    Ok(())
}

fn check_lengths(labels: &[bool], scores: usize) -> Result<(), MetricError> {
    if labels.len() != scores {
        return Err(MetricError::LengthMismatch { labels: labels.len(), scores });
    }
    if labels.is_empty() { Err(MetricError::Empty) } else { Ok(()) }
}

fn squared_error(label: bool, score: f64) -> f64 {
    let difference = score - f64::from(u8::from(label));
    difference * difference
}

/// The ranges of equal neighbours, in order.
fn runs_of_equal(values: &[f64]) -> Vec<Range<usize>> {
    let mut start = 0;
    values
        .chunk_by(|a, b| a == b)
        .map(|run| {
            let range = start..start + run.len();
            start = range.end;
            range
        })
        .collect()
}

/// How many cases of each class.
#[derive(Clone, Copy, Default)]
struct Tally {
    positives: u64,
    negatives: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.positives += other.positives;
        self.negatives += other.negatives;
    }

    fn total(self) -> u64 {
        self.positives + self.negatives
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairwise_auroc(labels: &[bool], scores: &[f64]) -> Option<f64> {
        let (mut halves, mut pairs) = (0u64, 0u64);
        for (&label, &score) in labels.iter().zip(scores) {
            for (&other_label, &other) in labels.iter().zip(scores) {
                if label && !other_label {
                    pairs += 1;
                    halves += if score > other { 2 } else { u64::from(score == other) };
                }
            }
        }
        (pairs > 0).then(|| halves as f64 / (2 * pairs) as f64)
    }

    #[test]
    fn simple_orders_have_the_known_auroc() {
        let labels = [false, false, true, true];
        for (scores, expected) in [
            ([0.1, 0.2, 0.8, 0.9], 1.0),
            ([0.9, 0.8, 0.2, 0.1], 0.0),
            ([0.5, 0.5, 0.5, 0.5], 0.5),
            ([0.1, 0.4, 0.35, 0.8], 0.75),
            ([0.0, -0.0, 0.0, 1.0], 0.75),
        ] {
            assert_eq!(auroc(&labels, &scores), Ok(Some(expected)), "{scores:?}");
        }
    }

    #[test]
    fn a_missing_class_has_no_auroc() {
        assert_eq!(auroc(&[true, true], &[0.1, 0.2]), Ok(None));
        assert_eq!(auroc(&[false, false], &[0.1, 0.2]), Ok(None));
        assert_eq!(average_precision(&[false, false], &[0.1, 0.2]), Ok(None));
        assert_eq!(average_precision(&[true, true], &[0.1, 0.2]), Ok(Some(1.0)));
        let cases = RankedCases::new(&[true, true], &[0.1, 0.2]).expect("ranked");
        assert_eq!(cases.youden(), None);
        assert_eq!(cases.confusion(0.15).specificity(), None);
    }

    #[test]
    fn bad_input_is_named() {
        let mismatch = MetricError::LengthMismatch { labels: 1, scores: 2 };
        assert_eq!(auroc(&[true], &[0.1, 0.2]), Err(mismatch));
        assert_eq!(auroc(&[], &[]), Err(MetricError::Empty));
        assert_eq!(auroc(&[true, false], &[0.1, f64::NAN]), Err(MetricError::NotANumber { case: 1 }));
        assert_eq!(
            brier(&[true, false], &[0.1, 1.5]),
            Err(MetricError::NotAProbability { case: 1, score: 1.5 })
        );
    }

    #[test]
    fn the_threshold_itself_is_positive() {
        let cases = RankedCases::new(&[true, false, true, false], &[0.9, 0.5, 0.5, 0.1]).expect("ranked");
        let expected =
            Confusion { true_positives: 2, false_positives: 1, true_negatives: 1, false_negatives: 0 };
        assert_eq!(cases.confusion(0.5), expected);
        assert_eq!(cases.confusion(0.5).accuracy(), Some(0.75));
        assert_eq!(cases.confusion(f64::NEG_INFINITY).sensitivity(), Some(1.0));
        assert_eq!(cases.confusion(2.0).specificity(), Some(1.0));
    }

    #[test]
    fn youden_takes_the_highest_of_equal_thresholds() {
        let cases = RankedCases::new(&[true, false, true, false], &[0.9, 0.8, 0.7, 0.1]).expect("ranked");
        let expected = YoudenPoint { threshold: 0.9, sensitivity: 0.5, specificity: 1.0 };
        assert_eq!(cases.youden(), Some(expected));
    }

    /// Labels, coarse scores (so that ties occur) and small counts.
    fn cases() -> impl Strategy<Value = Vec<(bool, f64, u32)>> {
        prop::collection::vec((any::<bool>(), (0..12u8).prop_map(|s| f64::from(s) / 11.0), 0..4u32), 1..60)
    }

    fn unzip(cases: &[(bool, f64, u32)]) -> (Vec<bool>, Vec<f64>, Vec<u32>) {
        let labels = cases.iter().map(|case| case.0).collect();
        let scores = cases.iter().map(|case| case.1).collect();
        (labels, scores, cases.iter().map(|case| case.2).collect())
    }

    proptest! {
        #[test]
        fn auroc_is_the_share_of_pairs_in_order(cases in cases()) {
            let (labels, scores, _) = unzip(&cases);
            prop_assert_eq!(auroc(&labels, &scores), Ok(pairwise_auroc(&labels, &scores)));
        }

        #[test]
        fn auroc_ignores_rising_transformations(cases in cases()) {
            let (labels, scores, _) = unzip(&cases);
            let raised: Vec<f64> = scores.iter().map(|score| libm::exp(3.0 * score) - 7.0).collect();
            prop_assert_eq!(auroc(&labels, &scores), auroc(&labels, &raised));
        }

        #[test]
        fn turning_the_scores_turns_the_auroc(cases in cases()) {
            let (labels, scores, _) = unzip(&cases);
            let turned: Vec<f64> = scores.iter().map(|score| -score).collect();
            let forward = auroc(&labels, &scores).expect("scores");
            let backward = auroc(&labels, &turned).expect("scores");
            match (forward, backward) {
                (Some(forward), Some(backward)) => prop_assert!((forward + backward - 1.0).abs() < 1e-12),
                missing => prop_assert_eq!(missing, (None, None)),
            }
        }

        #[test]
        fn counts_equal_repeated_cases(cases in cases(), threshold in 0.0..1.0f64) {
            let (labels, scores, counts) = unzip(&cases);
            let repeated: Vec<(bool, f64, u32)> =
                cases.iter().flat_map(|&case| vec![case; case.2 as usize]).collect();
            prop_assume!(!repeated.is_empty());
            let (repeated_labels, repeated_scores, _) = unzip(&repeated);
            let weighted = RankedCases::new(&labels, &scores).expect("ranked");
            let explicit = RankedCases::new(&repeated_labels, &repeated_scores).expect("ranked");
            prop_assert_eq!(weighted.weighted_auroc(&counts), explicit.auroc());
            prop_assert_eq!(weighted.weighted_confusion(&counts, threshold), explicit.confusion(threshold));
            let precision = weighted.weighted_average_precision(&counts).unwrap_or(-1.0);
            prop_assert!((precision - explicit.average_precision().unwrap_or(-1.0)).abs() < 1e-12);
            let mean = weighted.weighted_brier(&counts).expect("some case");
            let explicit_mean = brier(&repeated_labels, &repeated_scores).expect("some case");
            prop_assert!((mean - explicit_mean).abs() < 1e-12);
        }

        #[test]
        fn no_threshold_beats_youden(cases in cases()) {
            let (labels, scores, _) = unzip(&cases);
            let ranked = RankedCases::new(&labels, &scores).expect("ranked");
            if let Some(best) = ranked.youden() {
                let at_best = ranked.confusion(best.threshold);
                prop_assert_eq!(at_best.sensitivity(), Some(best.sensitivity));
                prop_assert_eq!(at_best.specificity(), Some(best.specificity));
                for &score in &scores {
                    let other = ranked.confusion(score);
                    let (sensitivity, specificity) = (other.sensitivity(), other.specificity());
                    let sum = sensitivity.expect("positive cases") + specificity.expect("negative cases");
                    prop_assert!(sum <= best.sensitivity + best.specificity + 1e-12);
                }
            }
        }
    }
}
