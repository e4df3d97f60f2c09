//! The store's folder: opening it, and places for what is in the making.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tempfile::TempDir;

use crate::Digest;
use crate::atomic::{create_folder, share_all, write_atomically};
use crate::blobs::packs::Packs;
use crate::claims::Claims;
use crate::environments::Environments;
use crate::error::{Error, Result};
use crate::owner::{host_name, is_gone};
use crate::results::Results;

/// The version of the on-disk format that this crate writes; see `FORMAT.md`.
pub const FORMAT_VERSION: u32 = 3;

const FORMAT_PREFIX: &str = "pipe-cache ";

/// A blob that was found damaged and set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The digest that the blob should have had.
    pub digest: Digest,
    /// Where its bytes are kept for inspection.
    pub aside: PathBuf,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Another store, which is only read: blobs that this one lacks are looked for there.
    pub(crate) under: Option<Arc<Store>>,
    /// Blobs whose bytes this process has compared with their digest.
    pub(crate) verified: Mutex<HashSet<Digest>>,
    pub(crate) repairs: Mutex<Vec<Repair>>,
    packs: Packs,
    results: Results,
    claims: Claims,
    environments: Environments,
    /// The blobs' last stat signature, and when it was made.
    pub(crate) last_signature: Mutex<Option<(Instant, Option<Digest>)>>,
}

impl Store {
    /// Opens the store in `root`, making it when there is none.
    ///
    /// # Errors
    /// [`Error::Format`] when a newer program wrote it, [`Error::Io`] when it cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("format");
        let found = match crate::io::read(&path) {
            Ok(bytes) => format_version(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        match found {
            Some(FORMAT_VERSION) => {}
            Some(version) if version > FORMAT_VERSION => {
                let path = root.to_path_buf();
                return Err(Error::Format { path, found: version, known: FORMAT_VERSION });
            }
            // Of a former version: results are taken over, if it can be written.
            Some(_) => drop(write_atomically(&path, format_line(FORMAT_VERSION).as_bytes())),
            // New, or damaged.
            None => write_atomically(&path, format_line(FORMAT_VERSION).as_bytes())?,
        }
        let root = fs::canonicalize(root).map_err(Error::io("open", root))?;
        let environments = Environments::new(&root.join("environments"));
        let packs = Packs::new(root.join("packs"));
        let results = Results::new(root.join("results"));
        let store = Self {
            root,
            under: None,
            verified: Mutex::default(),
            repairs: Mutex::default(),
            packs,
            results,
            claims: Claims::default(),
            environments,
            last_signature: Mutex::default(),
        };
        store.sweep_staging();
        store.take_over_results()?;
        Ok(store)
    }

    /// Opens the store in `root`, making it when there is none. Blobs that it lacks are read from the store `under` it, to which
    /// nothing is written. Results and items are its own.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn over(root: &Path, under: &Arc<Self>) -> Result<Self> {
        Ok(Self { under: Some(Arc::clone(under)), ..Self::open(root)? })
    }

    /// Opens the store in `root` when there is one.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_existing(root: &Path) -> Result<Option<Self>> {
        if root.join("format").exists() { Self::open(root).map(Some) } else { Ok(None) }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn packs(&self) -> &Packs {
        &self.packs
    }

    pub(crate) fn result_journal(&self) -> &Results {
        &self.results
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The folder in which run records are kept.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Software that stages have had made for them. A store over another one uses that one's.
    pub fn environments(&self) -> &Environments {
        match &self.under {
            Some(under) => under.environments(),
            None => &self.environments,
        }
    }

    /// Lets the group of the store's folder read and write it, now and later.
    ///
    /// # Errors
    /// [`Error::Io`] when a file's rights cannot be changed, above all one of another user's.
    pub fn share(&self) -> Result<()> {
        share_all(&self.root)
    }

    /// A private folder on the store's own file system, removed when dropped.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn staging(&self) -> Result<TempDir> {
        let folder = self.staging_root();
        create_folder(&folder)?;
        tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .tempdir_in(&folder)
            .map_err(Error::io("make a folder in", &folder))
    }

    fn staging_root(&self) -> PathBuf {
        self.root.join("tmp").join(host_name())
    }

    /// Removes what killed processes of this host left in the staging folder.
    fn sweep_staging(&self) {
        for entry in fs::read_dir(self.staging_root()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.split('-').next()?.parse().ok());
            if process.is_some_and(is_gone) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The line of a version, with a check that tells a newer version from a damaged file.
fn format_line(version: u32) -> String {
    let version = format!("{FORMAT_PREFIX}{version}");
    format!("{version} {}\n", Digest::of(version.as_bytes()).short())
}

/// The version that a format file tells; `None` when it is damaged.
fn format_version(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (version, _) = text.strip_prefix(FORMAT_PREFIX)?.split_once([' ', '\n'])?;
    let version = version.parse().ok()?;
    let is_whole = text == format_line(version) || text == format!("{FORMAT_PREFIX}1\n");
    is_whole.then_some(version)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        (folder, store)
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), format_line(FORMAT_VERSION + 1)).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
        for older_or_damaged in
            ["pipe-cache 1\n", &format_line(2), "pipe-cache 4 0123\n", "pipf-cache 2", "", "pipe-cache 4\n"]
        {
            fs::write(folder.path().join("format"), older_or_damaged).unwrap();
            Store::open(folder.path()).unwrap();
            let text = fs::read_to_string(folder.path().join("format")).unwrap();
            assert_eq!(text, format_line(FORMAT_VERSION));
        }
    }

    #[test]
    fn a_store_over_another_reads_its_blobs_and_writes_none() {
        let (_folder, under) = store();
        let (small, large) = (vec![1; 10], vec![2; 100_000]);
        let digests = [under.put(&small).unwrap(), under.put(&large).unwrap()];
        let before = under.blobs().unwrap();
        let under = std::sync::Arc::new(under);
        let folder = tempfile::tempdir().unwrap();
        let over = Store::over(folder.path(), &under).unwrap();
        assert!(digests.iter().all(|digest| over.contains(*digest)));
        assert!(over.contains_all(digests).unwrap());
        assert_eq!([over.read(digests[0]).unwrap(), over.read(digests[1]).unwrap()], [small, large.clone()]);
        for digest in digests {
            let path = over.verified_path(digest).unwrap();
            assert_eq!(Digest::of(&fs::read(path).unwrap()), digest);
        }
        let own = over.put(b"own").unwrap();
        assert!(over.contains(own) && !under.contains(own));
        assert_eq!(under.blobs().unwrap(), before);
        let lost = Digest::of(b"lost");
        assert!(matches!(over.read(lost), Err(Error::Missing { .. })));
        assert!(matches!(over.verified_path(lost), Err(Error::Missing { .. })));
    }

    #[test]
    fn staging_of_dead_processes_is_swept() {
        let (folder, store) = store();
        let stale = store.staging_root().join("4294967294-stale");
        fs::create_dir_all(&stale).unwrap();
        let own = store.staging().unwrap();
        drop(Store::open(&folder.path().join(".pipe")).unwrap());
        assert!(!stale.exists());
        assert!(own.path().exists());
    }
}
