//! Prompt sets: for each value of a semantic feature, sentences as a report would have them. A TOML file that users edit.
//!
//! Each template is written with each wording of a value in place of `{}`. The module knows texts, not tokens.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::semantics::SEMANTIC_COLUMNS;

/// More prompts than one would write by hand, and few enough to encode at once.
const MOST_PROMPTS: usize = 10_000;

/// Why a prompt set cannot be used.
#[derive(Debug, Error)]
pub enum PromptError {
    /// The file is no TOML of this form.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A feature is none of a sample table's.
    #[error("`{0}` is none of the semantic columns")]
    Feature(String),
    /// A feature has nothing to choose from.
    #[error("`{feature}` needs two values or more, each with a wording")]
    TooFew {
        /// The feature.
        feature: String,
    },
    /// A template has no place for the wording.
    #[error("the template `{0}` must have one `{{}}`")]
    Template(String),
    /// There are no templates or no features, or too many of both.
    #[error("there are {0} prompts; 1 to {MOST_PROMPTS} can be used")]
    Count(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    templates: Vec<String>,
    /// Feature → value → wordings.
    feature: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// A feature with its values.
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePrompts {
    /// Its column in a sample table.
    pub name: String,
    /// The values, sorted.
    pub values: Vec<ValuePrompts>,
}

/// A value with all its prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct ValuePrompts {
    /// As the column has it.
    pub value: String,
    /// Whole sentences.
    pub prompts: Vec<String>,
}

/// Reads a prompt set; features come in the order of a sample table.
///
/// # Errors
/// What is wrong with the file.
pub fn parse(text: &str) -> Result<Vec<FeaturePrompts>, PromptError> {
    let File { templates, mut feature } = toml::from_str(text)?;
    if let Some(template) = templates.iter().find(|template| template.matches("{}").count() != 1) {
        return Err(PromptError::Template(template.clone()));
    }
    let mut features = Vec::new();
    for column in SEMANTIC_COLUMNS {
        let Some(values) = feature.remove(column.name) else { continue };
        let is_blank = |wordings: &Vec<String>| {
            wordings.is_empty() || wordings.iter().any(|wording| wording.trim().is_empty())
        };
        if values.len() < 2 || values.values().any(is_blank) {
            return Err(PromptError::TooFew { feature: column.name.into() });
        }
        let value = |(value, wordings): (String, Vec<String>)| {
            let written = |template: &String| {
                wordings.iter().map(|wording| template.replace("{}", wording)).collect::<Vec<_>>()
            };
            ValuePrompts { value, prompts: templates.iter().flat_map(written).collect() }
        };
        features.push(FeaturePrompts {
            name: column.name.into(),
            values: values.into_iter().map(value).collect(),
        });
    }
    if let Some(unknown) = feature.into_keys().next() {
        return Err(PromptError::Feature(unknown));
    }
    let count = features.iter().flat_map(|feature| &feature.values).map(|value| value.prompts.len()).sum();
    match count {
        1..=MOST_PROMPTS => Ok(features),
        count => Err(PromptError::Count(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_set_words_every_known_value_of_every_feature() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/prompts.toml");
        let features = parse(&std::fs::read_to_string(path).expect("the set")).expect("prompts");
        assert_eq!(features.len(), SEMANTIC_COLUMNS.len());
        for (feature, column) in features.iter().zip(SEMANTIC_COLUMNS) {
            assert_eq!(feature.name, column.name);
            let mut known: Vec<&str> = column.values.to_vec();
            known.sort_unstable();
            let values: Vec<&str> = feature.values.iter().map(|value| value.value.as_str()).collect();
            assert_eq!(values, known, "{}", feature.name);
            for value in &feature.values {
                assert!(value.prompts.len() >= 3, "{}: {}", feature.name, value.value);
                assert!(value.prompts.iter().all(|prompt| !prompt.contains(['{', '}'])));
            }
        }
    }

    #[test]
    fn templates_are_written_with_every_wording() {
        let text = "templates = ['It is {}.', 'A {} one.']\n[feature.nodule_shape]\nRound = ['round', 'ball-like']\nOvoid = ['ovoid']\n";
        let features = parse(text).expect("prompts");
        let round = features[0].values.iter().find(|value| value.value == "Round").expect("a value");
        assert_eq!(round.prompts, ["It is round.", "It is ball-like.", "A round one.", "A ball-like one."]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            ("templates = 1\n[feature]", "line 1"),
            ("templates = ['{}']\n[feature.colour]\nRed = ['red']\nBlue = ['blue']", "`colour` is none"),
            (
                "templates = ['{}']\n[feature.nodule_shape]\nRound = ['round']",
                "`nodule_shape` needs two values",
            ),
            (
                "templates = ['{}']\n[feature.nodule_shape]\nRound = [' ']\nOvoid = ['o']",
                "`nodule_shape` needs two",
            ),
            (
                "templates = ['{}']\n[feature.nodule_shape]\nRound = []\nOvoid = ['o']",
                "`nodule_shape` needs two",
            ),
            ("templates = ['x']\n[feature]", "the template `x` must have one `{}`"),
            ("templates = []\n[feature.nodule_shape]\nRound = ['r']\nOvoid = ['o']", "there are 0 prompts"),
            ("templates = ['{}']\n[feature]\n[other]", "unknown field `other`"),
        ] {
            let error = parse(text).expect_err("refused").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
