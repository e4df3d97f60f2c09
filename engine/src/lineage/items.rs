//! What has changed among items, by their listings.

use std::collections::BTreeMap;
use std::fmt;

use pipe_cache::Digest;
use serde::{Deserialize, Serialize};

use super::change::differences;

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

/// The items in a listing; `None` for something else.
pub(crate) fn listed_items(listing: &[u8]) -> Option<Vec<ListedItem>> {
    let lines = listing.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).ok()).collect()
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
        let by_name = |listing| -> BTreeMap<String, ListedItem> {
            let items = listed_items(listing).unwrap_or_default();
            items.into_iter().map(|item| (item.item.clone(), item)).collect()
        };
        let (before, after) = (by_name(before), by_name(after));
        let mut changes = Self::default();
        for (name, now) in &after {
            match before.get(name) {
                None => changes.added.push(name.clone()),
                Some(then) if then.key != now.key => {
                    let values = differences(then.values.clone(), now.values.clone())
                        .into_iter()
                        .map(|(name, ..)| name);
                    let files =
                        differences(then.files.clone(), now.files.clone()).into_iter().map(|(name, ..)| name);
                    changes
                        .changed
                        .push(ItemChange { item: name.clone(), parts: values.chain(files).collect() });
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
