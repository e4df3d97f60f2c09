//! What whoever reads the metrics should know of them: few cases, rows left out, calibrators that turn the ranking round.

use super::metrics::DatasetMetrics;
use super::predictions::Predictions;
use super::subgroups::Subgroup;

/// Intervals on fewer cases of a class say little.
const FEW: usize = 10;

/// So many of a list are named.
const NAMED: usize = 3;

/// Of a data set's metrics.
pub fn of_metrics(metrics: &DatasetMetrics) -> Vec<String> {
    let Some(labelled) = &metrics.labelled else { return Vec::new() };
    let (name, positive, negative) = (&metrics.dataset, labelled.positive, labelled.n - labelled.positive);
    let mut warnings = Vec::new();
    if positive.min(negative) < FEW {
        warnings.push(format!(
            "{name}: {positive} positive and {negative} negative cases: with fewer than {FEW} of a class intervals say little"
        ));
    }
    if metrics.left_out() > 0 {
        warnings.push(format!(
            "{name}: {} of {} cases have no label and are left out of the metrics",
            metrics.left_out(),
            metrics.cases
        ));
    }
    warnings
}

/// Of the parts of a data set: one for all of them.
pub fn of_subgroups(dataset: &str, groups: &[Subgroup]) -> Option<String> {
    let is_small = |group: &&Subgroup| {
        let labelled = group.metrics.labelled.as_ref();
        labelled.is_some_and(|labelled| labelled.positive.min(labelled.n - labelled.positive) < FEW)
    };
    let small: Vec<String> =
        groups.iter().filter(is_small).map(|group| format!("{} = {}", group.column, group.value)).collect();
    (!small.is_empty()).then(|| {
        format!(
            "{dataset}: {} of {} subgroups have fewer than {FEW} cases of a class, so that their intervals say little: {}",
            small.len(),
            groups.len(),
            listed(&small)
        )
    })
}

/// Of calibrated values that order the cases otherwise than the model does.
pub fn of_turned(predictions: &Predictions) -> Option<String> {
    let turned: Vec<String> = predictions.turned().into_iter().map(str::to_owned).collect();
    (!turned.is_empty()).then(|| {
        format!(
            "the calibrators of {} give lower values for higher probabilities, which turns the ranking round: no AUROC, \
             AUPRC, sensitivity and specificity of these values and of the calibrated ensemble",
            listed(&turned)
        )
    })
}

/// Some of the names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::LabelledMetrics;
    use super::*;

    fn metrics(cases: usize, n: usize, positive: usize) -> DatasetMetrics {
        let labelled =
            LabelledMetrics { n, positive, patients: n, draws: 2000, level: 0.95, scores: Vec::new() };
        DatasetMetrics { dataset: "test".to_owned(), cases, labelled: Some(labelled) }
    }

    #[test]
    fn few_cases_of_a_class_and_missing_labels_are_told() {
        for (cases, n, positive, expected) in [
            (40, 40, 10, vec![]),
            (
                40,
                40,
                9,
                vec![
                    "test: 9 positive and 31 negative cases: with fewer than 10 of a class intervals say little",
                ],
            ),
            (
                40,
                40,
                35,
                vec![
                    "test: 35 positive and 5 negative cases: with fewer than 10 of a class intervals say little",
                ],
            ),
            (43, 40, 12, vec!["test: 3 of 43 cases have no label and are left out of the metrics"]),
        ] {
            assert_eq!(of_metrics(&metrics(cases, n, positive)), expected);
        }
        let unlabelled = DatasetMetrics { labelled: None, ..metrics(7, 7, 0) };
        assert!(of_metrics(&unlabelled).is_empty());
    }

    #[test]
    fn small_subgroups_are_told_together() {
        let group = |value: &str, positive| Subgroup {
            column: "sex".to_owned(),
            value: value.to_owned(),
            metrics: metrics(40, 40, positive),
        };
        let groups = [group("F", 2), group("M", 20), group("a", 1), group("b", 40), group("c", 0)];
        assert_eq!(
            of_subgroups("test", &groups).as_deref(),
            Some(
                "test: 4 of 5 subgroups have fewer than 10 cases of a class, so that their intervals say little: sex = F, \
                 sex = a, sex = b and 1 more"
            )
        );
        assert_eq!(of_subgroups("test", &groups[1..2]), None);
    }
}
