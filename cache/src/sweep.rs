//! Removing what nobody wants to keep, beside processes that use the store; pins; counting what there is.
//!
//! Results go before the blobs that they tell of. What has been written or used lately is left alone, for a running
//! process may be about to tell of it. A process that misses something all the same computes it again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::atomic::{WRITING, write_atomically};
use crate::error::{Error, Result};
use crate::listing::entries;
use crate::{Digest, Store, check_name};

/// What is to stay.
pub struct Keep<'a> {
    /// Blobs.
    pub blob: &'a dyn Fn(Digest) -> bool,
    /// Results, by fingerprint.
    pub result: &'a dyn Fn(Digest) -> bool,
    /// Software, by when it was last used.
    pub environment: &'a dyn Fn(SystemTime) -> bool,
    /// What is younger stays, too.
    pub grace: Duration,
}

/// What a sweep removed, or would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Results.
    pub results: u64,
    /// States of unfinished work.
    pub resume_points: u64,
    /// Folders of software.
    pub environments: u64,
}

/// What is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Blobs in packs, and their bytes.
    pub packed: (u64, u64),
    /// Blobs that are files, and their bytes.
    pub files: (u64, u64),
    /// Fingerprints with results.
    pub results: u64,
    /// States of unfinished work.
    pub resume_points: u64,
    /// Damaged blobs that were set aside.
    pub damaged: u64,
    /// Claims of running processes, and of ones that have ended.
    pub claims: u64,
    /// Pins.
    pub pins: u64,
}

impl Store {
    /// Removes what is not to be kept; with `dry`, only counts it.
    ///
    /// # Errors
    /// [`Error::Io`] when something cannot be read or removed.
    pub fn sweep(&self, keep: &Keep<'_>, dry: bool) -> Result<Swept> {
        let is_old = |path: &Path| is_older(path, keep.grace);
        let mut swept = Swept::default();
        let (results, told) = self.sweep_results(keep.result, &is_old, dry)?;
        swept.results = results;
        let is_kept = |digest| (keep.blob)(digest) || told.contains(&digest);
        for path in entries(&self.root().join("resume")) {
            if is_older(&path, keep.grace.max(UNFINISHED)) {
                swept.resume_points += 1;
                remove(&path, dry)?;
            }
        }
        let mut dead = Vec::new();
        self.list_files(|digest, path| {
            if !is_kept(digest) && is_old(path) {
                dead.push(path.to_path_buf());
            }
        })?;
        dead.extend(entries(&self.root().join("damaged")).into_iter().filter(|path| is_old(path)));
        for path in dead {
            swept.blobs += 1;
            swept.bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            remove(&path, dry)?;
        }
        if !dry {
            remove_unfinished(self.root(), 0);
        }
        let (blobs, bytes) = self.packs().retain(&is_kept, &is_old, dry)?;
        swept.blobs += blobs;
        swept.bytes += bytes;
        let is_kept = |used| (keep.environment)(used) || !is_past(used, keep.grace);
        let (environments, bytes) = self.environments().sweep(&is_kept, dry)?;
        swept.environments = environments;
        swept.bytes += bytes;
        Ok(swept)
    }

