//! `[sweep]`: overrides to try in every combination. What it says is checked; nothing here runs it.

use super::layers::{apply, put_in_variables};
use super::node::{Content, Node, Origin};
use super::problem::{Problem, Problems};
use super::stage_table::read_stages;
use crate::registry::Registry;

/// Of longer lists of values so many are checked.
const VALUES: usize = 256;
/// So many further combinations are checked.
const COMBINATIONS: usize = 64;

/// A key with the values that it takes in turn.
struct Swept<'a> {
    key: &'a str,
    origin: &'a Origin,
    values: &'a [Node],
}

/// The keys of a tree whose variables are not put in yet. Their values together must be overrides that the manifest takes:
/// each value is tried once with some of the other keys' values, since one alone may need another.
pub(super) fn check(tree: &Node, registry: &Registry, problems: &mut Problems) -> Vec<(String, Origin)> {
    let mut swept = Vec::new();
    for (key, node) in tree.get("sweep").map_or(&[][..], Node::entries) {
        match &node.content {
            Content::Array(values) if !values.is_empty() => {
                swept.push(Swept { key: &key.name, origin: &key.origin, values });
            }
            _ => {
                let message = format!("`{}` in [sweep] must have a list of values", key.name);
                let problem = Problem::at(key.origin.clone(), "sweep-list", message);
                problems.add(problem.help(format!("write {} = [VALUE, …]", key.name)));
            }
        }
    }
    let wrong = combinations(&swept).into_iter().find_map(|chosen| wrong(tree, &swept, &chosen, registry));
    wrong.into_iter().flatten().for_each(|problem| problems.add(problem));
    swept.into_iter().map(|one| (one.key.to_string(), one.origin.clone())).collect()
}

/// The values to try together, by position: first so that each value is there once, then one after the other.
fn combinations(swept: &[Swept<'_>]) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = swept.iter().map(|one| one.values.len()).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0).min(VALUES);
    let each = (0..longest).map(|turn| lengths.iter().map(|length| turn % length).collect());
    let all = lengths.iter().fold(1_usize, |all, length| all.saturating_mul(*length));
    let further = (0..all.min(COMBINATIONS)).map(|number| {
        let mut rest = number;
        let mut digit = |length: &usize| {
            let digit = rest % length;
            rest /= length;
            digit
        };
        lengths.iter().map(&mut digit).collect()
    });
    if swept.is_empty() { Vec::new() } else { each.chain(further).collect() }
}

/// What is wrong with a combination of values.
fn wrong(tree: &Node, swept: &[Swept<'_>], chosen: &[usize], registry: &Registry) -> Option<Vec<Problem>> {
    let mut tree = tree.clone();
    let mut found = Problems::default();
    let mut told = Vec::new();
    for (one, position) in swept.iter().zip(chosen) {
        let value = one.values.get(*position)?;
        told.push(format!("{}={}", one.key, value.to_json()));
        apply(&mut tree, one.key, value.clone(), one.origin, &mut found);
    }
    put_in_variables(&mut tree, &mut found);
    read_stages(&tree, registry, &mut found);
    let error = found.or(()).err()?;
    let of_sweep = |problem: Problem| {
        let origin = swept.iter().map(|one| one.origin.clone()).next().unwrap_or(Origin::Default);
        let message = format!("[sweep] {}: {}", told.join(", "), problem.message);
        Problem { help: problem.help, ..Problem::at(origin, problem.code, message) }
    };
    Some(error.problems.into_iter().map(of_sweep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_tried_and_then_combinations() {
        let values: Vec<Node> = (0..3).map(|_| Node::new(Content::Boolean(true), Origin::Default)).collect();
        let swept = |length| Swept { key: "k", origin: &Origin::Default, values: &values[..length] };
        let found = combinations(&[swept(2), swept(3)]);
        assert_eq!(found[..3], [vec![0, 0], vec![1, 1], vec![0, 2]]);
        assert_eq!(found[3..], [vec![0, 0], vec![1, 0], vec![0, 1], vec![1, 1], vec![0, 2], vec![1, 2]]);
        assert!(combinations(&[]).is_empty());
    }
}
