//! What `[sweep]` says: the values that keys take, which of them go together, and what is left out.

use super::super::node::{Content, Node, Origin};
use super::super::problem::{Problem, Problems};
use super::sample::{Distribution, Drawn};

/// So many points at most.
pub(super) const MOST: usize = 100_000;

/// Values of some keys that are given together.
pub(in super::super) type Assignment = Vec<Assigned>;

/// Keys with values, one of which each of them must have.
type Conditions = Vec<(String, Vec<Node>)>;

/// A key and a value that it is given.
#[derive(Clone, Debug)]
pub(in super::super) struct Assigned {
    pub(super) key: String,
    pub(super) value: Node,
    pub(super) origin: Origin,
}

/// What a sweep goes over: each axis is combined with each other.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) axes: Vec<Vec<Assignment>>,
    /// Points that have one of the values of each of these keys are left out.
    skipped: Vec<Conditions>,
    /// A key is part of those points only in which others have one of these values.
    conditions: Vec<(String, Conditions)>,
}

impl Space {
    /// Reads the table. What is wrong with it is added to the problems.
    pub(super) fn read(table: Option<&Node>, problems: &mut Problems) -> Self {
        let mut space = Self::default();
        for (key, node) in table.map_or(&[][..], Node::entries) {
            match key.name.as_str() {
                "points" => space.axes.extend(listed(node, problems)),
                "zip" => space.zipped(node, problems),
                "sample" => space.axes.extend(sampled(node, problems)),
                "skip" => space.skipped = tables(node, "skip", problems).iter().map(conditions).collect(),
                "when" => {
                    let entries = node.entries().iter();
                    space.conditions =
                        entries.map(|(key, node)| (key.name.clone(), conditions(node))).collect();
                }
                name => match values(name, node, &key.origin, problems) {
                    Some(values) => space.axes.push(one_key(name, &key.origin, values)),
                    None => continue,
                },
            }
        }
        space
    }

    /// Gives a key these values, in place of what it had.
    pub(super) fn replace(&mut self, key: &str, origin: &Origin, values: &[Node]) {
        for axis in &mut self.axes {
            axis.iter_mut().for_each(|assignment| assignment.retain(|assigned| assigned.key != key));
        }
        self.axes.retain(|axis| axis.iter().any(|assignment| !assignment.is_empty()));
        self.axes.push(one_key(key, origin, values));
    }

    /// All keys, each once, with where the first of its values is written.
    pub(super) fn keys(&self) -> Vec<(String, Origin)> {
        let mut keys: Vec<(String, Origin)> = Vec::new();
        for assigned in self.axes.iter().flatten().flatten() {
            if !keys.iter().any(|(known, _)| *known == assigned.key) {
                keys.push((assigned.key.clone(), assigned.origin.clone()));
            }
        }
        keys
    }

    /// The values at these positions of the axes, without those that have no part in the point; `None` for a point that is left
    /// out.
    pub(super) fn point(&self, chosen: &[usize]) -> Option<Assignment> {
        let mut point: Assignment = Vec::new();
        for (axis, position) in self.axes.iter().zip(chosen) {
            point.extend(axis.get(*position)?.iter().cloned());
        }
        for (key, conditions) in &self.conditions {
            if !holds(&point, conditions) {
                point.retain(|assigned| assigned.key != *key);
            }
        }
        (!self.skipped.iter().any(|conditions| holds(&point, conditions))).then_some(point)
    }

    fn zipped(&mut self, node: &Node, problems: &mut Problems) {
        for group in tables(node, "zip", problems) {
            let mut columns = Vec::new();
            for (key, node) in group.entries() {
                let Some(values) = values(&key.name, node, &key.origin, problems) else { continue };
                columns.push(one_key(&key.name, &key.origin, values));
            }
            let Some(length) = columns.first().map(Vec::len) else { continue };
            if columns.iter().any(|column| column.len() != length) {
                let message = "the lists of a group in `zip` must be equally long";
                problems.add(Problem::at(group.origin.clone(), "sweep-zip", message));
                continue;
            }
            self.axes.push(
                (0..length)
                    .map(|row| columns.iter().flat_map(|column| column[row].clone()).collect())
                    .collect(),
            );
        }
    }
}

/// Whether a point has one of the values of each key.
fn holds(point: &[Assigned], conditions: &Conditions) -> bool {
    conditions.iter().all(|(key, values)| {
        let given = point.iter().find(|assigned| assigned.key == *key);
        given.is_some_and(|given| {
            let given = super::canonical(&given.value);
            values.iter().any(|value| super::canonical(value) == given)
        })
    })
}

fn one_key(key: &str, origin: &Origin, values: &[Node]) -> Vec<Assignment> {
    let assigned =
        |value: &Node| Assigned { key: key.to_string(), value: value.clone(), origin: origin.clone() };
    values.iter().map(|value| vec![assigned(value)]).collect()
}

/// A list of values.
fn values<'a>(key: &str, node: &'a Node, origin: &Origin, problems: &mut Problems) -> Option<&'a [Node]> {
    match &node.content {
        Content::Array(values) if !values.is_empty() => Some(values),
        _ => {
            let message = format!("`{key}` in [sweep] must have a list of values");
            let problem = Problem::at(origin.clone(), "sweep-list", message);
            problems.add(problem.help(format!("write {key} = [VALUE, …]")));
            None
        }
    }
}

