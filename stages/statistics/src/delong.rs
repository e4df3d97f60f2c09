//! Whether two score vectors tell the same cases apart equally well: DeLong's test of two correlated AUROCs, for cases
//! that come in clusters.
//!
//! DeLong, DeLong and Clarke-Pearson 1988 take cases as independent; nodules of one patient are not. Obuchowski 1997 adds
//! up each patient's placements first and takes patients as independent. Where every patient has one case the two are
//! equal, small-sample factors included. Placements are found by the midranks of Sun and Xu 2014. The module does not know
//! whose scores they are.

use super::clusters::Clusters;
use super::metrics::MetricError;

/// The two-sided 95 % quantile of the normal distribution.
const QUANTILE: f64 = 1.959_963_984_540_054;

/// Two AUROCs of the same cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Of the first scores.
    pub first: f64,
    /// Of the second scores.
    pub second: f64,
    /// Standard error of their difference, first less second.
    pub standard_error: f64,
    /// Two-sided probability of a difference at least as large where there is none; 1 where the scores order the cases
    /// alike.
    pub p: f64,
}

impl Comparison {
    /// The difference, first less second.
    pub fn difference(&self) -> f64 {
        self.first - self.second
    }

    /// Ends of the difference's 95 % interval.
    pub fn interval(&self) -> [f64; 2] {
        [-1.0, 1.0].map(|sign| self.difference() + sign * QUANTILE * self.standard_error)
    }
}

/// Compares two score vectors; `None` where fewer than two clusters have a case of a class, of which no variance is known.
///
/// # Errors
/// Lengths that differ, or a score that is not a number.
pub fn delong(
    labels: &[bool],
    clusters: &Clusters,
    first: &[f64],
    second: &[f64],
) -> Result<Option<Comparison>, MetricError> {
    check(labels, clusters.cases())?;
    for scores in [first, second] {
        check(labels, scores.len())?;
        if let Some(case) = scores.iter().position(|score| score.is_nan()) {
            return Err(MetricError::NotANumber { case });
        }
    }
    let [first, second] = [first, second].map(|scores| placements(labels, scores));
    let differences: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
    let Some(variance) = variance(labels, clusters, &differences) else { return Ok(None) };
    let (first, second) = (mean_of(true, labels, &first), mean_of(true, labels, &second));
    let standard_error = variance.sqrt();
    let p = match standard_error > 0.0 {
        true => libm::erfc((first - second).abs() / standard_error / std::f64::consts::SQRT_2),
        false if first == second => 1.0,
        false => 0.0,
    };
    Ok(Some(Comparison { first, second, standard_error, p }))
}

fn check(labels: &[bool], scores: usize) -> Result<(), MetricError> {
    match scores == labels.len() {
        true => Ok(()),
        false => Err(MetricError::LengthMismatch { labels: labels.len(), scores }),
    }
}

/// The variance of an AUROC by the placements of its cases, or that of a difference by their differences: Obuchowski's,
/// whose last part is what positive and negative cases of the same clusters have in common. `None` where fewer than two
/// clusters have a case of a class.
fn variance(labels: &[bool], clusters: &Clusters, placements: &[f64]) -> Option<f64> {
    let sums = |wanted: bool| {
        let mean = mean_of(wanted, labels, placements);
        let deviation = |(label, value): (&bool, &f64)| (*label == wanted).then(|| value - mean);
        clusters.sums(labels.iter().zip(placements).map(deviation))
    };
    let (positive, negative) = (sums(true), sums(false));
    let having = |sums: &[(usize, f64)]| sums.iter().filter(|(count, _)| *count > 0).count();
    if having(&positive) < 2 || having(&negative) < 2 {
        return None;
    }
    // As a variance divides by one less than its number of values.
    let factor = |clusters: usize| clusters as f64 / (clusters - 1) as f64;
    let part = |one: &[(usize, f64)], other: &[(usize, f64)]| {
        let cases = |sums: &[(usize, f64)]| sums.iter().map(|(count, _)| count).sum::<usize>() as f64;
        let products: f64 = one.iter().zip(other).map(|((_, a), (_, b))| a * b).sum();
        products / cases(one) / cases(other)
    };
    let variance = factor(having(&positive)) * part(&positive, &positive)
        + factor(having(&negative)) * part(&negative, &negative)
        + 2.0 * factor(clusters.count()) * part(&positive, &negative);
    // It is a square; rounding may take it below 0.
    Some(variance.max(0.0))
}

/// The mean over the cases of a class.
fn mean_of(wanted: bool, labels: &[bool], values: &[f64]) -> f64 {
    let of_class = || labels.iter().zip(values).filter(|(label, _)| **label == wanted);
    of_class().map(|(_, value)| value).sum::<f64>() / of_class().count() as f64
}

