//! What people and programs see of a run: a live display on a terminal, plain lines elsewhere, JSON lines
//! when asked for. What went wrong is told in full at the end, where it is found.

mod bars;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pipe_engine::event::{Event, Observer, Summary};

use self::bars::Bars;
use crate::render;

/// Off a terminal, a stage that goes on is heard of so often.
const SILENCE: Duration = Duration::from_secs(30);

/// How lines of a stage's log begin that tell of an epoch, which are shown where there is no live display.
const EPOCH: &str = "epoch ";

/// So many warnings of a stage are shown; `pipe show` has all.
const SHOWN_WARNINGS: usize = 3;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Errors, warnings and results.
    Quiet,
    /// What is computed, too.
    Normal,
    /// Stages with known results and lines of stages' logs, too.
    Verbose,
}

/// Shows a run to people on stderr, its results on stdout.
pub(crate) struct Display {
    shown: Arc<Shown>,
    beat: Option<std::thread::JoinHandle<()>>,
}

struct Shown {
    verbosity: Verbosity,
    bars: Option<Bars>,
    state: Mutex<State>,
    /// Told when there is nothing more to show.
    over: Condvar,
}

#[derive(Default)]
struct State {
    /// How many instances the run has, and those that have ended.
    instances: usize,
    ended: BTreeSet<String>,
    running: BTreeMap<String, Running>,
    /// What was told of each stage's result.
    warned: BTreeMap<String, BTreeSet<String>>,
    /// What is told at the end.
    failures: Vec<Event>,
    not_run: Vec<String>,
    is_over: bool,
}

/// An instance that is being computed.
struct Running {
    began: Instant,
    told: Instant,
    position: Option<(u64, u64)>,
    note: String,
}

impl Display {
    /// A display that suits stderr.
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        let bars = Bars::on_stderr().filter(|_| verbosity != Verbosity::Quiet);
        let is_plain = bars.is_none() && verbosity != Verbosity::Quiet;
        let shown = Arc::new(Shown { verbosity, bars, state: Mutex::default(), over: Condvar::new() });
        let beating = Arc::clone(&shown);
        // Without the thread only what is long is heard of less often.
        let spawn = || std::thread::Builder::new().name("display".into()).spawn(move || beating.beat()).ok();
        Self { shown, beat: if is_plain { spawn() } else { None } }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.shown.state().is_over = true;
        self.shown.over.notify_all();
        if let Some(beat) = self.beat.take() {
            let _ = beat.join();
        }
        // A run that could not go on has not told of its end.
        self.shown.tell_failures();
    }
}

impl Observer for Display {
    fn event(&self, event: &Event) {
        self.shown.event(event);
    }
}

