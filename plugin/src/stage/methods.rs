//! What a stage did and gave, in sentences for the methods and results of a paper.
//!
//! A kind's [`Describe`] function reads the parameters and results of a stage's instances. It stands beside the kind, so that its
//! code has no part in the fingerprints of results. A kind knows what its sentences are about, and not which checklist asks for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::compare::Results;
use super::error::StageError;

/// Says what a stage did. All numbers in it come from parameters and results.
pub type Describe = fn(&StageAccount<'_>) -> Result<Vec<Sentence>, StageError>;

/// What a sentence is about, in the order in which papers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Where cases and images come from and what was done to them before anything was learned.
    DataPreparation,
    /// What is predicted of cases, and where that is known from.
    Outcome,
    /// What became of values that are missing.
    MissingData,
    /// How cases were divided, and by what.
    Partitions,
    /// In what form predictors are given to the model.
    Predictors,
    /// What sort of model it is, and its dimensions.
    Model,
    /// What the model's numbers were before training.
    Initialisation,
    /// How it was trained.
    Training,
    /// Which of its states was taken.
    Selection,
    /// What was done for classes of different sizes.
    ClassImbalance,
    /// How several models' predictions became one.
    Ensemble,
    /// How predictions were calibrated.
    Calibration,
    /// What is predicted, and how thresholds were chosen.
    Output,
    /// By what performance is measured.
    Measures,
    /// How uncertain it is, and how that was found out.
    Uncertainty,
    /// Programs, libraries and devices.
    Software,
    /// Where models are.
    Availability,
    /// Which run this is, and how it is checked.
    Record,
    /// How many cases there are, and how many were left out.
    Participants,
    /// What they are like.
    Characteristics,
    /// How well the models do.
    Performance,
}

/// A sentence, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sentence {
    /// What it is about.
    pub topic: Topic,
    /// It, in English, without any markup.
    pub text: String,
}

impl Sentence {
    /// A sentence about something.
    pub fn new(topic: Topic, text: impl Into<String>) -> Self {
        Self { topic, text: text.into() }
    }
}

/// The instances of a stage that have their results.
pub struct StageAccount<'a> {
    /// Each of them, at least one.
    pub instances: Vec<InstanceAccount<'a>>,
}

/// An instance that has its result.
#[derive(Clone)]
pub struct InstanceAccount<'a> {
    /// Its parameters, with defaults; the fields of a table each by `name.field`.
    pub params: &'a BTreeMap<String, Value>,
    /// The names of the inputs that it was given.
    pub inputs: BTreeSet<&'a str>,
    /// Those of them that do not come from other stages.
    pub outside: BTreeSet<&'a str>,
    /// How many items it has, if it works item by item.
    pub items: Option<usize>,
    /// Its outputs. Of a run that is de-identified most are not there.
    pub results: Results<'a>,
}

impl<'a> StageAccount<'a> {
    /// The instances in groups that agree in all parameters but `labels`, each with the parameters that tell the groups apart, such as
    /// `tuning lora`.
    pub fn alike(&self, labels: &[&str]) -> Vec<(String, StageAccount<'a>)> {
        let params = |group: &StageAccount<'a>| -> Vec<(&'a String, &'a Value)> {
            let first = group.instances.first().into_iter().flat_map(|one| one.params);
            first.filter(|(name, _)| !labels.contains(&name.as_str())).collect()
        };
        let mut groups: Vec<StageAccount<'a>> = Vec::new();
        for instance in &self.instances {
            let alone = StageAccount { instances: vec![instance.clone()] };
            match groups.iter_mut().find(|group| params(group) == params(&alone)) {
                Some(group) => group.instances.extend(alone.instances),
                None => groups.push(alone),
            }
        }
        let all: Vec<_> = groups.iter().map(params).collect();
        let is_of_all = |pair: &(&String, &Value)| all.iter().all(|params| params.contains(pair));
        let told = all.iter().map(|params| {
            let own = params.iter().filter(|pair| !is_of_all(pair));
            own.map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ")
        });
        told.zip(groups).collect()
    }

    /// A parameter as it is written, where it is given; where instances differ in it, all that it is, each once.
    pub fn param(&self, name: &str) -> Option<String> {
        let values = self.instances.iter().filter_map(|one| one.params.get(name));
        let texts = values.filter(|value| !value.is_null()).map(text);
        let mut distinct = Vec::new();
        texts.for_each(|text| {
            if !distinct.contains(&text) {
                distinct.push(text)
            }
        });
        (!distinct.is_empty()).then(|| distinct.join(" or "))
    }

    /// Whether a parameter has that value in every instance.
    pub fn is(&self, name: &str, value: impl Into<Value>) -> bool {
        let value = value.into();
        self.instances.iter().all(|one| one.params.get(name) == Some(&value))
    }

    /// Whether an input of every instance comes from no other stage.
    pub fn is_from_outside(&self, name: &str) -> bool {
        self.instances.iter().all(|one| one.outside.contains(name))
    }

    /// Whether an input is given to every instance.
    pub fn has_input(&self, name: &str) -> bool {
        self.instances.iter().all(|one| one.inputs.contains(name))
    }

    /// How many items the instances have, where all have as many.
    pub fn items(&self) -> Option<usize> {
        let first = self.instances.first()?.items?;
        self.instances.iter().all(|one| one.items == Some(first)).then_some(first)
    }
}

/// A value as sentences have it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").unwrap_or(&text).to_string()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_told_as_they_are_and_each_value_once() {
        let params = |lr: f64, fold: u32| {
            BTreeMap::from([
                ("lr".to_string(), json!(lr)),
                ("fold".to_string(), json!(fold)),
                ("size_mm".to_string(), json!(100.0)),
                ("shape".to_string(), json!([1.0, 2, 0.5])),
                ("sampling".to_string(), json!("exact")),
                ("sensitivity".to_string(), Value::Null),
            ])
        };
        let all = [params(1e-4, 0), params(1e-3, 1), params(1e-4, 2)];
        let read = |_: &str, _: &str| None;
        let instance = |params| InstanceAccount {
            params,
            inputs: BTreeSet::from(["dataset"]),
            outside: BTreeSet::new(),
            items: Some(7),
            results: Results { read: &read },
        };
        let account = StageAccount { instances: all.iter().map(instance).collect() };
        for (name, expected) in [
            ("lr", Some("0.0001 or 0.001")),
            ("fold", Some("0 or 1 or 2")),
            ("size_mm", Some("100")),
            ("shape", Some("1, 2, 0.5")),
            ("sampling", Some("exact")),
            ("sensitivity", None),
            ("other", None),
        ] {
            assert_eq!(account.param(name).as_deref(), expected, "{name}");
        }
        assert!(account.is("sampling", "exact") && !account.is("fold", 0) && !account.is("other", "exact"));
        assert!(account.has_input("dataset") && !account.has_input("volumes"));
        assert_eq!(account.items(), Some(7));
        let groups = account.alike(&["fold"]);
        let told: Vec<(&str, usize)> =
            groups.iter().map(|(what, group)| (what.as_str(), group.instances.len())).collect();
        assert_eq!(told, [("lr 0.0001", 2), ("lr 0.001", 1)]);
        assert_eq!(groups[0].1.alike(&["fold"])[0].0, "");
    }
}
