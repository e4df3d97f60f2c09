//! The words that kinds and manifests have: names of inputs, outputs, parameters and columns, choices, keys.

use std::collections::BTreeSet;

use pipe_plugin::stage::{ItemSource, Kind, Work};
use serde_json::{Map, Value};

pub(super) fn add_kind(kind: &Kind, vocabulary: &mut BTreeSet<String>) {
    let about = kind.about();
    let words = about
        .inputs
        .iter()
        .flat_map(|input| [input.name].into_iter().chain(input.keywords.iter().copied()))
        .chain(about.outputs.iter().map(|output| output.name))
        .chain(kind.results_of_all_cases().iter().flat_map(|results| results.words.iter().copied()))
        .chain([about.name]);
    vocabulary.extend(words.map(str::to_string));
    add_schema(&kind.schema(), vocabulary);
    let Ok(defaults) = kind.canonical(Value::Object(Map::new())) else { return };
    let mut columns: Vec<String> = about
        .inputs
        .iter()
        .flat_map(|input| kind.columns(&defaults, input.name))
        .map(|column| column.name)
        .collect();
    if let Work::Items(stage) = kind.work()
        && let Ok(ItemSource::Rows(rows)) = stage.items(&defaults, &|_| true)
    {
        columns.extend(rows.name.into_iter().chain(rows.columns).map(|column| column.name));
    }
    vocabulary.extend(columns);
}

/// Names of parameters and their choices.
fn add_schema(schema: &Value, vocabulary: &mut BTreeSet<String>) {
    match schema {
        Value::Array(values) => values.iter().for_each(|value| add_schema(value, vocabulary)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        vocabulary.extend(properties.keys().cloned())
                    }
                    ("enum", Value::Array(choices)) => {
                        vocabulary.extend(choices.iter().filter_map(Value::as_str).map(str::to_string));
                    }
                    ("const", Value::String(choice)) => drop(vocabulary.insert(choice.clone())),
                    _ => {}
                }
                add_schema(value, vocabulary);
            }
        }
        _ => {}
    }
}

pub(super) fn add_keys(value: &Value, vocabulary: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| add_keys(value, vocabulary)),
        Value::Object(fields) => {
            vocabulary.extend(fields.keys().cloned());
            fields.values().for_each(|value| add_keys(value, vocabulary));
        }
        _ => {}
    }
}
