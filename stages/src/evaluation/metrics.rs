//! Metrics of every prediction with their intervals: `metrics.json` and `metrics.csv`.
//!
//! All predictions of a data set are scored on the same resamples, so that their intervals can be
//! compared. Cases without a label are left out, and counted. What needs a class that does not occur
//! is null.

use serde_json::{Map, Value, json};

use super::predictions::{Predictions, Role};
use super::{Case, EvaluationError, csv_bytes, number_text};
use pipe_statistics::bootstrap::{Bootstrap, Evaluation, Interval};

/// The metrics of one data set.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetMetrics {
    /// The data set's name.
    pub dataset: String,
    /// Number of cases, with and without a label.
    pub cases: usize,
    /// What the labels allow to say; `None` when no case has one.
    pub labelled: Option<LabelledMetrics>,
}

/// The metrics of the cases that have a label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledMetrics {
    /// Number of cases with a label.
    pub n: usize,
    /// Number of positive cases.
    pub positive: usize,
    /// Number of patients that they are of, who are drawn with all their cases.
    pub patients: usize,
    /// Number of bootstrap draws.
    pub draws: u32,
    /// Share of the draws inside an interval.
    pub level: f64,
    /// The predictions, in the order of their columns.
    pub scores: Vec<Score>,
}

/// One prediction's metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Its name, such as `raw_0`.
    pub name: String,
    /// What it is made of.
    pub role: Role,
    /// Its metrics.
    pub evaluation: Evaluation,
}

/// How one metric differs between the folds' own models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldSpread {
    /// Number of folds.
    pub count: usize,
    /// Mean over the folds.
    pub mean: f64,
    /// Standard deviation over the folds, with the number of folds less one below the line.
    pub deviation: f64,
}

/// A metric as files hold it.
enum Metric {
    Interval(Option<Interval>),
    Number(Option<f64>),
}

impl LabelledMetrics {
    /// The AUROC of the folds' own models; `None` with fewer than two folds or with cases of one class.
    pub fn fold_auroc(&self) -> Option<FoldSpread> {
        let folds = self.scores.iter().filter(|score| score.role == Role::Raw);
        let values: Vec<f64> =
            folds.map(|score| score.evaluation.auroc.map(|auroc| auroc.value)).collect::<Option<_>>()?;
        if values.len() < 2 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        let deviation = (square / (values.len() - 1) as f64).sqrt();
        Some(FoldSpread { count: values.len(), mean, deviation })
    }
}

impl DatasetMetrics {
    /// The scores of the ensemble as it predicts, where there are labels.
    pub fn ensemble(&self) -> Option<&Score> {
        self.labelled.as_ref()?.scores.iter().find(|score| score.role == Role::Ensemble)
    }

    /// Scores all predictions on the resamples of `bootstrap`.
    ///
    /// # Errors
    /// No draws, or a level outside (0, 1).
    pub fn score(
        dataset: &str,
        predictions: &Predictions,
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvaluationError> {
        let cases = predictions.cases();
        let labels: Vec<bool> = cases.iter().filter_map(|case| case.malignant).collect();
        let labelled = if labels.is_empty() {
            None
        } else {
            Some(LabelledMetrics {
                n: labels.len(),
                positive: labels.iter().filter(|&&label| label).count(),
                patients: predictions.labelled_patients().count(),
                draws: bootstrap.draws,
                level: bootstrap.level,
                scores: scores(predictions, &labels, bootstrap)?,
            })
        };
        Ok(Self { dataset: dataset.to_owned(), cases: cases.len(), labelled })
    }

    /// How many cases have no label while others have one.
    pub fn left_out(&self) -> usize {
        self.labelled.as_ref().map_or(0, |labelled| self.cases - labelled.n)
    }

    /// What `metrics.json` says of the data set. `folds` has the mean and the standard deviation of the folds' AUROC. `n`
    /// counts the cases that the metrics are of, and `unlabelled` the others, where there are any. Without labels `n` counts
    /// all cases and there are no other keys.
    fn entry(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("n".to_owned(), json!(self.labelled.as_ref().map_or(self.cases, |labelled| labelled.n)));
        if let Some(labelled) = &self.labelled {
            entry.insert("positive".to_owned(), json!(labelled.positive));
            if self.left_out() > 0 {
                entry.insert("unlabelled".to_owned(), json!(self.left_out()));
            }
            if let Some(FoldSpread { count, mean, deviation }) = labelled.fold_auroc() {
                let folds = json!({"count": count, "auroc_mean": mean, "auroc_sd": deviation});
                entry.insert("folds".to_owned(), folds);
            }
            for score in &labelled.scores {
                let metrics = metrics(&score.evaluation);
                let fields = metrics.iter().map(|(name, metric)| ((*name).to_owned(), metric.to_json()));
                entry.insert(score.name.clone(), Value::Object(fields.collect()));
            }
        }
        Value::Object(entry)
    }

    /// The rows of `metrics.csv`, without the header.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let scores = self.labelled.iter().flat_map(|labelled| &labelled.scores);
        let rows = scores.flat_map(|score| {
            metrics(&score.evaluation).into_iter().map(|(name, metric)| {
                let mut row = vec![self.dataset.clone(), score.name.clone(), name.to_owned()];
                row.extend(metric.cells());
                row
            })
        });
        rows.collect()
    }
}

