//! Folders with a file for each nodule: which nodules have none, and which files are of no nodule.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipe_plugin::input::Listing;
use pipe_plugin::stage::{Finding, Given, Preview};

use super::examples;
use super::nodules::{Named, named, shown, table};

/// The extension of an input's files.
fn extension(input: &str) -> &'static str {
    if matches!(input, "dir" | "reports") { "txt" } else { "safetensors" }
}

/// A folder given to an input, with its files by nodule.
pub(super) fn folder<'a>(preview: &'a Preview<'_>, input: &str) -> Option<(&'a Given, String, Arc<Listing>)> {
    let given = preview.one(input)?;
    let path = given.outside()?;
    let name = shown(preview, path);
    Some((given, name, preview.items(path, extension(input)).ok()?))
}

/// Nodules without a file in the folder of an input; of these patients only, if they are known.
pub(super) fn missing(
    preview: &Preview<'_>,
    input: &str,
    what: &str,
    patients: Option<&BTreeSet<String>>,
) -> Option<Finding> {
    let ((_, name, listing), table) = (folder(preview, input)?, table(preview)?);
    let wanted = |one: &Named| patients.is_none_or(|patients| patients.contains(&one.pid));
    let nodules = named(&table);
    let missing: Vec<&Named> =
        nodules.iter().filter(|one| wanted(one) && !listing.items.contains_key(&one.item)).collect();
    let first = missing.first()?;
    let of = nodules.iter().filter(|one| wanted(one)).count();
    let extension = extension(input);
    let files: Vec<String> = missing.iter().map(|one| format!("{}.{extension}", one.item)).collect();
    let message = format!("{name} has no {what} of {} of {of} nodules: {}", missing.len(), examples(&files));
    let advice =
        format!("put the files {{pid}}_{{nodule_id}}.{extension} there, or take the rows out of the table");
    Some(Finding::error(format!("{}:{}", table.source, first.line), message).advise(advice))
}

/// Files in the folder of an input that are of no nodule.
pub(super) fn spare(preview: &Preview<'_>, input: &str) -> Option<Finding> {
    let ((given, name, listing), table) = (folder(preview, input)?, table(preview)?);
    let known: BTreeSet<String> = named(&table).into_iter().map(|one| one.item).collect();
    let extension = extension(input);
    let spare: Vec<String> = listing
        .items
        .keys()
        .filter(|item| !known.contains(*item))
        .map(|item| format!("{item}.{extension}"))
        .collect();
    if spare.is_empty() {
        return None;
    }
    let files = if spare.len() == 1 { "1 file is" } else { &format!("{} files are", spare.len()) };
    let message =
        format!("{name}: {files} of no nodule in {} and not used: {}", table.source, examples(&spare));
    let advice = "correct their names, {pid}_{nodule_id}, or move them away";
    Some(Finding::warning(&given.place, message).advise(advice))
}
