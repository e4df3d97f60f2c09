//! Audits: whether what a run tells hangs together, from published files down to inputs, and whether inputs still are what
//! they were. Nothing is believed that can be hashed, and nothing is changed.
//!
//! Where to look is found in `target`; `chain` looks at records, `bytes` at blobs, `results` at fingerprints, `inputs` at
//! what instances are given, `published` at folders. `replay` computes again, and `compare` says where that differs. What is
//! found is a value; how it is told is not known here.

mod bytes;
mod chain;
mod compare;
mod finding;
mod inputs;
mod level;
mod links;
mod published;
mod replay;
mod results;
mod target;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pipe_cache::{Digest, Error, Store};
use serde::Serialize;
use serde_json::Value;

pub use self::compare::Difference;
pub use self::finding::{Finding, Note};
use self::inputs::ByLabel;
pub use self::level::Level;
use self::published::Folders;
pub use self::replay::{Outcome, Replay, Replayed, ReplayedInstance, Sample, replay};
pub use self::target::{Target, TargetError, find};
use crate::context::Devices;
use crate::manifest::{ManifestError, Pipeline, recorded_pipeline};
use crate::record::{
    AllowedSigners, InstanceRecord, RecordError, RunHead, RunRecord, RunState, read_manifest, read_run,
};
use crate::registry::Registry;
use crate::session::Session;

/// What an audit came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// The run.
    pub run: String,
    /// What its record is.
    pub record: RecordFacts,
    /// Whose signatures it has, of those that count.
    pub signed_by: Vec<String>,
    /// How much was looked at.
    pub checked: Checked,
    /// What is not as it has to be, or not as it was.
    pub findings: Vec<Finding>,
    /// What to know besides.
    pub notes: Vec<Note>,
    /// The cache whose run was compared with a de-identified pack, and gave the same bytes.
    pub same_as_in: Option<PathBuf>,
    /// What was computed again, if that was asked for.
    pub replayed: Option<Replayed>,
    /// Whether the record is de-identified.
    #[serde(skip)]
    is_de_identified: bool,
    /// Kinds whose code in this program is not the run's.
    #[serde(skip)]
    other_code: BTreeSet<String>,
    /// Instances that are not given what they were given then.
    #[serde(skip)]
    drifted: BTreeSet<String>,
}

impl Audit {
    /// Whether the record is de-identified.
    pub fn is_de_identified(&self) -> bool {
        self.is_de_identified
    }

    /// What it shows.
    pub fn level(&self) -> Level {
        match (self.findings.len(), &self.replayed) {
            (0, None) if self.is_de_identified => Level::DeIdentified { same_as_in: self.same_as_in.clone() },
            (0, None) if !self.signed_by.is_empty() => Level::Signed { by: self.signed_by.clone() },
            (0, None) => Level::Consistent,
            (0, Some(replayed)) => Level::of_replayed(replayed),
            (findings, _) => Level::None { findings },
        }
    }
}

/// What is known of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordFacts {
    /// Lines whose seals are right.
    pub lines: usize,
    /// The seal of the last line: whoever notes it can tell later whether the record was written anew.
    pub head: Option<Digest>,
    /// How many later runs have seen it.
    pub seen_by: usize,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Instances with results.
    pub instances: usize,
    /// Instances whose inputs were hashed anew and compared.
    pub bound: usize,
    /// Blobs whose bytes have their digests.
    pub blobs: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Published files.
    pub published: usize,
}

/// A run that is to be audited, as its record tells it.
pub struct Recorded {
    pub(crate) run: RunRecord,
    pub(crate) manifest: Value,
}

impl Recorded {
    /// Reads a run.
    ///
    /// # Errors
    /// When there is no such run, or its record cannot be read.
    pub fn read(store: &Store, run: &str) -> Result<Self, RecordError> {
        let run = read_run(store, run)?;
        let manifest = read_manifest(&run.head)?;
        Ok(Self { run, manifest })
    }

    /// Whether names and digests in it are keyed hashes: then nothing can be compared with inputs, and nothing computed.
    pub fn is_de_identified(&self) -> bool {
        self.run.head.header.de_identified
    }

    /// The sort of device that it computed on.
    pub fn device(&self) -> &str {
        &self.run.head.header.device
    }

    /// Devices of that sort, by which fingerprints are made. Nothing can be computed on them.
    pub fn devices(&self) -> Devices {
        if self.device() == "cuda" { Devices::Cuda(vec![0]) } else { Devices::Cpu }
    }

    /// The beginning and the end of its record.
    pub fn head(&self) -> &RunHead {
        &self.run.head
    }

    /// The pipeline that it ran, as far as this program's kinds can follow it. Paths are read against `root`, or else where
    /// they were then; a project that was moved is looked for around its cache.
    ///
    /// # Errors
    /// What this program does not understand.
    pub fn pipeline(
        &self,
        store: &Store,
        root: Option<&Path>,
        registry: &Registry,
    ) -> Result<Pipeline, ManifestError> {
        let header = &self.run.head.header;
        let around = || store.root().parent().unwrap_or(store.root()).to_path_buf();
        let then = header.root.clone().filter(|root| root.is_dir());
        let root = root.map(Path::to_path_buf).or(then).unwrap_or_else(around);
        recorded_pipeline(header, &self.manifest, &root, registry)
    }
}

