//! Prompts from outside: of a language model, and of zero-shot prediction.

use pipe_engine::stage::{Finding, Given, Preview};

use super::nodules::shown;
use crate::reports::Prompt;
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
        Ok(features) => (features, Vec::new()),
        Err(problem) => {
            let finding = Finding::error(&given.place, format!("{name}: {}", problem.trim_end()));
            let advice = "correct the file; pipelines/prompts.toml is one to begin with";
            (Vec::new(), vec![finding.advise(advice)])
        }
    }
}

fn file<'a>(preview: &'a Preview<'_>, input: &str) -> Option<(&'a Given, String, Vec<u8>)> {
    let given = preview.one(input)?;
    let path = given.outside()?;
    Some((given, shown(preview, path), std::fs::read(path).ok()?))
}
