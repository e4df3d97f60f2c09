//! Reading run records.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pipe_cache::{Digest, Error, Store};
use rayon::prelude::*;
use serde_json::Value;

use super::head::{RunHead, header_of};
use super::seal::{Sealed, head_of};
use super::{InstanceRecord, InstanceStatus, Line, RunAndHead};
use crate::execute::Usage;

/// The name of the record in a run's folder.
pub(crate) const FILE: &str = "record.jsonl";

/// The number of a run lies within so many bytes.
const FIRST_BYTES: u64 = 128;

/// A run refers to so many runs that began before it.
const LATEST: usize = 16;

/// A run as its record tells it.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// What was asked for, and how it ended.
    pub head: RunHead,
    /// The instances in the order in which they ended.
    pub instances: Vec<InstanceRecord>,
    /// Where further instances stand, until they have been read.
    pub(crate) shared: Vec<Shared>,
    /// The first line that cannot be read, counted from 1; one that was never finished does not count.
    damaged_line: Option<usize>,
    /// The first line behind the one that tells the end, but for what threads write that are not waited for when a run is
    /// interrupted.
    line_behind_end: Option<usize>,
}

/// A place of instances that several runs refer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shared {
    /// A listing in the store.
    Listing(Digest),
    /// The record of the run that left them so; in records of before there were listings.
    Run(String),
}

impl RunRecord {
    /// The first line that cannot be read, counted from 1; one that was never finished does not count.
    pub fn damaged_line(&self) -> Option<usize> {
        self.damaged_line
    }

