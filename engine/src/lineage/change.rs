//! The difference of two preimages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pipe_cache::Digest;
use pipe_plugin::canonical_text;
use serde::Serialize;
use serde_json::Value;

use super::items::ItemChanges;
use super::preimage::{Content, Preimage, Used};

/// A value that decides a result and has changed. `None` stands for a value that is not there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "changed", rename_all = "kebab-case")]
pub enum Change {
    /// The stage has another kind.
    Kind {
        /// The kind before.
        before: String,
        /// The kind now.
        after: String,
    },
    /// The kind's code is another one.
    Code {
        /// The kind.
        kind: String,
        /// The code's fingerprint before.
        before: String,
        /// The code's fingerprint now.
        after: String,
    },
    /// A parameter, or a field of one.
    Parameter {
        /// Its name, dotted for a field.
        name: String,
        /// Its value before.
        before: Option<Value>,
        /// Its value now.
        after: Option<Value>,
    },
    /// The seed.
    Seed {
        /// The seed before.
        before: Option<u64>,
        /// The seed now.
        after: Option<u64>,
    },
    /// The sort of device.
    Device {
        /// The device before.
        before: Option<String>,
        /// The device now.
        after: Option<String>,
    },
    /// What is found on the machine: a program, the answer of a tool, a variable of the environment.
    Environment {
        /// What it is.
        name: String,
        /// What it was.
        before: Option<String>,
        /// What it is now.
        after: Option<String>,
    },
    /// What is used of an input.
    Input {
        /// The input's name, with the foreach values where it takes several artifacts.
        input: String,
        /// Which part of it.
        part: Part,
        /// What it was.
        before: Option<String>,
        /// What it is now.
        after: Option<String>,
    },
    /// The items.
    Items(ItemChanges),
}

/// A part of an input that counts by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All that is used of it.
    Whole,
    /// A column of a table.
    Column(String),
    /// The headers of a table and their order.
    Headers,
    /// What a column's cells lead to.
    RowFiles(String),
    /// The extension of a file's name.
    Extension,
}

impl Preimage {
    /// What has changed since an earlier preimage, but for the items, which their listings tell.
    pub fn changes_since(&self, before: &Preimage) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.code != before.code {
            let (kind, before, after) = (self.kind.clone(), before.code.clone(), self.code.clone());
            changes.push(Change::Code { kind, before, after });
        }
        if self.device != before.device {
            changes.push(Change::Device { before: before.device.clone(), after: self.device.clone() });
        }
        let environments = (before.environment.clone(), self.environment.clone());
        for (name, before, after) in differences(environments.0, environments.1) {
            changes.push(Change::Environment { name, before, after });
        }
        for ((input, part), before, after) in differences(by_part(&before.inputs), by_part(&self.inputs)) {
            changes.push(Change::Input { input, part, before, after });
        }
        if self.kind != before.kind {
            changes.push(Change::Kind { before: before.kind.clone(), after: self.kind.clone() });
        }
        changes.extend(self.parameter_changes(before));
        if self.seed != before.seed {
            changes.push(Change::Seed { before: before.seed, after: self.seed });
        }
        changes
    }

    /// The parameters that have changed since an earlier preimage.
    pub(crate) fn parameter_changes(&self, before: &Preimage) -> Vec<Change> {
        let texts = |preimage: &Preimage| -> BTreeMap<String, String> {
            preimage.params.iter().map(|(name, value)| (name.clone(), canonical_text(value))).collect()
        };
        // Values are one when their texts are: 1 and 1.0 decide the same result.
        let changed = differences(texts(before), texts(self)).into_iter().map(|(name, ..)| name);
        let changes = changed.map(|name| Change::Parameter {
            before: before.params.get(&name).cloned(),
            after: self.params.get(&name).cloned(),
            name,
        });
        changes.collect()
    }
}

/// What differs between two maps, in the order of the keys.
pub(crate) fn differences<K: Ord + Clone, V: PartialEq>(
    mut before: BTreeMap<K, V>,
    mut after: BTreeMap<K, V>,
) -> Vec<(K, Option<V>, Option<V>)> {
    let keys: BTreeSet<K> = before.keys().chain(after.keys()).cloned().collect();
    let sides = keys.into_iter().map(|key| {
        let (before, after) = (before.remove(&key), after.remove(&key));
        (key, before, after)
    });
    sides.filter(|(_, before, after)| before != after).collect()
}

