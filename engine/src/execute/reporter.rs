//! What a running instance tells goes to its log file and to the run's observer; warnings and scalars are kept for its result.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pipe_cache::{create_folder, create_to_append};

use crate::context::Report;
use crate::event::{Event, Observer};

/// An instance's log file and the run's observer.
pub(crate) struct Reporter<'a> {
    label: String,
    log: PathBuf,
    file: Mutex<Option<fs::File>>,
    observer: &'a dyn Observer,
    warnings: Mutex<Warnings>,
    scalars: Mutex<BTreeMap<String, f64>>,
}

/// So many warnings of an instance are kept; the log has all.
const MOST_WARNINGS: usize = 200;

/// What an instance had to warn of.
#[derive(Default)]
struct Warnings {
    kept: Vec<String>,
    /// How many more there were.
    more: usize,
}

impl Warnings {
    fn add(&mut self, text: &str) {
        match self.kept.len() < MOST_WARNINGS {
            true => self.kept.push(text.to_string()),
            false => self.more += 1,
        }
    }

    fn told(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("{} more warnings are in the log of the run", self.more));
        self.kept.iter().cloned().chain(more).collect()
    }
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(label: &str, log: PathBuf, observer: &'a dyn Observer) -> Self {
        Self {
            label: label.to_string(),
            log,
            file: Mutex::new(None),
            observer,
            warnings: Mutex::default(),
            scalars: Mutex::default(),
        }
    }

    /// All that was warned of so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).told()
    }

    /// All numbers that were kept so far.
    pub(crate) fn scalars(&self) -> BTreeMap<String, f64> {
        self.scalars.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Report for Reporter<'_> {
    fn warn(&self, text: &str) {
        self.log(&format!("warning: {text}"));
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).add(text);
        let stage = Some(self.label.clone());
        self.observer.event(&Event::Warning { stage, text: text.to_string() });
    }

    fn scalar(&self, name: &str, value: f64) {
        self.scalars.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), value);
    }

    // A log that cannot be written does not stop the work.
    fn log(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            if let Some(folder) = self.log.parent() {
                let _ = create_folder(folder);
            }
            let again = || fs::OpenOptions::new().append(true).open(&self.log);
            *file = create_to_append(&self.log).or_else(|_| again()).ok();
        }
        if let Some(file) = file.as_mut() {
            let _ = writeln!(file, "{line}");
        }
        drop(file);
        let (stage, line) = (self.label.clone(), line.to_owned());
        self.observer.event(&Event::Log { stage, line });
    }

    fn progress(&self, done: u64, total: u64, note: &str) {
        let (stage, note) = (self.label.clone(), note.to_string());
        self.observer.event(&Event::Progress { stage, done, total, note });
    }
}
