//! The metrics of parts of a data set: `subgroups.csv`, by the values of a table's columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::EvaluationError;
use super::metrics::DatasetMetrics;
use super::predictions::{Predictions, Role};
use pipe_statistics::bootstrap::Bootstrap;

/// What a blank cell is called.
const BLANK: &str = "(blank)";

/// The metrics of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Subgroup {
    /// The column.
    pub column: String,
    /// Its value in this part.
    pub value: String,
    /// Their metrics.
    pub metrics: DatasetMetrics,
}

/// Scores the parts that the cells of a column make, one for each case; by value, sorted.
///
/// # Errors
/// Those of scoring.
pub fn score(
    column: &str,
    cells: &[Option<String>],
    predictions: &Predictions,
    bootstrap: &Bootstrap,
) -> Result<Vec<Subgroup>, EvaluationError> {
    let mut parts: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for (position, cell) in cells.iter().enumerate() {
        let value = cell.as_deref().unwrap_or(BLANK);
        let part = parts.entry(value).or_insert_with(|| vec![false; cells.len()]);
        if let Some(keep) = part.get_mut(position) {
            *keep = true;
        }
    }
    let subgroup = |(value, keep): (&str, Vec<bool>)| {
        let key = bootstrap.key.clone().text("column", column).text("value", value);
        let bootstrap = Bootstrap { key, ..bootstrap.clone() };
        let metrics = DatasetMetrics::score(value, &predictions.part(&keep), &bootstrap)?;
        Ok(Subgroup { column: column.to_owned(), value: value.to_owned(), metrics })
    };
    parts.into_iter().map(subgroup).collect()
}

/// The rows of `subgroups.csv` with their header: those of `metrics.csv` with column, value and number of cases.
pub fn rows(dataset: &str, subgroups: &[Subgroup]) -> Vec<Vec<String>> {
    let header = [
        "dataset",
        "column",
        "value",
        "n",
        "positive",
        "prediction",
        "metric",
        "metric_value",
        "low",
        "high",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for Subgroup { column, value, metrics } in subgroups {
        let Some(labelled) = &metrics.labelled else { continue };
        for row in metrics.rows() {
            let counts = [labelled.n, labelled.positive].map(|count| count.to_string());
            let own = [dataset.to_owned(), column.clone(), value.clone()].into_iter().chain(counts);
            // Its own data set is the part.
            rows.push(own.chain(row.into_iter().skip(1)).collect());
        }
    }
    rows
}

/// Lines for people: the ensemble's AUROC in each part.
pub fn remarks(subgroups: &[Subgroup]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = "";
    for Subgroup { column, value, metrics } in subgroups {
        if column != last {
            lines.push(format!("ensemble by {column}:"));
            last = column;
        }
        let Some(labelled) = &metrics.labelled else { continue };
        let ensemble = labelled.scores.iter().find(|score| score.role == Role::Ensemble);
        let mut line = format!("  {value}: n = {}, positive = {}", labelled.n, labelled.positive);
        if let Some(auroc) = ensemble.and_then(|score| score.evaluation.auroc) {
            // Writing to a string cannot fail.
            let _ = write!(line, ", AUROC {:.3} [{:.3}, {:.3}]", auroc.value, auroc.low, auroc.high);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{Case, Fold};
    use super::*;
    use pipe_numerics::random::RandomKey;

    #[test]
    fn each_value_is_scored_on_its_own_cases() {
        let labels = [true, false, true, false, true, false];
        let case = |(number, malignant): (usize, &bool)| Case {
            pid: number.to_string(),
            nodule_id: "1".to_owned(),
            malignant: Some(*malignant),
        };
        let fold =
            Fold { key: "0".into(), probabilities: vec![0.9, 0.1, 0.2, 0.8, 0.5, 0.5], calibrator: None };
        let predictions =
            Predictions::merge(labels.iter().enumerate().map(case).collect(), &[fold]).expect("merged");
        let bootstrap = Bootstrap { draws: 20, ..Bootstrap::new(RandomKey::new(1, "test")) };
        let cells = [Some("F"), Some("F"), Some("M"), Some("M"), None, None].map(|x| x.map(str::to_owned));
        let found = score("sex", &cells, &predictions, &bootstrap).expect("scored");
        let auroc = |group: &Subgroup| {
            let labelled = group.metrics.labelled.as_ref().expect("labels");
            labelled.scores.last().expect("ensemble").evaluation.auroc.expect("both classes").value
        };
        let values: Vec<(&str, f64)> =
            found.iter().map(|group| (group.value.as_str(), auroc(group))).collect();
        assert_eq!(values, [("(blank)", 0.5), ("F", 1.0), ("M", 0.0)]);
        let expected = ["t", "sex", "F", "2", "1", "ensemble", "auroc", "1.0", "1.0", "1.0"];
        assert!(rows("t", &found).iter().any(|row| *row == expected));
        let lines = remarks(&found);
        assert_eq!(lines[0], "ensemble by sex:");
        assert_eq!(lines[2], "  F: n = 2, positive = 1, AUROC 1.000 [1.000, 1.000]");
    }
}
