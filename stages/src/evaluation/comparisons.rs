//! Which of two predictions of the same cases is better: `comparisons.csv`, by DeLong's test, with all nodules of a patient taken together.
//!
//! The ensemble is compared with each fold's model, calibrated values with raw ones, and ensembles with those of other
//! runs that predicted the same cases. Only cases with a label count, and of another run's those that both have.

use std::collections::HashMap;

use super::predictions::{Predictions, Role};
use super::{EvaluationError, number_text};
use pipe_statistics::clusters::Clusters;
use pipe_statistics::delong::{Comparison, delong};

/// Another run's ensembles.
#[derive(Clone, Debug)]
pub struct OtherRun {
    /// What tables call it.
    pub name: String,
    /// By patient and nodule.
    pub ensemble: HashMap<(String, String), f64>,
    /// The calibrated ensemble, where there is one.
    pub calibrated: HashMap<(String, String), f64>,
    /// The diagnoses, where the run has them.
    pub malignant: HashMap<(String, String), bool>,
}

/// Two predictions with what the test says.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedPair {
    /// Name of the first.
    pub first: String,
    /// Name of the second, with the run's where it is another.
    pub second: String,
    /// Cases that both predict and that have a label.
    pub n: usize,
    /// `None` where fewer than two patients have a case of a class, and of what a calibrator has turned round.
    pub comparison: Option<Comparison>,
}

/// All comparisons, within the run first.
///
/// # Errors
/// A score that is not a number.
pub fn compare(predictions: &Predictions, others: &[OtherRun]) -> Result<Vec<ComparedPair>, EvaluationError> {
    let of_role = |role: Role| predictions.vectors().iter().filter(move |vector| vector.role == role);
    let mut pairs = Vec::new();
    for ensemble in of_role(Role::Ensemble) {
        for other in of_role(Role::Raw).chain(of_role(Role::CalibratedEnsemble)) {
            let second = |position: usize| other.probabilities.get(position).copied();
            let mut compared =
                pair(predictions, (&ensemble.name, &ensemble.probabilities), other.name.clone(), second)?;
            compared.comparison = compared.comparison.filter(|_| !other.is_turned);
            pairs.push(compared);
        }
    }
    for other in others {
        for (role, values) in
            [(Role::Ensemble, &other.ensemble), (Role::CalibratedEnsemble, &other.calibrated)]
        {
            for own in of_role(role).filter(|_| !values.is_empty()) {
                let second = |position: usize| {
                    let case = predictions.cases().get(position)?;
                    values.get(&(case.pid.clone(), case.nodule_id.clone())).copied()
                };
                let name = format!("{} of {}", own.name, other.name);
                let mut compared = pair(predictions, (&own.name, &own.probabilities), name, second)?;
                compared.comparison = compared.comparison.filter(|_| !own.is_turned);
                pairs.push(compared);
            }
        }
    }
    Ok(pairs)
}

