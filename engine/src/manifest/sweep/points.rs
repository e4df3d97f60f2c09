//! The points of a sweep: every combination of its axes, each once, named by the digest of its values.

use std::collections::{BTreeMap, HashSet};

use pipe_cache::Hasher;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::layers::{apply, put_in_variables};
use super::super::node::{Node, Origin};
use super::super::problem::{Problem, Problems};
use super::super::stage_table::read_stages;
use super::canonical;
use super::space::{Assigned, Assignment, MOST, Space};
use crate::registry::Registry;

/// Of longer axes so many values are checked.
const VALUES: usize = 256;
/// So many further combinations are checked.
const COMBINATIONS: usize = 64;
/// So many digits name a point.
pub(super) const DIGITS: usize = 10;

/// A point of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its name, which follows from its values alone.
    pub name: String,
    /// The values that keys are given.
    pub values: BTreeMap<String, Value>,
    /// What each stage of the manifest is called in the pipeline of all points.
    pub stages: BTreeMap<String, String>,
}

/// All points in the order of their axes, the last axis running fastest; the same values once.
///
/// # Errors
/// More points than can be.
pub(in super::super) fn points(space: &Space) -> Result<Vec<Assignment>, Problem> {
    let lengths: Vec<usize> = space.axes.iter().map(Vec::len).collect();
    let all = lengths.iter().try_fold(1_usize, |all, length| all.checked_mul(*length));
    let Some(all) = all.filter(|all| *all <= MOST) else {
        let origin = space.keys().into_iter().map(|(_, origin)| origin).next().unwrap_or(Origin::Default);
        let message = format!("[sweep] has more than {MOST} points");
        return Err(Problem::at(origin, "sweep-size", message).help("take `sample` in place of whole ranges"));
    };
    let mut seen = HashSet::new();
    let mut points = Vec::new();
    for number in 0..all {
        let mut chosen = digits(number, lengths.iter().rev());
        chosen.reverse();
        points.extend(space.point(&chosen).filter(|point| seen.insert(name(point))));
    }
    Ok(points)
}

/// The values of a point by key; the last counts where a key is given several.
pub(super) fn values(point: &[Assigned]) -> BTreeMap<String, Value> {
    point.iter().map(|assigned| (assigned.key.clone(), canonical(&assigned.value))).collect()
}

/// The name of a point.
pub(super) fn name(point: &[Assigned]) -> String {
    let mut hasher = Hasher::new("pipe sweep point, version 1");
    for (key, value) in values(point) {
        hasher.field(key);
        hasher.field(value.to_string());
    }
    hasher.finish().to_string()[..DIGITS].to_string()
}

/// The values to try together, by position: first so that each value is there once, then one after the other.
pub(super) fn combinations(lengths: &[usize]) -> Vec<Vec<usize>> {
    let longest = lengths.iter().copied().max().unwrap_or(0).min(VALUES);
    let each = (0..longest).map(|turn| lengths.iter().map(|length| turn % length).collect());
    let all = lengths.iter().fold(1_usize, |all, length| all.saturating_mul(*length));
    let further = (0..all.min(COMBINATIONS)).map(|number| digits(number, lengths.iter()));
    if lengths.is_empty() { Vec::new() } else { each.chain(further).collect() }
}

/// A position on each axis for a number, the first axis running fastest.
fn digits<'a>(number: usize, lengths: impl Iterator<Item = &'a usize>) -> Vec<usize> {
    let mut rest = number;
    let digit = |length: &usize| {
        let digit = rest % length;
        rest /= length;
        digit
    };
    lengths.map(digit).collect()
}

/// A manifest's tree with a point's values in it, and variables put in.
pub(super) fn applied(tree: &Node, point: &[Assigned], problems: &mut Problems) -> Node {
    let mut tree = tree.clone();
    for assigned in point {
        apply(&mut tree, &assigned.key, assigned.value.clone(), &assigned.origin, problems);
    }
    put_in_variables(&mut tree, problems);
    tree
}

/// What is wrong with a point.
pub(super) fn wrong(tree: &Node, point: &[Assigned], registry: &Registry) -> Option<Vec<Problem>> {
    let mut found = Problems::default();
    let tree = applied(tree, point, &mut found);
    read_stages(&tree, registry, &mut found);
    let error = found.or(()).err()?;
    Some(error.problems.into_iter().map(|problem| of_point(point, problem)).collect())
}

