//! Two evaluations of the same cases beside each other: DeLong's test of their ensembles, with all nodules of a patient taken
//! together.

use std::collections::HashMap;

use pipe_plugin::stage::{Column, PairedComparison, Results, StageError};
use pipe_plugin::table::Table;
use pipe_statistics::clusters::Clusters;
use pipe_statistics::delong::delong;

/// What is compared.
const COLUMNS: [&str; 2] = ["ensemble", "calibrated_ensemble"];

/// A case's label and its values in the order of [`COLUMNS`].
type Known = (bool, [Option<f64>; 2]);

/// A case: data set, patient, nodule.
type Case = (String, String, String);

/// For kind `evaluate`.
///
/// # Errors
/// A file that is no table of predictions.
pub fn evaluate(before: &Results<'_>, after: &Results<'_>) -> Result<Vec<PairedComparison>, StageError> {
    let (Some(before), Some(after)) = (read(before)?, read(after)?) else { return Ok(Vec::new()) };
    let mut datasets: Vec<&str> = after.keys().map(|(dataset, ..)| dataset.as_str()).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let mut found = Vec::new();
    for dataset in datasets {
        for (place, column) in COLUMNS.iter().enumerate() {
            found.extend(compare((&before, &after), dataset, (place, column))?);
        }
    }
    Ok(found)
}

/// The labelled cases of a result; `None` where it has no predictions.
fn read(results: &Results<'_>) -> Result<Option<HashMap<Case, Known>>, StageError> {
    let Some(bytes) = (results.read)("predictions", "") else { return Ok(None) };
    let table = Table::parse("predictions.csv", &bytes)?;
    let required = ["pid", "nodule_id", "ensemble"].map(Column::required);
    let optional = ["calibrated_ensemble", "dataset", "malignant"].map(Column::optional);
    let table = table.project(&[&required[..], &optional].concat())?;
    let mut cases = HashMap::new();
    for row in table.rows().iter().filter(|row| table.get(row, "malignant").is_some()) {
        let value = |column: &&str| match table.get(row, column) {
            Some(_) => table.number(row, column).map(Some),
            None => Ok(None),
        };
        let values = [value(&COLUMNS[0])?, value(&COLUMNS[1])?];
        let dataset = table.get(row, "dataset").unwrap_or_default().to_string();
        let case = (dataset, table.text(row, "pid")?.to_string(), table.text(row, "nodule_id")?.to_string());
        cases.insert(case, (table.label(row, "malignant")?, values));
    }
    Ok(Some(cases))
}

/// A column of both on the cases of a data set that both have and call the same.
fn compare(
    (before, after): (&HashMap<Case, Known>, &HashMap<Case, Known>),
    dataset: &str,
    (place, column): (usize, &str),
) -> Result<Option<PairedComparison>, StageError> {
    let mut cases: Vec<(&Case, bool, f64, f64)> = Vec::new();
    for (case, (label, values)) in after.iter().filter(|((of, ..), _)| of == dataset) {
        let Some((same, others)) = before.get(case) else { continue };
        if let (true, Some(first), Some(second)) = (label == same, others[place], values[place]) {
            cases.push((case, *label, first, second));
        }
    }
    // Sums have one order.
    cases.sort_by_key(|(case, ..)| *case);
    let labels: Vec<bool> = cases.iter().map(|(_, label, ..)| *label).collect();
    let patients = Clusters::new(cases.iter().map(|((_, patient, _), ..)| patient));
    let first: Vec<f64> = cases.iter().map(|(_, _, first, _)| *first).collect();
    let second: Vec<f64> = cases.iter().map(|(.., second)| *second).collect();
    let compared = delong(&labels, &patients, &second, &first);
    let compared = compared.map_err(|error| StageError::message(error.to_string()))?;
    let of = if dataset.is_empty() { String::new() } else { format!(" on {dataset}") };
    Ok(compared.map(|compared| PairedComparison {
        name: format!("AUROC of {column}{of}"),
        n: labels.len(),
        before: compared.second,
        after: compared.first,
        interval: compared.interval(),
        p: compared.p,
        test: "DeLong, a patient's nodules together",
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn table(rows: &[(&str, f64, u8)]) -> Vec<u8> {
        let rows = rows.iter().map(|(pid, value, label)| format!("{pid},1,{value},{label}\n"));
        format!("pid,nodule_id,ensemble,malignant\n{}", rows.collect::<String>()).into_bytes()
    }

    #[test]
    fn the_cases_that_both_have_are_compared_as_the_statistics_do() {
        let before =
            [("a", 0.9, 1), ("b", 0.4, 1), ("c", 0.5, 0), ("d", 0.1, 0), ("e", 0.2, 0), ("x", 0.3, 1)];
        let after =
            [("e", 0.1, 0), ("a", 0.8, 1), ("b", 0.7, 1), ("c", 0.3, 0), ("d", 0.2, 0), ("y", 0.3, 1)];
        let (before, after) = (table(&before), table(&after));
        let of = |bytes: &Vec<u8>, output: &str| (output == "predictions").then(|| bytes.clone());
        let found = evaluate(
            &Results { read: &|output, _| of(&before, output) },
            &Results { read: &|output, _| of(&after, output) },
        );
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].n, found[0].after), (5, 1.0));
        assert!((found[0].before - 5.0 / 6.0).abs() < 1e-12, "{}", found[0].before);
        assert_eq!(found[0].name, "AUROC of ensemble");
        let clusters = Clusters::new(["a", "b", "c", "d", "e"]);
        let labels = [true, true, false, false, false];
        let expected =
            delong(&labels, &clusters, &[0.8, 0.7, 0.3, 0.2, 0.1], &[0.9, 0.4, 0.5, 0.1, 0.2]).unwrap();
        assert_eq!(found[0].p, expected.unwrap().p);
        let nothing = Results { read: &|_, _| None };
        assert_eq!(evaluate(&nothing, &nothing).unwrap(), []);
    }
}
