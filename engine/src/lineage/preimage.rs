//! What decides a result: its kind, code, parameters, seed, device, inputs and items.
//!
//! One traversal fills it. The fingerprint is the hash of its named values, what has changed is its difference to an
//! earlier one, and the stored text is what an audit reads. They cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{Digest, Hasher, Store};
use pipe_plugin::canonical_text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::former;
use crate::input::{InputValue, Selector};
use crate::registry::Registry;
use crate::stage::Kind;
use crate::table::Table;

/// All that decides a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preimage {
    /// The kind's name.
    pub kind: String,
    /// The fingerprint of the kind's code.
    pub code: String,
    /// The parameters by name, defaults filled in; the fields of a table each by `name.field`.
    pub params: BTreeMap<String, Value>,
    /// The pipeline's seed, for a kind that draws random numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The sort of device, for a kind that computes on devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What results follow from on the machine, by name; for kinds that start programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// What is used of inputs, but for those that items are made of.
    pub inputs: Vec<Used>,
    /// The items, for a kind that works item by item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemSummary>,
}

/// What a result depends on of one artifact that is given to an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// The input's name.
    pub input: String,
    /// The foreach values of the instance that made it, for an input that takes several artifacts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: Selector,
    /// What counts of it.
    pub content: Content,
}

/// What counts of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A word in place of an artifact.
    Word(String),
    /// All bytes of a file.
    File(Digest),
    /// The names and bytes of files: of all in a folder or collection, or of those that the kind uses.
    Files(Digest),
    /// The cells of columns, by header.
    Columns(BTreeMap<String, Digest>),
    /// All headers of a table in their order, joined by commas: they are the output's too.
    Headers(String),
    /// What the rows of a table name, by column, each row's in their order.
    RowFiles(BTreeMap<String, Digest>),
    /// The extension of a file's name.
    Extension(String),
}

/// The items of a stage in brief. What each is made of stands in their listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemSummary {
    /// The inputs that they are made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_of: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// A digest of their names and keys.
    pub digest: Digest,
}

impl Preimage {
    /// Adds the parameters that count, of those of a kind that names others.
    pub(crate) fn add_params(&mut self, params: &Value, uncounted: &[&str]) {
        for (name, value) in params.as_object().into_iter().flatten() {
            if !uncounted.contains(&name.as_str()) {
                self.add_param(&field(name), value);
            }
        }
    }

    /// Adds a parameter; of a table, each of its fields. The name is as [`field`] makes it.
    pub(crate) fn add_param(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    self.add_param(&format!("{name}.{}", field(key)), value);
                }
            }
            other => {
                self.params.insert(name.to_string(), other.clone());
            }
        }
    }

    /// The parameters that count, as a table of tables; `None` where one has the name of another's field.
    pub(crate) fn parameters(&self) -> Option<Value> {
        let mut params = Map::new();
        for (name, value) in &self.params {
            put(&mut params, name, value)?;
        }
        Some(Value::Object(params))
    }

    /// The kind, if this program has it: for a kind whose stages declare their own inputs and outputs, that of the stage.
    pub fn kind_in(&self, registry: &Registry) -> Option<Kind> {
        let of_items = self.items.iter().flat_map(|items| items.made_of.iter());
        let inputs: BTreeSet<&String> = self.inputs.iter().map(|used| &used.input).chain(of_items).collect();
        let inputs: Vec<String> = inputs.into_iter().cloned().collect();
        registry.kind_of(&self.kind, &self.parameters()?, &inputs)
    }

    /// Adds what counts of an artifact.
    pub(crate) fn add_input(&mut self, input: &str, selector: Selector, content: Content) {
        self.inputs.push(Used { input: input.to_string(), selector, content });
    }

    /// The fingerprint: BLAKE3 over all names and values in the order of the names, each preceded by its length.
    pub fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new("pipe fingerprint, version 1");
        for (name, value) in &self.named_values() {
            hasher.field(name).field(value);
        }
        hasher.finish()
    }

    /// What is hashed.
    fn named_values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        let mut add = |name: &str, value: String| values.insert(name.to_string(), value);
        add("kind", self.kind.clone());
        add("code", self.code.clone());
        if let Some(seed) = self.seed {
            add("seed", seed.to_string());
        }
        if let Some(device) = &self.device {
            add("device", device.clone());
        }
        if let Some(items) = &self.items {
            add("items", format!("{} items {}", items.count, items.digest));
        }
        let params = self.params.iter().map(|(name, value)| (format!("param.{name}"), canonical_text(value)));
        values.extend(params);
        let environment = self.environment.iter();
        values.extend(environment.map(|(name, value)| (format!("environment.{name}"), value.clone())));
        values.extend(self.inputs.iter().flat_map(Used::named_values));
        values
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// What a store keeps under a fingerprint, if it can be read.
    pub(crate) fn kept(store: &Store, fingerprint: Digest) -> Option<Self> {
        Self::from_json(&store.preimage(fingerprint).ok()??)
    }

    /// Reads the stored form, or that of earlier versions; `None` for anything else.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().or_else(|| former::read(bytes))
    }
}

