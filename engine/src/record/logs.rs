//! What instances have written to their logs, during a run and after it. A result that was known leads to the log of the run that
//! computed it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pipe_cache::Store;

use super::{InstanceStatus, RecordError, RunHead, read_head, read_run};
use crate::execute::{LOGS, file_label};

/// The log of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The instance's label, as far as the file's name tells it.
    pub instance: String,
    /// The run that wrote it.
    pub run: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The logs of a run, or of one stage or instance of it. Those of known results come from the runs that computed them.
///
/// # Errors
/// When there is no such run, or its record cannot be read.
pub fn logs(store: &Store, run: &str, stage: Option<&str>) -> Result<Vec<LogFile>, RecordError> {
    let record = read_run(store, run)?;
    let is_wanted = |label: &str| stage.is_none_or(|stage| label == stage || stage_of(label) == stage);
    let labels =
        record.instances.iter().map(|instance| (file_label(&instance.label), instance.label.clone()));
    let mut found = written(&record.head, &labels.collect(), stage);
    found.retain(|log| is_wanted(&log.instance));
    for instance in record.instances.iter().filter(|instance| is_wanted(&instance.label)) {
        let is_known = instance.status == InstanceStatus::Cached;
        let Some(maker) = instance.from_run.as_ref().filter(|_| is_known) else { continue };
        let path = store.runs().join(maker).join(LOGS).join(format!("{}.log", file_label(&instance.label)));
        if path.is_file() && !found.iter().any(|log| log.instance == instance.label) {
            found.push(LogFile { instance: instance.label.clone(), run: maker.clone(), path });
        }
    }
    found.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(found)
}

/// The logs that a run has written so far.
fn written(head: &RunHead, labels: &BTreeMap<String, String>, stage: Option<&str>) -> Vec<LogFile> {
    let entries = fs::read_dir(head.folder.join(LOGS)).into_iter().flatten().flatten();
    let log = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let name = name.strip_suffix(".log")?;
        let known = labels.get(name).cloned();
        let instance = known.unwrap_or_else(|| label_of(name, stage.map(stage_of)));
        Some(LogFile { instance, run: head.id(), path: entry.path() })
    };
    entries.filter_map(log).collect()
}

/// The label of an instance whose record is not written yet, as far as its log's name tells: `train_fold=0_` is `train[fold=0]`.
fn label_of(file: &str, stage: Option<&str>) -> String {
    let values = file.strip_suffix('_').filter(|name| name.contains('='));
    let split = values.and_then(|name| match stage {
        Some(stage) => Some((stage, name.strip_prefix(stage)?.strip_prefix('_')?)),
        None => name.split_once('_'),
    });
    split.map_or_else(|| file.to_string(), |(stage, values)| format!("{stage}[{values}]"))
}

fn stage_of(label: &str) -> &str {
    label.split('[').next().unwrap_or(label)
}

/// Reads a log as it grows.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    position: u64,
}

impl LogReader {
    /// A reader from the beginning.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), position: 0 }
    }

    /// The lines that have been finished since; with `all` also one that has no end yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self, all: bool) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        bytes.truncate(if all { bytes.len() } else { whole });
        self.position += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether a run is still going on.
///
/// # Errors
/// When its record cannot be read any more.
pub fn is_running(store: &Store, run: &str) -> Result<bool, RecordError> {
    Ok(read_head(store, run)?.state() == super::RunState::Running)
}
