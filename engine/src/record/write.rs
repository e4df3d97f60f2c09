//! Writing a run's record.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pipe_cache::{
    Error, Store, Touched, append, create_folder, create_new_folder, create_to_append, process_mark,
};
use serde_json::Value;

use super::read::{FILE, largest_sequence};
use super::{InstanceRecord, InstanceStatus, Line, RunHeader, utc};
use crate::event::{Status, Summary};

/// So many bytes of lines about known results are written together.
const TOGETHER: usize = 1 << 18;

/// The record's file, and lines that wait to be written together.
struct Lines {
    file: File,
    waiting: Vec<u8>,
}

/// Writes a run's record.
pub(crate) struct RecordWriter {
    pub(crate) run: String,
    pub(crate) folder: PathBuf,
    sequence: u64,
    lines: Mutex<Lines>,
    _touched: Touched,
}

impl RecordWriter {
    /// Makes the folder of a new run, named by the time and a random ending.
    pub(crate) fn create(store: &Store) -> Result<Self, Error> {
        let runs = store.runs();
        create_folder(&runs)?;
        let sequence = store.next_in_sequence(|| largest_sequence(store))?;
        let now = SystemTime::now();
        let milliseconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
        let stamp = utc(now).replace(['-', ':', 'Z'], "").replace('T', "-");
        let ((), folder) = tempfile::Builder::new()
            .prefix(&format!("{stamp}-{milliseconds:03}-"))
            .rand_bytes(3)
            .make_in(&runs, create_new_folder)
            .and_then(|folder| folder.keep().map_err(|error| error.error))
            .map_err(Error::io("make a folder in", &runs))?;
        let run = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let path = folder.join(FILE);
        let file = create_to_append(&path).map_err(Error::io("write", &path))?;
        let touched = store.keep_touched(&path);
        let lines = Mutex::new(Lines { file, waiting: Vec::new() });
        Ok(Self { run, folder, sequence, lines, _touched: touched })
    }

    /// Writes what the run is; what is this writer's own is filled in.
    pub(crate) fn header(&self, header: RunHeader) -> Result<(), Error> {
        let (sequence, run) = (Some(self.sequence), self.run.clone());
        let header = RunHeader { sequence, run, process: Some(process_mark()), ..header };
        self.line(&Line::Run(Box::new(header)))
    }

    /// Writes the merged manifest with variables replaced.
    pub(crate) fn manifest(&self, resolved: &Value) -> Result<(), Error> {
        self.line(&Line::Manifest { resolved: resolved.clone() })
    }

    /// Lines about known results come in thousands, and wait for each other until [`RecordWriter::flush`] or another line.
    pub(crate) fn instance(&self, record: InstanceRecord) -> Result<(), Error> {
        let most = if record.status == InstanceStatus::Cached { TOGETHER } else { 0 };
        self.add(&Line::Instance(Box::new(record)), most)
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.write(&mut self.lines())
    }

    /// Instead of the instances: they are as that run left them.
    pub(crate) fn unchanged(&self, since: &str) -> Result<(), Error> {
        self.line(&Line::Unchanged { since: since.to_string() })
    }

    pub(crate) fn finished(&self, summary: &Summary) -> Result<(), Error> {
        self.line(&Line::Finished { summary: serde_json::to_value(summary).unwrap_or(Value::Null) })?;
        if summary.executed > 0 {
            self.lines().file.sync_data().map_err(Error::io("sync the record of", &self.folder))?;
        }
        Ok(())
    }

    fn line(&self, line: &Line) -> Result<(), Error> {
        self.add(line, 0)
    }

    /// Adds a line, and writes what waits when it is more than `most` bytes.
    fn add(&self, line: &Line, most: usize) -> Result<(), Error> {
        let mut lines = self.lines();
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut lines.waiting, line);
        lines.waiting.push(b'\n');
        if lines.waiting.len() > most { self.write(&mut lines) } else { Ok(()) }
    }

    fn write(&self, lines: &mut Lines) -> Result<(), Error> {
        if lines.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut lines.waiting);
        append(&lines.file, &waiting).map_err(Error::io("write the record of", &self.folder))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the record of a run that is left in the middle of a step, since nobody will do it then.
///
/// # Errors
/// When it cannot be written.
pub fn end_interrupted(folder: &Path) -> Result<(), Error> {
    let path = folder.join(FILE);
    let file = File::options().append(true).open(&path).map_err(Error::io("write", &path))?;
    let summary = serde_json::json!({ "status": Status::Interrupted });
    let mut bytes = serde_json::to_vec(&Line::Finished { summary }).unwrap_or_default();
    bytes.push(b'\n');
    append(&file, &bytes).map_err(Error::io("write", &path))
}