/// For each case, the share of the other class that it is on the right side of; ties count half.
fn placements(labels: &[bool], scores: &[f64]) -> Vec<f64> {
    let sorted = |wanted: bool| -> Vec<f64> {
        let of_class = labels.iter().zip(scores).filter(|(label, _)| **label == wanted);
        let mut values: Vec<f64> = of_class.map(|(_, score)| *score).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    // −0 and 0 are one score.
    let below = |others: &[f64], score: f64| {
        let less = others.partition_point(|other| *other < score);
        let not_more = others.partition_point(|other| *other <= score);
        (less + not_more) as f64 / 2.0 / others.len() as f64
    };
    let (up, down) = (sorted(true), sorted(false));
    let placement = |(label, score): (&bool, &f64)| match label {
        true => below(&down, *score),
        false => 1.0 - below(&up, *score),
    };
    labels.iter().zip(scores).map(placement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::auroc;
    use pipe_numerics::random::RandomKey;

    /// Variance of the difference by the definition: covariances of the structural components.
    fn by_definition(labels: &[bool], first: &[f64], second: &[f64]) -> f64 {
        let kernel = |x: f64, y: f64| {
            if x > y {
                1.0
            } else if x == y {
                0.5
            } else {
                0.0
            }
        };
        let at =
            |wanted: bool| -> Vec<usize> { (0..labels.len()).filter(|&i| labels[i] == wanted).collect() };
        let (up, down) = (at(true), at(false));
        let components = |scores: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            let of = |i: &usize| mean(down.iter().map(|j| kernel(scores[*i], scores[*j])).collect());
            let to = |j: &usize| mean(up.iter().map(|i| kernel(scores[*i], scores[*j])).collect());
            (up.iter().map(of).collect(), down.iter().map(to).collect())
        };
        let covariance = |a: &[f64], b: &[f64]| {
            let n = a.len() as f64;
            let (x, y) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
            a.iter().zip(b).map(|(a, b)| (a - x) * (b - y)).sum::<f64>() / (n - 1.0)
        };
        let (a, b) = (components(first), components(second));
        let part = |x: &[f64], y: &[f64]| {
            (covariance(x, x) + covariance(y, y) - 2.0 * covariance(x, y)) / x.len() as f64
        };
        part(&a.0, &b.0) + part(&a.1, &b.1)
    }

    #[test]
    fn it_is_the_definition_with_ties_and_all() {
        let mut generator = RandomKey::new(5, "test").generator();
        for round in 0..50 {
            let labels: Vec<bool> = (0..30).map(|i| i % 3 == 0).collect();
            let mut scores = || -> Vec<f64> {
                labels
                    .iter()
                    .map(|label| (generator.uniform() * 8.0 + f64::from(u8::from(*label)) * 2.0).floor())
                    .collect()
            };
            let (first, second) = (scores(), scores());
            let alone = Clusters::of_single_cases(30);
            let found = delong(&labels, &alone, &first, &second).expect("scores").expect("both classes");
            assert!((found.first - auroc(&labels, &first).expect("auroc").expect("both")).abs() < 1e-12);
            let expected = by_definition(&labels, &first, &second).sqrt();
            assert!((found.standard_error - expected).abs() < 1e-12, "{round}: {found:?} {expected}");
            let [low, high] = found.interval();
            assert_eq!(low > 0.0 || high < 0.0, found.p < 0.05, "{found:?}");
        }
    }

    #[test]
    fn scores_that_order_alike_do_not_differ_and_few_cases_say_nothing() {
        let labels = [true, true, false, false, true];
        let scores = [0.9, 0.4, 0.5, 0.1, 0.3];
        let doubled = scores.map(|score| score * 2.0);
        let alone = Clusters::of_single_cases(5);
        let same = delong(&labels, &alone, &scores, &doubled).expect("scores").expect("both classes");
        assert_eq!((same.difference(), same.standard_error, same.p), (0.0, 0.0, 1.0));
        let three = Clusters::of_single_cases(3);
        assert_eq!(delong(&[true, false, false], &three, &[1.0, 0.0, 0.5], &[0.0; 3]), Ok(None));
        let one_patient = Clusters::new(["a", "a", "b", "c", "a"]);
        assert_eq!(delong(&labels, &one_patient, &scores, &doubled), Ok(None), "three cases of one patient");
        assert!(delong(&labels, &alone, &scores, &scores[..4]).is_err());
        assert!(delong(&labels, &alone, &scores, &[f64::NAN; 5]).is_err());
        assert!(delong(&labels, &three, &scores, &scores).is_err());
    }

    #[test]
    fn every_nodule_twice_says_no_more_than_once() {
        let mut generator = RandomKey::new(6, "test").generator();
        let labels: Vec<bool> = (0..120).map(|i| i % 3 == 0).collect();
        let mut scores = || -> Vec<f64> {
            labels.iter().map(|label| generator.uniform() + f64::from(u8::from(*label)) * 0.4).collect()
        };
        let (first, second) = (scores(), scores());
        let error = |labels: &[bool], clusters: &Clusters, first: &[f64], second: &[f64]| {
            delong(labels, clusters, first, second).expect("scores").expect("both classes").standard_error
        };
        let once = error(&labels, &Clusters::of_single_cases(120), &first, &second);
        let labels = [&labels[..], &labels[..]].concat();
        let [first, second] = [&first, &second].map(|scores| [&scores[..], &scores[..]].concat());
        let together = error(&labels, &Clusters::new((0..240).map(|i| i % 120)), &first, &second);
        assert!((together - once).abs() < 1e-12, "{together} against {once}");
        let apart = error(&labels, &Clusters::of_single_cases(240), &first, &second);
        assert!((apart / once - 0.5_f64.sqrt()).abs() < 0.01, "{apart} against {once}");
    }
}
