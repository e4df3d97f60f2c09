//! `[sweep]`: overrides to try in combination. From the table to points, each named by its values; from points to one pipeline in which
//! what several points share is there once.
//!
//! Nothing here knows what has been computed: a sweep is the same whenever it is looked at.

mod points;
mod sample;
mod space;
mod union;

use serde_json::{Number, Value};

use self::points::{combinations, wrong};
use self::space::{Assignment, Space};
use super::layers::Overrides;
use super::node::{Content, Node, Origin, parse_value};
use super::problem::Problems;
use crate::registry::Registry;

pub use self::points::Point;
pub(super) use self::union::union;

/// Checks what a tree says whose variables are not put in yet. Values together must be overrides that the manifest takes:
/// each value is tried once with some of the other keys' values, since one alone may need another.
pub(super) fn check(tree: &Node, registry: &Registry, problems: &mut Problems) {
    let space = Space::read(tree.get("sweep"), problems);
    let lengths: Vec<usize> = space.axes.iter().map(Vec::len).collect();
    let tried = combinations(&lengths).into_iter().filter_map(|chosen| space.point(&chosen));
    let wrong = tried.into_iter().find_map(|point| wrong(tree, &point, registry));
    wrong.into_iter().flatten().for_each(|problem| problems.add(problem));
}

/// The points of a table and of values that were given on the command line.
pub(super) fn points(table: Option<&Node>, given: &[Given], problems: &mut Problems) -> Vec<Assignment> {
    let mut space = Space::read(table, problems);
    let swept: Vec<String> = space.keys().into_iter().map(|(key, _)| key).collect();
    for Given { key, origin, values } in given {
        // One value is an override like any other, unless it takes the place of the sweep's.
        if values.len() > 1 || swept.contains(key) {
            space.replace(key, origin, values);
        }
    }
    points::points(&space).unwrap_or_else(|problem| {
        problems.add(problem);
        Vec::new()
    })
}

/// A key with the values that it was given on the command line.
pub(super) struct Given {
    key: String,
    origin: Origin,
    values: Vec<Node>,
}

/// Overrides without those that give several values, and what all of them give. A list, or values with commas between, is several.
pub(super) fn split_overrides(overrides: &Overrides) -> (Overrides, Vec<Given>) {
    let (mut plain, mut given) = (Overrides { set: Vec::new(), ..overrides.clone() }, Vec::new());
    for text in &overrides.set {
        let origin = Origin::CommandLine(text.clone());
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let values = several(value.trim(), &origin);
        if values.len() < 2 {
            plain.set.push(text.clone());
        }
        if !values.is_empty() {
            given.push(Given { key: key.trim().to_string(), values, origin });
        }
    }
    (plain, given)
}

fn several(text: &str, origin: &Origin) -> Vec<Node> {
    let whole = parse_value(text, origin);
    if let Content::Array(values) = whole.content {
        return values;
    }
    match parse_value(&format!("[{text}]"), origin).content {
        Content::Array(values) if values.len() > 1 => values,
        _ if text.contains(',') && !text.starts_with(['"', '\'', '{']) => {
            text.split(',').map(|part| parse_value(part.trim(), origin)).collect()
        }
        _ => vec![whole],
    }
}

/// A value as it names a point: 1e-3, 0.001 and 1.0e-3 are one, and so are 1 and 1.0.
fn canonical(node: &Node) -> Value {
    canonical_value(node.to_json())
}

fn canonical_value(value: Value) -> Value {
    /// Up to here a number's fraction is known.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
                Value::Number(Number::from(float as i64))
            }
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(canonical_value).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, canonical_value(value))).collect()
        }
        other => other,
    }
}
