//! The folds' predictions side by side with their means: `predictions.csv`.
//!
//! Columns: `raw_k` for each fold, their mean `ensemble` and, where the folds have calibrators,
//! `calibrated_k` and their mean `calibrated_ensemble` (SPEC section 4: the mean of calibrated values,
//! not the calibrated mean).

use std::collections::HashSet;

use super::{Case, EvaluationError, Fold, csv_bytes, number_text};
use pipe_statistics::clusters::Clusters;

/// What a prediction is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// One fold's model.
    Raw,
    /// The mean of the models.
    Ensemble,
    /// One fold's model, calibrated.
    Calibrated,
    /// The mean of the calibrated models.
    CalibratedEnsemble,
}

/// One prediction of all cases.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Its name, such as `raw_0`.
    pub name: String,
    /// What it is made of.
    pub role: Role,
    /// A probability in [0, 1] for each case.
    pub probabilities: Vec<f64>,
    /// Whether a calibrator gives lower values for higher probabilities among the cases. Then the values order the cases
    /// otherwise than the model does, and say nothing of how well the model tells them apart.
    pub is_turned: bool,
}

/// Cases and all that is predicted of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    cases: Vec<Case>,
    vectors: Vec<Prediction>,
}

impl Predictions {
    /// Merges the folds, in the order given.
    ///
    /// # Errors
    /// No cases or folds, a case or a name twice, lengths that differ, a calibrator that is missing
    /// while others are there, or a value (calibrated ones too) that is not in [0, 1].
    pub fn merge(cases: Vec<Case>, folds: &[Fold]) -> Result<Self, EvaluationError> {
        check_cases(&cases)?;
        let mut vectors = with_ensemble(raw(folds, cases.len())?, "ensemble", Role::Ensemble)?;
        let calibrated = calibrated(folds)?;
        if !calibrated.is_empty() {
            vectors.extend(with_ensemble(calibrated, "calibrated_ensemble", Role::CalibratedEnsemble)?);
        }
        let merged = Self { cases, vectors };
        merged.check_names()?;
        merged.check_probabilities()?;
        Ok(merged)
    }

    /// The cases.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The predictions, in the order of their columns.
    pub fn vectors(&self) -> &[Prediction] {
        &self.vectors
    }

