//! Of kind `zero-shot`: semantic features that no classifier was made for.

use pipe_plugin::stage::{InstanceAccount, Sentence, StageAccount, StageError, Topic};
use serde_json::Value;

use super::evaluation::LEVEL;
use super::{Told, param};

pub(super) fn zero_shot(account: &StageAccount<'_>) -> Told {
    let mut told = vec![Sentence::new(
        Topic::Ensemble,
        format!(
            "Semantic features were predicted without a classifier for them, by the sentence of each feature's value that a nodule's image is nearest to, with each model's state “{}”; \
             several models' probabilities were averaged.",
            param(account, "checkpoint"),
        ),
    )];
    for instance in &account.instances {
        let areas = areas(instance)?;
        let (Some(least), Some(most)) =
            (areas.iter().copied().reduce(f64::min), areas.iter().copied().reduce(f64::max))
        else {
            continue;
        };
        told.push(Sentence::new(
            Topic::Measures,
            "Predictions of a semantic feature's value are measured against its other values by the AUROC.",
        ));
        told.push(Sentence::new(
            Topic::Uncertainty,
            format!(
                "Intervals of the AUROC of semantic features are {LEVEL} percentile intervals of {} bootstrap draws of patients.",
                param(account, "draws"),
            ),
        ));
        told.push(Sentence::new(
            Topic::Performance,
            format!("The AUROC of {} values of semantic features is {least:.3} to {most:.3}; metrics.csv has each with its interval.", areas.len()),
        ));
    }
    Ok(told)
}

/// The ensemble's AUROC of each value of each feature.
fn areas(instance: &InstanceAccount<'_>) -> Result<Vec<f64>, StageError> {
    let Some(bytes) = (instance.results.read)("metrics", "metrics.json") else { return Ok(Vec::new()) };
    let metrics: Value = serde_json::from_slice(&bytes)?;
    let features = metrics.get("feature").and_then(Value::as_object).into_iter().flatten();
    let values = features.filter_map(|(_, values)| values.as_object()).flatten();
    Ok(values
        .filter_map(|(_, entry)| entry.pointer("/auroc/ensemble/value").and_then(Value::as_f64))
        .collect())
}