/// A problem of a point, told with its values.
pub(super) fn of_point(point: &[Assigned], problem: Problem) -> Problem {
    let told: Vec<String> =
        point.iter().map(|assigned| format!("{}={}", assigned.key, assigned.value.to_json())).collect();
    let origin = point.first().map_or(Origin::Default, |assigned| assigned.origin.clone());
    let message = format!("[sweep] {}: {}", told.join(", "), problem.message);
    Problem { help: problem.help, ..Problem::at(origin, problem.code, message) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path::Path;

    use super::super::super::node::parse_file;
    use super::*;

    fn space(text: &str) -> (Space, Vec<String>) {
        let mut problems = Problems::default();
        let tree = parse_file(Path::new("p.toml"), format!("[sweep]\n{text}\n"), &mut problems);
        let space = Space::read(tree.get("sweep"), &mut problems);
        let told = problems.or(()).err().map(|error| error.problems).unwrap_or_default();
        (space, told.into_iter().map(|problem| problem.message).collect())
    }

    /// The points as texts.
    fn told(text: &str) -> Vec<String> {
        let (space, problems) = space(text);
        assert!(problems.is_empty(), "{problems:?}");
        let told = |point: Assignment| {
            let values = values(&point).into_iter().map(|(key, value)| format!("{key}={value}"));
            values.collect::<Vec<_>>().join(" ")
        };
        points(&space).unwrap().into_iter().map(told).collect()
    }

    #[test]
    fn each_value_is_tried_and_then_combinations() {
        let found = combinations(&[2, 3]);
        assert_eq!(found[..3], [vec![0, 0], vec![1, 1], vec![0, 2]]);
        assert_eq!(found[3..], [vec![0, 0], vec![1, 0], vec![0, 1], vec![1, 1], vec![0, 2], vec![1, 2]]);
        assert!(combinations(&[]).is_empty());
    }

    #[test]
    fn grids_lists_and_groups_are_combined() {
        assert_eq!(
            told("a = [1, 2]\nb = [true, false]"),
            ["a=1 b=true", "a=1 b=false", "a=2 b=true", "a=2 b=false"]
        );
        assert_eq!(told("points = [{ a = 1 }, { a = 2, b = 3 }]"), ["a=1", "a=2 b=3"]);
        assert_eq!(told("zip = [{ a = [1, 2], b = [3, 4] }]\nc = [5]"), ["a=1 b=3 c=5", "a=2 b=4 c=5"]);
        assert_eq!(told(""), [""]);
    }

    #[test]
    fn what_is_the_same_is_there_once() {
        assert_eq!(told("a = [1e-3, 0.001, 1.0e-3]"), ["a=0.001"]);
        assert_eq!(told("a = [1, 1.0]"), ["a=1"]);
        assert_eq!(told("points = [{ a = 1, b = 2 }, { b = 2, a = 1 }]"), ["a=1 b=2"]);
    }

    #[test]
    fn conditions_leave_points_and_keys_out() {
        assert_eq!(
            told("a = [1, 2]\nb = [3, 4]\nskip = [{ a = 1, b = [4, 5] }]"),
            ["a=1 b=3", "a=2 b=3", "a=2 b=4"]
        );
        assert_eq!(
            told("tuning = [\"full\", \"lora\"]\nr = [2, 4]\nwhen = { r = { tuning = \"lora\" } }"),
            ["tuning=\"full\"", "r=2 tuning=\"lora\"", "r=4 tuning=\"lora\""]
        );
    }

    #[test]
    fn samples_go_on_where_fewer_ended_and_names_do_not_disturb_each_other() {
        let sample = |count: usize, more: &str| {
            told(&format!(
                "sample = {{ count = {count}, seed = 3, over = {{ lr = {{ log = [1e-5, 1e-3] }}{more} }} }}"
            ))
        };
        let (few, many) = (sample(20, ""), sample(50, ""));
        assert_eq!((few.len(), many.len()), (20, 50));
        assert_eq!(few[..], many[..20]);
        let with_more = sample(20, ", a = { choice = [\"x\", \"y\"] }, n = { integer = [1, 8] }");
        for (one, other) in few.iter().zip(&with_more) {
            assert!(other.contains(one.as_str()), "{one}: {other}");
        }
    }

    #[test]
    fn a_name_follows_from_the_values_alone() {
        let named = |text: &str| {
            let (space, _) = space(text);
            points(&space).unwrap().iter().map(|point| name(point)).collect::<Vec<_>>()
        };
        let all = named("a = [1, 2]\nb = [3, 4]");
        assert_eq!(named("points = [{ b = 3.0, a = 2 }]"), [all[2].clone()]);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, problem) in [
            ("a = 1", "`a` in [sweep] must have a list of values"),
            ("zip = [{ a = [1, 2], b = [3] }]", "must be equally long"),
            ("zip = 3", "must be a list of tables"),
            ("sample = { count = 0, over = { a = { log = [1, 2] } } }", "says how many points"),
            ("sample = { count = 2, over = { a = { log = [0, 2] } } }", "positive numbers"),
            ("sample = { count = 2, over = { a = { even = [0, 2] } } }", "no such range"),
        ] {
            let (_, problems) = space(text);
            assert!(problems.iter().any(|told| told.contains(problem)), "{text}: {problems:?}");
        }
        let many = (0..8).map(|key| format!("k{key} = [1,2,3,4,5,6,7,8,9]\n")).collect::<String>();
        assert!(points(&space(&many).0).unwrap_err().message.contains("more than 100000 points"));
    }
}
