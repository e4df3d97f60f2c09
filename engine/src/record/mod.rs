//! The run record: an append-only account of what a run did, one JSON object a line.

mod head;
mod logs;
mod measures;
mod read;
mod runs;
mod seal;
mod signature;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pipe_cache::{ArtifactRef, Digest, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::head::{RunHead, RunState, read_head};
pub use self::logs::{LogFile, LogReader, is_running, logs};
pub(crate) use self::measures::utc;
pub(crate) use self::read::{FILE, Shared, read_own, read_shared};
pub use self::read::{RecordError, RunRecord, read_manifest, read_run, read_seals, run_ids};
pub(crate) use self::runs::{Run, Runs};
pub use self::seal::Sealed;
pub use self::signature::{AllowedSigners, NAMESPACE, SignatureError, SigningKey};
pub(crate) use self::signature::{Signed, SignedState, signatures};
pub use self::write::RecordEnder;
pub(crate) use self::write::{RecordWriter, write_record};
pub use crate::execute::Usage;
use crate::input::Selector;
use crate::job::Executed;
use crate::lineage::{Change, Given, ItemChanges, Preimage, Source};
use crate::manifest::{Instance, Origin, Pipeline};

/// The version of records that this program writes. Since version 3 each line has a [seal](Sealed). In version 1 the
/// manifest was a field of the header.
pub(crate) const VERSION: u32 = 3;

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
            // What is not UTF-8 is replaced: a record is JSON.
            let shown = |path: &Path| PathBuf::from(path.to_string_lossy().into_owned());
            let is_elsewhere = plain.as_ref() != Some(&leads_to);
            is_elsewhere.then(|| Self { given: shown(given), leads_to: shown(&leads_to) })
        };
        distinct.into_iter().filter_map(elsewhere).collect()
    }
}

/// A run and the seal that its record ended with at some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAndHead {
    /// The run's id.
    pub run: String,
    /// The seal of the last line.
    pub head: Digest,
}

/// The first line of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunHeader {
    /// The record format's version.
    pub version: u32,
    /// Its place in the order in which runs began, whatever clocks said; none in records of before there was one. Written
    /// near the beginning, where it is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The run's id.
    pub run: String,
    /// The process that writes the record, which it keeps touched while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The pipeline's name.
    pub pipeline: String,
    /// The manifest as it was given.
    pub manifest: PathBuf,
    /// The folder that the manifest's paths were read against; none in records of before version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// When the run began, UTC.
    pub started: String,
    /// The seed.
    pub seed: u64,
    /// Where it is written; none in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_origin: Option<String>,
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
    /// Stages and instances that were computed although their results were known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub force: Vec<String>,
    /// The fingerprint of all of the binary's code.
    pub code: Digest,
    /// The versions of the crates that its kinds use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crates: BTreeMap<String, String>,
    /// Program, host, repository.
    pub surroundings: Surroundings,
    /// The manifest's inputs that do not lie in the project, or that links lead away from where they are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// The latest runs when this one began, as far as their records went then: so a record that is cut short later, or taken
    /// away, is missed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<RunAndHead>,
    /// Whether names and digests are keyed hashes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub de_identified: bool,
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
    /// Where its parameters are written, by `param.NAME`; others are defaults, or filled in by an input.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
    /// What it was given; empty in records of before there was this list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Given>,
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
    /// When it began to be computed, and when it ended, UTC; none of what was known, and in records of before version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// See `began`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What it took of the machine.
    #[serde(flatten)]
    pub usage: Usage,
    /// Its log, relative to the run's folder.
    pub log: Option<PathBuf>,
    /// Its log and side files as they were when it ended, by their paths relative to the run's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, Digest>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// What whoever uses its result should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Numbers that tell of its result in brief.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scalars: BTreeMap<String, f64>,
}

impl InstanceRecord {
    /// Whether it has its result, computed now or known.
    pub fn has_result(&self) -> bool {
        matches!(self.status, InstanceStatus::Executed | InstanceStatus::Cached)
    }

    /// The instances that it takes inputs from, once for each output.
    pub(crate) fn upstream(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().flat_map(|given| &given.sources).filter_map(|source| match source {
            Source::Output { instance, .. } => Some(instance.as_str()),
            _ => None,
        })
    }

    /// What decides its result, where that is kept and can be read.
    pub fn preimage(&self, store: &Store) -> Option<Preimage> {
        Preimage::kept(store, self.fingerprint?)
    }

    /// What decides its result and has changed since an earlier record; `None` where too little is kept to tell.
    pub(crate) fn changes_since(&self, before: &Self, store: &Store) -> Option<Vec<Change>> {
        let changes = self.preimage(store)?.changes_since(&before.preimage(store)?);
        if !changes.is_empty() {
            return Some(changes);
        }
        let listing = |record: &Self| store.read(record.items?).ok();
        let items = ItemChanges::between(&listing(before)?, &listing(self)?);
        (!items.is_empty()).then(|| vec![Change::Items(items)])
    }

    /// Of an instance that was not reached.
    pub(crate) fn of(instance: &Instance, seconds: f64) -> Self {
        Self {
            label: instance.label.clone(),
            stage: instance.stage.clone(),
            kind: instance.kind.about().name.to_string(),
            selector: instance.selector.as_ref().clone(),
            status: InstanceStatus::Skipped,
            fingerprint: None,
            origins: BTreeMap::new(),
            inputs: Vec::new(),
            items: None,
            device: None,
            outputs: BTreeMap::new(),
            from_run: None,
            items_executed: 0,
            items_cached: 0,
            seconds,
            began: None,
            ended: None,
            usage: Usage::default(),
            log: None,
            files: BTreeMap::new(),
            error: None,
            warnings: Vec::new(),
            scalars: BTreeMap::new(),
        }
    }

    /// Of an instance that has no result, with what it was given.
    pub(crate) fn given(instance: &Instance, pipeline: &Pipeline, seconds: f64) -> Self {
        let origin = |(name, origin): (&String, &Origin)| (format!("param.{name}"), origin.to_string());
        Self {
            origins: instance.written().map(origin).collect(),
            inputs: Given::to(instance, pipeline),
            ..Self::of(instance, seconds)
        }
    }

    /// Of an instance that has its result.
    pub(crate) fn ended_well(
        instance: &Instance,
        pipeline: &Pipeline,
        executed: &Executed,
        seconds: f64,
    ) -> Self {
        Self {
            status: if executed.executed { InstanceStatus::Executed } else { InstanceStatus::Cached },
            fingerprint: Some(executed.done.fingerprint),
            items: executed.listing,
            device: executed.device.map(|device| device.to_string()),
            outputs: executed.done.outputs.clone(),
            from_run: Some(executed.done.run.clone()),
            items_executed: executed.items.executed,
            items_cached: executed.items.cached,
            warnings: executed.warnings.clone(),
            scalars: executed.scalars.clone(),
            ..Self::given(instance, pipeline, seconds)
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
enum Line {
    Run(Box<RunHeader>),
    /// The merged manifest with variables replaced. Headers are read without it.
    Manifest {
        resolved: Value,
    },
    Instance(Box<InstanceRecord>),
    /// Instances that were up to date before any work: a listing of lines as above, which other runs may share.
    Listing {
        digest: Digest,
        instances: usize,
    },
    /// In records of before there were listings: all instances are as a former run left them.
    Unchanged {
        since: String,
    },
    Finished {
        summary: Value,
    },
}
