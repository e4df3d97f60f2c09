//! Of the kinds that test models.

use std::collections::BTreeSet;

use pipe_plugin::stage::{InstanceAccount, Sentence, StageAccount, StageError, Topic};
use pipe_plugin::table::Table;
use serde_json::{Map, Value};

use super::{counted, percent};

/// The ends of intervals leave so much out, in per cent.
const LEVEL: &str = "95 %";

/// For kind `evaluate`.
///
/// # Errors
/// Results that cannot be read.
pub fn evaluate(account: &StageAccount<'_>) -> Result<Vec<Sentence>, StageError> {
    let checkpoint = account.param("checkpoint").unwrap_or_default();
    let mut told = vec![
        Sentence::new(
            Topic::Ensemble,
            format!(
                "Each fold's model predicts from the image alone, with checkpoint `{checkpoint}`; the ensemble is the mean of the folds' probabilities."
            ),
        ),
        Sentence::new(
            Topic::Measures,
            "Discrimination is measured by the area under the ROC curve (AUROC) and the average precision (AUPRC), calibration by the Brier score, clinical utility by net \
             benefit (decision curve). Sensitivity and specificity are given at the threshold of the largest Youden index, chosen on the test cases themselves.",
        ),
        Sentence::new(Topic::Output, "The output is the probability of malignancy of a nodule."),
        Sentence::new(Topic::Uncertainty, uncertainty(account)),
    ];
    if let Some(wanted) = account.param("sensitivity") {
        told.push(Sentence::new(
            Topic::Output,
            format!("Besides, thresholds were taken that have a sensitivity of {wanted} on the folds' validation parts."),
        ));
    }
    if let Some(columns) = account.param("subgroups").filter(|columns| !columns.is_empty()) {
        let text = format!("Performance is given once more for the values of: {columns}.");
        told.push(Sentence::new(Topic::Measures, text));
    }
    for instance in &account.instances {
        let Some(metrics) = metrics(instance)? else { continue };
        for (name, entry) in &metrics {
            told.extend(dataset((metrics.len() > 1).then_some(name.as_str()), entry));
        }
        told.extend(comparisons(instance)?);
        told.extend(patients(instance)?);
    }
    Ok(told)
}

fn uncertainty(account: &StageAccount<'_>) -> String {
    format!(
        "Intervals are {LEVEL} percentile intervals of {} bootstrap draws of patients, each with all nodules, stratified by whether a patient has a malignant one. \
         AUROC on the same cases were compared by DeLong's test, with the nodules of a patient taken together.",
        account.param("draws").unwrap_or_else(|| "the".to_string()),
    )
}

fn metrics(instance: &InstanceAccount<'_>) -> Result<Option<Map<String, Value>>, StageError> {
    let Some(bytes) = (instance.results.read)("metrics", "metrics.json") else { return Ok(None) };
    let metrics: Value = serde_json::from_slice(&bytes)?;
    Ok(metrics.get("dataset").and_then(Value::as_object).cloned())
}

/// What metrics.json says of a data set, which is named where there are several.
fn dataset(name: Option<&str>, entry: &Value) -> Vec<Sentence> {
    let of = name.map(|name| format!(" of `{name}`")).unwrap_or_default();
    let Some(n) = entry.get("n").and_then(Value::as_u64) else { return Vec::new() };
    let Some(positive) = entry.get("positive").and_then(Value::as_u64) else {
        return vec![Sentence::new(
            Topic::Testing,
            format!("The models predicted {n} nodules{of}, whose labels are not known."),
        )];
    };
    let mut told = vec![
        Sentence::new(
            Topic::Testing,
            format!(
                "The models were tested on {n} nodules{of}. Whether that is internal or external testing, a run cannot tell: it knows data by their bytes."
            ),
        ),
        Sentence::new(
            Topic::Characteristics,
            format!(
                "Of the {n} nodules{of} on which models were tested, {positive} are malignant ({}).",
                percent(positive as f64 / n.max(1) as f64)
            ),
        ),
    ];
    if let Some(unlabelled) = entry.get("unlabelled").and_then(Value::as_u64) {
        told.push(Sentence::new(
            Topic::MissingData,
            format!("{} more nodules{of} have no label and are left out of all measures.", unlabelled),
        ));
    }
    for (prediction, words) in
        [("ensemble", "The ensemble"), ("calibrated_ensemble", "The calibrated ensemble")]
    {
        told.extend(entry.get(prediction).and_then(|scores| performance(&format!("{words}{of}"), scores)));
    }
    let fold = |name: &str| entry.pointer(&format!("/folds/{name}"));
    if let (Some(count), Some(mean), Some(deviation)) =
        (fold("count"), fold("auroc_mean").and_then(Value::as_f64), fold("auroc_sd").and_then(Value::as_f64))
    {
        told.push(Sentence::new(
            Topic::Performance,
            format!("The AUROC of the {count} folds' own models{of} is {mean:.3} on average, with a standard deviation of {deviation:.3}."),
        ));
    }
    told
}