/// What an audit is asked to look at.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What the run is audited for; all of it if nothing is named.
    pub target: Target,
    /// The head of a record that somebody noted before.
    pub head: Option<Digest>,
    /// Whether the store holds a pack: then other runs and many blobs are not in it, and inputs perhaps elsewhere.
    pub is_pack: bool,
    /// People of whom one has to have signed the record.
    pub signers: Option<AllowedSigners>,
}

/// Audits a run whose record can be read.
///
/// # Errors
/// When the store cannot be read.
pub fn audit(
    session: &Session<'_>,
    recorded: &Recorded,
    pipeline: Result<&Pipeline, &ManifestError>,
    asked: &Asked,
) -> Result<Audit, RecordError> {
    let store = &*session.store;
    let (run, all) = (&recorded.run, &recorded.run.instances);
    let scope = asked.target.scope(all);
    let mut audit = Audit { run: run.head.header.run.clone(), ..Audit::default() };
    note_state(run, &mut audit);
    let in_scope: Vec<&InstanceRecord> =
        all.iter().filter(|one| scope.contains(one.label.as_str())).collect();
    let with_result: Vec<&InstanceRecord> = in_scope.iter().copied().filter(|one| one.has_result()).collect();
    let makers = results::check_makers(store, &audit.run.clone(), &with_result, &mut audit)?;
    chain::check(store, (&run.head, &makers), asked, &mut audit)?;
    chain::check_files(&run.head, &in_scope, &mut audit);
    bytes::check(store, &with_result, asked.is_pack, &mut audit);
    let preimages = results::check(store, &with_result, &mut audit)?;
    match pipeline {
        _ if recorded.is_de_identified() => {
            links::check((store, session.registry), &in_scope, &preimages, &mut audit);
            audit.is_de_identified = true;
        }
        Err(error) => audit.findings.push(Finding::Manifest { problem: error.to_string() }),
        Ok(pipeline) => {
            note_root(store, pipeline, asked, &mut audit);
            let binder = session.binder(pipeline);
            let records: ByLabel<'_> = all.iter().map(|one| (one.label.as_str(), one)).collect();
            inputs::check(&binder, &records, &preimages, asked.is_pack, &mut audit);
            let folders = Folders { named: asked.target.folder(), file: asked.target.file() };
            if !asked.is_pack {
                published::check(&binder, &records, &scope, &folders, &mut audit);
            }
        }
    }
    note_surroundings(run, &mut audit);
    Ok(audit)
}

/// The labels of the instances whose inputs are what they were made of, looked at anew.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn unchanged(
    session: &Session<'_>,
    recorded: &Recorded,
    pipeline: &Pipeline,
) -> Result<BTreeSet<String>, Error> {
    let all = &recorded.run.instances;
    let with_result: Vec<&InstanceRecord> = all.iter().filter(|one| one.has_result()).collect();
    let mut audit = Audit::default();
    let preimages = results::check(&session.store, &with_result, &mut audit)?;
    let records: ByLabel<'_> = all.iter().map(|one| (one.label.as_str(), one)).collect();
    inputs::check(&session.binder(pipeline), &records, &preimages, false, &mut audit);
    Ok(preimages.into_keys().filter(|label| !audit.drifted.contains(label)).collect())
}

/// An audit of a run whose record cannot be read, which is all that can be said of it.
pub fn unreadable(run: &str, error: &RecordError) -> Audit {
    let finding = Finding::Unreadable { problem: error.to_string() };
    Audit { run: run.to_string(), findings: vec![finding], ..Audit::default() }
}

/// Tells where inputs are read, where that is not around the cache.
fn note_root(store: &Store, pipeline: &Pipeline, asked: &Asked, audit: &mut Audit) {
    let around = store.root().parent();
    if !asked.is_pack && around != Some(pipeline.root.as_path()) {
        audit.notes.push(Note::Elsewhere { root: pipeline.root.clone() });
    }
}

fn note_state(run: &RunRecord, audit: &mut Audit) {
    let state = run.head.state();
    let without_result = run.instances.iter().filter(|one| !one.has_result()).count();
    if state != RunState::Ok || without_result > 0 {
        audit.notes.push(Note::State { state: state.word(), without_result });
    }
    if let Some(line) = run.line_behind_end() {
        audit.findings.push(Finding::BehindEnd { path: run.head.path(), line });
    }
    // Where lines have seals, these tell more.
    if let Some(line) = run.damaged_line().filter(|_| run.head.header.version < chain::SEALED) {
        audit.findings.push(Finding::Line { path: run.head.path(), line });
    }
}

fn note_surroundings(run: &RunRecord, audit: &mut Audit) {
    let surroundings = &run.head.header.surroundings;
    if let Some(git) = surroundings.git.as_ref().filter(|git| git.modified) {
        audit.notes.push(Note::Modified { commit: git.commit.clone() });
    }
    if !audit.other_code.is_empty() {
        let kinds = audit.other_code.iter().cloned().collect();
        audit.notes.push(Note::OtherCode { kinds, program: surroundings.program.clone() });
    }
}
