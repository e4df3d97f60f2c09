//! Looking at a published folder: whether it holds what was published there. Nothing is written.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::{Digest, Error};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::folder::Set;
use super::provenance::{FILE, Provenance, PublishedFile};
use super::{Copy, CopyError};
use crate::bind::{Binder, Done};
use crate::manifest::Instance;
use crate::sha256::Hashing;

/// What of an account the run decides that published first, of several that give the same.
const OF_FIRST: [&str; 7] = ["manifest", "manifest_blake3", "pipeline", "profiles", "run", "seed", "set"];

/// Whether runs tell what an account says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// They are not in this cache.
    OfOtherCache,
}

/// How something published is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishedProblem {
    /// It is not there.
    Missing,
    /// Its bytes are not those that were published.
    Changed,
    /// It is there and was not published.
    Extra,
    /// `provenance.json` does not say what was published; these parts of it differ.
    Account(Vec<String>),
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for PublishedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is gone since it was published"),
            Self::Changed => f.write_str("has been changed since it was published"),
            Self::Extra => f.write_str("is there and was not published"),
            Self::Account(parts) => write!(f, "does not say what was published ({})", parts.join(", ")),
            Self::Unreadable(problem) => write!(f, "cannot be read: {problem}"),
        }
    }
}

/// How a published folder is.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Files that were looked at.
    pub(crate) files: usize,
    /// What is not as it was published.
    pub(crate) problems: Vec<(PathBuf, PublishedProblem)>,
    /// What the folder says of itself, if it is of other results than those that are looked for.
    pub(crate) of_other: Option<Provenance>,
    /// The run of another cache that published the same there.
    pub(crate) account_of_other_cache: Option<String>,
}

/// Looks at the folder that a stage's results were published to. `told` says whether runs tell what an account says of them.
pub(crate) fn look_at_published(
    binder: &Binder<'_>,
    (stage, folder): (&str, &Path),
    done: &[(&Instance, Arc<Done>)],
    told: &dyn Fn(&Provenance) -> Told,
) -> Result<Found, CopyError> {
    let set = Set::of(binder, stage, folder, done)?;
    let mut found = Found::default();
    if !folder.is_dir() {
        found.problems.push((folder.to_path_buf(), PublishedProblem::Missing));
        return Ok(found);
    }
    let path = folder.join(FILE);
    let bytes = fs::read(&path).ok();
    let account = Provenance::read(folder);
    if let Some(account) = account.as_ref().filter(|account| !account.is_of_instances(&set.about)) {
        found.of_other = Some(account.clone());
    }
    let looked: Vec<_> = set.copies.par_iter().map(look_at_file).collect();
    found.files = looked.len();
    let mut files = Vec::new();
    for (copy, looked) in set.copies.iter().zip(looked) {
        match looked {
            Ok((blake3, sha256)) if blake3 == copy.digest => {
                files.push(PublishedFile { name: set.name(&copy.to), bytes: copy.size, blake3, sha256 });
            }
            Ok(_) => found.problems.push((copy.to.clone(), PublishedProblem::Changed)),
            Err(problem) => found.problems.push((copy.to.clone(), problem)),
        }
    }
    let wanted: BTreeSet<&Path> =
        set.copies.iter().map(|copy| copy.to.as_path()).chain([path.as_path()]).collect();
    add_extra(folder, &wanted, &mut found)?;
    match (bytes, account) {
        (None, _) => found.problems.push((path, PublishedProblem::Missing)),
        (Some(_), None) => {
            found.problems.push((path, PublishedProblem::Account(vec!["its form".to_string()])));
        }
        (Some(bytes), Some(account)) => {
            let wanted = Provenance { files, ..set.about.clone() };
            let names = set.copies.iter().map(|copy| set.name(&copy.to)).collect();
            let is_of_these = account.is_of_instances(&set.about);
            let told = if is_of_these { told(&account) } else { Told::No };
            if told == Told::OfOtherCache {
                found.account_of_other_cache = Some(account.run.clone());
            }
            let parts = differing(&account, (&wanted, &names), &bytes, told);
            if !parts.is_empty() {
                found.problems.push((path, PublishedProblem::Account(parts)));
            }
        }
    }
    Ok(found)
}

/// A file's two digests.
fn look_at_file(copy: &Copy) -> Result<(Digest, String), PublishedProblem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => PublishedProblem::Missing,
        _ => PublishedProblem::Unreadable(error.to_string()),
    };
    if !fs::symlink_metadata(&copy.to).map_err(unreadable)?.is_file() {
        return Err(PublishedProblem::Changed);
    }
    let mut file = Hashing::new(File::open(&copy.to).map_err(unreadable)?);
    let (blake3, _) = Digest::of_reader(&mut file).map_err(unreadable)?;
    Ok((blake3, file.finish()))
}

/// Files that are in the folder and were not published.
fn add_extra(folder: &Path, wanted: &BTreeSet<&Path>, found: &mut Found) -> Result<(), CopyError> {
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        entries.push(entry.map_err(Error::io("read", folder))?.path());
    }
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            add_extra(&path, wanted, found)?;
        } else if !wanted.contains(path.as_path()) {
            found.problems.push((path, PublishedProblem::Extra));
        }
    }
    Ok(())
}

/// The parts of an account that are not as they have to be. `wanted` has the files that are as they were, `names` are those of
/// all.
fn differing(
    account: &Provenance,
    (wanted, names): (&Provenance, &BTreeSet<String>),
    bytes: &[u8],
    told: Told,
) -> Vec<String> {
    let fields = |one: &Provenance| match serde_json::to_value(one) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let [found, right] = [account, wanted].map(fields);
    let differs = |name: &&String| found.get(*name) != right.get(*name);
    let mut parts: Vec<String> = right.keys().filter(differs).cloned().collect();
    if told != Told::No {
        // Of instances only the runs that computed them can differ, which were looked at.
        parts.retain(|name| name != "instances" && !OF_FIRST.contains(&name.as_str()));
    }
    // Files that are not as they were are told themselves.
    let told: BTreeSet<String> = account.files.iter().map(|file| file.name.clone()).collect();
    if told == *names && wanted.files.iter().all(|file| account.files.contains(file)) {
        parts.retain(|name| name != "files");
    }
    if parts.is_empty() && account.to_bytes() != bytes {
        parts.push("its form".to_string());
    }
    parts
}