    /// The first line that stands behind the run's end, where nothing may stand.
    pub fn line_behind_end(&self) -> Option<usize> {
        self.line_behind_end
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
                Err(RecordError::Unreadable { path: self.head.path(), problem })
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
    /// A newer program wrote the record.
    #[error("the record {} is of version {found}; this program reads up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that is read.
        known: u32,
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

/// The seals that the latest runs' records end with, but for one's own; the last ones by the names of their folders, which
/// begin with the time.
pub(super) fn latest_heads(store: &Store, own: &str) -> Vec<RunAndHead> {
    let runs = store.runs();
    let entries = fs::read_dir(&runs).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    let others = names.into_iter().filter(|name| name != own && !name.starts_with('.')).take(LATEST);
    let head = |run: String| Some(RunAndHead { head: head_of(&runs.join(&run).join(FILE)).ok()??, run });
    others.filter_map(head).collect()
}

/// What the seals of a run's record say.
///
/// # Errors
/// When it cannot be read.
pub fn read_seals(run: &RunHead) -> Result<Sealed, RecordError> {
    let path = run.path();
    let bytes = fs::read(&path)
        .map_err(|error| RecordError::Unreadable { path: path.clone(), problem: error.to_string() })?;
    Ok(Sealed::of(&bytes))
}

/// The id that a person means: by the whole of it, a unique beginning, or `latest`.
pub(super) fn id_of(store: &Store, name: &str) -> Result<String, RecordError> {
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
    let mut run = read_own(store, name)?;
    let mut instances = Instances::default();
    for shared in std::mem::take(&mut run.shared) {
        read_shared(store, &run.head, &shared)?.into_iter().for_each(|record| instances.add(record));
    }
    run.instances.into_iter().for_each(|record| instances.add(record));
    Ok(RunRecord { instances: instances.list, ..run })
}

/// The merged manifest of a run, with variables replaced; null where its record has none.
///
/// # Errors
/// When the record cannot be read.
pub fn read_manifest(run: &RunHead) -> Result<Value, RecordError> {
    let path = run.path();
    let unreadable =
        |error: io::Error| RecordError::Unreadable { path: path.clone(), problem: error.to_string() };
    let bytes = fs::read(&path).map_err(unreadable)?;
    let lines = bytes.split(|byte| *byte == b'\n').take(2);
    let values = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    // In version 1 it was a field of the header.
    let fields =
        values.flat_map(|value| [value.get("resolved").cloned(), value.get("manifest_resolved").cloned()]);
    Ok(fields.flatten().next().unwrap_or(Value::Null))
}

/// As [`read_run`], but without the instances that stand elsewhere.
pub(crate) fn read_own(store: &Store, name: &str) -> Result<RunRecord, RecordError> {
    read_record(&store.runs().join(id_of(store, name)?))
}

/// The instances of a run that stand elsewhere.
///
/// # Errors
/// [`RecordError::Unreadable`] of the run that refers to them.
pub(crate) fn read_shared(
    store: &Store,
    head: &RunHead,
    shared: &Shared,
) -> Result<Vec<InstanceRecord>, RecordError> {
    let lost = |problem: String| RecordError::Unreadable { path: head.path(), problem };
    match shared {
        Shared::Listing(digest) => {
            let bytes = store.listing(*digest);
            let bytes = bytes.ok_or_else(|| lost(format!("its listing {digest} is missing or damaged")))?;
            let lines: Vec<&[u8]> =
                bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            let instance = |line: &&[u8]| match serde_json::from_slice(line) {
                Ok(Line::Instance(record)) => Ok(*record),
                _ => Err(lost(format!("its listing {digest} holds something else than instances"))),
            };
            lines.par_iter().map(instance).collect()
        }
        Shared::Run(since) => {
            let folder = store.runs().join(since);
            if !folder.join(FILE).is_file() {
                return Err(lost(format!("it says that all is as run {since} left it, which is not there")));
            }
            let instances = read_record(&folder)?.whole()?.instances;
            Ok(instances.into_iter().map(|record| known(record, since)).collect())
        }
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
        began: None,
        ended: None,
        device: None,
        usage: Usage::default(),
        log: None,
        ..record
    }
}

/// Instances by their labels. One whose result was repaired ends twice; the later ending counts.
#[derive(Default)]
pub(super) struct Instances {
    list: Vec<InstanceRecord>,
    places: HashMap<String, usize>,
}

impl Instances {
    pub(super) fn get(&self, label: &str) -> Option<&InstanceRecord> {
        self.list.get(*self.places.get(label)?)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, InstanceRecord> {
        self.list.iter()
    }

    fn add(&mut self, record: InstanceRecord) {
        match self.places.entry(record.label.clone()) {
            Entry::Occupied(place) => {
                if let Some(known) = self.list.get_mut(*place.get()) {
                    *known = record;
                }
            }
            Entry::Vacant(place) => {
                place.insert(self.list.len());
                self.list.push(record);
            }
        }
    }
}

impl FromIterator<InstanceRecord> for Instances {
    fn from_iter<I: IntoIterator<Item = InstanceRecord>>(records: I) -> Self {
        let mut instances = Self::default();
        records.into_iter().for_each(|record| instances.add(record));
        instances
    }
}

fn read_record(folder: &Path) -> Result<RunRecord, RecordError> {
    let path = folder.join(FILE);
    let unreadable =
        |error: io::Error| RecordError::Unreadable { path: path.clone(), problem: error.to_string() };
    let bytes = fs::read(&path).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split_inclusive('\n');
    let header = header_of(&path, lines.next().unwrap_or_default().as_bytes())?;
    let lines = lines.map(|line| (line, serde_json::from_str::<Line>(line)));
    let mut head = RunHead { header, summary: None, folder: folder.to_path_buf() };
    let (mut instances, mut shared, mut damaged_line) = (Instances::default(), Vec::new(), None);
    let mut line_behind_end = None;
    for (number, (text, line)) in (2..).zip(lines) {
        if has_ended(&head) {
            line_behind_end.get_or_insert(number);
        }
        let Ok(line) = line else {
            // A last line was cut short by a crash; what stands before it holds.
            if text.ends_with('\n') {
                damaged_line.get_or_insert(number);
            }
            continue;
        };
        match line {
            Line::Run(_) | Line::Manifest { .. } => {}
            Line::Instance(instance) => instances.add(*instance),
            Line::Listing { digest, .. } => shared.push(Shared::Listing(digest)),
            Line::Unchanged { since } => shared.push(Shared::Run(since)),
            Line::Finished { summary } => head.summary = Some(summary),
        }
    }
    Ok(RunRecord { head, instances: instances.list, shared, damaged_line, line_behind_end })
}

/// Whether a run has told of its end, and nobody writes any more.
fn has_ended(head: &RunHead) -> bool {
    let status = head.summary.as_ref().and_then(|summary| summary.get("status")?.as_str());
    status.is_some_and(|status| status != "interrupted")
}