/// The bytes of `metrics.json`: `{"dataset": {NAME: {"n", "positive", PREDICTION: {…}}}}`, keys sorted.
///
/// # Errors
/// None in practice; the writer's error is passed on.
pub fn to_json(sets: &[&DatasetMetrics]) -> Result<Vec<u8>, EvaluationError> {
    let entries: Map<String, Value> = sets.iter().map(|set| (set.dataset.clone(), set.entry())).collect();
    let mut bytes = serde_json::to_vec_pretty(&json!({"dataset": entries}))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The bytes of `metrics.csv`: a row for each prediction and metric. A metric that there is not is blank.
///
/// # Errors
/// None with texts that are UTF-8, as all `str` are; the writer's error is passed on.
pub fn to_csv(sets: &[&DatasetMetrics]) -> Result<Vec<u8>, EvaluationError> {
    let header = ["dataset", "prediction", "metric", "value", "low", "high"].map(str::to_owned).to_vec();
    csv_bytes(std::iter::once(header).chain(sets.iter().flat_map(|set| set.rows())))
}

impl Metric {
    fn to_json(&self) -> Value {
        match self {
            Metric::Interval(interval) => json!(interval),
            Metric::Number(number) => json!(number),
        }
    }

    /// Value, low and high.
    fn cells(&self) -> [String; 3] {
        let numbers = match self {
            Metric::Interval(Some(Interval { value, low, high })) => [Some(*value), Some(*low), Some(*high)],
            Metric::Interval(None) => [None; 3],
            Metric::Number(number) => [*number, None, None],
        };
        numbers.map(|number| number.map(number_text).unwrap_or_default())
    }
}

fn scores(
    predictions: &Predictions,
    labels: &[bool],
    bootstrap: &Bootstrap,
) -> Result<Vec<Score>, EvaluationError> {
    let has_label = |case: &Case| case.malignant.is_some();
    let of_labelled = |probabilities: &[f64]| -> Vec<f64> {
        let cases = predictions.cases().iter().zip(probabilities);
        cases.filter(|(case, _)| has_label(case)).map(|(_, probability)| *probability).collect()
    };
    let vectors: Vec<Vec<f64>> =
        predictions.vectors().iter().map(|vector| of_labelled(&vector.probabilities)).collect();
    let evaluations = bootstrap.evaluate(labels, &predictions.labelled_patients(), &vectors)?;
    let scores = predictions.vectors().iter().zip(evaluations);
    Ok(scores
        .map(|(vector, evaluation)| {
            // What ranks the cases otherwise than the model does has a Brier score only.
            let evaluation = match vector.is_turned {
                true => Evaluation { auroc: None, auprc: None, youden: None, ..evaluation },
                false => evaluation,
            };
            Score { name: vector.name.clone(), role: vector.role, evaluation }
        })
        .collect())
}

/// All metrics by name, in the order of the tables.
fn metrics(evaluation: &Evaluation) -> [(&'static str, Metric); 6] {
    let Evaluation { auroc, auprc, brier, youden } = *evaluation;
    [
        ("auroc", Metric::Interval(auroc)),
        ("auprc", Metric::Interval(auprc)),
        ("brier", Metric::Interval(Some(brier))),
        ("sensitivity", Metric::Interval(youden.map(|youden| youden.sensitivity))),
        ("specificity", Metric::Interval(youden.map(|youden| youden.specificity))),
        ("threshold", Metric::Number(youden.map(|youden| youden.threshold))),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Fold;
    use super::*;
    use pipe_numerics::random::RandomKey;
    use pipe_statistics::calibration::{BetaCalibrator, CalibrationKind};

    fn score(labels: &[Option<bool>], probabilities: &[&[f64]], calibrated: bool) -> DatasetMetrics {
        let case = |(number, label): (usize, &Option<bool>)| Case {
            pid: number.to_string(),
            nodule_id: "1".to_owned(),
            malignant: *label,
        };
        let flat = BetaCalibrator::from_line(CalibrationKind::Abm, 0.0, 0.0, 0.0);
        let fold = |(key, probabilities): (usize, &&[f64])| Fold {
            key: key.to_string(),
            probabilities: probabilities.to_vec(),
            calibrator: calibrated.then_some(flat),
        };
        let folds: Vec<Fold> = probabilities.iter().enumerate().map(fold).collect();
        let cases = labels.iter().enumerate().map(case).collect();
        let predictions = Predictions::merge(cases, &folds).expect("merged");
        let bootstrap = Bootstrap { draws: 50, ..Bootstrap::new(RandomKey::new(42, "evaluate")) };
        DatasetMetrics::score("test", &predictions, &bootstrap).expect("scored")
    }

    fn json_text(metrics: &DatasetMetrics) -> String {
        String::from_utf8(to_json(&[metrics]).expect("json")).expect("text")
    }

    fn csv_text(metrics: &DatasetMetrics) -> String {
        String::from_utf8(to_csv(&[metrics]).expect("csv")).expect("text")
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn the_bytes_of_both_files_are_pinned() {
        let metrics = score(&[YES, NO], &[&[1.0, 0.0]], false);
        let perfect = |indent: &str| {
            let interval = |value: &str| {
                format!(
                    "{{\n{indent}    \"high\": {value},\n{indent}    \"low\": {value},\n{indent}    \
                     \"value\": {value}\n{indent}  }}"
                )
            };
            format!(
                "{{\n{indent}  \"auprc\": {one},\n{indent}  \"auroc\": {one},\n{indent}  \"brier\": {zero},\n\
                 {indent}  \"sensitivity\": {one},\n{indent}  \"specificity\": {one},\n\
                 {indent}  \"threshold\": 1.0\n{indent}}}",
                one = interval("1.0"),
                zero = interval("0.0")
            )
        };
        let entry = perfect("      ");
        assert_eq!(
            json_text(&metrics),
            format!(
                "{{\n  \"dataset\": {{\n    \"test\": {{\n      \"ensemble\": {entry},\n      \"n\": 2,\n      \
                 \"positive\": 1,\n      \"raw_0\": {entry}\n    }}\n  }}\n}}\n"
            )
        );
        let rows = |name: &str| {
            format!(
                "test,{name},auroc,1.0,1.0,1.0\ntest,{name},auprc,1.0,1.0,1.0\ntest,{name},brier,0.0,0.0,0.0\n\
                 test,{name},sensitivity,1.0,1.0,1.0\ntest,{name},specificity,1.0,1.0,1.0\n\
                 test,{name},threshold,1.0,,\n"
            )
        };
        let expected =
            format!("dataset,prediction,metric,value,low,high\n{}{}", rows("raw_0"), rows("ensemble"));
        assert_eq!(csv_text(&metrics), expected);
    }

    #[test]
    fn twelve_predictions_of_five_calibrated_folds_are_scored_alike() {
        let labels = [YES, NO, YES, NO, NO, YES];
        let one: &[f64] = &[0.9, 0.2, 0.4, 0.5, 0.1, 0.7];
        let metrics = score(&labels, &[one; 5], true);
        let scores = &metrics.labelled.as_ref().expect("labels").scores;
        assert_eq!(scores.len(), 12);
        let raw: Vec<&Evaluation> =
            scores.iter().filter(|score| score.role == Role::Raw).map(|score| &score.evaluation).collect();
        assert!(raw.windows(2).all(|pair| pair[0] == pair[1]), "equal vectors on other resamples");
        assert_eq!(raw[0].auroc.expect("both classes").value, 8.0 / 9.0);
        let value: Value = serde_json::from_str(&json_text(&metrics)).expect("json");
        assert_eq!(value["dataset"]["test"]["calibrated_ensemble"]["auroc"]["value"], json!(0.5));
        assert_eq!(value["dataset"]["test"]["positive"], json!(3));
    }

    #[test]
    fn one_class_has_a_brier_score_and_nulls() {
        let metrics = score(&[NO, NO], &[&[0.5, 0.5]], false);
        let value: Value = serde_json::from_str(&json_text(&metrics)).expect("json");
        let raw = &value["dataset"]["test"]["raw_0"];
        for metric in ["auroc", "auprc", "sensitivity", "specificity", "threshold"] {
            assert_eq!(raw.get(metric), Some(&Value::Null), "{metric}");
        }
        assert_eq!(raw["brier"], json!({"value": 0.25, "low": 0.25, "high": 0.25}));
        assert!(csv_text(&metrics).contains("test,raw_0,auroc,,,\n"));
    }

    #[test]
    fn what_a_calibrator_turns_round_has_a_brier_score_only() {
        let labels = [YES, NO, YES, NO];
        let cases = labels.iter().enumerate().map(|(number, label)| Case {
            pid: number.to_string(),
            nodule_id: "1".to_owned(),
            malignant: *label,
        });
        let fold = |key: &str, a: f64| Fold {
            key: key.to_owned(),
            probabilities: vec![0.9, 0.2, 0.7, 0.4],
            calibrator: Some(BetaCalibrator::from_line(CalibrationKind::Abm, a, a, 0.0)),
        };
        let predictions =
            Predictions::merge(cases.collect(), &[fold("0", 1.0), fold("1", -1.0)]).expect("merged");
        assert_eq!(predictions.turned(), ["calibrated_1"]);
        let bootstrap = Bootstrap { draws: 50, ..Bootstrap::new(RandomKey::new(42, "evaluate")) };
        let metrics = DatasetMetrics::score("test", &predictions, &bootstrap).expect("scored");
        let value: Value = serde_json::from_str(&json_text(&metrics)).expect("json");
        let of = |name: &str, metric: &str| value["dataset"]["test"][name].get(metric).cloned();
        for name in ["calibrated_1", "calibrated_ensemble"] {
            for metric in ["auroc", "auprc", "sensitivity", "specificity", "threshold"] {
                assert_eq!(of(name, metric), Some(Value::Null), "{name} {metric}");
            }
            assert!(of(name, "brier").expect("a score")["value"].is_number(), "{name}");
        }
        for name in ["raw_1", "calibrated_0", "ensemble"] {
            assert_eq!(of(name, "auroc").expect("a metric")["value"], json!(1.0), "{name}");
        }
        // Its values are in the table of predictions all the same.
        let table = super::super::predictions::to_csv(&[("test", &predictions)], false).expect("table");
        let table = String::from_utf8(table).expect("text");
        assert!(
            table.starts_with(
                "pid,nodule_id,raw_0,raw_1,ensemble,calibrated_0,calibrated_1,calibrated_ensemble"
            )
        );
        // Comparisons by AUROC and thresholds leave it out, too.
        let pairs = super::super::comparisons::compare(&predictions, &[]).expect("comparisons");
        let calibrated = pairs.iter().find(|pair| pair.second == "calibrated_ensemble").expect("a row");
        assert_eq!(calibrated.comparison, None);
    }

    #[test]
    fn without_labels_there_is_a_count_only() {
        let metrics = score(&[None, None, None], &[&[0.5, 0.5, 0.1]], true);
        assert_eq!(
            json_text(&metrics),
            "{\n  \"dataset\": {\n    \"test\": {\n      \"n\": 3\n    }\n  }\n}\n"
        );
        assert_eq!(csv_text(&metrics), "dataset,prediction,metric,value,low,high\n");
    }

    #[test]
    fn cases_without_a_label_are_left_out_and_counted() {
        let some = score(&[YES, None, NO], &[&[0.8, 0.9, 0.3]], false);
        let all = score(&[YES, NO], &[&[0.8, 0.3]], false);
        assert_eq!(some.labelled, all.labelled);
        let value: Value = serde_json::from_str(&json_text(&some)).expect("json");
        let entry = &value["dataset"]["test"];
        assert_eq!((&entry["n"], &entry["unlabelled"]), (&json!(2), &json!(1)));
        assert!(!json_text(&all).contains("unlabelled"));
    }
}
