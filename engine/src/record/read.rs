//! Reading run records.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use pipe_cache::Store;
use serde_json::Value;

use super::{InstanceRecord, InstanceStatus, Line, RunHeader};

/// The name of the record in a run's folder.
const FILE: &str = "record.jsonl";

/// A run as its record tells it.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// What was asked for.
    pub header: RunHeader,
    /// The instances in the order in which they ended.
    pub instances: Vec<InstanceRecord>,
    /// How it ended; `None` while it is going on or when it was killed.
    pub summary: Option<Value>,
    /// The record's folder.
    pub folder: PathBuf,
    /// The run whose instances are meant, until they have been read.
    unchanged_since: Option<String>,
}

/// Why a run cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no such run.
    #[error("there is no run `{name}` in {}", cache.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The cache that was looked at.
        cache: PathBuf,
    },
    /// The record cannot be read.
    #[error("the record {} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// The ids of all runs, newest first.
pub fn run_ids(store: &Store) -> Vec<String> {
    let entries = fs::read_dir(store.runs()).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries
        .filter(|entry| entry.path().join(FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// The record of a run: by its id, a unique beginning of it, or `latest`.
///
/// # Errors
/// When there is no such run or its record cannot be read.
pub fn read_run(store: &Store, name: &str) -> Result<RunRecord, RecordError> {
    let ids = run_ids(store);
    let unknown = || RecordError::Unknown { name: name.to_string(), cache: store.root().to_path_buf() };
    let id = if name == "latest" {
        ids.first().ok_or_else(unknown)?
    } else if let Some(id) = ids.iter().find(|id| *id == name) {
        id
    } else {
        let mut matching = ids.iter().filter(|id| !name.is_empty() && id.starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(id), None) => id,
            _ => return Err(unknown()),
        }
    };
    let mut run = read_record(&store.runs().join(id))?;
    if let Some(since) = run.unchanged_since.take() {
        if !ids.contains(&since) {
            let problem = format!("it says that all is as run {since} left it, which is not there");
            return Err(RecordError::Unreadable { path: run.folder.join(FILE), problem });
        }
        let former = read_record(&store.runs().join(&since))?;
        run.instances = former.instances.into_iter().map(|record| known(record, &since)).collect();
    }
    Ok(run)
}

/// The header of a run, nothing else of whose record is read.
pub(crate) fn read_header(store: &Store, id: &str) -> Option<RunHeader> {
    let mut line = String::new();
    BufReader::new(File::open(store.runs().join(id).join(FILE)).ok()?).read_line(&mut line).ok()?;
    match serde_json::from_str(&line) {
        Ok(Line::Run(header)) => Some(*header),
        _ => None,
    }
}

/// An instance of a former run, whose result was known in a later one.
fn known(record: InstanceRecord, run: &str) -> InstanceRecord {
    InstanceRecord {
        status: InstanceStatus::Cached,
        from_run: record.from_run.or_else(|| Some(run.to_string())),
        items_cached: record.items_cached + record.items_executed,
        items_executed: 0,
        seconds: 0.0,
        device: None,
        peak_memory_bytes: None,
        log: None,
        ..record
    }
}

fn read_record(folder: &Path) -> Result<RunRecord, RecordError> {
    let path = folder.join(FILE);
    let unreadable = |problem: String| RecordError::Unreadable { path: path.clone(), problem };
    let text = fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let mut lines = text.lines().map(serde_json::from_str::<Line>);
    let header = match lines.next() {
        Some(Ok(Line::Run(header))) => *header,
        _ => return Err(unreadable("its first line is not a run header".to_string())),
    };
    let mut record = RunRecord {
        header,
        instances: Vec::new(),
        summary: None,
        folder: folder.to_path_buf(),
        unchanged_since: None,
    };
    let mut places = HashMap::new();
    // A line cut short by a crash ends the account; what stands before it holds.
    for line in lines.map_while(Result::ok) {
        match line {
            Line::Run(_) => {}
            // An instance whose result was repaired ends twice; the later ending counts.
            Line::Instance(instance) => match places.entry(instance.label.clone()) {
                Entry::Occupied(place) => {
                    if let Some(known) = record.instances.get_mut(*place.get()) {
                        *known = *instance;
                    }
                }
                Entry::Vacant(place) => {
                    place.insert(record.instances.len());
                    record.instances.push(*instance);
                }
            },
            Line::Unchanged { since } => record.unchanged_since = Some(since),
            Line::Finished { summary } => record.summary = Some(summary),
        }
    }
    Ok(record)
}