/// Puts a value at its place, such as `vision.width`; `None` where something else is in the way.
fn put(table: &mut Map<String, Value>, name: &str, value: &Value) -> Option<()> {
    let (first, rest) = first_field(name)?;
    match rest {
        None => table.insert(first, value.clone()).is_none().then_some(()),
        Some(rest) => {
            let inner = table.entry(first).or_insert_with(|| Value::Object(Map::new()));
            put(inner.as_object_mut()?, rest, value)
        }
    }
}

/// A field's name within that of a parameter: as it is, or in quotes where it could be taken for several.
fn field(name: &str) -> String {
    match name.is_empty() || name.contains(['.', '"']) {
        true => Value::from(name).to_string(),
        false => name.to_string(),
    }
}

/// The first field of a parameter's name, and those within it.
fn first_field(name: &str) -> Option<(String, Option<&str>)> {
    if !name.starts_with('"') {
        return Some(
            name.split_once('.')
                .map_or((name.to_string(), None), |(first, rest)| (first.to_string(), Some(rest))),
        );
    }
    let mut parts = serde_json::Deserializer::from_str(name).into_iter::<String>();
    let first = parts.next()?.ok()?;
    let rest = &name[parts.byte_offset()..];
    Some((first, rest.strip_prefix('.')))
}

impl Used {
    /// The input's name, with the foreach values where it takes several artifacts.
    pub fn name(&self) -> String {
        if self.selector.is_empty() {
            return self.input.clone();
        }
        let values: Vec<String> = self.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}[{}]", self.input, values.join(","))
    }

    fn named_values(&self) -> Vec<(String, String)> {
        let name = format!("input.{}", self.name());
        match &self.content {
            Content::Word(word) => vec![(name, format!("the word {word}"))],
            Content::File(digest) => vec![(name, format!("file {digest}"))],
            Content::Files(digest) => vec![(name, format!("files {digest}"))],
            Content::Headers(headers) => vec![(format!("{name}.columns"), headers.clone())],
            Content::Extension(extension) => vec![(format!("{name}.extension"), extension.clone())],
            Content::RowFiles(columns) => columns
                .iter()
                .map(|(column, digest)| (format!("{name}.files.{column}"), format!("files {digest}")))
                .collect(),
            Content::Columns(columns) => columns
                .iter()
                .map(|(column, digest)| (format!("{name}.column.{column}"), format!("column {digest}")))
                .collect(),
        }
    }
}

