//! Metrics with percentile intervals from a stratified bootstrap of clusters, such as patients.
//!
//! What was sampled is the patient, so a resample draws patients, with replacement, and takes all cases of a drawn one
//! together. It draws as many from those with any positive case as there are, and as many from those with none. So with
//! one case for each patient every resample has as many cases of each class as there are; else their numbers vary as
//! they do from sample to sample, and a resample without cases of a class has no AUROC and is passed over. A resample is
//! kept as a count per case, so each score vector is sorted once and not once per draw. Draw `d` has its own random key, so neither the number
//! of threads nor the number of score vectors changes a resample, and all score vectors of one
//! evaluation are compared on the same resamples.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clusters::Clusters;
use super::confusion::{Confusion, YoudenPoint};
use super::metrics::{MetricError, RankedCases, check_probabilities};
use pipe_numerics::random::{Generator, RandomKey};

/// Draws of an evaluation unless another number is asked for.
pub const DEFAULT_DRAWS: u32 = 2000;

/// Share of the draws inside an interval unless another is asked for.
pub const DEFAULT_LEVEL: f64 = 0.95;

/// Why no interval can be computed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum BootstrapError {
    /// No draw was asked for.
    #[error("a bootstrap needs at least one draw")]
    NoDraws,
    /// The level is not strictly between 0 and 1.
    #[error("the level of an interval must lie between 0 and 1, not {0}")]
    Level(f64),
    /// It is not known of each case where it belongs.
    #[error("{labels} labels, but the clusters of {cases} cases")]
    Clusters {
        /// Number of labels.
        labels: usize,
        /// Number of cases in clusters.
        cases: usize,
    },
    /// The labels and scores cannot be evaluated.
    #[error("score vector {vector}: {source}")]
    Scores {
        /// Position of the score vector, from 0.
        vector: usize,
        /// What is wrong with it.
        source: MetricError,
    },
}

/// A metric of all cases, and the range of its values over the resamples.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Interval {
    /// The metric of the cases as they are.
    pub value: f64,
    /// Lower percentile of the resamples.
    pub low: f64,
    /// Upper percentile of the resamples.
    pub high: f64,
}

/// The best decision by Youden's index. Its threshold is chosen once, from all cases, and kept in the
/// resamples: the intervals are those of the rates at this threshold.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct YoudenIntervals {
    /// Cases with at least this probability are called positive.
    pub threshold: f64,
    /// Share of the positive cases at or above the threshold.
    pub sensitivity: Interval,
    /// Share of the negative cases below the threshold.
    pub specificity: Interval,
}

/// The metrics of one vector of probabilities. What needs a class that does not occur is `None`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Evaluation {
    /// Area under the receiver operating characteristic; needs both classes.
    pub auroc: Option<Interval>,
    /// Average precision; needs positive cases.
    pub auprc: Option<Interval>,
    /// Brier score.
    pub brier: Interval,
    /// The best decision by Youden's index; needs both classes.
    pub youden: Option<YoudenIntervals>,
}

/// A stratified bootstrap of clusters.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Number of resamples, at least 1.
    pub draws: u32,
    /// Share of the resamples inside an interval, strictly between 0 and 1.
    pub level: f64,
    /// Key of all draws.
    pub key: RandomKey,
}

impl Bootstrap {
    /// A bootstrap with [`DEFAULT_DRAWS`] and [`DEFAULT_LEVEL`].
    pub fn new(key: RandomKey) -> Self {
        Self { draws: DEFAULT_DRAWS, level: DEFAULT_LEVEL, key }
    }