/// A list of tables.
fn tables(node: &Node, name: &str, problems: &mut Problems) -> Vec<Node> {
    match &node.content {
        Content::Array(nodes) if nodes.iter().all(|node| matches!(node.content, Content::Table(_))) => {
            nodes.clone()
        }
        _ => {
            let message = format!("`{name}` in [sweep] must be a list of tables");
            let problem = Problem::at(node.origin.clone(), "sweep-list", message);
            problems.add(problem.help(format!("write {name} = [{{ \"STAGE.PARAM\" = … }}]")));
            Vec::new()
        }
    }
}

fn listed(node: &Node, problems: &mut Problems) -> Option<Vec<Assignment>> {
    let points = tables(node, "points", problems);
    let point = |point: &Node| {
        let entries = point.entries().iter();
        let assigned = entries.map(|(key, value)| Assigned {
            key: key.name.clone(),
            value: value.clone(),
            origin: key.origin.clone(),
        });
        assigned.collect()
    };
    (!points.is_empty()).then(|| points.iter().map(point).collect())
}

/// A value or a list of values for each key.
fn conditions(table: &Node) -> Conditions {
    let values = |node: &Node| match &node.content {
        Content::Array(values) => values.clone(),
        _ => vec![node.clone()],
    };
    table.entries().iter().map(|(key, node)| (key.name.clone(), values(node))).collect()
}

/// `sample = { count = 20, seed = 1, over = { KEY = { log = [1e-5, 1e-3] } } }`.
fn sampled(node: &Node, problems: &mut Problems) -> Option<Vec<Assignment>> {
    let number = |name: &str| match node.get(name).map(|node| &node.content) {
        Some(Content::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let over = node.get("over").map_or(&[][..], Node::entries);
    let known = ["count", "seed", "over"];
    let unknown = node.entries().iter().find(|(key, _)| !known.contains(&key.name.as_str()));
    let count = number("count").filter(|count| (1..=MOST as u64).contains(count));
    let (Some(count), None, false) = (count, unknown, over.is_empty()) else {
        let message = "`sample` in [sweep] says how many points, and what over";
        let help =
            "write sample = { count = 20, seed = 1, over = { \"train.lr\" = { log = [1e-5, 1e-3] } } }";
        problems.add(Problem::at(node.origin.clone(), "sweep-sample", message).help(help));
        return None;
    };
    let seed = number("seed").unwrap_or(42);
    let mut ranges = Vec::new();
    for (key, node) in over {
        match distribution(node) {
            Ok((distribution, values)) => ranges.push((key, distribution, values)),
            Err(problem) => {
                let message = format!("`{}` in `sample`: {problem}", key.name);
                let help = "one of { uniform = [0, 0.5] }, { log = [1e-5, 1e-3] }, { integer = [1, 8] }, { choice = [\"a\", \"b\"] }";
                problems.add(Problem::at(key.origin.clone(), "sweep-sample", message).help(help));
            }
        }
    }
    let point = |index: u32| {
        let assigned = |(key, distribution, values): &(&super::super::node::Key, Distribution, Vec<Node>)| {
            let content = match distribution.draw(seed, &key.name, index) {
                Drawn::Number(number) => Content::Float(number),
                Drawn::Integer(number) => Content::Integer(number),
                Drawn::Position(position) => values[position].content.clone(),
            };
            let value = Node::new(content, key.origin.clone());
            Assigned { key: key.name.clone(), value, origin: key.origin.clone() }
        };
        ranges.iter().map(assigned).collect()
    };
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (!ranges.is_empty()).then(|| (0..count).map(point).collect())
}

fn distribution(node: &Node) -> Result<(Distribution, Vec<Node>), &'static str> {
    let [(key, list)] = node.entries() else { return Err("it must say one range") };
    let Content::Array(values) = &list.content else { return Err("a range is a list") };
    let number = |node: &Node| match node.content {
        Content::Integer(number) => Some(number as f64),
        Content::Float(number) if number.is_finite() => Some(number),
        _ => None,
    };
    let numbers = || match &**values {
        [low, high] => match (number(low), number(high)) {
            (Some(low), Some(high)) if low < high => Ok((low, high)),
            _ => Err("a range goes from a number to a larger one"),
        },
        _ => Err("a range has two numbers"),
    };
    let distribution = match key.name.as_str() {
        "uniform" => numbers().map(|(low, high)| Distribution::Uniform(low, high))?,
        "log" => match numbers()? {
            (low, high) if low > 0.0 => Distribution::Log(low, high),
            _ => return Err("a range in `log` has positive numbers"),
        },
        "integer" => match &**values {
            [Node { content: Content::Integer(first), .. }, Node { content: Content::Integer(last), .. }]
                if first <= last =>
            {
                Distribution::Integer(*first, *last)
            }
            _ => return Err("a range in `integer` goes from a whole number to a larger one"),
        },
        "choice" if !values.is_empty() => Distribution::Choice(values.len()),
        _ => return Err("there is no such range"),
    };
    Ok((distribution, values.clone()))
}
