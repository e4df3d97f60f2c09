//! The run record: an append-only account of what a run did, one JSON object a line.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pipe_cache::{
    ArtifactRef, Digest, Error, Store, append, create_folder, create_new_folder, create_to_append,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::Summary;
use crate::input::Selector;

/// Facts about the place of a run, which the binary finds out and the engine writes down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// The program and its version.
    pub program: String,
    /// The host's name.
    pub host: String,
    /// The commit of the project's repository, and whether files differed from it.
    pub git: Option<GitState>,
    /// The command line.
    pub command: Vec<String>,
}

/// The state of the project's repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GitState {
    /// The commit.
    pub commit: String,
    /// Whether files differed from it.
    pub modified: bool,
}

/// An input that is not where it seems to be, or not in the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The path as the manifest leads to it.
    pub given: PathBuf,
    /// Where it is, links followed.
    pub leads_to: PathBuf,
}

impl Elsewhere {
    /// Those among the given paths that are not simply in the project's root.
    pub(crate) fn among<'a>(root: &Path, paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Self> {
        let Ok(real_root) = fs::canonicalize(root) else { return Vec::new() };
        let distinct: BTreeSet<&PathBuf> = paths.into_iter().collect();
        let elsewhere = |given: &PathBuf| {
            let leads_to = fs::canonicalize(given).ok()?;
            let plain = given.strip_prefix(root).ok().map(|name| real_root.join(name));
            (plain.as_ref() != Some(&leads_to)).then(|| Self { given: given.clone(), leads_to })
        };
        distinct.into_iter().filter_map(elsewhere).collect()
    }
}

/// The first line of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunHeader {
    /// The record format's version.
    pub version: u32,
    /// The run's id.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The manifest as it was given.
    pub manifest: PathBuf,
    /// When the run began, UTC.
    pub started: String,
    /// The seed.
    pub seed: u64,
    /// The device kind.
    pub device: String,
    /// The fine device class.
    pub device_class: String,
    /// Rows and stages computed side by side.
    pub jobs: usize,
    /// `--set` texts.
    pub set: Vec<String>,
    /// `--profile` names.
    pub profiles: Vec<String>,
    /// The fingerprint of all of the binary's code.
    pub code: Digest,
    /// Program, host, repository.
    pub surroundings: Surroundings,
    /// The manifest's inputs that do not lie in the project, or that links lead away from where they are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// The merged manifest with variables replaced.
    pub manifest_resolved: Value,
}

/// What became of a stage instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceStatus {
    /// Computed in this run.
    Executed,
    /// Its result was known.
    Cached,
    /// It failed.
    Failed,
    /// It was not reached.
    Skipped,
}

/// One stage instance of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Its name with the foreach values.
    pub label: String,
    /// Its stage.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Its foreach values.
    pub selector: Selector,
    /// What became of it.
    pub status: InstanceStatus,
    /// Its fingerprint; the preimage is stored under it.
    pub fingerprint: Option<Digest>,
    /// Where the values of its preimage came from in this run, by name; those that are not listed are defaults.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
    /// The listing of its items' keys, a blob.
    pub items: Option<Digest>,
    /// What it was computed on now, if its kind computes on devices: `cpu` or `cuda:N`.
    #[serde(default)]
    pub device: Option<String>,
    /// Its outputs.
    pub outputs: BTreeMap<String, ArtifactRef>,
    /// The run that computed it.
    pub from_run: Option<String>,
    /// Items computed now.
    pub items_executed: usize,
    /// Items whose results were known.
    pub items_cached: usize,
    /// Time taken.
    pub seconds: f64,
    /// The most memory the process had taken when the instance ended, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Its log, relative to the run's folder.
    pub log: Option<PathBuf>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
enum Line {
    Run(Box<RunHeader>),
    Instance(Box<InstanceRecord>),
    Finished { summary: Value },
}

/// Writes a run's record.
pub(crate) struct RecordWriter {
    pub(crate) run: String,
    pub(crate) folder: PathBuf,
    file: Mutex<File>,
}

impl RecordWriter {
    /// Makes the folder of a new run, named by the time and a random ending.
    pub(crate) fn create(store: &Store) -> Result<Self, Error> {
        let runs = store.runs();
        create_folder(&runs)?;
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
        let path = folder.join("record.jsonl");
        let file = create_to_append(&path).map_err(Error::io("write", &path))?;
        Ok(Self { run, folder, file: Mutex::new(file) })
    }

    pub(crate) fn header(&self, header: RunHeader) -> Result<(), Error> {
        self.line(&Line::Run(Box::new(header)))
    }

    pub(crate) fn instance(&self, record: InstanceRecord) -> Result<(), Error> {
        self.line(&Line::Instance(Box::new(record)))
    }

    pub(crate) fn finished(&self, summary: &Summary) -> Result<(), Error> {
        self.line(&Line::Finished { summary: serde_json::to_value(summary).unwrap_or(Value::Null) })
    }

    fn line(&self, line: &Line) -> Result<(), Error> {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        append(&file, &bytes).map_err(Error::io("write the record of", &self.folder))
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
        .filter(|entry| entry.path().join("record.jsonl").is_file())
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
    read_record(&store.runs().join(id))
}

fn read_record(folder: &Path) -> Result<RunRecord, RecordError> {
    let path = folder.join("record.jsonl");
    let unreadable = |problem: String| RecordError::Unreadable { path: path.clone(), problem };
    let text = fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let mut lines = text.lines().map(serde_json::from_str::<Line>);
    let header = match lines.next() {
        Some(Ok(Line::Run(header))) => *header,
        _ => return Err(unreadable("its first line is not a run header".to_string())),
    };
    let mut record = RunRecord { header, instances: Vec::new(), summary: None, folder: folder.to_path_buf() };
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
            Line::Finished { summary } => record.summary = Some(summary),
        }
    }
    Ok(record)
}

/// A time as `2026-01-31T23:59:59Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, counting years from March so that the leap day comes last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The most memory this process has taken so far, where the system tells.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_civil_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
