//! Prompts from outside: of a language model, and of zero-shot prediction.

use std::collections::BTreeMap;

use pipe_plugin::stage::{Finding, Given, Preview};
use pipe_plugin::table::nearest;

use super::examples;
use super::nodules::shown;
use crate::reports::Prompt;
use crate::semantics::{SEMANTIC_COLUMNS, is_same_word};
use crate::zero_shot::prompts::{FeaturePrompts, parse};

/// What is wrong with the prompt of a language model.
pub(super) fn of_report(preview: &Preview<'_>) -> Vec<Finding> {
    let Some((given, name, bytes)) = file(preview, "prompt") else { return Vec::new() };
    let told = |error| {
        Finding::error(&given.place, format!("{name}: {error}"))
            .advise("write {features} where the list of features is to stand")
    };
    Prompt::parse(&bytes).err().map(told).into_iter().collect()
}

/// The prompts of features, and what is wrong with them.
pub(super) fn of_features(preview: &Preview<'_>) -> (Vec<FeaturePrompts>, Vec<Finding>) {
    let Some((given, name, bytes)) = file(preview, "prompts") else { return Default::default() };
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text).map_err(|error| error.to_string()),
        Err(_) => Err("it is not UTF-8".to_string()),
    };
    match parsed {
        Ok(features) => {
            let doubtful = features.iter().flat_map(doubts);
            let warn = |(message, advice): (String, String)| {
                Finding::warning(&given.place, format!("{name}: {message}")).advise(advice)
            };
            let findings = doubtful.map(warn).collect();
            (features, findings)
        }
        Err(problem) => {
            let finding = Finding::error(&given.place, format!("{name}: {}", problem.trim_end()));
            let advice = "correct the file; pipelines/prompts.toml is one to begin with";
            (Vec::new(), vec![finding.advise(advice)])
        }
    }
}

/// What is odd about the prompts of a feature: values that are not known, known values without prompts, which no nodule
/// can then be given, and sentences that stand for two values.
fn doubts(feature: &FeaturePrompts) -> Vec<(String, String)> {
    let known = SEMANTIC_COLUMNS.iter().find(|column| column.name == feature.name);
    let known = known.map_or(&[][..], |column| column.values);
    let has = |value: &str| feature.values.iter().any(|own| is_same_word(&own.value, value));
    let missing: Vec<&str> = known.iter().copied().filter(|value| !has(value)).collect();
    let mut doubts = Vec::new();
    for own in feature.values.iter().filter(|own| !known.iter().any(|value| is_same_word(value, &own.value)))
    {
        let advice = match nearest(&own.value, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known values: {}", known.join(", ")),
        };
        doubts.push((format!("`{}` has no value {:?}", feature.name, own.value), advice));
    }
    if !missing.is_empty() {
        let message = format!("`{}` has no prompts for {}", feature.name, examples(&missing));
        doubts
            .push((message, "a nodule is given one of the values that have prompts: add the others".into()));
    }
    // Capitals and blanks are nothing to a model's text encoder.
    let as_read = |prompt: &str| prompt.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut of: BTreeMap<String, &str> = BTreeMap::new();
    for value in &feature.values {
        for prompt in &value.prompts {
            if let Some(other) =
                of.insert(as_read(prompt), &value.value).filter(|other| *other != value.value)
            {
                let message = format!(
                    "`{}`: the sentence {prompt:?} stands for {other:?} and for {:?}",
                    feature.name, value.value
                );
                doubts.push((message, "word each value so that it differs from the others".into()));
                break;
            }
        }
    }
    doubts
}

fn file<'a>(preview: &'a Preview<'_>, input: &str) -> Option<(&'a Given, String, Vec<u8>)> {
    let given = preview.one(input)?;
    let path = given.outside()?;
    Some((given, shown(preview, path), std::fs::read(path).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_missing_unknown_or_alike_are_told() {
        let text =
            "templates = ['{}']\n[feature.nodule_shape]\nRound = ['round']\nOviod = ['Round', 'ovoid']\n";
        let features = parse(text).expect("prompts");
        let told: Vec<(String, String)> = features.iter().flat_map(doubts).collect();
        let told: Vec<(&str, &str)> = told.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(
            told,
            [
                ("`nodule_shape` has no value \"Oviod\"", "did you mean \"Ovoid\"?"),
                (
                    "`nodule_shape` has no prompts for Ovoid, Polygonal, Complex/Irregular",
                    "a nodule is given one of the values that have prompts: add the others"
                ),
                (
                    "`nodule_shape`: the sentence \"round\" stands for \"Oviod\" and for \"Round\"",
                    "word each value so that it differs from the others"
                ),
            ]
        );
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/prompts.toml");
        let shipped = parse(&std::fs::read_to_string(shipped).expect("the set")).expect("prompts");
        assert_eq!(shipped.iter().flat_map(doubts).count(), 0);
    }
}
