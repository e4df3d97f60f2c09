//! How likely a phantom's nodule is malignant, and how well that could be predicted at best.
//!
//! Malignancy is drawn from a logistic model on the attributes. Because the labels are drawn, even
//! a reader who knew every risk would err; [`Ceiling`] says how often, so that a result near it is
//! known to be as good as any can be.

use serde::{Deserialize, Serialize};

use super::semantics::{Attributes, Consistency, LOG_SPREAD, Margin, TYPICAL_MM};
use pipe_numerics::random::{Generator, RandomKey};

/// How many nodules the intercept is fitted on.
const POPULATION: usize = 4000;

/// The logistic model of malignancy.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskModel {
    intercept: f64,
    signal: f64,
}

impl RiskModel {
    /// The model whose mean risk over the population of nodules is `prevalence`, with every
    /// attribute's weight multiplied by `signal`.
    pub fn new(prevalence: f64, signal: f64) -> Self {
        let mut generator = RandomKey::new(0, "phantom").text("purpose", "prevalence").generator();
        let scores: Vec<f64> =
            (0..POPULATION).map(|_| signal * score(&Attributes::draw(&mut generator))).collect();
        let mean = |intercept: f64| {
            scores.iter().map(|score| logistic(intercept + score)).sum::<f64>() / POPULATION as f64
        };
        // The mean risk grows with the intercept, so halving the interval converges to it.
        let (mut low, mut high) = (-200.0, 200.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if mean(middle) < prevalence { low = middle } else { high = middle }
        }
        Self { intercept: (low + high) / 2.0, signal }
    }

    /// Probability that a nodule with these attributes is malignant.
    pub fn risk(&self, attributes: &Attributes) -> f64 {
        logistic(self.intercept + self.signal * score(attributes))
    }
}

/// The weighted attributes, in log odds. What an image shows clearly weighs most.
fn score(attributes: &Attributes) -> f64 {
    let size = libm::log(attributes.mean_mm() / TYPICAL_MM) / LOG_SPREAD;
    let margin = match attributes.margin {
        Margin::Smooth => 0.0,
        Margin::Lobulated => 0.8,
        Margin::Spiculated => 2.6,
    };
    let consistency = match attributes.consistency {
        Consistency::Solid => 0.0,
        Consistency::PartSolid => 0.6,
        Consistency::PureGroundGlass => -1.2,
    };
    let present = |weight: f64, is_present: bool| if is_present { weight } else { 0.0 };
    2.0 * size
        + margin
        + consistency
        + present(1.0, attributes.cavitation)
        + present(0.6, attributes.pleural_retraction)
        + present(0.5, attributes.vascular_convergence)
        + present(0.3, attributes.emphysema)
        + present(-1.2, attributes.calcification)
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

/// A reader's suspicion: the risk as seen by someone who is a little unsure.
pub fn draw_suspicion(risk: f64, generator: &mut Generator) -> &'static str {
    let seen = risk + 0.1 * generator.normal();
    if seen < 0.3 {
        "Intermediate"
    } else if seen < 0.6 {
        "Moderately High"
    } else {
        "High"
    }
}

/// How well the labels of a set of phantoms can be predicted by someone who knows the true risks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Number of nodules.
    pub nodules: usize,
    /// How many of them are malignant.
    pub malignant: usize,
    /// AUROC of the true risks against the labels that were drawn; none without both classes.
    pub auroc: Option<f64>,
    /// AUROC of the true risks to be expected over repeated draws of the labels.
    pub expected_auroc: Option<f64>,
}

impl Ceiling {
    /// Measures pairs of true risk and drawn label. Ties count half.
    pub fn measure(nodules: &[(f64, bool)]) -> Self {
        let drawn = nodules.iter().map(|(risk, malignant)| (*risk, if *malignant { 1.0 } else { 0.0 }));
        let expected = nodules.iter().map(|(risk, _)| (*risk, *risk));
        Self {
            nodules: nodules.len(),
            malignant: nodules.iter().filter(|(_, malignant)| *malignant).count(),
            auroc: weighted_auroc(drawn.collect()),
            expected_auroc: weighted_auroc(expected.collect()),
        }
    }
}

/// Area under the curve of (score, probability of being positive) pairs.
fn weighted_auroc(mut pairs: Vec<(f64, f64)>) -> Option<f64> {
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives_below, mut won) = (0.0, 0.0);
    for tied in pairs.chunk_by(|a, b| a.0 == b.0) {
        let positives: f64 = tied.iter().map(|(_, positive)| positive).sum();
        let negatives: f64 = tied.iter().map(|(_, positive)| 1.0 - positive).sum();
        won += positives * (negatives_below + negatives / 2.0);
        negatives_below += negatives;
    }
    let positives: f64 = pairs.iter().map(|(_, positive)| positive).sum();
    let comparisons = positives * negatives_below;
    (comparisons > 0.0).then(|| won / comparisons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_intercept_gives_the_prevalence_whatever_the_signal() {
        let mut generator = RandomKey::new(9, "test").generator();
        let nodules: Vec<_> = (0..4000).map(|_| Attributes::draw(&mut generator)).collect();
        for (prevalence, signal) in [(0.1, 1.0), (0.35, 1.0), (0.35, 0.0), (0.8, 2.0)] {
            let model = RiskModel::new(prevalence, signal);
            let mean = nodules.iter().map(|nodule| model.risk(nodule)).sum::<f64>() / 4000.0;
            assert!((mean - prevalence).abs() < 0.02, "{prevalence} {signal}: {mean}");
        }
    }

    #[test]
    fn the_default_labels_are_predictable_but_not_certain() {
        let mut generator = RandomKey::new(5, "test").generator();
        let model = RiskModel::new(0.35, 1.0);
        let nodules: Vec<_> = (0..4000)
            .map(|_| {
                let risk = model.risk(&Attributes::draw(&mut generator));
                (risk, generator.chance(risk))
            })
            .collect();
        let ceiling = Ceiling::measure(&nodules);
        let (auroc, expected) = (ceiling.auroc.expect("both classes"), ceiling.expected_auroc.expect("both"));
        assert!((0.90..0.94).contains(&expected), "{expected}");
        assert!((auroc - expected).abs() < 0.015, "{auroc} {expected}");
    }

    #[test]
    fn the_area_is_that_of_hand_counted_pairs() {
        let cases = [
            (vec![(0.1, false), (0.9, true)], Some(1.0)),
            (vec![(0.9, false), (0.1, true)], Some(0.0)),
            (vec![(0.5, false), (0.5, true)], Some(0.5)),
            (vec![(0.1, false), (0.4, true), (0.4, false), (0.8, true)], Some(3.5 / 4.0)),
            (vec![(0.1, true)], None),
            (vec![], None),
        ];
        for (nodules, expected) in cases {
            assert_eq!(Ceiling::measure(&nodules).auroc, expected, "{nodules:?}");
        }
    }

    #[test]
    fn no_signal_leaves_chance() {
        let model = RiskModel::new(0.5, 0.0);
        let mut generator = RandomKey::new(5, "test").generator();
        let risks: Vec<_> = (0..50).map(|_| (model.risk(&Attributes::draw(&mut generator)), true)).collect();
        assert_eq!(Ceiling::measure(&risks).expected_auroc, Some(0.5));
    }
}
