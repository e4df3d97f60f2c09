//! Reports from outside: whether each is a text.

use pipe_engine::stage::{Finding, Preview};

use super::companions::folder;
use super::examples;

/// Reports in the folder of an input that are empty or no UTF-8.
pub(super) fn texts(preview: &Preview<'_>, input: &str) -> Vec<Finding> {
    let Some((given, name, items)) = folder(preview, input) else { return Vec::new() };
    let (mut empty, mut foreign) = (Vec::new(), Vec::new());
    for (item, path) in items {
        // What cannot be read at all fails the stage with the system's reason.
        let Ok(bytes) = std::fs::read(path) else { continue };
        match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim_start_matches('\u{feff}').trim().is_empty() => empty.push(item),
            Ok(_) => {}
            Err(_) => foreign.push(item),
        }
    }
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
    empty.into_iter().chain(foreign).collect()
}