impl Content {
    /// What counts of a value that is given to an input, with the extension of its name. The cells that lead to files count
    /// only by what these contain, unless they are `passed_on` to a table that is made of this one.
    pub(crate) fn of(value: &InputValue, extension: &str, passed_on: bool) -> Vec<Self> {
        let columns = |table: &Table| table.column_digests().into_iter().collect::<BTreeMap<_, _>>();
        let one = match value {
            InputValue::Rows(rows) => {
                let files = rows.column_digests();
                let mut cells = columns(&rows.table);
                cells.retain(|column, _| passed_on || !files.contains_key(column));
                let headers = Self::Headers(rows.table.columns().join(","));
                return vec![Self::Columns(cells), headers, Self::RowFiles(files)];
            }
            InputValue::Keyword(word) => Self::Word(word.clone()),
            InputValue::File(file) => Self::File(file.digest),
            InputValue::Files(files) => Self::Files(files.digest),
            InputValue::Table(table) => Self::Columns(columns(table)),
        };
        let extension = (!extension.is_empty()).then(|| Self::Extension(extension.to_string()));
        std::iter::once(one).chain(extension).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn example() -> Preimage {
        let digest = Digest::of(b"content");
        let mut preimage = Preimage {
            kind: "crop".to_string(),
            code: "c0de".to_string(),
            seed: Some(7),
            device: Some("cpu".to_string()),
            items: Some(ItemSummary { made_of: vec!["dataset".to_string()], count: 2, digest }),
            ..Preimage::default()
        };
        preimage.add_param("size_mm", &json!(100.0));
        preimage.add_param("schedule", &json!({"lr": 1e-4, "kind": "cosine"}));
        let fold = Selector::from([("fold".to_string(), "1".to_string())]);
        preimage.add_input("model", fold, Content::File(digest));
        preimage.add_input("split", Selector::new(), Content::Word("random".to_string()));
        preimage.add_input("volumes", Selector::new(), Content::Files(digest));
        let columns = BTreeMap::from([("pid".to_string(), digest), ("x.column.y".to_string(), digest)]);
        preimage.add_input("dataset", Selector::new(), Content::Columns(columns));
        preimage.add_input("dataset", Selector::new(), Content::Headers("pid,x.column.y".to_string()));
        preimage
    }

    #[test]
    fn what_is_hashed_and_the_hash_are_pinned() {
        let told: Vec<String> =
            example().named_values().into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let digest = Digest::of(b"content");
        assert_eq!(
            told,
            [
                "code = c0de".to_string(),
                "device = cpu".to_string(),
                format!("input.dataset.column.pid = column {digest}"),
                format!("input.dataset.column.x.column.y = column {digest}"),
                "input.dataset.columns = pid,x.column.y".to_string(),
                format!("input.model[fold=1] = file {digest}"),
                "input.split = the word random".to_string(),
                format!("input.volumes = files {digest}"),
                format!("items = 2 items {digest}"),
                "kind = crop".to_string(),
                "param.schedule.kind = \"cosine\"".to_string(),
                "param.schedule.lr = 1e-4".to_string(),
                "param.size_mm = 100".to_string(),
                "seed = 7".to_string(),
            ]
        );
        assert_eq!(
            example().fingerprint().to_string(),
            "e4780d39768661cb10e7fea3b69aa6ed28f2b9aa44d30de71ca42c49da978b14"
        );
    }

    #[test]
    fn fields_with_dots_are_not_taken_for_others() {
        let of = |params: Value| {
            let mut preimage = Preimage::default();
            params
                .as_object()
                .into_iter()
                .flatten()
                .for_each(|(name, value)| preimage.add_param(&field(name), value));
            preimage
        };
        let values = [
            json!({"a.b": 1}),
            json!({"a": {"b": 1}}),
            json!({"a": {"b.c": {"d": 1}}}),
            json!({"a": {"b": {"c": {"d": 1}}}}),
            json!({"a": {"": 1, "\"": 2, "x y": 3}}),
        ];
        for value in &values {
            assert_eq!(of(value.clone()).parameters().as_ref(), Some(value));
            let same = values
                .iter()
                .filter(|other| of((*other).clone()).fingerprint() == of(value.clone()).fingerprint());
            assert_eq!(same.count(), 1, "{value}");
        }
    }

    #[test]
    fn the_stored_form_reads_back() {
        assert_eq!(Preimage::from_json(&example().to_json()), Some(example()));
        assert_eq!(Preimage::from_json(b"{}"), None);
        assert_eq!(Preimage::from_json(b"not json"), None);
    }

    #[test]
    fn every_field_counts_but_what_items_are_made_of() {
        type Edit = fn(&mut Preimage);
        let edits: [Edit; 8] = [
            |preimage| preimage.kind.push('s'),
            |preimage| preimage.code.push('d'),
            |preimage| preimage.add_param("size_mm", &json!(101)),
            |preimage| preimage.seed = None,
            |preimage| preimage.device = Some("cuda".to_string()),
            |preimage| preimage.inputs[0].content = Content::Files(Digest::of(b"content")),
            |preimage| drop(preimage.inputs.pop()),
            |preimage| preimage.items.as_mut().into_iter().for_each(|items| items.count += 1),
        ];
        for edit in edits {
            let mut other = example();
            edit(&mut other);
            assert_ne!(other.fingerprint(), example().fingerprint(), "{other:?}");
        }
        let mut other = example();
        other.items.as_mut().into_iter().for_each(|items| items.made_of.clear());
        assert_eq!(other.fingerprint(), example().fingerprint());
    }
}
