//! Reading run records.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pipe_cache::{Error, Store, Writer};
use serde_json::Value;

use super::{InstanceRecord, InstanceStatus, Line, RunHeader};

/// The name of the record in a run's folder.
pub(crate) const FILE: &str = "record.jsonl";

/// The line that tells how a run ended has fewer bytes.
const LAST_LINE: u64 = 4096;

/// The number of a run lies within so many bytes.
const FIRST_BYTES: u64 = 128;

/// What has become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It ended and all stages have their results.
    Ok,
    /// It ended, and a stage failed.
    Failed,
    /// It was asked to stop.
    Interrupted,
    /// Its process lives.
    Running,
    /// Its process is gone and has not told of an end.
    Killed,
    /// It has not told of an end, and was written by a program that does not say which process it was.
    Unfinished,
}

impl RunState {
    /// The state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Unfinished => "unfinished",
        }
    }
}

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
    /// The first line that cannot be read, counted from 1; one that was never finished does not count.
    damaged_line: Option<usize>,
}

impl RunRecord {
    /// The record's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Whether the run has ended well.
    pub fn is_ok(&self) -> bool {
        self.summary.as_ref().and_then(|summary| summary.get("status")).is_some_and(|status| status == "ok")
    }

    /// What has become of it, as far as can be told.
    pub fn state(&self) -> RunState {
        let status = self.summary.as_ref().and_then(|summary| summary.get("status")?.as_str());
        let writer = || Writer::of(&self.path(), self.header.process.as_deref()?);
        match status {
            Some("ok") => RunState::Ok,
            Some("interrupted") => RunState::Interrupted,
            Some(_) => RunState::Failed,
            None => match writer() {
                Some(Writer::Lives) => RunState::Running,
                Some(Writer::Gone) => RunState::Killed,
                None => RunState::Unfinished,
            },
        }
    }

    /// Refuses a record in which something cannot be read.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`] with the line.
    pub(crate) fn whole(self) -> Result<Self, RecordError> {
        match self.damaged_line {
            None => Ok(self),
            Some(line) => {
                let problem = format!("line {line} is damaged");
                Err(RecordError::Unreadable { path: self.path(), problem })
            }
        }
    }
}

/// Why a run cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] Error),
    /// There is no such run.
    #[error("there is no run `{name}` in {}", cache.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The cache that was looked at.
        cache: PathBuf,
    },
    /// Several runs begin like that.
    #[error("`{name}` may be any of {}", shown(ids))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The runs, the last one first.
        ids: Vec<String>,
    },
    /// The run was killed before it wrote anything.
    #[error("the record {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
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

/// The first few of many.
fn shown(ids: &[String]) -> String {
    const MOST: usize = 10;
    let more = ids.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", ids.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// The ids of all runs, the one that began last first.
///
/// # Errors
/// When the folder of runs is there and cannot be read.
pub fn run_ids(store: &Store) -> Result<Vec<String>, Error> {
    let folder = store.runs();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", &folder)(error)),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", &folder))?;
        let record = entry.path().join(FILE);
        if record.is_file()
            && let Ok(id) = entry.file_name().into_string()
        {
            runs.push((sequence_of(&record), id));
        }
    }
    // Runs of before there were numbers come first, in the order of their ids, which begin with the time.
    runs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(runs.into_iter().map(|(_, id)| id).collect())
}

/// A run's number, from the beginning of its record, where it stands behind the version. Ids alone are listed so often that
/// whole records must not be read for them.
fn sequence_of(record: &Path) -> Option<u64> {
    let mut beginning = Vec::new();
    File::open(record).and_then(|file| file.take(FIRST_BYTES).read_to_end(&mut beginning)).ok()?;
    let text = String::from_utf8_lossy(&beginning);
    let (_, rest) = text.split_once("\"sequence\":")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// The largest number of a run that is there; 0 for none.
pub(super) fn largest_sequence(store: &Store) -> u64 {
    let Ok(entries) = fs::read_dir(store.runs()) else { return 0 };
    entries.flatten().filter_map(|entry| sequence_of(&entry.path().join(FILE))).max().unwrap_or(0)
}

/// The id that a person means: by the whole of it, a unique beginning, or `latest`.
fn id_of(store: &Store, name: &str) -> Result<String, RecordError> {
    let unknown = || RecordError::Unknown { name: name.to_string(), cache: store.root().to_path_buf() };
    let is_id = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    if is_id && store.runs().join(name).join(FILE).is_file() {
        return Ok(name.to_owned());
    }
    let mut ids = run_ids(store)?;
    if name != "latest" {
        ids.retain(|id| is_id && id.starts_with(name));
        if ids.len() > 1 {
            return Err(RecordError::Ambiguous { name: name.to_owned(), ids });
        }
    }
    ids.into_iter().next().ok_or_else(unknown)
}

/// The record of a run: by its id, a unique beginning of it, or `latest`.
///
/// # Errors
/// When there is no such run, there are several, or its record cannot be read.
pub fn read_run(store: &Store, name: &str) -> Result<RunRecord, RecordError> {
    let id = id_of(store, name)?;
    let mut run = read_record(&store.runs().join(&id))?;
    if let Some(since) = run.unchanged_since.take() {
        if !store.runs().join(&since).join(FILE).is_file() {
            let problem = format!("it says that all is as run {since} left it, which is not there");
            return Err(RecordError::Unreadable { path: run.path(), problem });
        }
        let former = read_record(&store.runs().join(&since))?;
        run.damaged_line = run.damaged_line.or(former.damaged_line);
        run.instances = former.instances.into_iter().map(|record| known(record, &since)).collect();
    }
    Ok(run)
}

/// The header of a run that has ended, between which and the end nothing is read.
pub(crate) fn read_header(store: &Store, id: &str) -> Option<RunHeader> {
    let mut file = File::open(store.runs().join(id).join(FILE)).ok()?;
    let length = file.metadata().ok()?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_LINE))).ok()?;
    file.read_to_end(&mut end).ok()?;
    let last = end.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    if !matches!(serde_json::from_slice(last), Ok(Line::Finished { .. })) {
        return None;
    }
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut line = String::new();
    BufReader::new(file).read_line(&mut line).ok()?;
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
    let bytes = fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split_inclusive('\n').map(|line| (line, serde_json::from_str::<Line>(line)));
    let header = match lines.next() {
        Some((_, Ok(Line::Run(header)))) => *header,
        None => return Err(RecordError::Empty { path }),
        Some((text, Err(_))) if !text.ends_with('\n') => return Err(RecordError::Empty { path }),
        _ => return Err(unreadable("its first line is not a run header".to_string())),
    };
    let mut record = RunRecord {
        header,
        instances: Vec::new(),
        summary: None,
        folder: folder.to_path_buf(),
        unchanged_since: None,
        damaged_line: None,
    };
    let mut places = HashMap::new();
    for (number, (text, line)) in (2..).zip(lines) {
        let Ok(line) = line else {
            // A last line was cut short by a crash; what stands before it holds.
            if text.ends_with('\n') {
                record.damaged_line.get_or_insert(number);
            }
            continue;
        };
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
