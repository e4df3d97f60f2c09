//! What decisions would be worth: at a threshold chosen on validation, and over all thresholds.
//!
//! A threshold that is chosen on test cases promises too much. Validation cases were predicted by the one model that did
//! not learn from them, so an ensemble's threshold is chosen on the folds' predictions together.

use super::number_text;
use super::predictions::{Prediction, Predictions, Role};
use pipe_statistics::clusters::Clusters;
use pipe_statistics::confusion::Confusion;
use pipe_statistics::decision::{Proportion, decide, net_benefit, threshold_at_sensitivity};

/// Validation cases of one fold with what its model says of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// Labels.
    pub labels: Vec<bool>,
    /// Probabilities as the model gives them.
    pub raw: Vec<f64>,
    /// The same, calibrated; empty without a calibrator.
    pub calibrated: Vec<f64>,
}

/// Decisions of one prediction at one threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatingPoint {
    /// The prediction.
    pub prediction: String,
    /// Sensitivity that was asked of validation.
    pub wanted: f64,
    /// Cases with at least this probability are called positive.
    pub threshold: f64,
    /// On the test cases that have a label.
    pub decisions: Confusion,
    /// Sensitivity, specificity and predictive values, whose intervals take patients as independent and not nodules.
    pub rates: [(&'static str, Option<Proportion>); 4],
}

/// Decisions on the test cases at thresholds that have the wanted sensitivity on validation; `folds` in the order of the
/// predictions. A prediction without positive validation cases has none, nor one that a calibrator has turned round.
pub fn operating_points(predictions: &Predictions, folds: &[Validation], wanted: f64) -> Vec<OperatingPoint> {
    let mut fold_of = [0, 0];
    let mut points = Vec::new();
    for vector in predictions.vectors() {
        let validation = match vector.role {
            Role::Raw => one(folds, &mut fold_of[0], |fold| &fold.raw),
            Role::Calibrated => one(folds, &mut fold_of[1], |fold| &fold.calibrated),
            Role::Ensemble => together(folds, |fold| &fold.raw),
            Role::CalibratedEnsemble => together(folds, |fold| &fold.calibrated),
        };
        if vector.is_turned {
            continue;
        }
        let Some(threshold) = threshold_at_sensitivity(&validation.0, &validation.1, wanted) else {
            continue;
        };
        let (labels, scores) = labelled(predictions, vector);
        points.push(OperatingPoint {
            prediction: vector.name.clone(),
            wanted,
            threshold,
            decisions: decide(&labels, &scores, threshold),
            rates: rates(&labels, &scores, &predictions.labelled_patients(), threshold),
        });
    }
    points
}

fn one(
    folds: &[Validation],
    next: &mut usize,
    scores: fn(&Validation) -> &Vec<f64>,
) -> (Vec<bool>, Vec<f64>) {
    let fold = folds.get(*next);
    *next += 1;
    fold.map(|fold| (fold.labels.clone(), scores(fold).clone())).unwrap_or_default()
}

fn together(folds: &[Validation], scores: fn(&Validation) -> &Vec<f64>) -> (Vec<bool>, Vec<f64>) {
    let labels = folds.iter().flat_map(|fold| fold.labels.clone()).collect();
    (labels, folds.iter().flat_map(|fold| scores(fold).clone()).collect())
}

/// Labels and probabilities of the cases that have a label.
fn labelled(predictions: &Predictions, vector: &Prediction) -> (Vec<bool>, Vec<f64>) {
    let cases = predictions.cases().iter().zip(&vector.probabilities);
    cases.filter_map(|(case, probability)| Some((case.malignant?, *probability))).unzip()
}

/// Sensitivity, specificity and predictive values with their intervals.
fn rates(
    labels: &[bool],
    scores: &[f64],
    patients: &Clusters,
    threshold: f64,
) -> [(&'static str, Option<Proportion>); 4] {
    let share = |outcome: fn(bool, bool) -> Option<bool>| {
        let case = |(label, score): (&bool, &f64)| outcome(*label, *score >= threshold);
        Proportion::of(&labels.iter().zip(scores).map(case).collect::<Vec<_>>(), patients)
    };
    [
        ("sensitivity", share(|label, called| label.then_some(called))),
        ("specificity", share(|label, called| (!label).then_some(!called))),
        ("ppv", share(|label, called| called.then_some(label))),
        ("npv", share(|label, called| (!called).then_some(!label))),
    ]
}

/// The rows of `operating_points.csv` with their header.
pub fn operating_points_rows(dataset: &str, points: &[OperatingPoint]) -> Vec<Vec<String>> {
    let header =
        ["dataset", "prediction", "validation_sensitivity", "threshold", "metric", "value", "low", "high"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for point in points {
        for (name, proportion) in point.rates {
            let mut row = vec![dataset.to_owned(), point.prediction.clone()];
            row.extend([number_text(point.wanted), number_text(point.threshold), name.to_owned()]);
            row.extend(match proportion {
                Some(Proportion { value, low, high }) => [value, low, high].map(number_text),
                None => [const { String::new() }; 3],
            });
            rows.push(row);
        }
    }
    rows
}

/// A line for people of each ensemble.
pub fn remarks(points: &[OperatingPoint]) -> Vec<String> {
    let line = |point: &OperatingPoint| {
        let [sensitivity, specificity, ..] = point.rates;
        let text = |proportion: Option<Proportion>| match proportion {
            Some(Proportion { value, low, high }) => format!("{value:.3} [{low:.3}, {high:.3}]"),
            None => "-".to_owned(),
        };
        format!(
            "{} ≥ {:.3}: sensitivity {}, specificity {}",
            point.prediction,
            point.threshold,
            text(sensitivity.1),
            text(specificity.1)
        )
    };
    let ensembles = points.iter().filter(|point| point.prediction.ends_with("ensemble"));
    let lines: Vec<String> = ensembles.map(line).collect();
    let head = points.first().filter(|_| !lines.is_empty());
    let head = head.map(|point| format!("Thresholds with a sensitivity of {} on validation:", point.wanted));
    head.into_iter().chain(lines).collect()
}

/// The rows of `decision_curve.csv` with their header: net benefit at thresholds from 1 % to 99 %, of each prediction, of calling every
/// case positive (`all`) and none (`none`).
pub fn decision_curve_rows(dataset: &str, predictions: &Predictions) -> Vec<Vec<String>> {
    let mut rows = vec![["dataset", "prediction", "threshold", "net_benefit"].map(str::to_owned).to_vec()];
    let mut add = |name: &str, labels: &[bool], scores: &[f64]| {
        for percent in 1..=99_u32 {
            let threshold = f64::from(percent) / 100.0;
            let benefit = net_benefit(&decide(labels, scores, threshold), threshold);
            rows.push(vec![
                dataset.to_owned(),
                name.to_owned(),
                number_text(threshold),
                number_text(benefit),
            ]);
        }
    };
    for vector in predictions.vectors() {
        let (labels, scores) = labelled(predictions, vector);
        add(&vector.name, &labels, &scores);
    }
    let labels: Vec<bool> = predictions.cases().iter().filter_map(|case| case.malignant).collect();
    add("all", &labels, &vec![1.0; labels.len()]);
    add("none", &labels, &vec![0.0; labels.len()]);
    rows
}

#[cfg(test)]
mod tests {
    use super::super::{Case, Fold};
    use super::*;

    fn predictions() -> Predictions {
        let labels = [Some(true), Some(false), Some(true), None, Some(false)];
        let case = |(number, malignant): (usize, &Option<bool>)| Case {
            pid: number.to_string(),
            nodule_id: "1".to_owned(),
            malignant: *malignant,
        };
        let fold = |key: &str, values: [f64; 5]| Fold {
            key: key.to_owned(),
            probabilities: values.to_vec(),
            calibrator: None,
        };
        let folds = [fold("0", [0.9, 0.2, 0.6, 0.5, 0.1]), fold("1", [0.5, 0.6, 0.8, 0.5, 0.3])];
        Predictions::merge(labels.iter().enumerate().map(case).collect(), &folds).expect("merged")
    }

    #[test]
    fn thresholds_come_from_validation_and_rates_from_test_cases() {
        let fold = |raw: [f64; 3]| Validation {
            labels: vec![true, true, false],
            raw: raw.to_vec(),
            calibrated: Vec::new(),
        };
        let points = operating_points(&predictions(), &[fold([0.7, 0.4, 0.9]), fold([0.8, 0.6, 0.1])], 0.9);
        let thresholds: Vec<(&str, f64)> =
            points.iter().map(|point| (point.prediction.as_str(), point.threshold)).collect();
        assert_eq!(thresholds, [("raw_0", 0.4), ("raw_1", 0.6), ("ensemble", 0.4)]);
        let expected =
            Confusion { true_positives: 1, false_positives: 1, true_negatives: 1, false_negatives: 1 };
        assert_eq!(points[1].decisions, expected);
        let lines = remarks(&points);
        assert_eq!(lines[0], "Thresholds with a sensitivity of 0.9 on validation:");
        assert!(lines[1].starts_with("ensemble ≥ 0.400: sensitivity 1.000 ["), "{}", lines[1]);
        let rows = operating_points_rows("t", &points);
        assert_eq!(rows[2][..6], ["t", "raw_0", "0.9", "0.4", "specificity", "1.0"]);
        assert!(operating_points(&predictions(), &[], 0.9).is_empty());
    }

    #[test]
    fn calling_all_positive_has_the_net_benefit_of_its_prevalence() {
        let rows = decision_curve_rows("t", &predictions());
        let benefit = |name: &str| -> f64 {
            let row = rows.iter().find(|row| row[1] == name && row[2] == "0.2").expect("a row");
            row[3].parse().expect("a number")
        };
        assert!((benefit("all") - (0.5 - 0.5 * 0.25)).abs() < 1e-12);
        assert_eq!(benefit("none"), 0.0);
        assert_eq!(rows.len(), 1 + 99 * 5);
    }
}