impl Shown {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that errors, warnings and results do without.
    fn line(&self, text: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.error_line(text);
        }
    }

    /// A line that is always shown.
    fn error_line(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.line(text),
            None => render::line(text),
        }
    }

    /// Tells of stages of which nothing has been heard for long, until all is over.
    fn beat(&self) {
        let mut state = self.state();
        while !state.is_over {
            let second = Duration::from_secs(1);
            (state, _) = self.over.wait_timeout(state, second).unwrap_or_else(PoisonError::into_inner);
            for (stage, running) in &mut state.running {
                if running.told.elapsed() >= SILENCE {
                    running.told = Instant::now();
                    let seconds = running.began.elapsed().as_secs_f64();
                    render::line(&words::so_far(stage, running.position, &running.note, seconds));
                }
            }
        }
    }

    fn start(&self, stage: &str, items: Option<usize>, known: usize) {
        let now = Instant::now();
        let running = Running { began: now, told: now, position: None, note: String::new() };
        self.state().running.insert(stage.to_owned(), running);
        match &self.bars {
            Some(bars) => bars.start(stage, items),
            None => self.line(&words::begun(stage, items, known)),
        }
    }

    /// Notes that an instance has ended; gives how far the run is.
    fn end(&self, stage: &str) -> String {
        if let Some(bars) = &self.bars {
            bars.end(stage);
        }
        let mut state = self.state();
        state.running.remove(stage);
        state.ended.insert(stage.to_owned());
        let far = format!("({} of {})", state.ended.len().min(state.instances), state.instances);
        let more = state.warned.remove(stage).map_or(0, |texts| texts.len()).saturating_sub(SHOWN_WARNINGS);
        drop(state);
        if more > 0 {
            self.error_line(&format!("  warning: {stage}: {more} more, which `pipe show latest` lists"));
        }
        far
    }

    /// Shows a warning of a stage's result once, as long as there are few of the stage.
    fn warn(&self, stage: &str, text: &str) {
        let mut state = self.state();
        let of_stage = state.warned.entry(stage.to_owned()).or_default();
        let is_shown = of_stage.insert(text.to_owned()) && of_stage.len() <= SHOWN_WARNINGS;
        drop(state);
        if is_shown {
            self.error_line(&format!("  warning: {stage}: {text}"));
        }
    }

    fn advance(&self, stage: &str, done: u64, total: u64, note: &str) {
        if let Some(bars) = &self.bars {
            bars.advance(stage, done, total, note);
        }
        if let Some(running) = self.state().running.get_mut(stage) {
            running.position = Some((done, total));
            note.clone_into(&mut running.note);
        }
    }

    fn log_line(&self, stage: &str, line: &str) {
        let is_epoch = self.bars.is_none() && line.starts_with(EPOCH);
        if self.verbosity == Verbosity::Verbose || is_epoch {
            if let Some(running) = self.state().running.get_mut(stage) {
                running.told = Instant::now();
            }
            self.line(&format!("  {stage}: {line}"));
        }
    }

    fn finish(&self, summary: &Summary) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
        self.line(&words::summary(summary));
        let not_run = std::mem::take(&mut self.state().not_run);
        if !not_run.is_empty() {
            self.error_line(&words::not_run(&not_run));
        }
        self.tell_failures();
    }

    fn tell_failures(&self) {
        let failures = std::mem::take(&mut self.state().failures);
        failures.iter().flat_map(words::failed).for_each(|line| self.error_line(&line));
    }

    fn event(&self, event: &Event) {
        match event {
            Event::Started { run, pipeline, instances } => {
                self.state().instances = *instances;
                self.line(&format!("{pipeline}: run {run}, {instances} stage instances"));
            }
            Event::StageStarted { stage, items, items_cached } => self.start(stage, *items, *items_cached),
            Event::Progress { stage, done, total, note } => self.advance(stage, *done, *total, note),
            Event::Log { stage, line } => self.log_line(stage, line),
            Event::StageFinished { stage, executed, items_executed, items_cached, seconds, from_run } => {
                let far = self.end(stage);
                if *executed {
                    let line = words::finished(stage, *items_executed, *items_cached, *seconds);
                    self.line(&format!("{line} {far}"));
                } else if self.verbosity == Verbosity::Verbose {
                    self.line(&format!("  {stage}: known from run {from_run} {far}"));
                }
            }
            Event::StageFailed { stage, .. } => {
                let far = self.end(stage);
                self.line(&format!("  {stage}: failed {far}"));
                self.state().failures.push(event.clone());
            }
            Event::Waiting { stage, owner } => {
                self.line(&format!("  {stage}: waiting for {owner}, which is computing it"));
            }
            Event::StageSkipped { stage, reason } => {
                self.end(stage);
                self.state().not_run.push(stage.clone());
                if self.verbosity == Verbosity::Verbose {
                    self.line(&format!("  {stage} was not run: {reason}"));
                }
            }
            Event::Repaired { digest, aside } => {
                let short: String = digest.chars().take(12).collect();
                self.line(&format!(
                    "  a damaged artifact ({short}) was set aside as {} and is computed again",
                    aside.display()
                ));
            }
            Event::Warning { stage: Some(stage), text } => self.warn(stage, text),
            Event::Warning { stage: None, text } => self.error_line(&format!("  warning: {text}")),
            Event::Conflict { stage, detail } => self.error_line(&format!("  warning: {stage}: {detail}")),
            Event::Published { stage, to, files, removed, replaced_run } if *files + *removed > 0 => {
                self.line(&words::published(stage, to, [*files, *removed], replaced_run.as_ref()));
            }
            Event::Published { .. } => {}
            Event::Headline { text, .. } => match &self.bars {
                Some(bars) => bars.suspended(|| render::out_fitted(text)),
                None => render::out_fitted(text),
            },
            Event::Finished(summary) => self.finish(summary),
        }
    }
}

/// Prints each event as a line of JSON on stdout. Lines of logs are for who asks for them.
pub(crate) struct JsonLines(pub(crate) Verbosity);

impl Observer for JsonLines {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Log { .. }) && self.0 != Verbosity::Verbose {
            return;
        }
        if let Ok(text) = serde_json::to_string(event) {
            render::out(&text);
        }
    }
}
