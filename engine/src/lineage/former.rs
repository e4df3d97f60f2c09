//! Preimages as earlier versions stored them: texts by name.

use std::collections::BTreeMap;

use pipe_cache::Digest;
use serde::Deserialize;
use serde_json::Value;

use super::preimage::{Content, ItemSummary, Preimage, Used};
use crate::input::Selector;

#[derive(Deserialize)]
struct Former {
    ingredients: BTreeMap<String, Ingredient>,
}

#[derive(Deserialize)]
struct Ingredient {
    value: String,
}

/// A preimage of an earlier version; `None` for anything else.
pub(super) fn read(bytes: &[u8]) -> Option<Preimage> {
    let former: Former = serde_json::from_slice(bytes).ok()?;
    let mut preimage = Preimage::default();
    let mut columns: BTreeMap<String, BTreeMap<String, Digest>> = BTreeMap::new();
    for (name, Ingredient { value }) in former.ingredients {
        if let Some(param) = name.strip_prefix("param.") {
            let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            preimage.params.insert(param.to_string(), value);
        } else if let Some((input, column)) =
            name.strip_prefix("input.").and_then(|name| name.split_once(".column."))
        {
            let digest = value.strip_prefix("column ")?.parse().ok()?;
            columns.entry(input.to_string()).or_default().insert(column.to_string(), digest);
        } else if let Some(input) = name.strip_prefix("input.") {
            preimage.inputs.push(whole(input, &value)?);
        } else {
            match name.as_str() {
                "kind" => preimage.kind = value,
                "code" => preimage.code = value,
                "seed" => preimage.seed = value.parse().ok(),
                "device" => preimage.device = Some(value),
                "items" => preimage.items = Some(items(&value)?),
                _ => return None,
            }
        }
    }
    let of_columns = |(input, columns): (String, _)| used(&input, Content::Columns(columns));
    preimage.inputs.extend(columns.into_iter().map(of_columns));
    Some(preimage)
}

/// What was used of an artifact, by a text such as `file 1234…`.
fn whole(name: &str, value: &str) -> Option<Used> {
    if let Some(input) = name.strip_suffix(".columns") {
        return Some(used(input, Content::Headers(value.to_string())));
    }
    let content = if let Some(word) = value.strip_prefix("the word ") {
        Content::Word(word.to_string())
    } else if let Some(digest) = value.strip_prefix("file ") {
        Content::File(digest.parse().ok()?)
    } else {
        Content::Files(value.strip_prefix("files ")?.parse().ok()?)
    };
    Some(used(name, content))
}

/// An input with its foreach values, as in `model[fold=1]`.
fn used(name: &str, content: Content) -> Used {
    let parts = name.strip_suffix(']').and_then(|name| name.split_once('['));
    let (input, values) = parts.unwrap_or((name, ""));
    let pair = |text: &str| text.split_once('=').map(|(key, value)| (key.to_string(), value.to_string()));
    let selector: Selector = values.split(',').filter_map(pair).collect();
    Used { input: input.to_string(), selector, content }
}

fn items(value: &str) -> Option<ItemSummary> {
    let (count, digest) = value.split_once(" items ")?;
    Some(ItemSummary { made_of: Vec::new(), count: count.parse().ok()?, digest: digest.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::preimage::tests::example;
    use super::*;

    #[test]
    fn a_preimage_of_before_has_the_same_fingerprint() {
        let digest = Digest::of(b"content");
        let texts = [
            ("kind", "crop".to_string()),
            ("code", "c0de".to_string()),
            ("seed", "7".to_string()),
            ("device", "cpu".to_string()),
            ("items", format!("2 items {digest}")),
            ("param.size_mm", "100".to_string()),
            ("param.schedule.lr", "1e-4".to_string()),
            ("param.schedule.kind", "\"cosine\"".to_string()),
            ("input.model[fold=1]", format!("file {digest}")),
            ("input.split", "the word random".to_string()),
            ("input.volumes", format!("files {digest}")),
            ("input.dataset.column.pid", format!("column {digest}")),
            ("input.dataset.column.x.column.y", format!("column {digest}")),
            ("input.dataset.columns", "pid,x.column.y".to_string()),
        ];
        let ingredients: BTreeMap<&str, Value> =
            texts.iter().map(|(name, value)| (*name, json!({"value": value, "origin": "here"}))).collect();
        let stored = json!({ "ingredients": ingredients }).to_string();
        let read = Preimage::from_json(stored.as_bytes());
        assert_eq!(read.as_ref().map(Preimage::fingerprint), Some(example().fingerprint()));
        assert_eq!(read.map(|read| read.changes_since(&example())), Some(Vec::new()));
    }
}