    /// Evaluates several vectors of probabilities for the same cases, in the order given. Cases of one cluster are
    /// drawn together.
    ///
    /// # Errors
    /// No draws, a level outside (0, 1), no cases, lengths that differ, or a value outside [0, 1].
    pub fn evaluate<S: AsRef<[f64]>>(
        &self,
        labels: &[bool],
        clusters: &Clusters,
        score_vectors: &[S],
    ) -> Result<Vec<Evaluation>, BootstrapError> {
        self.check()?;
        if clusters.cases() != labels.len() {
            return Err(BootstrapError::Clusters { labels: labels.len(), cases: clusters.cases() });
        }
        let ranked: Vec<Ranked> = score_vectors
            .iter()
            .enumerate()
            .map(|(vector, scores)| {
                Ranked::new(labels, scores.as_ref())
                    .map_err(|source| BootstrapError::Scores { vector, source })
            })
            .collect::<Result<_, _>>()?;
        let strata = Strata::new(labels, clusters);
        let draws: Vec<Vec<Replicate>> = (0..self.draws)
            .into_par_iter()
            .map(|draw| {
                let mut generator = self.key.clone().number("draw", u64::from(draw)).generator();
                let counts = strata.resample(&mut generator);
                ranked.iter().map(|vector| vector.replicate(&counts)).collect()
            })
            .collect();
        let all = vec![1; labels.len()];
        Ok(ranked
            .iter()
            .enumerate()
            .map(|(vector, ranked)| {
                let replicates: Vec<Replicate> =
                    draws.iter().filter_map(|draw| draw.get(vector).copied()).collect();
                self.evaluation(ranked.replicate(&all), ranked.youden, &replicates)
            })
            .collect())
    }

    fn check(&self) -> Result<(), BootstrapError> {
        if self.draws == 0 {
            return Err(BootstrapError::NoDraws);
        }
        let inside = self.level > 0.0 && self.level < 1.0;
        if inside { Ok(()) } else { Err(BootstrapError::Level(self.level)) }
    }

    fn evaluation(&self, all: Replicate, youden: Option<YoudenPoint>, draws: &[Replicate]) -> Evaluation {
        let interval = |metric: fn(&Replicate) -> Option<f64>| {
            metric(&all).map(|value| self.interval(value, draws.iter().filter_map(metric).collect()))
        };
        Evaluation {
            auroc: interval(|replicate| replicate.auroc),
            auprc: interval(|replicate| replicate.auprc),
            brier: self.interval(all.brier, draws.iter().map(|replicate| replicate.brier).collect()),
            youden: youden.and_then(|point| {
                Some(YoudenIntervals {
                    threshold: point.threshold,
                    sensitivity: interval(|replicate| replicate.decision.sensitivity())?,
                    specificity: interval(|replicate| replicate.decision.specificity())?,
                })
            }),
        }
    }

    fn interval(&self, value: f64, mut draws: Vec<f64>) -> Interval {
        draws.sort_unstable_by(f64::total_cmp);
        let outside = (1.0 - self.level) / 2.0;
        let percentile = |share| percentile(&draws, share).unwrap_or(value);
        Interval { value, low: percentile(outside), high: percentile(1.0 - outside) }
    }
}

/// The value below which a share of the sorted values lies, interpolating linearly between neighbours
/// (NumPy's default method); `None` for no values or a share that is no share.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&share) {
        return None;
    }
    let position = share * sorted.len().checked_sub(1)? as f64;
    let (below, fraction) = (position.floor() as usize, position - position.floor());
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + (high - low) * fraction)
}

/// One score vector, ranked, with the decision to follow in the resamples.
struct Ranked {
    cases: RankedCases,
    youden: Option<YoudenPoint>,
}

impl Ranked {
    fn new(labels: &[bool], scores: &[f64]) -> Result<Self, MetricError> {
        check_probabilities(labels, scores)?;
        let cases = RankedCases::new(labels, scores)?;
        let youden = cases.youden();
        Ok(Self { cases, youden })
    }

    fn replicate(&self, counts: &[u32]) -> Replicate {
        let threshold = self.youden.map(|point| point.threshold);
        Replicate {
            auroc: self.cases.weighted_auroc(counts),
            auprc: self.cases.weighted_average_precision(counts),
            brier: self.cases.weighted_brier(counts).unwrap_or_default(),
            decision: threshold
                .map(|threshold| self.cases.weighted_confusion(counts, threshold))
                .unwrap_or_default(),
        }
    }
}

/// All metrics of one score vector in one resample.
#[derive(Clone, Copy)]
struct Replicate {
    auroc: Option<f64>,
    auprc: Option<f64>,
    brier: f64,
    decision: Confusion,
}

/// Clusters with no positive case and those with any; of each the positions of its cases.
struct Strata {
    cases: usize,
    strata: [Vec<Vec<usize>>; 2],
}

