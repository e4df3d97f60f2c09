//! What is to be audited: a run, or what a published folder or a file follows from.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use pipe_cache::{Digest, Error, Store};

use super::published::run_with;
use crate::explain::makers;
use crate::publish::Provenance;
use crate::record::{InstanceRecord, RecordError};

/// What of a run is audited.
#[derive(Clone, Debug, Default)]
pub enum Target {
    /// All of it.
    #[default]
    Run,
    /// What an instance's result follows from.
    Instance(String),
    /// What a published folder follows from.
    Published {
        /// The stage whose outputs are there.
        stage: String,
        /// The folder.
        folder: PathBuf,
        /// The only file in it that matters.
        file: Option<PathBuf>,
    },
}

/// Why nothing can be audited.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The store's reason, or a record's.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A folder says nothing of where it comes from.
    #[error("{} has no provenance.json that can be read: no run published it, or it was taken away", folder.display())]
    NoAccount {
        /// The folder.
        folder: PathBuf,
    },
    /// No run has the results that a folder tells of.
    #[error("{} tells of run {run}, which is not in {}", folder.display(), cache.display())]
    OtherCache {
        /// The folder.
        folder: PathBuf,
        /// The run.
        run: String,
        /// The cache that was looked at.
        cache: PathBuf,
    },
    /// Nothing gave a file's bytes.
    #[error("no result in {} holds the bytes of {} (blake3 {digest})", cache.display(), file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// Its digest.
        digest: Digest,
        /// The cache that was looked at.
        cache: PathBuf,
    },
}

/// The run that a file or folder follows from, and what of it matters.
///
/// # Errors
/// When nothing in the store gave it.
pub fn find(store: &Store, path: &Path) -> Result<(String, Target), TargetError> {
    if path.is_dir() {
        let account =
            Provenance::read(path).ok_or_else(|| TargetError::NoAccount { folder: path.to_path_buf() })?;
        return find_published(store, (path, None), &account);
    }
    for folder in path.ancestors().skip(1) {
        let Some(account) = Provenance::read(or_here(folder)) else { continue };
        let name = path.strip_prefix(folder).map(|name| name.to_string_lossy().into_owned());
        if name.is_ok_and(|name| account.files.iter().any(|file| file.name == name)) {
            return find_published(store, (or_here(folder), Some(path)), &account);
        }
    }
    let read = File::open(path).and_then(Digest::of_reader);
    let (digest, _) = read.map_err(Error::io("read", path)).map_err(RecordError::from)?;
    let traced = makers(store, digest, None)?;
    let made = traced.products.into_iter().rev().find_map(|product| Some((product.run, product.instance?)));
    match made {
        Some((run, instance)) => Ok((run, Target::Instance(instance))),
        None => {
            let (file, cache) = (path.to_path_buf(), store.root().to_path_buf());
            Err(TargetError::Unknown { file, digest, cache })
        }
    }
}

fn find_published(
    store: &Store,
    (folder, file): (&Path, Option<&Path>),
    account: &Provenance,
) -> Result<(String, Target), TargetError> {
    let (folder, file) = (folder.to_path_buf(), file.map(Path::to_path_buf));
    match run_with(store, account) {
        Some(run) => Ok((run, Target::Published { stage: account.stage.clone(), folder, file })),
        None => {
            let cache = store.root().to_path_buf();
            Err(TargetError::OtherCache { folder, run: account.run.clone(), cache })
        }
    }
}

/// A folder by a name that is not empty.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

impl Target {
    /// The labels of the instances that matter: those that are meant and all that they follow from.
    pub(super) fn scope<'a>(&self, instances: &'a [InstanceRecord]) -> BTreeSet<&'a str> {
        let is_meant = |one: &&InstanceRecord| match self {
            Self::Run => true,
            Self::Instance(label) => one.label == *label,
            Self::Published { stage, .. } => one.stage == *stage,
        };
        let by_label: HashMap<&str, &InstanceRecord> =
            instances.iter().map(|one| (one.label.as_str(), one)).collect();
        let mut scope = BTreeSet::new();
        let mut waiting: Vec<&InstanceRecord> = instances.iter().filter(is_meant).collect();
        while let Some(one) = waiting.pop() {
            if !scope.insert(one.label.as_str()) {
                continue;
            }
            waiting.extend(one.upstream().filter_map(|maker| by_label.get(maker).copied()));
        }
        scope
    }

    /// The folder that was named, and of which stage it is.
    pub(super) fn folder(&self) -> Option<(&str, &Path)> {
        match self {
            Self::Published { stage, folder, .. } => Some((stage, folder)),
            _ => None,
        }
    }

    /// The only published file that matters.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Published { file, .. } => file.as_deref(),
            _ => None,
        }
    }
}
