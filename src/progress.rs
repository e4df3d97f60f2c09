//! What people and programs see of a run: a live display on a terminal, plain lines elsewhere, JSON lines
//! when asked for.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pipe_engine::event::{Event, Observer, Status, Summary};

use crate::render;

/// A stage without items that says how far it is.
const WITH_TIME_LEFT: &str = "  {spinner} {prefix:24} {msg}, {elapsed}, {eta} left";

/// Shows a run to people on stderr, its results on stdout.
pub(crate) struct Display {
    bars: Option<MultiProgress>,
    running: Mutex<HashMap<String, ProgressBar>>,
    /// What was told of each stage's result.
    warned: Mutex<HashMap<String, HashSet<String>>>,
}

/// So many warnings of a stage are shown; `pipe show` has all.
const SHOWN_WARNINGS: usize = 3;

impl Display {
    /// A display that suits stderr.
    pub(crate) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, running: Mutex::default(), warned: Mutex::default() }
    }

    fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => render::line(text),
        }
    }

    fn start(&self, stage: &str, items: Option<usize>) {
        let Some(bars) = &self.bars else { return };
        let bar = bars.add(ProgressBar::new(items.unwrap_or(0) as u64));
        let template = if items.is_some() {
            "  {spinner} {prefix:24} {bar:30} {pos}/{len} {msg}"
        } else {
            "  {spinner} {prefix:24} {msg} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(stage.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running().insert(stage.to_string(), bar);
    }

    fn end(&self, stage: &str) {
        if let Some(bar) = self.running().remove(stage) {
            bar.finish_and_clear();
        }
    }

    fn advance(&self, stage: &str, done: u64, total: u64, note: &str) {
        if let Some(bar) = self.running().get(stage) {
            if bar.length() == Some(0) {
                // Work that was done before this run says nothing about what is left.
                bar.set_position(done);
                bar.reset_eta();
                if let Ok(style) = ProgressStyle::with_template(WITH_TIME_LEFT) {
                    bar.set_style(style);
                }
            }
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(if note.is_empty() { String::new() } else { format!("{done}/{total} {note}") });
        }
    }

    /// Shows a warning of a stage's result once, as long as there are few of the stage.
    fn warn(&self, stage: &str, text: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let of_stage = warned.entry(stage.to_string()).or_default();
        if of_stage.insert(text.to_string()) && of_stage.len() <= SHOWN_WARNINGS {
            self.line(&format!("  warning: {stage}: {text}"));
        }
    }

    /// Says how many warnings of a stage that has ended were not shown.
    fn tell_more_warnings(&self, stage: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let more = warned.remove(stage).map_or(0, |texts| texts.len()).saturating_sub(SHOWN_WARNINGS);
        if more > 0 {
            self.line(&format!("  warning: {stage}: {more} more, which `pipe show latest` lists"));
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Display {
    fn event(&self, event: &Event) {
        match event {
            Event::Started { run, pipeline, instances } => {
                self.line(&format!("{pipeline}: run {run}, {instances} stage instances"));
            }
            Event::StageStarted { stage, items, .. } => self.start(stage, *items),
            Event::Progress { stage, done, total, note } => self.advance(stage, *done, *total, note),
            Event::StageFinished { stage, executed, items_executed, items_cached, seconds, .. } => {
                self.end(stage);
                self.tell_more_warnings(stage);
                if *executed {
                    self.line(&finished_line(stage, *items_executed, *items_cached, *seconds));
                }
            }
            Event::StageFailed { stage, error, advice, failed_items, log } => {
                self.end(stage);
                self.tell_more_warnings(stage);
                self.line(&format!("error: {stage} failed: {error}"));
                if failed_items.len() > 1 {
                    let names: Vec<&str> =
                        failed_items.iter().take(10).map(|item| item.item.as_str()).collect();
                    let more = failed_items.len().saturating_sub(10);
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    self.line(&format!("  {} items failed: {}{more}", failed_items.len(), names.join(", ")));
                }
                if let Some(advice) = advice {
                    self.line(&format!("  help: {advice}"));
                }
                if log.is_file() {
                    self.line(&format!("  log: {}", log.display()));
                }
            }
            Event::Waiting { stage, owner } => {
                self.line(&format!("  {stage}: waiting for {owner}, which is computing it"));
            }
            Event::StageSkipped { stage, reason } => {
                self.end(stage);
                self.line(&format!("  {stage} was not run: {reason}"));
            }
            Event::Repaired { digest, aside } => {
                let short: String = digest.chars().take(12).collect();
                self.line(&format!(
                    "  a damaged artifact ({short}) was set aside as {} and is computed again",
                    aside.display()
                ));
            }
            Event::Warning { stage: None, text } => self.line(&format!("  warning: {text}")),
            Event::Warning { stage: Some(stage), text } => self.warn(stage, text),
            Event::Conflict { stage, detail } => self.line(&format!("  warning: {stage}: {detail}")),
            Event::Published { stage, to, files, removed, replaced_run } if *files + *removed > 0 => {
                let removed = match removed {
                    0 => String::new(),
                    count => format!("; {count} removed that it no longer gives"),
                };
                let replaced = replaced_run.as_ref().map(|run| format!(", in place of those of run {run}"));
                let to = to.display();
                let replaced = replaced.unwrap_or_default();
                self.line(&format!("  {stage}: {files} files published to {to}{replaced}{removed}"));
            }
            Event::Published { .. } => {}
            Event::Headline { text, .. } => match &self.bars {
                Some(bars) => bars.suspend(|| render::out(text)),
                None => render::out(text),
            },
            Event::Finished(summary) => {
                self.running().drain().for_each(|(_, bar)| bar.finish_and_clear());
                self.line(&summary_line(summary));
            }
        }
    }
}

fn finished_line(stage: &str, items_executed: usize, items_cached: usize, seconds: f64) -> String {
    let items = match (items_executed, items_cached) {
        (0, 0) => String::new(),
        (executed, 0) => format!("{executed} items, "),
        (executed, cached) => format!("{executed} items ({cached} known), "),
    };
    format!("  {stage}: {items}{seconds:.1} s")
}

fn summary_line(summary: &Summary) -> String {
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

/// Prints each event as a line of JSON on stdout.
pub(crate) struct JsonLines;

impl Observer for JsonLines {
    fn event(&self, event: &Event) {
        if let Ok(text) = serde_json::to_string(event) {
            render::out(&text);
        }
    }
}
