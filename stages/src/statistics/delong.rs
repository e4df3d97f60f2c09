//! Whether two score vectors tell the same cases apart equally well: DeLong's test of two correlated AUROCs.
//!
//! DeLong, DeLong and Clarke-Pearson 1988, with the midranks of Sun and Xu 2014. The module does not know whose scores
//! they are.

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

/// Compares two score vectors; `None` with fewer than two cases of a class, of which no variance is known.
///
/// # Errors
/// Lengths that differ, or a score that is not a number.
pub fn delong(labels: &[bool], first: &[f64], second: &[f64]) -> Result<Option<Comparison>, MetricError> {
    for scores in [first, second] {
        if scores.len() != labels.len() {
            return Err(MetricError::LengthMismatch { labels: labels.len(), scores: scores.len() });
        }
        if let Some(case) = scores.iter().position(|score| score.is_nan()) {
            return Err(MetricError::NotANumber { case });
        }
    }
    let positives = labels.iter().filter(|&&label| label).count();
    let negatives = labels.len() - positives;
    if positives < 2 || negatives < 2 {
        return Ok(None);
    }
    let [first, second] = [first, second].map(|scores| Placements::of(labels, scores));
    let variance = |get: fn(&Placements) -> &[f64], count: usize| {
        let differences: Vec<f64> = get(&first).iter().zip(get(&second)).map(|(a, b)| a - b).collect();
        let mean = differences.iter().sum::<f64>() / count as f64;
        let squares: f64 = differences.iter().map(|value| (value - mean) * (value - mean)).sum();
        squares / (count - 1) as f64 / count as f64
    };
    let variance = variance(|x| &x.positive, positives) + variance(|x| &x.negative, negatives);
    let (first, second) = (first.auroc(), second.auroc());
    let standard_error = variance.sqrt();
    let p = match standard_error > 0.0 {
        true => libm::erfc((first - second).abs() / standard_error / std::f64::consts::SQRT_2),
        false if first == second => 1.0,
        false => 0.0,
    };
    Ok(Some(Comparison { first, second, standard_error, p }))
}

/// For each case, the share of the other class that it is on the right side of; ties count half.
struct Placements {
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Placements {
    fn of(labels: &[bool], scores: &[f64]) -> Self {
        let of_class = |wanted: bool| -> Vec<f64> {
            labels
                .iter()
                .zip(scores)
                .filter(|(label, _)| **label == wanted)
                .map(|(_, score)| *score)
                .collect()
        };
        let [positives, negatives] = [of_class(true), of_class(false)];
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        // −0 and 0 are one score.
        let below = |others: &[f64], score: f64| {
            let less = others.partition_point(|other| *other < score);
            let not_more = others.partition_point(|other| *other <= score);
            (less + not_more) as f64 / 2.0 / others.len() as f64
        };
        let (up, down) = (sorted(positives.clone()), sorted(negatives.clone()));
        Self {
            positive: positives.iter().map(|&score| below(&down, score)).collect(),
            negative: negatives.iter().map(|&score| 1.0 - below(&up, score)).collect(),
        }
    }

    fn auroc(&self) -> f64 {
        self.positive.iter().sum::<f64>() / self.positive.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random::RandomKey;
    use crate::statistics::metrics::auroc;

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
            let found = delong(&labels, &first, &second).expect("scores").expect("both classes");
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
        let same = delong(&labels, &scores, &doubled).expect("scores").expect("both classes");
        assert_eq!((same.difference(), same.standard_error, same.p), (0.0, 0.0, 1.0));
        assert_eq!(delong(&[true, false, false], &[1.0, 0.0, 0.5], &[0.0; 3]), Ok(None));
        assert!(delong(&labels, &scores, &scores[..4]).is_err());
        assert!(delong(&labels, &scores, &[f64::NAN; 5]).is_err());
    }
}
