//! What has changed among items, by their listings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pipe_cache::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// So many items are named in words.
const NAMED: usize = 3;

/// The difference of two listings of items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ItemChanges {
    /// New items.
    pub added: Vec<String>,
    /// Items that are there no more.
    pub removed: Vec<String>,
    /// Items that use something else than before.
    pub changed: Vec<ItemChange>,
}

/// An item as a listing tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedItem {
    /// Its name.
    pub item: String,
    /// Its key.
    pub key: Option<Digest>,
    /// The values that it uses, by column.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The digests of the files that it uses, by column or input.
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
}

/// The items in a listing, as far as its lines can be read.
pub(crate) fn listed_items(listing: &[u8]) -> Vec<ListedItem> {
    let lines = listing.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What has changed of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemChange {
    /// The item.
    pub item: String,
    /// The columns and inputs whose value or content is another one.
    pub parts: Vec<String>,
}

impl ItemChanges {
    /// The difference of two listings: one JSON object a line.
    pub(crate) fn between(before: &[u8], after: &[u8]) -> Self {
        let (before, after) = (by_name(before), by_name(after));
        let mut changes = Self::default();
        for (name, line) in &after {
            match before.get(name) {
                None => changes.added.push(name.clone()),
                Some(old) if old.get("key") != line.get("key") => {
                    let parts = ["values", "files"];
                    let parts = parts.iter().flat_map(|part| changed_fields(old.get(part), line.get(part)));
                    changes.changed.push(ItemChange { item: name.clone(), parts: parts.collect() });
                }
                Some(_) => {}
            }
        }
        changes.removed = before.into_keys().filter(|name| !after.contains_key(name)).collect();
        changes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for ItemChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = self.added.iter().map(|name| format!("{name} is new")).collect();
        texts.extend(self.changed.iter().map(ToString::to_string));
        if !self.removed.is_empty() {
            texts.push(format!("{} items are gone", self.removed.len()));
        }
        let more = texts.len().saturating_sub(NAMED);
        texts.truncate(NAMED);
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        write!(f, "items changed ({})", texts.join("; "))
    }
}

impl fmt::Display for ItemChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(|part| format!("{part} changed")).collect();
        match parts.is_empty() {
            true => f.write_str(&self.item),
            false => write!(f, "{}: {}", self.item, parts.join(", ")),
        }
    }
}

fn by_name(listing: &[u8]) -> BTreeMap<String, Value> {
    let text = String::from_utf8_lossy(listing);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| Some((line.get("item")?.as_str()?.to_string(), line))).collect()
}

fn changed_fields(before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
    let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) else {
        return Vec::new();
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}
