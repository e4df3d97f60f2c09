//! Manifest values that remember where they were written.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems};

/// A manifest file's path, as shown to people, and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it was given, or relative to the working folder.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
    /// The bytes at which its lines begin.
    line_starts: Vec<usize>,
}

impl Source {
    /// A manifest file's text.
    pub fn new(path: &Path, text: String) -> Self {
        let ends = text.match_indices('\n').map(|(place, _)| place + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Self { path: path.to_path_buf(), text, line_starts }
    }

    /// 1-based line of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// 1-based line and column of a byte offset.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).or_else(|| self.text.get(start..));
        (line, before.map_or(0, |before| before.chars().count()) + 1)
    }
}

/// A place in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub source: Arc<Source>,
    /// The bytes that the value or key takes up.
    pub span: Range<usize>,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source.path.display(), self.source.line(self.span.start))
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written in a manifest.
    Manifest(Location),
    /// Written in a profile of a manifest.
    Profile(String, Location),
    /// Given on the command line, as this text.
    CommandLine(String),
    /// Kept by a run's record, which does not say where each value was written.
    Recorded,
    /// Filled in by the kind.
    Default,
}

impl Origin {
    /// The place in a file, if it has one.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Origin::Manifest(location) | Origin::Profile(_, location) => Some(location),
            Origin::CommandLine(_) | Origin::Recorded | Origin::Default => None,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Manifest(location) => location.fmt(f),
            Origin::Profile(name, location) => write!(f, "profile {name}, {location}"),
            Origin::CommandLine(text) => write!(f, "--set {text}"),
            Origin::Recorded => f.write_str("the run's manifest"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A key and where it was written.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key's text.
    pub name: String,
    /// Where it stands.
    pub origin: Origin,
}

/// The content of a [`Node`].
#[derive(Clone, Debug)]
pub enum Content {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    Array(Vec<Node>),
    /// A table, in the order of writing.
    Table(Vec<(Key, Node)>),
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub content: Content,
    /// Where it was written.
    pub origin: Origin,
    /// The variable that gave it, when it was written as `${name}`.
    pub variable: Option<String>,
}

impl Node {
    /// A node of that content.
    pub fn new(content: Content, origin: Origin) -> Self {
        Self { content, origin, variable: None }
    }

    /// An empty table.
    pub fn empty_table(origin: Origin) -> Self {
        Self::new(Content::Table(Vec::new()), origin)
    }

    /// The table's entries; none for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.content {
            Content::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The table's entries, to be changed; anything else becomes an empty table first.
    pub fn entries_mut(&mut self) -> &mut Vec<(Key, Node)> {
        if !matches!(self.content, Content::Table(_)) {
            self.content = Content::Table(Vec::new());
        }
        match &mut self.content {
            Content::Table(entries) => entries,
            _ => unreachable!("made a table just now"),
        }
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value in the words of an error message.
    pub fn type_name(&self) -> &'static str {
        match self.content {
            Content::Text(_) => "a string",
            Content::Integer(_) => "an integer",
            Content::Float(_) => "a number",
            Content::Boolean(_) => "a boolean",
            Content::Array(_) => "a list",
            Content::Table(_) => "a table",
        }
    }

    /// The value as JSON; numbers that JSON cannot hold become null (the schema check refuses them first).
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.content {
            Content::Text(text) => Value::from(text.as_str()),
            Content::Integer(number) => Value::from(*number),
            Content::Float(number) => Value::from(*number),
            Content::Boolean(truth) => Value::from(*truth),
            Content::Array(nodes) => nodes.iter().map(Node::to_json).collect(),
            Content::Table(entries) => {
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect()
            }
        }
    }

    /// A value of which it is not known where it was written. What TOML has not is left out.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        let content = match value {
            Value::Null => Content::Array(Vec::new()),
            Value::Bool(truth) => Content::Boolean(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Content::Integer(whole),
                None => Content::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Content::Text(text.clone()),
            Value::Array(values) => Content::Array(values.iter().map(Self::from_json).collect()),
            Value::Object(fields) => {
                let written = fields.iter().filter(|(_, value)| !value.is_null());
                let entry = |(name, value): (&String, &Value)| {
                    (Key { name: name.clone(), origin: Origin::Recorded }, Self::from_json(value))
                };
                Content::Table(written.map(entry).collect())
            }
        };
        Self::new(content, Origin::Recorded)
    }

    /// Sets the value under a path of keys, making tables on the way.
    pub fn set(&mut self, path: &[&str], value: Node) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        let origin = value.origin.clone();
        let entries = self.entries_mut();
        let position = entries.iter().position(|(key, _)| key.name == *first).unwrap_or_else(|| {
            let key = Key { name: (*first).to_string(), origin: origin.clone() };
            entries.push((key, Node::empty_table(origin)));
            entries.len() - 1
        });
        entries[position].1.set(rest, value);
    }

    /// Lays `over` on top: tables merge key by key, everything else is replaced.
    pub fn merge(&mut self, over: Node) {
        match (&mut self.content, over) {
            (Content::Table(entries), Node { content: Content::Table(new), .. }) => {
                for (key, node) in new {
                    match entries.iter_mut().find(|(known, _)| known.name == key.name) {
                        Some((_, known)) => known.merge(node),
                        None => entries.push((key, node)),
                    }
                }
            }
            (_, over) => *self = over,
        }
    }
}

/// Parses a manifest file; syntax errors are added to the problems, all at once.
pub fn parse_file(path: &Path, text: String, problems: &mut Problems) -> Node {
    let source = Arc::new(Source::new(path, text));
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let location = Location { source: Arc::clone(&source), span };
        problems.add(Problem::at(Origin::Manifest(location), "syntax", error.message().to_string()));
    }
    let origin = |span: Range<usize>| Origin::Manifest(Location { source: Arc::clone(&source), span });
    from_table(table.get_ref(), table.span(), &origin)
}

/// Parses the value part of `--set key=value`: TOML, or else a string.
pub fn parse_value(text: &str, origin: &Origin) -> Node {
    let make = |_: Range<usize>| origin.clone();
    match DeValue::parse(text) {
        Ok(value) => from_value(&value, &make),
        Err(_) => Node::new(Content::Text(text.to_string()), origin.clone()),
    }
}

fn from_value(value: &Spanned<DeValue<'_>>, origin: &dyn Fn(Range<usize>) -> Origin) -> Node {
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            match i64::from_str_radix(&digits, number.radix()) {
                Ok(number) => Content::Integer(number),
                Err(_) => Content::Float(digits.parse().unwrap_or(f64::NAN)),
            }
        }
        DeValue::Float(number) => {
            Content::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
        }
        DeValue::Boolean(truth) => Content::Boolean(*truth),
        DeValue::Datetime(time) => Content::Text(time.to_string()),
        DeValue::Array(values) => {
            Content::Array(values.iter().map(|value| from_value(value, origin)).collect())
        }
        DeValue::Table(table) => return from_table(table, value.span(), origin),
    };
    Node::new(content, origin(value.span()))
}

fn from_table(table: &DeTable<'_>, span: Range<usize>, origin: &dyn Fn(Range<usize>) -> Origin) -> Node {
    let mut entries: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let key = Key { name: key.get_ref().to_string(), origin: origin(key.span()) };
            (key, from_value(value, origin))
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.origin.location().map_or(0, |location| location.span.start));
    Node::new(Content::Table(entries), origin(span))
}
