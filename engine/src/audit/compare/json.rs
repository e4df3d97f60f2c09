//! JSON: values by their place.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Numbers, Within};

/// How two documents differ; `None` where one is none, or all values are the same.
pub(super) fn compare(before: &[u8], after: &[u8]) -> Option<Within> {
    let [before, after]: [Value; 2] =
        [serde_json::from_slice(before).ok()?, serde_json::from_slice(after).ok()?];
    let mut numbers = Numbers::default();
    let other = walk("", Some(&before), Some(&after), &mut numbers);
    other.map(Within::other).or_else(|| numbers.into_difference())
}

/// Adds numbers that differ; gives the first place where something else does.
fn walk(place: &str, before: Option<&Value>, after: Option<&Value>, numbers: &mut Numbers) -> Option<String> {
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let below =
                |name: &String| if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            names.into_iter().find_map(|name| walk(&below(name), one.get(name), other.get(name), numbers))
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => (0..one.len().max(other.len()))
            .find_map(|at| walk(&format!("{place}[{at}]"), one.get(at), other.get(at), numbers)),
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            let [one, other] = [one, other].map(|number| number.as_f64().unwrap_or(f64::NAN));
            numbers.add(|| place.to_string(), one, other);
            None
        }
        (one, other) if one == other => None,
        (one, other) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_string(), Value::to_string);
            Some(format!("{place}: {} then, {} now", text(one), text(other)))
        }
    }
}