impl Strata {
    fn new(labels: &[bool], clusters: &Clusters) -> Self {
        let is_positive = |cluster: &Vec<usize>| cluster.iter().any(|&case| labels.get(case) == Some(&true));
        let (with, without) = clusters.members().into_iter().partition(is_positive);
        Self { cases: labels.len(), strata: [without, with] }
    }

    /// How often each case occurs in one resample.
    fn resample(&self, generator: &mut Generator) -> Vec<u32> {
        let mut counts = vec![0; self.cases];
        for stratum in &self.strata {
            for _ in stratum {
                for &case in generator.choose(stratum).into_iter().flatten() {
                    if let Some(count) = counts.get_mut(case) {
                        *count += 1;
                    }
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(n: usize) -> (Vec<bool>, Vec<f64>) {
        let mut generator = RandomKey::new(3, "test").generator();
        let labels: Vec<bool> = (0..n).map(|case| case % 3 == 0).collect();
        let scores = labels
            .iter()
            .map(|&label| (0.5 * generator.uniform() + if label { 0.4 } else { 0.2 }).min(1.0))
            .collect();
        (labels, scores)
    }

    fn bootstrap(draws: u32) -> Bootstrap {
        Bootstrap { draws, ..Bootstrap::new(RandomKey::new(42, "evaluate")) }
    }

    /// Evaluates cases of as many patients.
    fn evaluate<S: AsRef<[f64]>>(
        bootstrap: &Bootstrap,
        labels: &[bool],
        score_vectors: &[S],
    ) -> Result<Vec<Evaluation>, BootstrapError> {
        bootstrap.evaluate(labels, &Clusters::of_single_cases(labels.len()), score_vectors)
    }

    #[test]
    fn threads_change_nothing() {
        let (labels, scores) = cases(60);
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| evaluate(&bootstrap(200), &labels, &[&scores])).expect("evaluated")
        };
        assert_eq!(with_threads(1), with_threads(4));
    }

    #[test]
    fn score_vectors_share_their_resamples() {
        let (labels, scores) = cases(40);
        let flat = vec![0.5; 40];
        let both = evaluate(&bootstrap(100), &labels, &[&flat, &scores]).expect("evaluated");
        let alone = evaluate(&bootstrap(100), &labels, &[&scores]).expect("evaluated");
        assert_eq!(both.get(1), alone.first());
        let chance = Interval { value: 0.5, low: 0.5, high: 0.5 };
        assert_eq!(both.first().and_then(|evaluation| evaluation.auroc), Some(chance));
    }

    #[test]
    fn the_interval_of_a_rate_is_near_the_binomial_one() {
        // Of 100 positive cases 80 lie above every negative one: sensitivity 0.8, standard error 0.04.
        let labels: Vec<bool> = (0..200).map(|case| case < 100).collect();
        let scores: Vec<f64> = (0..200).map(|case| if case < 80 { 0.9 } else { 0.1 }).collect();
        let evaluations = evaluate(&bootstrap(2000), &labels, &[scores]).expect("evaluated");
        let youden = evaluations.first().and_then(|evaluation| evaluation.youden).expect("both classes");
        assert_eq!((youden.threshold, youden.sensitivity.value), (0.9, 0.8));
        assert!((youden.sensitivity.low - 0.72).abs() < 0.015, "{youden:?}");
        assert!((youden.sensitivity.high - 0.88).abs() < 0.015, "{youden:?}");
        assert_eq!((youden.specificity.low, youden.specificity.high), (1.0, 1.0));
    }

    #[test]
    fn resamples_keep_the_size_of_each_class() {
        let (labels, _) = cases(31);
        let single = Clusters::of_single_cases(31);
        let counts = Strata::new(&labels, &single).resample(&mut RandomKey::new(1, "test").generator());
        let positives: u32 =
            counts.iter().zip(&labels).filter(|(_, label)| **label).map(|(count, _)| count).sum();
        assert_eq!((positives, counts.iter().sum::<u32>()), (11, 31));
        assert!(counts.contains(&0) && counts.iter().any(|&count| count > 1));
    }

    #[test]
    fn nodules_of_a_patient_are_drawn_together() {
        let labels = [true, false, false, false, true, true, false];
        let clusters = Clusters::new(["a", "b", "a", "c", "d", "d", "b"]);
        let strata = Strata::new(&labels, &clusters);
        let mut generator = RandomKey::new(1, "test").generator();
        for _ in 0..20 {
            let counts = strata.resample(&mut generator);
            assert_eq!((counts[0], counts[1], counts[4]), (counts[2], counts[6], counts[5]), "{counts:?}");
            // Two patients have a positive nodule, and two have none.
            assert_eq!((counts[0] + counts[4], counts[1] + counts[3]), (2, 2), "{counts:?}");
        }
    }

    #[test]
    fn every_case_twice_says_no_more_than_once() {
        let (labels, scores) = cases(90);
        let twice = |values: &[f64]| [values, values].concat();
        let (doubled, patients) =
            ([&labels[..], &labels[..]].concat(), Clusters::new((0..180).map(|i| i % 90)));
        let width = |evaluations: Vec<Evaluation>| {
            let auroc = evaluations[0].auroc.expect("both classes");
            auroc.high - auroc.low
        };
        let once = width(evaluate(&bootstrap(1000), &labels, &[&scores]).expect("evaluated"));
        let scores = [twice(&scores)];
        let together = bootstrap(1000).evaluate(&doubled, &patients, &scores).expect("evaluated");
        assert_eq!(width(together), once, "the same draws of the same patients");
        let apart = width(evaluate(&bootstrap(1000), &doubled, &scores).expect("evaluated"));
        assert!(apart < 0.8 * once, "taken as independent: {apart} against {once}");
    }

    #[test]
    fn draws_without_a_class_have_no_auroc_and_are_passed_over() {
        // The only negative nodule belongs to one of two patients with positive ones: a quarter of the draws lacks it.
        let labels = [true, false, true];
        let clusters = Clusters::new(["a", "a", "b"]);
        let evaluations = bootstrap(200).evaluate(&labels, &clusters, &[[0.9, 0.5, 0.2]]).expect("evaluated");
        let auroc = evaluations[0].auroc.expect("both classes");
        assert_eq!((auroc.value, auroc.low, auroc.high), (0.5, 0.5, 1.0));
        let short = Clusters::of_single_cases(2);
        let error = bootstrap(5).evaluate(&labels, &short, &[[0.9, 0.5, 0.2]]);
        assert_eq!(error, Err(BootstrapError::Clusters { labels: 3, cases: 2 }));
    }

    #[test]
    fn one_class_still_has_a_brier_score() {
        let evaluations = evaluate(&bootstrap(50), &[false, false], &[[0.1, 0.3]]).expect("evaluated");
        let evaluation = evaluations.first().expect("one vector");
        assert_eq!((evaluation.auroc, evaluation.auprc, evaluation.youden), (None, None, None));
        assert!((evaluation.brier.value - 0.05).abs() < 1e-12);
        assert!((evaluation.brier.low - 0.01).abs() < 1e-12 && (evaluation.brier.high - 0.09).abs() < 1e-12);
    }

    #[test]
    fn bad_parameters_and_scores_are_named() {
        let labels = [true, false];
        assert_eq!(evaluate(&bootstrap(0), &labels, &[[0.1, 0.2]]), Err(BootstrapError::NoDraws));
        let level = Bootstrap { level: 1.0, ..bootstrap(5) };
        assert_eq!(evaluate(&level, &labels, &[[0.1, 0.2]]), Err(BootstrapError::Level(1.0)));
        let source = MetricError::NotANumber { case: 0 };
        assert_eq!(
            evaluate(&bootstrap(5), &labels, &[[0.1, 0.2], [f64::NAN, 0.2]]),
            Err(BootstrapError::Scores { vector: 1, source })
        );
    }

    #[test]
    fn percentiles_interpolate() {
        let sorted = [1.0, 2.0, 4.0];
        for (share, expected) in [(0.0, Some(1.0)), (0.25, Some(1.5)), (0.75, Some(3.0)), (1.0, Some(4.0))] {
            assert_eq!(percentile(&sorted, share), expected, "share {share}");
        }
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&sorted, f64::NAN), None);
    }
}
