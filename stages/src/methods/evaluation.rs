//! Of kind `evaluate`: how models were tested, and with what result.

use std::collections::{BTreeMap, BTreeSet};

use pipe_plugin::stage::{InstanceAccount, Sentence, StageAccount, StageError, Topic};
use pipe_plugin::table::Table;
use serde_json::{Map, Value};

use super::{Told, counted, listed, param, percent};

/// The share of draws within an interval, in per cent.
pub(super) const LEVEL: &str = "95 %";

/// What is said of a test set that has labels.
const MEASURES: [(&str, &str); 5] = [
    ("auroc", "an AUROC"),
    ("auprc", "an AUPRC"),
    ("brier", "a Brier score"),
    ("sensitivity", "a sensitivity"),
    ("specificity", "a specificity"),
];

pub(super) fn evaluate(account: &StageAccount<'_>) -> Told {
    let mut told = vec![
        Sentence::new(
            Topic::Output,
            "The output is the probability that a nodule is malignant, from its image alone.",
        ),
        Sentence::new(
            Topic::Partitions,
            "Test cases are refused whose patients or images the models say they were trained or validated on.",
        ),
    ];
    for instance in &account.instances {
        let sets = metrics(instance)?;
        let patients = patients(instance)?;
        if let Some(entry) = sets.values().next() {
            told.extend(ensemble(account, entry));
        }
        if sets.values().any(is_measured) {
            told.extend(measures(account));
        }
        for (name, entry) in &sets {
            let of = if sets.len() > 1 { format!(" of “{name}”") } else { String::new() };
            let patients =
                patients.get(name).or_else(|| patients.values().next().filter(|_| sets.len() == 1));
            told.extend(cases(&of, entry, patients.copied()));
            told.extend(performance(&of, entry));
        }
        told.extend(operating_points(instance, sets.len() > 1)?);
        told.extend(comparisons(instance, sets.len() > 1)?);
    }
    Ok(told)
}

/// `metrics.json` by data set; empty where it is not there.
fn metrics(instance: &InstanceAccount<'_>) -> Result<Map<String, Value>, StageError> {
    let Some(bytes) = (instance.results.read)("metrics", "metrics.json") else { return Ok(Map::new()) };
    let metrics: Value = serde_json::from_slice(&bytes)?;
    Ok(metrics.get("dataset").and_then(Value::as_object).cloned().unwrap_or_default())
}

/// How many patients the predictions of each data set are of; one set has no name there.
fn patients(instance: &InstanceAccount<'_>) -> Result<BTreeMap<String, usize>, StageError> {
    let Some(bytes) = (instance.results.read)("predictions", "") else { return Ok(BTreeMap::new()) };
    let table = Table::parse("predictions.csv", &bytes)?;
    let mut pids: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for row in table.rows() {
        let dataset = table.get(row, "dataset").unwrap_or_default().to_string();
        pids.entry(dataset).or_default().insert(table.text(row, "pid")?);
    }
    Ok(pids.into_iter().map(|(name, pids)| (name, pids.len())).collect())
}

/// Whether there are labels of both classes.
fn is_measured(entry: &Value) -> bool {
    let scores = entry.as_object().into_iter().flatten();
    scores.into_iter().any(|(_, scores)| scores.pointer("/auroc/value").is_some_and(Value::is_number))
}

fn ensemble(account: &StageAccount<'_>, entry: &Value) -> Vec<Sentence> {
    let state = param(account, "checkpoint");
    let models = entry.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("raw_")).count();
    let is_calibrated = entry.get("calibrated_ensemble").is_some();
    let mut told = Vec::new();
    if models > 0 {
        told.push(Sentence::new(
            Topic::Ensemble,
            match models {
                1 => format!("One model predicts, with its state “{state}”; there is no ensemble."),
                _ => format!("Each of {models} models predicts, with its state “{state}”; the ensemble is the mean of their probabilities."),
            },
        ));
        told.push(Sentence::new(
            Topic::Calibration,
            match is_calibrated {
                true => "Calibrated probabilities are those of each model by its calibrator; those of the ensemble are their mean.",
                false => "Predictions were tested without calibration.",
            },
        ));
    }
    told
}

fn measures(account: &StageAccount<'_>) -> Vec<Sentence> {
    let mut told = vec![
        Sentence::new(
            Topic::Measures,
            "Discrimination is measured by the area under the ROC curve (AUROC) and the average precision (AUPRC), predicted probabilities by the Brier score, clinical use by net \
             benefit (decision curve).",
        ),
        Sentence::new(
            Topic::Output,
            "Sensitivity and specificity are given at the threshold with the largest Youden index, which was chosen on the test cases themselves.",
        ),
        Sentence::new(
            Topic::Uncertainty,
            format!(
                "Intervals of these measures are {LEVEL} percentile intervals of {} bootstrap draws of patients, each with all nodules, stratified by whether a patient has a malignant \
                 one.",
                param(account, "draws"),
            ),
        ),
    ];
    if let Some(columns) = account.param("subgroups").filter(|columns| !columns.is_empty()) {
        let text = format!("The measures of subgroups, by {columns}, are in subgroups.csv.");
        told.push(Sentence::new(Topic::Performance, text));
    }
    told
}