    /// Only the cases for which `keep` is true, by position.
    #[must_use]
    pub fn part(&self, keep: &[bool]) -> Self {
        fn kept<T: Clone>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| value.clone()).collect()
        }
        let vector = |vector: &Prediction| Prediction {
            probabilities: kept(&vector.probabilities, keep),
            ..vector.clone()
        };
        Self { cases: kept(&self.cases, keep), vectors: self.vectors.iter().map(vector).collect() }
    }

    /// The names of the folds' calibrated predictions that order the cases otherwise than their models do.
    pub fn turned(&self) -> Vec<&str> {
        let of_fold =
            self.vectors.iter().filter(|vector| vector.role == Role::Calibrated && vector.is_turned);
        of_fold.map(|vector| vector.name.as_str()).collect()
    }

    /// The patients of the cases that have a label, in their order.
    pub fn labelled_patients(&self) -> Clusters {
        Clusters::new(self.cases.iter().filter(|case| case.malignant.is_some()).map(|case| &case.pid))
    }

    /// Whether any case has a label.
    fn is_labelled(&self) -> bool {
        self.cases.iter().any(|case| case.malignant.is_some())
    }

    /// The row of each case: patient, nodule, probabilities and, if asked for, the label.
    fn rows(&self, with_label: bool) -> impl Iterator<Item = Vec<String>> {
        self.cases.iter().enumerate().map(move |(position, case)| {
            let mut cells = vec![case.pid.clone(), case.nodule_id.clone()];
            let values = self.vectors.iter().filter_map(|vector| vector.probabilities.get(position));
            cells.extend(values.map(|value| number_text(*value)));
            cells.extend(with_label.then(|| label_text(case.malignant).to_owned()));
            cells
        })
    }

    fn check_names(&self) -> Result<(), EvaluationError> {
        let mut seen = HashSet::new();
        match self.vectors.iter().find(|vector| !seen.insert(vector.name.as_str())) {
            Some(twice) => Err(EvaluationError::DuplicatePrediction(twice.name.clone())),
            None => Ok(()),
        }
    }

    fn check_probabilities(&self) -> Result<(), EvaluationError> {
        for vector in &self.vectors {
            for (case, &value) in self.cases.iter().zip(&vector.probabilities) {
                if !(0.0..=1.0).contains(&value) {
                    return Err(EvaluationError::NotAProbability {
                        prediction: vector.name.clone(),
                        pid: case.pid.clone(),
                        nodule_id: case.nodule_id.clone(),
                        value,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The bytes of `predictions.csv`, a row for each case in the given order; a column `dataset` before the others names the
/// data set, where `named`. The column `malignant` (1 or 0, blank where not known) is there when any label is.
///
/// # Errors
/// None with texts that are UTF-8, as all `str` are; the writer's error is passed on.
pub fn to_csv(sets: &[(&str, &Predictions)], named: bool) -> Result<Vec<u8>, EvaluationError> {
    let labelled = sets.iter().any(|(_, predictions)| predictions.is_labelled());
    let mut header: Vec<String> = named.then(|| "dataset".to_owned()).into_iter().collect();
    header.extend(["pid", "nodule_id"].map(str::to_owned));
    // All data sets are predicted by the same models.
    let vectors = sets.first().map_or(&[][..], |(_, predictions)| predictions.vectors());
    header.extend(vectors.iter().map(|vector| vector.name.clone()));
    header.extend(labelled.then(|| "malignant".to_owned()));
    let rows = sets.iter().flat_map(|(name, predictions)| {
        let name = named.then(|| (*name).to_owned());
        predictions.rows(labelled).map(move |row| name.clone().into_iter().chain(row).collect())
    });
    csv_bytes(std::iter::once(header).chain(rows))
}

fn check_cases(cases: &[Case]) -> Result<(), EvaluationError> {
    if cases.is_empty() {
        return Err(EvaluationError::NoCases);
    }
    let mut seen = HashSet::new();
    match cases.iter().find(|case| !seen.insert((&case.pid, &case.nodule_id))) {
        Some(Case { pid, nodule_id, malignant: _ }) => {
            Err(EvaluationError::DuplicateCase { pid: pid.clone(), nodule_id: nodule_id.clone() })
        }
        None => Ok(()),
    }
}

fn raw(folds: &[Fold], cases: usize) -> Result<Vec<Prediction>, EvaluationError> {
    let prediction = |fold: &Fold| {
        let (key, found) = (&fold.key, fold.probabilities.len());
        if found != cases {
            return Err(EvaluationError::LengthMismatch { fold: key.clone(), found, cases });
        }
        let probabilities = fold.probabilities.clone();
        Ok(Prediction { name: format!("raw_{key}"), role: Role::Raw, probabilities, is_turned: false })
    };
    folds.iter().map(prediction).collect()
}

/// One calibrated prediction for each fold; none when no fold has a calibrator.
fn calibrated(folds: &[Fold]) -> Result<Vec<Prediction>, EvaluationError> {
    if folds.iter().all(|fold| fold.calibrator.is_none()) {
        return Ok(Vec::new());
    }
    let prediction = |fold: &Fold| {
        let calibrator =
            fold.calibrator.ok_or_else(|| EvaluationError::MissingCalibrator { fold: fold.key.clone() })?;
        let [low, high] =
            fold.probabilities.iter().fold([1.0_f64, 0.0], |[low, high], &p| [low.min(p), high.max(p)]);
        Ok(Prediction {
            name: format!("calibrated_{}", fold.key),
            role: Role::Calibrated,
            probabilities: fold.probabilities.iter().map(|&p| calibrator.apply(p)).collect(),
            is_turned: calibrator.falls_between(low, high),
        })
    };
    folds.iter().map(prediction).collect()
}

/// The predictions and their mean.
fn with_ensemble(
    mut predictions: Vec<Prediction>,
    name: &str,
    role: Role,
) -> Result<Vec<Prediction>, EvaluationError> {
    let first = predictions.first().ok_or(EvaluationError::NoFolds)?;
    let mut sums = vec![0.0; first.probabilities.len()];
    for prediction in &predictions {
        for (sum, probability) in sums.iter_mut().zip(&prediction.probabilities) {
            *sum += probability;
        }
    }
    let count = predictions.len() as f64;
    let probabilities = sums.into_iter().map(|sum: f64| sum / count).collect();
    let is_turned = predictions.iter().any(|prediction| prediction.is_turned);
    predictions.push(Prediction { name: name.to_owned(), role, probabilities, is_turned });
    Ok(predictions)
}

fn label_text(label: Option<bool>) -> &'static str {
    match label {
        Some(true) => "1",
        Some(false) => "0",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_statistics::calibration::{BetaCalibrator, CalibrationKind};

    fn case(pid: &str, malignant: Option<bool>) -> Case {
        Case { pid: pid.to_owned(), nodule_id: "1".to_owned(), malignant }
    }

    fn fold(key: &str, probabilities: &[f64], calibrator: Option<BetaCalibrator>) -> Fold {
        Fold { key: key.to_owned(), probabilities: probabilities.to_vec(), calibrator }
    }

    /// Leaves probabilities as they are, but for rounding.
    fn identity() -> BetaCalibrator {
        BetaCalibrator::from_line(CalibrationKind::Abm, 1.0, 1.0, 0.0)
    }

    /// Turns everything into ½.
    fn flat() -> BetaCalibrator {
        BetaCalibrator::from_line(CalibrationKind::Abm, 0.0, 0.0, 0.0)
    }

    fn text(cases: &[Case], folds: &[Fold]) -> String {
        let merged = Predictions::merge(cases.to_vec(), folds).expect("merged");
        String::from_utf8(to_csv(&[("one", &merged)], false).expect("table")).expect("text")
    }

    fn refusal(cases: &[Case], folds: &[Fold]) -> String {
        Predictions::merge(cases.to_vec(), folds).expect_err("refused").to_string()
    }

    #[test]
    fn columns_are_named_and_ordered() {
        let cases = [case("7", Some(true)), case("a,b", None), case("09", Some(false))];
        let folds = [fold("0", &[0.75, 0.5, 1e-9], Some(flat())), fold("2", &[0.25, 0.5, 0.0], Some(flat()))];
        assert_eq!(
            text(&cases, &folds),
            "pid,nodule_id,raw_0,raw_2,ensemble,calibrated_0,calibrated_2,calibrated_ensemble,malignant\n\
             7,1,0.75,0.25,0.5,0.5,0.5,0.5,1\n\
             \"a,b\",1,0.5,0.5,0.5,0.5,0.5,0.5,\n\
             09,1,1e-9,0.0,5e-10,0.5,0.5,0.5,0\n"
        );
    }

    #[test]
    fn labels_and_calibrators_may_be_missing_altogether() {
        assert_eq!(
            text(&[case("7", None)], &[fold("0", &[0.1], None)]),
            "pid,nodule_id,raw_0,ensemble\n7,1,0.1,0.1\n"
        );
    }

    #[test]
    fn the_calibrated_ensemble_is_the_mean_of_calibrated_values() {
        let folds = [fold("0", &[0.9], Some(identity())), fold("1", &[0.9], Some(flat()))];
        let merged = Predictions::merge(vec![case("7", None)], &folds).expect("merged");
        let last = merged.vectors().last().expect("vectors");
        assert_eq!(last.role, Role::CalibratedEnsemble);
        assert!((last.probabilities.first().expect("value") - 0.7).abs() < 1e-12, "{last:?}");
    }

    #[test]
    fn what_cannot_be_merged_is_named() {
        let one = [case("7", None)];
        let good = fold("0", &[0.1], None);
        assert_eq!(refusal(&[], std::slice::from_ref(&good)), "there are no test cases");
        assert_eq!(refusal(&one, &[]), "there is no fold's model to evaluate");
        for (folds, message) in [
            ([good.clone(), fold("1", &[0.1, 0.2], None)], "fold 1 has 2 probabilities for 1 test cases"),
            (
                [good.clone(), fold("1", &[0.1], Some(flat()))],
                "fold 0 has no calibrator, but other folds have one",
            ),
            ([good.clone(), good.clone()], "two predictions are called `raw_0`: give each fold its own key"),
            (
                [good.clone(), fold("1", &[f64::NAN], None)],
                "raw_1 of patient 7, nodule 1 is NaN, not a probability",
            ),
            (
                [good.clone(), fold("1", &[1.5], None)],
                "raw_1 of patient 7, nodule 1 is 1.5, not a probability",
            ),
        ] {
            assert_eq!(refusal(&one, &folds), message);
        }
        let twice = [case("7", None), case("7", None)];
        assert_eq!(
            refusal(&twice, &[fold("0", &[0.1, 0.2], None)]),
            "patient 7, nodule 1 occurs twice among the test cases"
        );
        let clash = [fold("ensemble", &[0.1], Some(flat()))];
        assert!(refusal(&one, &clash).contains("`calibrated_ensemble`"));
    }
}
