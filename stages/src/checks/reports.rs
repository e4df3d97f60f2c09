//! Reports from outside: whether each is a text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe_plugin::foreign::what_is;
use pipe_plugin::stage::{Finding, Preview};
use pipe_plugin::table::is_missing;
use rayon::prelude::*;

use super::companions::folder;
use super::examples;

/// What a report's file holds.
enum Content {
    Text(String),
    Empty,
    /// No UTF-8.
    Foreign,
    /// Something else by its first bytes.
    Placeholder,
}

/// What a file holds; `None` for one that cannot be read at all, which fails the stage with the system's reason.
fn content(path: &Path) -> Option<Content> {
    let bytes = std::fs::read(path).ok()?;
    Some(match std::str::from_utf8(&bytes) {
        Ok(text) if is_missing(text.trim_start_matches('\u{feff}').trim()) => Content::Empty,
        Ok(text) if text.contains('\0') || what_is(path, &bytes).is_some() => Content::Placeholder,
        Ok(text) => Content::Text(text.trim().to_owned()),
        Err(_) => Content::Foreign,
    })
}

/// Reports in the folder of an input that are empty, no UTF-8 or no reports at all; all of them being the same.
pub(super) fn texts(preview: &Preview<'_>, input: &str) -> Vec<Finding> {
    let Some((given, name, listing)) = folder(preview, input) else { return Vec::new() };
    let items: Vec<(&String, &PathBuf)> = listing.items.iter().collect();
    let contents: Vec<Option<Content>> = items.par_iter().map(|(_, path)| content(path)).collect();
    let (mut empty, mut foreign, mut placeholders) = (Vec::new(), Vec::new(), Vec::new());
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for ((item, _), content) in items.into_iter().zip(contents) {
        match content {
            None => {}
            Some(Content::Empty) => empty.push(item.clone()),
            Some(Content::Foreign) => foreign.push(item.clone()),
            Some(Content::Placeholder) => placeholders.push(item.clone()),
            Some(Content::Text(text)) => *known.entry(text).or_default() += 1,
        }
    }
    let alike = known.iter().find(|(_, count)| known.len() == 1 && **count > 2).map(|(_, count)| *count);
    let alike = alike.map(|count| {
        Finding::warning(&given.place, format!("{name}: all {count} reports are the same text"))
            .advise("give each nodule its own report, or leave texts out")
    });
    let told = |items: Vec<String>, problem: &str, advice: &str| {
        (!items.is_empty()).then(|| {
            let (count, are) = match items.len() {
                1 => ("1 report".to_string(), "is"),
                count => (format!("{count} reports"), "are"),
            };
            let message = format!("{name}: {count} {are} {problem}: {}", examples(&items));
            Finding::error(&given.place, message).advise(advice)
        })
    };
    let empty = told(empty, "empty", "write them, or take their rows out of the table");
    let foreign = told(foreign, "not UTF-8 text", "save them as UTF-8 text");
    let placeholders = told(
        placeholders,
        "no text, but something else by its first bytes",
        "fetch the files themselves (git lfs pull), or save them as plain text",
    );
    empty.into_iter().chain(foreign).chain(placeholders).chain(alike).collect()
}