/// How many cases there are.
fn cases(of: &str, entry: &Value, patients: Option<usize>) -> Vec<Sentence> {
    let number = |name: &str| entry.get(name).and_then(Value::as_u64);
    let Some(n) = number("n") else { return Vec::new() };
    let of_patients =
        patients.map(|patients| format!(" of {}", counted(patients, "patient"))).unwrap_or_default();
    let unlabelled = number("unlabelled").unwrap_or_default();
    let mut told = vec![Sentence::new(
        Topic::Participants,
        format!("Models were tested on {}{of}{of_patients}.", counted((n + unlabelled) as usize, "nodule")),
    )];
    match number("positive") {
        None => told.push(Sentence::new(
            Topic::MissingData,
            format!("The labels of the test nodules{of} are not known."),
        )),
        Some(positive) => {
            let share = percent(positive as f64 / n.max(1) as f64);
            let text =
                format!("Of the {n} test nodules{of} that have a label, {positive} are malignant ({share}).");
            told.push(Sentence::new(Topic::Characteristics, text));
        }
    }
    if unlabelled > 0 {
        let text = format!("{unlabelled} test nodules{of} have no label and are left out of all measures.");
        told.push(Sentence::new(Topic::MissingData, text));
    }
    told
}

fn performance(of: &str, entry: &Value) -> Vec<Sentence> {
    let models = entry.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("raw_")).count();
    let what = if models == 1 { "model" } else { "ensemble" };
    let on = if of.is_empty() { String::new() } else { format!(" on the cases{of}") };
    let mut told = Vec::new();
    for (prediction, words) in
        [("ensemble", format!("The {what}")), ("calibrated_ensemble", format!("The calibrated {what}"))]
    {
        let Some(scores) = entry.get(prediction) else { continue };
        let measure = |(name, words): &(&str, &str)| {
            let number = |end: &str| scores.get(name)?.get(end)?.as_f64();
            Some(format!(
                "{words} of {:.3} ({:.3} to {:.3})",
                number("value")?,
                number("low")?,
                number("high")?
            ))
        };
        let measures: Vec<String> = MEASURES.iter().filter_map(measure).collect();
        let threshold = scores.get("threshold").and_then(Value::as_f64);
        let at = threshold
            .map(|threshold| format!(", the last two at a threshold of {threshold:.3}"))
            .unwrap_or_default();
        if !measures.is_empty() {
            told.push(Sentence::new(
                Topic::Performance,
                format!("{words} has{on} {}{at}.", listed(&measures)),
            ));
        }
    }
    let fold = |name: &str| entry.pointer(&format!("/folds/{name}"));
    if let (Some(count), Some(mean), Some(deviation)) =
        (fold("count"), fold("auroc_mean").and_then(Value::as_f64), fold("auroc_sd").and_then(Value::as_f64))
    {
        told.push(Sentence::new(
            Topic::Performance,
            format!("The AUROC of the {count} models by themselves{on} is {mean:.3} on average, with a standard deviation of {deviation:.3}."),
        ));
    }
    told
}

/// Decisions at the thresholds that were chosen on validation parts, as operating_points.csv has them.
fn operating_points(instance: &InstanceAccount<'_>, has_several: bool) -> Told {
    let Some(bytes) = (instance.results.read)("metrics", "operating_points.csv") else {
        return Ok(Vec::new());
    };
    let table = Table::parse_maybe_empty("operating_points.csv", &bytes)?;
    let mut told = vec![Sentence::new(
        Topic::Uncertainty,
        format!(
            "Intervals of rates at thresholds that were chosen on validation parts are {LEVEL} intervals of proportions that take patients as independent, and not nodules."
        ),
    )];
    let mut points: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in table.rows() {
        let prediction = table.text(row, "prediction")?;
        if !prediction.contains("ensemble") || table.get(row, "value").is_none() {
            continue;
        }
        let number = |column: &str| table.number(row, column);
        let on =
            if has_several { format!(" on “{}”", table.text(row, "dataset")?) } else { String::new() };
        let point = format!(
            "At the threshold {:.3}, the largest with a sensitivity of at least {} on the validation parts, “{prediction}” has{on}",
            number("threshold")?,
            number("validation_sensitivity")?,
        );
        let metric = table.text(row, "metric")?.replace('_', " ");
        let rate = format!(
            "a {metric} of {:.3} ({:.3} to {:.3})",
            number("value")?,
            number("low")?,
            number("high")?
        );
        points.entry((on, point)).or_default().push(rate);
    }
    told.extend(points.into_iter().map(|((_, point), rates)| {
        Sentence::new(Topic::Performance, format!("{point} {}.", listed(&rates)))
    }));
    Ok(told)
}

/// DeLong's tests of ensembles, as comparisons.csv has them.
fn comparisons(instance: &InstanceAccount<'_>, has_several: bool) -> Told {
    let Some(bytes) = (instance.results.read)("metrics", "comparisons.csv") else { return Ok(Vec::new()) };
    let table = Table::parse_maybe_empty("comparisons.csv", &bytes)?;
    let mut told = Vec::new();
    for row in table.rows() {
        let is_of_ensembles = table.get(row, "second").is_some_and(|second| second.contains("ensemble"));
        if !is_of_ensembles || table.get(row, "p_delong").is_none() {
            continue;
        }
        let number = |column: &str| table.number(row, column);
        let on =
            if has_several { format!(" of “{}”", table.text(row, "dataset")?) } else { String::new() };
        let p = number("p_delong")?;
        let p = if p < 0.001 { "p < 0.001".to_string() } else { format!("p = {p:.3}") };
        told.push(Sentence::new(
            Topic::Performance,
            format!(
                "On the {} cases{on} that both have, the AUROC of “{}” less that of “{}” is {:.3} ({:.3} to {:.3}; {p}).",
                number("n")?,
                table.text(row, "first")?,
                table.text(row, "second")?,
                number("difference")?,
                number("low")?,
                number("high")?,
            ),
        ));
    }
    if !told.is_empty() {
        told.push(Sentence::new(
            Topic::Uncertainty,
            format!("Two AUROC on the same cases were compared by DeLong's test, the nodules of a patient taken together; intervals of their difference are its {LEVEL} intervals."),
        ));
    }
    Ok(told)
}
