//! De-identification: a run as a store of its own in which no patient, path or person is named, and no digest confirms a guess.
//!
//! Packs and exports of such a store are made as of any other. Names and digests in it are keyed hashes, and what is made of them
//! is made anew, from fingerprints to seals: so an audit checks it as it checks what it stands for. Whoever has the
//! key and the cache makes the same bytes again, which shows that a pack is of that run.
//!
//! `words` says which words stay, `artifacts` and `results` which bytes; `records` names every field of what is kept of a run.

mod artifacts;
mod key;
mod records;
mod results;
mod vocabulary;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use pipe_cache::{Digest, Store};
use serde_json::Value;
use tempfile::TempDir;

use self::artifacts::Artifacts;
pub use self::key::Key;
use self::records::{Records, summary};
use self::words::Words;
use crate::record::{
    InstanceRecord, RecordError, RunAndHead, RunHead, Runs, read_manifest, read_run, write_record,
};
use crate::registry::Registry;

/// A run without what could identify anybody.
pub struct DeIdentified {
    /// A store with it.
    pub store: Arc<Store>,
    /// The run's id, which stays.
    pub run: String,
    _folder: TempDir,
}

/// Why a run cannot be de-identified.
#[derive(Debug, thiserror::Error)]
pub enum DeidentifyError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] pipe_cache::Error),
    /// The record's reason.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The key cannot be used.
    #[error("the key {} cannot be used: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What an instance's fingerprint was made of is not kept.
    #[error("what the fingerprint of {instance} was made of is not kept, or damaged")]
    Preimage {
        /// The instance.
        instance: String,
    },
    /// A listing of items cannot be read.
    #[error("the listing of items {digest} cannot be read")]
    Listing {
        /// Its digest.
        digest: Digest,
    },
    /// The run is de-identified already.
    #[error("run {run} is de-identified already")]
    Already {
        /// The run.
        run: String,
    },
}

/// Makes a run's de-identified store in a temporary folder. It holds the run's record and, of the records of the runs that
/// computed its results, the instances that did.
///
/// # Errors
/// What cannot be read or written; results and listings that are lost.
pub fn deidentify(
    store: &Store,
    run: &str,
    key: &Key,
    registry: &Registry,
) -> Result<DeIdentified, DeidentifyError> {
    let recorded = read_run(store, run)?;
    let id = recorded.head.header.run.clone();
    if recorded.head.header.de_identified {
        return Err(DeidentifyError::Already { run: id });
    }
    let mut told = makers(store, &id, &recorded.instances)?;
    told.push(Told::of(recorded.head, recorded.instances)?);
    let folder =
        tempfile::tempdir().map_err(pipe_cache::Error::io("make a folder in", &std::env::temp_dir()))?;
    let to = Arc::new(Store::open(&folder.path().join("cache"))?);
    let mut words = Words::new(key, registry);
    told.iter().for_each(|one| words.add_manifest(&one.manifest));
    let artifacts = Artifacts::new((store, &to), key, &words);
    let mut records = Records::new(artifacts, registry);
    for one in &told {
        records.add_outputs(&one.instances)?;
    }
    for instance in told.iter().flat_map(|one| &one.instances) {
        records.add_result(instance)?;
    }
    told.sort_by_key(|one| (one.head.header.sequence, one.head.header.run.clone()));
    let mut heads: BTreeMap<String, Digest> = BTreeMap::new();
    for Told { head, manifest, instances } in &told {
        let mut header = records.header(&head.header);
        let seen = head.header.after.iter().filter_map(|seen| Some((&seen.run, *heads.get(&seen.run)?)));
        header.after = seen.map(|(run, head)| RunAndHead { run: run.clone(), head }).collect();
        let instances: Vec<InstanceRecord> = instances.iter().map(|one| records.instance(one)).collect();
        let ended = head.summary.as_ref().map(summary);
        let head = write_record(&to, &header, &words.manifest(manifest), instances, ended)?;
        heads.insert(header.run, head);
    }
    Ok(DeIdentified { store: to, run: id, _folder: folder })
}

/// What is told of a run.
struct Told {
    head: RunHead,
    manifest: Value,
    instances: Vec<InstanceRecord>,
}

impl Told {
    fn of(head: RunHead, instances: Vec<InstanceRecord>) -> Result<Self, RecordError> {
        let manifest = read_manifest(&head)?;
        Ok(Self { head, manifest, instances })
    }
}

/// The other runs that computed results of a run, as far as they are there, each with the instances that did.
fn makers(store: &Store, run: &str, instances: &[InstanceRecord]) -> Result<Vec<Told>, DeidentifyError> {
    let runs = Runs::of(store)?;
    let others = instances.iter().filter_map(|one| one.from_run.as_deref());
    let others: BTreeSet<&str> = others.filter(|maker| *maker != run).collect();
    let mut told = Vec::new();
    for maker in others {
        let Some(record) = runs.get(maker) else { continue };
        let of_maker = instances.iter().filter(|one| one.from_run.as_deref() == Some(maker));
        let computed = of_maker.filter_map(|one| record.computed(one.fingerprint?)).cloned();
        told.push(Told::of(record.head.clone(), computed.collect())?);
    }
    Ok(told)
}