    /// Counts what is there.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn contents(&self) -> Result<Contents> {
        let packed = self.packs().list()?;
        let mut files = (0, 0);
        self.list_files(|_, path| {
            files.0 += 1;
            files.1 += fs::metadata(path).map_or(0, |metadata| metadata.len());
        })?;
        let count = |folder: &str| entries(&self.root().join(folder)).len() as u64;
        Ok(Contents {
            packed: (packed.len() as u64, packed.values().sum()),
            files,
            results: self.count_results()?,
            resume_points: count("resume"),
            damaged: count("damaged"),
            claims: count("claims"),
            pins: count("pins"),
        })
    }

    /// Keeps what a name stands for from being removed; what names mean is not known here.
    ///
    /// # Errors
    /// [`Error::Name`] for what cannot be a file's name, [`Error::Io`] when it cannot be written.
    pub fn pin(&self, name: &str) -> Result<()> {
        write_atomically(&self.pin_path(name)?, b"pipe-pin 1\n")
    }

    /// Takes a pin away; says whether it was there.
    ///
    /// # Errors
    /// As [`Store::pin`].
    pub fn unpin(&self, name: &str) -> Result<bool> {
        let path = self.pin_path(name)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", &path)(error)),
        }
    }

    /// All pins.
    ///
    /// # Errors
    /// [`Error::Io`] when they are there and cannot be read.
    pub fn pins(&self) -> Result<BTreeSet<String>> {
        let folder = self.root().join("pins");
        let failed = || Error::io("read", &folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed()(error)),
        };
        let mut pins = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(failed())?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                pins.insert(name);
            }
        }
        Ok(pins)
    }

    fn pin_path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        if name.contains('/') {
            return Err(Error::Name { name: name.to_owned(), problem: "it holds a slash" });
        }
        Ok(self.root().join("pins").join(name))
    }
}

/// Removes files that processes were writing when they were killed, a day later.
fn remove_unfinished(folder: &Path, depth: usize) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_others = path.ends_with("runs") || path.ends_with("environments");
        if is_folder && depth < 4 && !is_others {
            remove_unfinished(&path, depth + 1);
        } else if entry.file_name().to_string_lossy().starts_with(WRITING) && is_older(&path, DAY) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Unfinished work is kept for so long at least.
const UNFINISHED: Duration = Duration::from_secs(7 * 24 * 3600);

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| is_past(time, age))
}

fn is_past(time: SystemTime, age: Duration) -> bool {
    SystemTime::now().duration_since(time).is_ok_and(|found| found >= age)
}

fn remove(path: &Path, dry: bool) -> Result<()> {
    if dry { Ok(()) } else { fs::remove_file(path).or_else(absent).map_err(Error::io("remove", path)) }
}

/// What another process has removed is removed.
pub(crate) fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_or_young_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (kept, dead) = (store.put(&[1; 99_999]).unwrap(), store.put(&[2; 99_999]).unwrap());
        let is_kept = |digest| digest == kept;
        let keep = |grace| Keep { blob: &is_kept, result: &|_| true, environment: &|_| true, grace };
        let day = Duration::from_secs(86_400);
        assert_eq!(store.sweep(&keep(day), false).unwrap(), Swept::default());
        let expected = Swept { blobs: 1, bytes: 99_999, ..Swept::default() };
        assert_eq!(store.sweep(&keep(Duration::ZERO), true).unwrap(), expected);
        assert!(store.contains(dead));
        assert_eq!(store.sweep(&keep(Duration::ZERO), false).unwrap(), expected);
        assert!(store.contains(kept) && !store.contains(dead));
        assert_eq!(store.contents().unwrap().files, (1, 99_999));
    }

    #[test]
    fn what_was_being_written_long_ago_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let [old, young] = ["old", "young"].map(|name| folder.path().join(format!("{WRITING}{name}")));
        let two_days_ago = SystemTime::now() - Duration::from_secs(48 * 3600);
        fs::File::create(&old).unwrap().set_modified(two_days_ago).unwrap();
        fs::File::create(&young).unwrap();
        let keep = Keep { blob: &|_| true, result: &|_| true, environment: &|_| true, grace: Duration::ZERO };
        store.sweep(&keep, false).unwrap();
        assert!(!old.exists() && young.exists());
    }

    #[test]
    fn pins_are_names_and_no_paths() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.pin("20260101-run").unwrap();
        assert_eq!(store.pins().unwrap().into_iter().collect::<Vec<_>>(), ["20260101-run"]);
        assert!(store.unpin("20260101-run").unwrap() && !store.unpin("20260101-run").unwrap());
        for name in ["../x", "a/b", "", ".."] {
            assert!(matches!(store.pin(name), Err(Error::Name { .. })), "{name}");
        }
    }
}
