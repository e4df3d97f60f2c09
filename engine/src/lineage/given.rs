//! Where a run took an instance's inputs from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bind::shown_path;
use crate::input::NAME;
use crate::manifest::{InputBinding, InputSource, Instance, Origin, Pipeline};

/// What was given to an input, and where it is written so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The input's name.
    pub input: String,
    /// The artifact's name among several that are given by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was written, such as `@crop`.
    pub written: String,
    /// Where, such as `p.toml:6`; none where the kind fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether it counts only by the values that it gives to parameters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fills: bool,
    /// The artifacts.
    pub sources: Vec<Source>,
}

/// Where an artifact comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A word of the kind in place of an artifact.
    Word(String),
    /// A file or folder outside the store, relative to the project's root where it lies within.
    Path(PathBuf),
    /// A file on the hub.
    Hub(String),
    /// An output of another instance.
    Output {
        /// The instance's label.
        instance: String,
        /// The output's name.
        output: String,
    },
}

impl Given {
    /// All that an instance is given.
    pub(crate) fn to(instance: &Instance, pipeline: &Pipeline) -> Vec<Self> {
        instance.inputs.iter().map(|binding| Self::by(binding, pipeline)).collect()
    }

    /// What was written and where, in words.
    pub(crate) fn described(&self) -> String {
        match &self.origin {
            Some(origin) => format!("{}, {origin}", self.written),
            None => self.written.clone(),
        }
    }

    /// The outputs of other instances among it: instance and output.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.sources.iter().filter_map(|source| match source {
            Source::Output { instance, output } => Some((instance, output)),
            _ => None,
        })
    }

    /// Whether all of it comes from other instances.
    pub(crate) fn is_within(&self) -> bool {
        self.sources.iter().all(|source| matches!(source, Source::Output { .. }))
    }

    fn by(binding: &InputBinding, pipeline: &Pipeline) -> Self {
        let origin = (binding.origin != Origin::Default).then(|| binding.origin.to_string());
        Self {
            input: binding.spec.name.to_string(),
            name: binding.name.as_deref().map(str::to_string),
            written: binding.given.to_string(),
            origin,
            fills: binding.spec.fills,
            sources: binding.sources.iter().map(|source| Source::of(source, pipeline)).collect(),
        }
    }
}

impl Source {
    fn of(source: &InputSource, pipeline: &Pipeline) -> Self {
        match source {
            InputSource::Keyword(word) => Self::Word(word.clone()),
            InputSource::Path(path) => Self::Path(shown_path(&pipeline.root, path).into()),
            InputSource::Hub(file) => Self::Hub(file.to_string()),
            InputSource::Output { instance, output } => Self::Output {
                instance: pipeline.instances.get(*instance).map_or_else(String::new, |one| one.label.clone()),
                output: (*output).to_string(),
            },
        }
    }
}

/// What was given to an input that is called as preimages do: `model[fold=1]`, `dataset[name=lidc]`.
pub(crate) fn given_to<'a>(input: &str, given: &'a [Given]) -> Vec<&'a Given> {
    let name = input.split('[').next().unwrap_or(input);
    let selector = selector_of(input);
    let of_name = selector.iter().find(|(key, _)| *key == NAME).map(|(_, value)| *value);
    let is_it =
        |given: &&Given| given.input == name && (of_name.is_none() || given.name.as_deref() == of_name);
    given.iter().filter(is_it).collect()
}

/// The outputs of other instances that are given to an input, which is called as preimages do: instance and output. Of several, those
/// of the instances that have the foreach values which the name tells.
pub(crate) fn outputs_given_to<'a>(input: &str, given: &'a [Given]) -> Vec<(&'a String, &'a String)> {
    let wanted: Vec<(&str, &str)> = selector_of(input).into_iter().filter(|(key, _)| *key != NAME).collect();
    let is_chosen = |label: &str| {
        let has = selector_of(label);
        has.is_empty() || wanted.iter().all(|pair| has.contains(pair))
    };
    let outputs = given_to(input, given).into_iter().flat_map(Given::outputs);
    outputs.filter(|(instance, _)| is_chosen(instance)).collect()
}

/// The pairs in brackets behind a name: `[fold=1,seed=2]`.
fn selector_of(text: &str) -> Vec<(&str, &str)> {
    let values =
        text.strip_suffix(']').and_then(|text| text.split_once('[')).map_or("", |(_, values)| values);
    values.split(',').filter_map(|pair| pair.split_once('=')).collect()
}
