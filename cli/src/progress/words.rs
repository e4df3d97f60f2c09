//! What is said of a run's events, as lines of text. Where they go is not known here.

use std::path::Path;

use pipe_engine::event::{Event, FailedItem, Status, Summary};

use crate::timing;

/// So many names stand in a line of several.
const MOST_NAMES: usize = 10;

pub(super) fn begun(stage: &str, items: Option<usize>, known: usize) -> String {
    match (items, known) {
        (None, _) => format!("  {stage}: begun"),
        (Some(items), 0) => format!("  {stage}: begun, {items} items"),
        (Some(items), known) => format!("  {stage}: begun, {items} items ({known} known)"),
    }
}

pub(super) fn so_far(stage: &str, position: Option<(u64, u64)>, note: &str, seconds: f64) -> String {
    let position = position.map(|(done, total)| format!("{done} of {total}"));
    let parts: Vec<String> = position
        .into_iter()
        .chain((!note.is_empty()).then(|| note.to_owned()))
        .chain([timing::duration(seconds)])
        .collect();
    format!("  {stage}: {}", parts.join(", "))
}

pub(super) fn finished(stage: &str, items_executed: usize, items_cached: usize, seconds: f64) -> String {
    let items = match (items_executed, items_cached) {
        (0, 0) => String::new(),
        (executed, 0) => format!("{executed} items, "),
        (executed, cached) => format!("{executed} items ({cached} known), "),
    };
    format!("  {stage}: {items}{}", timing::duration(seconds))
}

/// Where files have gone, and what was there before them.
pub(super) fn published(
    stage: &str,
    folder: &Path,
    [files, removed]: [usize; 2],
    replaced_run: Option<&String>,
) -> String {
    let removed = match removed {
        0 => String::new(),
        count => format!("; {count} removed that it no longer gives"),
    };
    let replaced = replaced_run.map(|run| format!(", in place of those of run {run}")).unwrap_or_default();
    format!("  {stage}: {files} files published to {}{replaced}{removed}", folder.display())
}

/// Why an instance failed, all of it.
pub(super) fn failed(event: &Event) -> Vec<String> {
    let Event::StageFailed { stage, error, advice, failed_items, log } = event else { return Vec::new() };
    let mut lines = vec![format!("error: {stage} failed: {error}")];
    if failed_items.len() > 1 {
        let names = failed_items.iter().map(|FailedItem { item, .. }| item.as_str());
        lines.push(format!("  {} items failed: {}", failed_items.len(), some_of(names)));
    }
    lines.extend(advice.as_ref().map(|advice| format!("  help: {advice}")));
    if log.is_file() {
        lines.push(format!("  log: {}", log.display()));
    }
    lines
}

pub(super) fn not_run(stages: &[String]) -> String {
    match stages {
        [one] => format!("1 stage was not run: {one}"),
        many => format!("{} stages were not run", many.len()),
    }
}

pub(super) fn summary(summary: &Summary) -> String {
    let Summary { run, status, executed, cached, failed, items_executed, items_cached, seconds, .. } =
        summary;
    let word = match status {
        Status::Ok if *executed == 0 && *items_executed == 0 => "nothing to do",
        Status::Ok => "done",
        Status::Failed => "failed",
        Status::Interrupted => "interrupted; run it again to go on",
    };
    let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
    let warnings = match summary.warnings {
        0 => String::new(),
        1 => "; 1 warning".to_string(),
        count => format!("; {count} warnings"),
    };
    format!(
        "{word}: {executed} stages executed, {cached} known{failed}; {items_executed} items executed, \
         {items_cached} known{warnings}; {seconds:.2} s (run {run})"
    )
}

fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.take(MOST_NAMES).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_far_it_is() {
        assert_eq!(begun("crop", Some(40), 12), "  crop: begun, 40 items (12 known)");
        assert_eq!(begun("split", None, 0), "  split: begun");
        assert_eq!(finished("crop", 28, 12, 3.21), "  crop: 28 items (12 known), 3.2 s");
        assert_eq!(so_far("split", None, "", 61.0), "  split: 1 min 1 s");
        assert_eq!(
            so_far("train", Some((3, 10)), "epoch 1 loss 0.7", 31.0),
            "  train: 3 of 10, epoch 1 loss 0.7, 31 s"
        );
        assert_eq!(not_run(&["crop".to_owned()]), "1 stage was not run: crop");
        assert_eq!(not_run(&["a".to_owned(), "b".to_owned()]), "2 stages were not run");
    }
}
