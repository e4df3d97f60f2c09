//! Writing a run's record: lines that are sealed as they are written.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pipe_cache::{
    Digest, Error, Store, Touched, append, create_folder, create_new_folder, create_to_append, process_mark,
};
use rayon::prelude::*;
use serde_json::Value;

use super::read::{FILE, largest_sequence, latest_heads};
use super::seal::Seal;
use super::{InstanceRecord, Line, RunHeader, utc};
use crate::event::{Status, Summary};

/// So many results that were up to date have a line each; more are a listing, which equal runs share.
const FEW: usize = 100;

/// So many lines are made together by one thread.
const TOGETHER: usize = 256;

/// Writes a run's record.
pub(crate) struct RecordWriter {
    pub(crate) run: String,
    pub(crate) folder: PathBuf,
    sequence: u64,
    lines: Arc<Lines>,
    _touched: Touched,
}

/// A record's file.
#[derive(Debug)]
struct Lines {
    folder: PathBuf,
    file: File,
    seal: Mutex<Seal>,
}

impl Lines {
    /// A new record of no line.
    fn create(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let file = create_to_append(&path).map_err(Error::io("write", &path))?;
        Ok(Self { folder: folder.to_path_buf(), file, seal: Mutex::new(Seal::new()) })
    }

    /// Appends lines, each sealed.
    fn append(&self, lines: &[u8]) -> Result<(), Error> {
        let mut seal = self.seal.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut bytes, mut next) = (Vec::new(), *seal);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (sealed, after) = next.add(line);
            bytes.extend(sealed);
            next = after;
        }
        append(&self.file, &bytes).map_err(Error::io("write the record of", &self.folder))?;
        *seal = next;
        Ok(())
    }
}

/// Ends the record of a run that is left in the middle of a step, since nobody will do it then.
#[derive(Clone, Debug, Default)]
pub struct RecordEnder(Arc<OnceLock<Arc<Lines>>>);

impl RecordEnder {
    /// Says that the run was interrupted, if there is one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end_interrupted(&self) -> Result<(), Error> {
        let Some(lines) = self.0.get() else { return Ok(()) };
        let summary = serde_json::json!({ "status": Status::Interrupted });
        lines.append(&line_of(&Line::Finished { summary }))
    }
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
        let lines = Arc::new(Lines::create(&folder)?);
        let touched = store.keep_touched(&folder.join(FILE));
        Ok(Self { run, folder, sequence, lines, _touched: touched })
    }

    /// Lets the record be ended from elsewhere.
    pub(crate) fn can_be_ended_by(&self, ender: &RecordEnder) {
        // An ender of another run stays with that.
        let _ = ender.0.set(Arc::clone(&self.lines));
    }

    /// Writes what the run is; what is this writer's own is filled in.
    pub(crate) fn header(&self, store: &Store, header: RunHeader) -> Result<(), Error> {
        let (sequence, run) = (Some(self.sequence), self.run.clone());
        let after = latest_heads(store, &run);
        let header = RunHeader { sequence, run, process: Some(process_mark()), after, ..header };
        self.line(&Line::Run(Box::new(header)))
    }

    /// Writes the merged manifest with variables replaced.
    pub(crate) fn manifest(&self, resolved: &Value) -> Result<(), Error> {
        self.line(&Line::Manifest { resolved: resolved.clone() })
    }

    pub(crate) fn instance(&self, record: InstanceRecord) -> Result<(), Error> {
        self.line(&Line::Instance(Box::new(record)))
    }

    /// Writes of instances that were up to date before any work, each made to a record by `record_of`.
    pub(crate) fn up_to_date<T: Sync>(
        &self,
        store: &Store,
        known: &[T],
        record_of: impl Fn(&T) -> InstanceRecord + Sync,
    ) -> Result<(), Error> {
        let lines = known.par_chunks(TOGETHER).map(|some| {
            let mut lines = Vec::new();
            some.iter().for_each(|one| add_line(&mut lines, &Line::Instance(Box::new(record_of(one)))));
            lines
        });
        let lines: Vec<Vec<u8>> = lines.collect();
        match known.len() {
            0 => Ok(()),
            1..=FEW => self.write(&lines.concat()),
            instances => self.line(&Line::Listing { digest: store.keep_listing(&lines)?, instances }),
        }
    }

    pub(crate) fn finished(&self, summary: &Summary) -> Result<(), Error> {
        self.line(&Line::Finished { summary: serde_json::to_value(summary).unwrap_or(Value::Null) })?;
        if summary.executed > 0 {
            self.lines.file.sync_data().map_err(Error::io("sync the record of", &self.folder))?;
        }
        Ok(())
    }

    fn line(&self, line: &Line) -> Result<(), Error> {
        self.write(&line_of(line))
    }

    fn write(&self, lines: &[u8]) -> Result<(), Error> {
        self.lines.append(lines)
    }
}

/// Writes a whole record of a run into a store: the seal of its last line.
pub(crate) fn write_record(
    store: &Store,
    header: &RunHeader,
    manifest: &Value,
    instances: Vec<InstanceRecord>,
    summary: Option<Value>,
) -> Result<Digest, Error> {
    let folder = store.runs().join(&header.run);
    create_folder(&folder)?;
    let lines = Lines::create(&folder)?;
    let mut bytes = Vec::new();
    add_line(&mut bytes, &Line::Run(Box::new(header.clone())));
    add_line(&mut bytes, &Line::Manifest { resolved: manifest.clone() });
    instances.into_iter().for_each(|one| add_line(&mut bytes, &Line::Instance(Box::new(one))));
    summary.into_iter().for_each(|summary| add_line(&mut bytes, &Line::Finished { summary }));
    lines.append(&bytes)?;
    Ok(lines.seal.into_inner().unwrap_or_else(PoisonError::into_inner).digest())
}

fn line_of(line: &Line) -> Vec<u8> {
    let mut bytes = Vec::new();
    add_line(&mut bytes, line);
    bytes
}

fn add_line(bytes: &mut Vec<u8>, line: &Line) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *bytes, line);
    bytes.push(b'\n');
}