fn performance(what: &str, scores: &Value) -> Option<Sentence> {
    let measures = [
        ("auroc", "an AUROC"),
        ("auprc", "an AUPRC"),
        ("brier", "a Brier score"),
        ("sensitivity", "a sensitivity"),
        ("specificity", "a specificity"),
    ];
    let told: Vec<String> = measures
        .iter()
        .filter_map(|(name, words)| {
            let number = |end: &str| scores.get(name)?.get(end)?.as_f64();
            let (value, low, high) = (number("value")?, number("low")?, number("high")?);
            Some(format!("{words} of {value:.3} ({low:.3} to {high:.3})"))
        })
        .collect();
    let threshold = scores.get("threshold").and_then(Value::as_f64);
    let at =
        threshold.map(|threshold| format!(", both at a threshold of {threshold:.3}")).unwrap_or_default();
    (!told.is_empty())
        .then(|| Sentence::new(Topic::Performance, format!("{what} has {}{at}.", super::listed(&told))))
}

/// DeLong's tests, as comparisons.csv has them.
fn comparisons(instance: &InstanceAccount<'_>) -> Result<Vec<Sentence>, StageError> {
    let Some(bytes) = (instance.results.read)("metrics", "comparisons.csv") else { return Ok(Vec::new()) };
    let table = Table::parse_maybe_empty("comparisons.csv", &bytes)?;
    let mut told = Vec::new();
    for row in table.rows() {
        let is_of_ensembles = table.get(row, "second").is_some_and(|second| second.contains("ensemble"));
        if !is_of_ensembles || table.get(row, "p_delong").is_none() {
            continue;
        }
        let number = |column: &str| table.number(row, column);
        told.push(Sentence::new(
            Topic::Performance,
            format!(
                "On the {} cases that both have, `{}` and `{}` differ by {:.3} in AUROC ({:.3} to {:.3}; p = {:.3}).",
                number("n")?,
                table.text(row, "first")?,
                table.text(row, "second")?,
                number("difference")?,
                number("low")?,
                number("high")?,
                number("p_delong")?,
            ),
        ));
    }
    Ok(told)
}

/// How many patients the predictions are of.
fn patients(instance: &InstanceAccount<'_>) -> Result<Option<Sentence>, StageError> {
    let Some(bytes) = (instance.results.read)("predictions", "") else { return Ok(None) };
    let table = Table::parse("predictions.csv", &bytes)?;
    let mut pids = BTreeSet::new();
    for row in table.rows() {
        pids.insert((table.get(row, "dataset"), table.text(row, "pid")?));
    }
    let (patients, nodules) = (counted(pids.len(), "patient"), counted(table.rows().len(), "nodule"));
    let text = format!("Predictions were made for {nodules} of {patients}, and none was left out.");
    Ok(Some(Sentence::new(Topic::Participants, text)))
}

/// For kind `zero-shot`.
///
/// # Errors
/// None.
pub fn zero_shot(account: &StageAccount<'_>) -> Result<Vec<Sentence>, StageError> {
    let draws = account.param("draws").unwrap_or_default();
    Ok(vec![
        Sentence::new(
            Topic::Measures,
            "Semantic features were predicted without training on them, from the similarity of a nodule's image to a sentence for each value; each value is measured \
             against the others by the area under the ROC curve.",
        ),
        Sentence::new(
            Topic::Uncertainty,
            format!(
                "Intervals of these areas are {LEVEL} percentile intervals of {draws} bootstrap draws of patients."
            ),
        ),
    ])
}