/// The parts of inputs that count, as texts.
fn by_part(inputs: &[Used]) -> BTreeMap<(String, Part), String> {
    let mut parts = BTreeMap::new();
    for used in inputs {
        let name = used.name();
        let mut add = |part: Part, text: String| parts.insert((name.clone(), part), text);
        match &used.content {
            Content::Word(word) => drop(add(Part::Whole, format!("the word {word}"))),
            Content::File(digest) | Content::Files(digest) => drop(add(Part::Whole, digest.to_string())),
            Content::Headers(headers) => drop(add(Part::Headers, headers.clone())),
            Content::Extension(extension) => drop(add(Part::Extension, extension.clone())),
            Content::RowFiles(columns) => {
                for (column, digest) in columns {
                    add(Part::RowFiles(column.clone()), digest.to_string());
                }
            }
            Content::Columns(columns) => {
                let of_column = |(column, digest): (&String, &Digest)| {
                    add(Part::Column(column.clone()), digest.to_string());
                };
                columns.iter().for_each(of_column);
            }
        }
    }
    parts
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| value.as_ref().map(canonical_text);
        match self {
            Self::Kind { .. } => f.write_str("the stage has another kind"),
            Self::Code { kind, .. } => write!(f, "the code of kind {kind} changed"),
            Self::Parameter { name, before, after } => {
                if let (Some(Value::String(before)), Some(Value::String(after))) = (before, after)
                    && before.len().max(after.len()) > LONG
                {
                    return write!(f, "{name} {}", first_difference(before, after));
                }
                let (before, after) = (text(before), text(after));
                write!(f, "{name} {}", arrow(before.as_deref(), after.as_deref(), "(not set)"))
            }
            Self::Seed { before, after } => {
                let text = |seed: &Option<u64>| seed.map(|seed| seed.to_string());
                let (before, after) = (text(before), text(after));
                write!(f, "seed {}", arrow(before.as_deref(), after.as_deref(), "(none)"))
            }
            Self::Device { before, after } => {
                write!(f, "device {}", arrow(before.as_deref(), after.as_deref(), "(none)"))
            }
            Self::Environment { name, before, after } => {
                write!(f, "{name} {}", arrow(before.as_deref(), after.as_deref(), "(not set)"))
            }
            Self::Input { input, part, before, after } => {
                let became = match (before, after) {
                    (None, _) => "is new",
                    (_, None) => "is gone",
                    _ => "changed",
                };
                match part {
                    Part::Whole => write!(f, "input {input} {became}"),
                    Part::Column(column) => write!(f, "column {column} of input {input} {became}"),
                    Part::RowFiles(column) => {
                        write!(f, "what column {column} of input {input} leads to {became}")
                    }
                    Part::Extension => {
                        let (before, after) = (before.as_deref(), after.as_deref());
                        write!(f, "the extension of input {input} {}", arrow(before, after, "(none)"))
                    }
                    Part::Headers => write!(f, "the order of the columns of input {input} {became}"),
                }
            }
            Self::Items(changes) => changes.fmt(f),
        }
    }
}

/// Of texts with more characters than this only the first line that differs is told.
const LONG: usize = 100;

/// The first line in which two texts differ.
fn first_difference(before: &str, after: &str) -> String {
    let (mut old, mut new) = (before.lines(), after.lines());
    for line in 1.. {
        let (old, new) = (old.next(), new.next());
        if old.is_none() && new.is_none() {
            break;
        }
        if old != new {
            let cut = |text: Option<&str>| {
                text.map(|text| Value::from(text.chars().take(LONG).collect::<String>()).to_string())
            };
            return format!(
                "changed in line {line}: {}",
                arrow(cut(old).as_deref(), cut(new).as_deref(), "(no line)")
            );
        }
    }
    "changed in its line breaks".to_string()
}

fn arrow(before: Option<&str>, after: Option<&str>, none: &str) -> String {
    format!("{} → {}", before.unwrap_or(none), after.unwrap_or(none))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::preimage::tests::example;
    use super::*;
    use crate::input::Selector;

    #[test]
    fn each_sort_of_change_is_a_value_with_words() {
        type Edit = fn(&mut Preimage);
        let edits: [(Edit, &str); 11] = [
            (|now| now.kind = "slice".to_string(), "the stage has another kind"),
            (|now| now.code = "other".to_string(), "the code of kind crop changed"),
            (|now| now.add_param("size_mm", &json!(80)), "size_mm 100 → 80"),
            (|now| now.add_param("schedule.lr", &json!(3e-5)), "schedule.lr 1e-4 → 3e-5"),
            (|now| now.add_param("new", &json!("x")), "new (not set) → \"x\""),
            (|now| drop(now.params.remove("size_mm")), "size_mm 100 → (not set)"),
            (|now| now.seed = Some(8), "seed 7 → 8"),
            (|now| now.device = None, "device cpu → (none)"),
            (|now| now.inputs[0].content = Content::File(Digest::of(b"x")), "input model[fold=1] changed"),
            (
                |now| now.add_input("added", Selector::new(), Content::Word("w".to_string())),
                "input added is new",
            ),
            (
                |now| now.inputs[4].content = Content::Headers("x.column.y,pid".to_string()),
                "the order of the columns of input dataset changed",
            ),
        ];
        for (edit, expected) in edits {
            let mut now = example();
            edit(&mut now);
            let told: Vec<String> = now.changes_since(&example()).iter().map(ToString::to_string).collect();
            assert_eq!(told, [expected]);
        }
        let mut now = example();
        now.inputs[3].content = Content::Columns(BTreeMap::from([
            ("pid".to_string(), Digest::of(b"other")),
            ("z".to_string(), Digest::of(b"z")),
        ]));
        let told: Vec<String> = now.changes_since(&example()).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "column pid of input dataset changed",
                "column x.column.y of input dataset is gone",
                "column z of input dataset is new"
            ]
        );
    }

    #[test]
    fn of_long_texts_the_line_that_differs_is_told() {
        let script = |last: &str| format!("{}\necho {last}\n", "echo a long line of a script; ".repeat(8));
        let (mut before, mut now) = (example(), example());
        before.add_param("shell", &json!(script("one")));
        now.add_param("shell", &json!(script("two")));
        let told: Vec<String> = now.changes_since(&before).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["shell changed in line 2: \"echo one\" → \"echo two\""]);
    }

    #[test]
    fn a_number_written_otherwise_is_no_change() {
        let mut now = example();
        now.add_param("size_mm", &json!(100));
        assert_eq!(now.changes_since(&example()), []);
    }
}
