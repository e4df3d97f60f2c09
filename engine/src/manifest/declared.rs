//! Kinds whose stages declare inputs and outputs of their own: what a stage says of itself stands beside its parameters, and is
//! one of them.

use std::collections::BTreeSet;

use super::document::DECLARED;
use super::node::{Content, Node, Origin};
use super::problem::{Problem, Problems};
use crate::stage::{Declaration, Kind};

/// A stage's parameters, with what it declares beside them. Both places mean the same: overrides go to parameters, and count.
pub(super) fn params(stage: &str, node: &Node, kind: Kind, problems: &mut Problems) -> Node {
    let mut params = node.get("params").cloned().unwrap_or_else(|| Node::empty_table(node.origin.clone()));
    for (key, value) in node.entries().iter().filter(|(key, _)| DECLARED.contains(&key.name.as_str())) {
        if !kind.is_declared() {
            let message = format!("stage `{stage}`: kind {} takes no `{}`", kind.about().name, key.name);
            let help = "only stages that run a program declare it: `pipe stages command`";
            problems.add(Problem::at(key.origin.clone(), "unknown-key", message).help(help));
            continue;
        }
        let mut stated = value.clone();
        match params.get(&key.name) {
            Some(given) if matches!(given.origin, Origin::Manifest(_)) => {
                let message = format!("`{}` is given both for the stage and as a parameter", key.name);
                problems.add(Problem::at(given.origin.clone(), "given-twice", message));
            }
            Some(overriding) => stated.merge(overriding.clone()),
            None => {}
        }
        params.entries_mut().retain(|(known, _)| known.name != key.name);
        params.entries_mut().push((key.clone(), stated));
    }
    params
}

/// The kind of a stage: what it declares, for a kind that lets it; `None` if the declaration is wrong, which is told.
pub(super) fn kind(
    stage: &str,
    node: &Node,
    params: &Node,
    kind: Kind,
    problems: &mut Problems,
) -> Option<Kind> {
    if !kind.is_declared() {
        return Some(kind);
    }
    let inputs = node.get("inputs").map_or(&[][..], Node::entries);
    let names: BTreeSet<&str> = inputs.iter().map(|(key, _)| key.name.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(str::to_string).collect();
    let mut first = params.clone();
    let foreach: Vec<(&str, &[Node])> = node
        .get("foreach")
        .map_or(&[][..], Node::entries)
        .iter()
        .filter_map(|(key, values)| match &values.content {
            Content::Array(values) => Some((key.name.as_str(), values.as_slice())),
            _ => None,
        })
        .collect();
    for (name, values) in &foreach {
        values.first().into_iter().for_each(|value| first.set(&[name], value.clone()));
    }
    let declared = |params: &Node| kind.of(&Declaration { params: &params.to_json(), inputs: &names });
    let problem = |misdeclared: crate::stage::Misdeclared| {
        let of_input = inputs.iter().find(|(key, _)| key.name == misdeclared.name);
        let of_param = params.get(&misdeclared.name).map(|node| &node.origin);
        let place = of_param.or(of_input.map(|(key, _)| &key.origin)).unwrap_or(&node.origin);
        let message = format!("stage `{stage}`: {}", misdeclared.problem);
        Problem::at(place.clone(), "declaration", message).maybe_help(misdeclared.advice)
    };
    match declared(&first) {
        Ok(kind) => {
            for (name, values) in &foreach {
                for value in values.iter().skip(1) {
                    let mut other = first.clone();
                    other.set(&[name], value.clone());
                    if !declared(&other).is_ok_and(|other| std::ptr::eq(other.about(), kind.about())) {
                        let message =
                            format!("stage `{stage}`: `foreach.{name}` changes what the stage declares");
                        let help = "make stages of their own of it; what a program is given may differ, not what it is";
                        problems.add(Problem::at(value.origin.clone(), "declaration", message).help(help));
                        break;
                    }
                }
            }
            Some(kind)
        }
        Err(found) => {
            found.into_iter().for_each(|misdeclared| problems.add(problem(misdeclared)));
            None
        }
    }
}