fn pair(
    predictions: &Predictions,
    (name, probabilities): (&str, &[f64]),
    other: String,
    second: impl Fn(usize) -> Option<f64>,
) -> Result<ComparedPair, EvaluationError> {
    let (mut labels, mut patients, mut own, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (position, (case, probability)) in predictions.cases().iter().zip(probabilities).enumerate() {
        if let (Some(label), Some(value)) = (case.malignant, second(position)) {
            labels.push(label);
            patients.push(&case.pid);
            own.push(*probability);
            theirs.push(value);
        }
    }
    let comparison =
        delong(&labels, &Clusters::new(patients), &own, &theirs).map_err(EvaluationError::Scores)?;
    Ok(ComparedPair { first: name.to_owned(), second: other, n: labels.len(), comparison })
}

/// What whoever reads comparisons with other runs should know: no case in common, and other diagnoses of the same cases.
pub fn warnings(dataset: &str, predictions: &Predictions, others: &[OtherRun]) -> Vec<String> {
    let of_run = |other: &OtherRun| {
        let (mut common, mut labelled, mut differing) = (0, 0, Vec::new());
        for case in predictions.cases() {
            let key = (case.pid.clone(), case.nodule_id.clone());
            common += usize::from(other.ensemble.contains_key(&key));
            if let (Some(own), Some(theirs)) = (case.malignant, other.malignant.get(&key)) {
                labelled += 1;
                if own != *theirs {
                    differing.push(format!("{}_{}", case.pid, case.nodule_id));
                }
            }
        }
        if common == 0 {
            let (here, there) = (predictions.cases().len(), other.ensemble.len());
            return Some(format!(
                "{dataset}: none of its {here} cases is among the {there} of {}: they are not compared",
                other.name
            ));
        }
        if 2 * common < predictions.cases().len() {
            let cases = predictions.cases().len();
            return Some(format!(
                "{dataset}: only {common} of its {cases} cases are in {}: the comparison is of these",
                other.name
            ));
        }
        let first = differing.first()?;
        Some(format!(
            "{dataset}: {} of {labelled} diagnoses are others in {}, that of {first} among them: the comparison goes by \
             those of this run",
            differing.len(),
            other.name
        ))
    };
    others.iter().filter_map(of_run).collect()
}

/// The rows of `comparisons.csv` with their header.
pub fn rows(dataset: &str, pairs: &[ComparedPair]) -> Vec<Vec<String>> {
    let header = [
        "dataset",
        "first",
        "second",
        "n",
        "auroc_first",
        "auroc_second",
        "difference",
        "low",
        "high",
        "p_delong",
    ];
    let row = |pair: &ComparedPair| {
        let mut cells = vec![dataset.to_owned(), pair.first.clone(), pair.second.clone(), pair.n.to_string()];
        let numbers = pair.comparison.map(|comparison| {
            let [low, high] = comparison.interval();
            let Comparison { first, second, p, .. } = comparison;
            [first, second, comparison.difference(), low, high, p]
        });
        cells.extend(match numbers {
            Some(numbers) => numbers.map(number_text),
            None => [const { String::new() }; 6],
        });
        cells
    };
    std::iter::once(header.map(str::to_owned).to_vec()).chain(pairs.iter().map(row)).collect()
}

/// Lines for people: the comparisons with other runs.
pub fn remarks(pairs: &[ComparedPair]) -> Vec<String> {
    let line = |pair: &ComparedPair| {
        let (_, run) = pair.second.split_once(" of ")?;
        let comparison = pair.comparison?;
        let [low, high] = comparison.interval();
        Some(format!(
            "{} less that of {run}: AUROC {:+.3} [{low:+.3}, {high:+.3}], p = {:.3} (DeLong, n = {})",
            pair.first,
            comparison.difference(),
            comparison.p,
            pair.n
        ))
    };
    pairs.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Case, Fold};
    use super::*;
    use pipe_statistics::calibration::{BetaCalibrator, CalibrationKind};

    fn predictions(calibrated: bool) -> Predictions {
        let labels = [Some(true), Some(false), Some(true), None, Some(false)];
        let case = |(number, malignant): (usize, &Option<bool>)| Case {
            pid: number.to_string(),
            nodule_id: "1".to_owned(),
            malignant: *malignant,
        };
        let fold = |(key, values): (usize, [f64; 5])| Fold {
            key: key.to_string(),
            probabilities: values.to_vec(),
            calibrator: calibrated.then(|| BetaCalibrator::from_line(CalibrationKind::Abm, 1.0, 1.0, 0.0)),
        };
        let folds: Vec<Fold> = [[0.9, 0.2, 0.6, 0.5, 0.1], [0.4, 0.6, 0.7, 0.5, 0.2]]
            .into_iter()
            .enumerate()
            .map(fold)
            .collect();
        Predictions::merge(labels.iter().enumerate().map(case).collect(), &folds).expect("merged")
    }

    #[test]
    fn ensembles_are_compared_with_their_parts_and_with_other_runs_on_common_cases() {
        let key = |pid: &str| (pid.to_owned(), "1".to_owned());
        let other = OtherRun {
            name: "elsewhere".into(),
            ensemble: [("0", 0.1), ("1", 0.9), ("2", 0.3), ("4", 0.8)].map(|(pid, p)| (key(pid), p)).into(),
            calibrated: HashMap::new(),
            malignant: [("0", false), ("1", false)].map(|(pid, label)| (key(pid), label)).into(),
        };
        let nowhere = OtherRun {
            name: "nowhere".into(),
            ensemble: [(key("9"), 0.5)].into(),
            calibrated: HashMap::new(),
            malignant: HashMap::new(),
        };
        assert_eq!(
            warnings("test", &predictions(true), &[other.clone(), nowhere]),
            [
                "test: 1 of 2 diagnoses are others in elsewhere, that of 0_1 among them: the comparison goes by those of \
                 this run",
                "test: none of its 5 cases is among the 1 of nowhere: they are not compared",
            ]
        );
        let pairs = compare(&predictions(true), &[other]).expect("comparisons");
        let names: Vec<(&str, &str, usize)> =
            pairs.iter().map(|pair| (pair.first.as_str(), pair.second.as_str(), pair.n)).collect();
        assert_eq!(
            names,
            [
                ("ensemble", "raw_0", 4),
                ("ensemble", "raw_1", 4),
                ("ensemble", "calibrated_ensemble", 4),
                ("ensemble", "ensemble of elsewhere", 4)
            ]
        );
        let last = pairs[3].comparison.expect("both classes");
        assert_eq!((last.first, last.second), (1.0, 0.0));
        let expected = ["test", "ensemble", "raw_0", "4", "1.0", "1.0", "0.0", "0.0", "0.0", "1.0"];
        assert_eq!(rows("test", &pairs)[1], expected);
        assert!(
            remarks(&pairs)[0].starts_with("ensemble less that of elsewhere: AUROC +1.000"),
            "{:?}",
            remarks(&pairs)
        );
        assert_eq!(remarks(&pairs).len(), 1);
    }
}
