//! The instances of a stage: `foreach` expanded, parameters checked and typed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

use super::node::{Content, Node, Origin};
use super::pipeline::ParamOrigins;
use super::problem::{Problem, Problems};
use super::stage_table::GivenInput;
use super::{references, schema_check};
use crate::input::Selector;
use crate::stage::Kind;
use pipe_plugin::canonical_text;

/// So many instances at least are read by one thread.
const TOGETHER: usize = 64;

/// The parameters of one instance of a stage.
pub(crate) struct Variant {
    pub(crate) selector: Arc<Selector>,
    pub(crate) order: Vec<Value>,
    pub(crate) params: Arc<Value>,
    pub(crate) origins: ParamOrigins,
}

/// The parameters to run for each value of, with their values.
pub(super) fn read_foreach(node: &Node, problems: &mut Problems) -> Vec<(String, Vec<Node>)> {
    let mut keys = Vec::new();
    for (key, values) in node.get("foreach").map_or(&[][..], Node::entries) {
        let Content::Array(values) = &values.content else { continue };
        if values.is_empty() {
            let message = format!("`foreach.{}` has no values", key.name);
            problems.add(Problem::at(key.origin.clone(), "empty-foreach", message));
        }
        let mut seen = HashSet::new();
        for value in values {
            let text = selector_text(value);
            if !seen.insert(text.clone()) {
                let message = format!("`foreach.{}` has the value {text} twice", key.name);
                problems.add(Problem::at(value.origin.clone(), "duplicate-value", message));
            }
        }
        keys.push((key.name.clone(), values.clone()));
    }
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    keys
}

/// The parameters of each instance. Problems that all instances share are told once.
pub(super) fn read_variants(
    stage: &str,
    origin: &Origin,
    params: &Node,
    foreach: &[(String, Vec<Node>)],
    (kind, inputs): (Kind, &[GivenInput]),
    problems: &mut Problems,
) -> Vec<Variant> {
    for (key, values) in foreach {
        if let (Some(given), Some(_)) = (params.get(key), values.first()) {
            let message = format!("`{key}` is given both under params and under foreach");
            problems.add(Problem::at(given.origin.clone(), "given-twice", message));
        }
    }
    let schema = kind.schema();
    let takes_any = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    let known = |key: &String| {
        takes_any || schema.pointer("/properties").is_some_and(|fields| fields.get(key).is_some())
    };
    let mut strange = false;
    for (key, values) in foreach.iter().filter(|(key, _)| !known(key)) {
        strange = true;
        let place = values.first().map_or(origin, |value| &value.origin).clone();
        let message =
            format!("stage `{stage}`: kind {} has no parameter `{key}` to run for each", kind.about().name);
        let help = format!("`pipe stages {}` lists its parameters", kind.about().name);
        problems.add(Problem::at(place, "unknown-parameter", message).help(help));
    }
    if strange {
        return Vec::new();
    }
    let written = params.entries().iter().map(|(key, value)| (key.name.clone(), value.origin.clone()));
    let shared: Arc<BTreeMap<String, Origin>> = Arc::new(written.collect());
    let read = |choice: Vec<(&str, &Node)>| {
        read_variant((stage, origin), params, &choice, &schema, (kind, inputs), &shared)
    };
    let read: Vec<Result<Variant, Problems>> =
        product(foreach).into_par_iter().with_min_len(TOGETHER).map(read).collect();
    let mut variants = Vec::with_capacity(read.len());
    let mut told: Vec<String> = Vec::new();
    for variant in read {
        let found = match variant {
            Ok(variant) => {
                variants.push(variant);
                continue;
            }
            Err(found) => found,
        };
        for mut problem in found.into_error().problems {
            problem.message =
                format!("stage `{stage}`: {}", problem.message.replace("unknown key", "unknown parameter"));
            let text = problem.to_string();
            if !told.contains(&text) {
                told.push(text);
                problems.add(problem);
            }
        }
    }
    variants.sort_by(|a, b| references::compare_values(&a.order, &b.order));
    variants
}

/// The parameters of one instance, or all that is wrong with them.
fn read_variant(
    (stage, origin): (&str, &Origin),
    params: &Node,
    choice: &[(&str, &Node)],
    schema: &Value,
    (kind, inputs): (Kind, &[GivenInput]),
    shared: &Arc<BTreeMap<String, Origin>>,
) -> Result<Variant, Problems> {
    let mut all = params.clone();
    let mut selector = Selector::new();
    for (key, value) in choice {
        selector.insert((*key).to_string(), selector_text(value));
        all.set(&[key], (*value).clone());
    }
    let mut found = Problems::default();
    schema_check::check(&all, schema, "", &mut found);
    let canonical = match found.is_empty() {
        true => check_values(stage, origin, &all, (kind, inputs), &mut found),
        false => None,
    };
    match canonical.filter(|_| found.is_empty()) {
        None => Err(found),
        Some(canonical) => {
            let own = choice.iter().map(|(key, value)| ((*key).to_string(), value.origin.clone()));
            let origins = ParamOrigins { stage: Arc::clone(shared), foreach: own.collect() };
            let order = choice.iter().map(|(_, value)| value.to_json()).collect();
            Ok(Variant { selector: selector.into(), order, params: canonical.into(), origins })
        }
    }
}

/// The parameters with defaults filled in; what is wrong with them is added to the problems.
fn check_values(
    stage: &str,
    origin: &Origin,
    params: &Node,
    (kind, inputs): (Kind, &[GivenInput]),
    problems: &mut Problems,
) -> Option<Value> {
    let canonical = match kind.canonical(params.to_json()) {
        Ok(canonical) => canonical,
        Err(error) => {
            problems.add(Problem::at(origin.clone(), "params", error.to_string()));
            return None;
        }
    };
    let help = format!("`pipe stages {}` explains the parameters of `{stage}`", kind.about().name);
    for message in kind.check(&canonical) {
        // The message begins with the parameter's name in backquotes where there is one.
        let named = message.split('`').nth(1).and_then(|name| params.get(name));
        let place = named.map_or(origin, |node| &node.origin).clone();
        problems.add(Problem::at(place, "wrong-value", message).help(help.clone()));
    }
    let given = |name: &str| inputs.iter().any(|given| given.spec.name == name);
    for error in kind.check_inputs(&canonical, &given) {
        let problem = Problem::at(origin.clone(), "missing-input", error.to_string());
        problems.add(problem.maybe_help(error.advice));
    }
    Some(canonical)
}

fn product(foreach: &[(String, Vec<Node>)]) -> Vec<Vec<(&str, &Node)>> {
    foreach.iter().fold(vec![Vec::new()], |choices, (key, values)| {
        let extend = |choice: &Vec<_>, value| choice.iter().copied().chain([(key.as_str(), value)]).collect();
        choices.iter().flat_map(|choice| values.iter().map(move |value| extend(choice, value))).collect()
    })
}

fn selector_text(node: &Node) -> String {
    node.as_text().map_or_else(|| canonical_text(&node.to_json()), str::to_string)
}

/// The text of an instance's name.
pub(super) fn label(stage: &str, selector: &Selector) -> String {
    if selector.is_empty() {
        return stage.to_string();
    }
    let values: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{stage}[{}]", values.join(","))
}
