//! The live display: a line for each instance that is being computed, no wider than the terminal.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::render;

/// Lines for what runs, on a terminal.
pub(super) struct Bars {
    all: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// Lines on stderr, if that is a terminal.
    pub(super) fn on_stderr() -> Option<Self> {
        let is_terminal = console::Term::stderr().is_term();
        is_terminal.then(|| Self { all: MultiProgress::new(), running: Mutex::default() })
    }

    /// A line that stays, above those that change.
    pub(super) fn line(&self, text: &str) {
        let width = render::width(&console::Term::stderr()).unwrap_or(usize::MAX);
        let lines = text.lines().map(|line| render::wrapped(line, width));
        lines.for_each(|line| drop(self.all.println(line)));
    }

    /// Does something while the terminal is as it was.
    pub(super) fn suspended(&self, act: impl FnOnce()) {
        self.all.suspend(act);
    }

    pub(super) fn start(&self, stage: &str, items: Option<usize>) {
        let bar = self.all.add(ProgressBar::new(items.unwrap_or(0) as u64));
        bar.set_style(style(if items.is_some() { Shape::Items } else { Shape::Whole }));
        bar.set_prefix(stage.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running().insert(stage.to_string(), bar);
    }

    pub(super) fn end(&self, stage: &str) {
        if let Some(bar) = self.running().remove(stage) {
            bar.finish_and_clear();
        }
    }

    pub(super) fn advance(&self, stage: &str, done: u64, total: u64, note: &str) {
        if let Some(bar) = self.running().get(stage) {
            if bar.length() == Some(0) {
                // Work that was done before this run says nothing about what is left.
                bar.set_position(done);
                bar.reset_eta();
                bar.set_style(style(Shape::WithTimeLeft));
            }
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(note.to_owned());
        }
    }

    pub(super) fn clear(&self) {
        self.running().drain().for_each(|(_, bar)| bar.finish_and_clear());
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Of a stage with items.
    Items,
    /// Of a stage that does not say how far it is.
    Whole,
    /// Of one that does.
    WithTimeLeft,
}

fn style(shape: Shape) -> ProgressStyle {
    let width = render::width(&console::Term::stderr()).unwrap_or(80);
    ProgressStyle::with_template(&template(shape, width)).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The parts of a line that fit: names and bars shrink, notes are cut.
fn template(shape: Shape, width: usize) -> String {
    let name = (width * 3 / 10).clamp(8, 32);
    let bar = (width / 4).clamp(5, 30);
    match shape {
        Shape::Items => {
            format!("  {{spinner}} {{prefix:{name}!}} {{bar:{bar}}} {{pos}}/{{len}} {{wide_msg}}")
        }
        Shape::Whole => format!("  {{spinner}} {{prefix:{name}!}} {{elapsed}} {{wide_msg}}"),
        Shape::WithTimeLeft => {
            format!("  {{spinner}} {{prefix:{name}!}} {{pos}}/{{len}}, {{eta}} left {{wide_msg}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_template_that_is_understood() {
        for shape in [Shape::Items, Shape::Whole, Shape::WithTimeLeft] {
            for width in [20, 60, 80, 200] {
                let template = template(shape, width);
                assert!(ProgressStyle::with_template(&template).is_ok(), "{template}");
            }
        }
    }
}
