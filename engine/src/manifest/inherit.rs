//! A manifest over the one that it extends: tables are merged key by key; stages can be taken away or replaced.
//!
//! A stage that is given another kind than the inherited one is another stage: nothing of the inherited one is kept, since its
//! inputs and parameters are those of its kind.

use super::node::{Content, Node, Origin};
use super::problem::{Problem, Problems, did_you_mean};

/// Lays a manifest over the one that it extends.
pub(super) fn extend(base: &mut Node, mut over: Node, problems: &mut Problems) {
    let mut taken_away = Vec::new();
    if let Some(stages) = entry_mut(&mut over, "stage") {
        for (key, stage) in stages.entries_mut() {
            let inherited = base.get("stage").is_some_and(|stages| stages.get(&key.name).is_some());
            let removed = take(stage, "remove");
            if let Some(removed) = removed {
                if matches!(removed.content, Content::Boolean(true)) {
                    taken_away.push(key.name.clone());
                }
                match inherited {
                    true => remove(base, (&key.name, stage), &removed, problems),
                    false => problems.add(nothing_inherited(base, &key.name, &removed.origin)),
                }
            }
            if inherited && is_replaced(base, &key.name, stage) {
                remove_stage(base, &key.name);
            }
        }
        stages.entries_mut().retain(|(key, _)| !taken_away.contains(&key.name));
    }
    base.merge(over);
}

/// Refuses what takes something away in a manifest that extends none.
pub(super) fn refuse_removals(tree: &Node, problems: &mut Problems) {
    for (_, stage) in tree.get("stage").map_or(&[][..], Node::entries) {
        if let Some(node) = stage.get("remove") {
            let message = "`remove` takes away what is inherited, but this manifest has no `extends`";
            let problem = Problem::at(node.origin.clone(), "remove", message.to_string());
            problems.add(problem.help("leave out what the stage does not need"));
        }
    }
}

/// Whether a stage has another kind than the inherited one of its name.
fn is_replaced(base: &Node, name: &str, stage: &Node) -> bool {
    let inherited = base.get("stage").and_then(|stages| stages.get(name));
    let kind =
        |stage: Option<&Node>| stage.and_then(|stage| stage.get("uses")?.as_text()).map(str::to_string);
    let before = kind(inherited).unwrap_or_else(|| name.to_string());
    kind(Some(stage)).is_some_and(|now| now != before)
}

fn remove(base: &mut Node, (name, stage): (&str, &Node), removed: &Node, problems: &mut Problems) {
    match &removed.content {
        Content::Boolean(true) => {
            if let Some((key, _)) = stage.entries().first() {
                let message = format!("stage `{name}` is taken away, and has the key `{}`", key.name);
                let help = "leave `remove` out where `uses` names another kind: nothing is inherited then";
                problems.add(Problem::at(removed.origin.clone(), "remove", message).help(help));
            }
            remove_stage(base, name);
        }
        Content::Array(keys) => {
            for key in keys {
                let parts: Vec<&str> = key.as_text().unwrap_or_default().split('.').collect();
                let Some(stage) = entry_mut(base, "stage").and_then(|stages| entry_mut(stages, name)) else {
                    return;
                };
                if let Err(known) = remove_key(stage, &parts) {
                    let message = format!("the inherited stage `{name}` has no `{}`", parts.join("."));
                    let last = parts.last().copied().unwrap_or_default();
                    let help = did_you_mean(last, known.iter().map(String::as_str))
                        .unwrap_or_else(|| format!("it has {}", known.join(", ")));
                    problems.add(Problem::at(key.origin.clone(), "remove", message).help(help));
                }
            }
        }
        Content::Boolean(false) => {}
        _ => {
            let message = format!(
                "`stage.{name}.remove` must be true or a list of keys, but is {}",
                removed.type_name()
            );
            let help = "such as remove = [\"inputs.reports\", \"params.size_mm\"]";
            problems.add(Problem::at(removed.origin.clone(), "wrong-type", message).help(help));
        }
    }
}

/// Removes the value under a path of keys, or gives the keys that there are where the path ends.
fn remove_key(node: &mut Node, path: &[&str]) -> Result<(), Vec<String>> {
    let known = |node: &Node| node.entries().iter().map(|(key, _)| key.name.clone()).collect();
    match path {
        [] => Err(known(node)),
        [last] => take(node, last).map(|_| ()).ok_or_else(|| known(node)),
        [first, rest @ ..] => match entry_mut(node, first) {
            Some(inner) => remove_key(inner, rest),
            None => Err(known(node)),
        },
    }
}

fn remove_stage(base: &mut Node, name: &str) {
    if let Some(stages) = entry_mut(base, "stage") {
        take(stages, name);
    }
}

fn nothing_inherited(base: &Node, name: &str, origin: &Origin) -> Problem {
    let known: Vec<&str> =
        base.get("stage").map_or(&[][..], Node::entries).iter().map(|(key, _)| key.name.as_str()).collect();
    let help =
        did_you_mean(name, known.iter().copied()).unwrap_or_else(|| format!("it has {}", known.join(", ")));
    let message = format!("the manifest that this one extends has no stage `{name}`");
    Problem::at(origin.clone(), "remove", message).help(help)
}

fn take(node: &mut Node, name: &str) -> Option<Node> {
    let entries = match &mut node.content {
        Content::Table(entries) => entries,
        _ => return None,
    };
    let position = entries.iter().position(|(key, _)| key.name == name)?;
    Some(entries.remove(position).1)
}

fn entry_mut<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    match &mut node.content {
        Content::Table(entries) => entries.iter_mut().find(|(key, _)| key.name == name).map(|(_, node)| node),
        _ => None,
    }
}
