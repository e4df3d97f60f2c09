//! The store's folder: opening it, and blobs in and out of it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{NamedTempFile, TempDir};

use crate::atomic::{create_folder, sync_folder, write_atomically};
use crate::error::{Error, Result};
use crate::owner::{host_name, is_gone};
use crate::{Digest, Index};

/// The version of the on-disk format that this crate writes; see `FORMAT.md`.
pub const FORMAT_VERSION: u32 = 1;

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
    /// Blobs whose bytes this process has compared with their digest.
    verified: Mutex<HashSet<Digest>>,
    repairs: Mutex<Vec<Repair>>,
}

impl Store {
    /// Opens the store in `root`, making it when there is none.
    ///
    /// # Errors
    /// [`Error::Format`] when a newer program wrote it, [`Error::Io`] when it cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("format");
        match fs::read_to_string(&path) {
            Ok(text) => check_format(root, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_atomically(&path, format!("{FORMAT_PREFIX}{FORMAT_VERSION}\n").as_bytes())?;
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        }
        let root = fs::canonicalize(root).map_err(Error::io("open", root))?;
        let store = Self { root, verified: Mutex::default(), repairs: Mutex::default() };
        store.sweep_staging();
        Ok(store)
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

    /// The folder in which run records are kept.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Stores bytes and returns their digest.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(digest);
        if !self.holds_size(&path, bytes.len() as u64) {
            let folder = self.blob_folder(digest)?;
            let mut file = NamedTempFile::with_prefix_in(".writing-", &folder)
                .map_err(Error::io("write in", &folder))?;
            file.write_all(bytes).map_err(Error::io("write", &path))?;
            file.as_file().sync_data().map_err(Error::io("sync", &path))?;
            file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
            sync_folder(&folder);
        }
        Ok(digest)
    }

    /// Moves a finished file of the store's staging folder in; returns its digest and size.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or moved.
    pub fn adopt(&self, file: &Path) -> Result<(Digest, u64)> {
        let handle = File::open(file).map_err(Error::io("read", file))?;
        let (digest, size) = Digest::of_reader(&handle).map_err(Error::io("read", file))?;
        let path = self.blob_path(digest);
        if self.holds_size(&path, size) {
            fs::remove_file(file).map_err(Error::io("remove", file))?;
        } else {
            handle.sync_data().map_err(Error::io("sync", file))?;
            let folder = self.blob_folder(digest)?;
            fs::rename(file, &path).map_err(Error::io("move into the cache", file))?;
            sync_folder(&folder);
        }
        Ok((digest, size))
    }

    /// Whether a blob of that digest is there; its bytes are compared only when they are read.
    pub fn contains(&self, digest: Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// A blob's bytes, compared with its digest.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`] (the blob is then set aside), or [`Error::Io`].
    pub fn read(&self, digest: Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).map_err(|error| read_error(digest, &path, error))?;
        if Digest::of(&bytes) != digest {
            return Err(self.set_aside(digest));
        }
        Ok(bytes)
    }

    /// The path of a blob whose bytes this process has compared with its digest.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn verified_path(&self, digest: Digest) -> Result<PathBuf> {
        let path = self.blob_path(digest);
        let seen = self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest);
        if seen && path.is_file() {
            return Ok(path);
        }
        let file = File::open(&path).map_err(|error| read_error(digest, &path, error))?;
        let (found, _) = Digest::of_reader(file).map_err(Error::io("read", &path))?;
        if found != digest {
            return Err(self.set_aside(digest));
        }
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        Ok(path)
    }

    /// An artifact's index.
    ///
    /// # Errors
    /// As [`Store::read`], and [`Error::Invalid`] when the blob is no index.
    pub fn index(&self, digest: Digest) -> Result<Index> {
        Index::from_bytes(&self.read(digest)?)
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

    /// The blobs that this process found damaged so far; asking empties the list.
    pub fn take_repairs(&self) -> Vec<Repair> {
        std::mem::take(&mut *self.repairs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves a damaged blob out of the way, so that computing it again writes it anew.
    fn set_aside(&self, digest: Digest) -> Error {
        let folder = self.root.join("damaged");
        let aside = folder.join(digest.to_string());
        let path = self.blob_path(digest);
        let moved = create_folder(&folder)
            .and_then(|()| fs::rename(&path, &aside).map_err(Error::io("set aside the damaged blob", &path)));
        match moved {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Error::Missing { digest }
            }
            Err(error) => error,
            Ok(()) => {
                let repair = Repair { digest, aside: aside.clone() };
                self.repairs.lock().unwrap_or_else(PoisonError::into_inner).push(repair);
                Error::Damaged { digest, aside }
            }
        }
    }

    /// Whether the blob file is there with the size it must have; a blob cut short by a crash is not.
    fn holds_size(&self, path: &Path, size: u64) -> bool {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs").join(&name[..2]).join(&name[2..])
    }

    fn blob_folder(&self, digest: Digest) -> Result<PathBuf> {
        let folder = self.root.join("blobs").join(&digest.to_string()[..2]);
        create_folder(&folder)?;
        Ok(folder)
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

fn read_error(digest: Digest, path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        Error::Missing { digest }
    } else {
        Error::io("read", path)(error)
    }
}

fn check_format(root: &Path, text: &str) -> Result<()> {
    let version = text.trim_end().strip_prefix(FORMAT_PREFIX).and_then(|number| number.parse::<u32>().ok());
    if version == Some(FORMAT_VERSION) {
        return Ok(());
    }
    Err(Error::Format {
        path: root.to_path_buf(),
        found: text.trim_end().chars().take(80).collect(),
        known: FORMAT_VERSION,
    })
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
    fn bytes_in_and_out() {
        let (_folder, store) = store();
        let digest = store.put(b"planes").unwrap();
        assert_eq!(store.read(digest).unwrap(), b"planes");
        assert_eq!(store.put(b"planes").unwrap(), digest);
        assert!(matches!(store.read(Digest::of(b"other")), Err(Error::Missing { .. })));
    }

    #[test]
    fn a_flipped_bit_is_found_set_aside_and_can_be_written_again() {
        let (_folder, store) = store();
        let digest = store.put(b"volume").unwrap();
        fs::write(store.blob_path(digest), b"volumf").unwrap();
        let error = store.read(digest).unwrap_err();
        assert_eq!(error.lost_blob(), Some(digest));
        assert!(!store.contains(digest));
        assert_eq!(store.take_repairs().len(), 1);
        store.put(b"volume").unwrap();
        assert_eq!(store.read(digest).unwrap(), b"volume");
    }

    #[test]
    fn a_blob_cut_short_is_replaced_by_putting_it_again() {
        let (_folder, store) = store();
        let digest = store.put(b"volume").unwrap();
        fs::write(store.blob_path(digest), b"vol").unwrap();
        store.put(b"volume").unwrap();
        assert_eq!(store.read(digest).unwrap(), b"volume");
    }

    #[test]
    fn a_verified_path_is_compared_with_its_digest() {
        let (_folder, store) = store();
        let digest = store.put(b"scan").unwrap();
        assert_eq!(fs::read(store.verified_path(digest).unwrap()).unwrap(), b"scan");
        let other = store.put(b"other").unwrap();
        fs::write(store.blob_path(other), b"0ther").unwrap();
        assert!(matches!(store.verified_path(other), Err(Error::Damaged { .. })));
    }

    #[test]
    fn adopting_moves_the_file() {
        let (_folder, store) = store();
        let staging = store.staging().unwrap();
        let file = staging.path().join("metrics.json");
        fs::write(&file, b"{}").unwrap();
        let (digest, size) = store.adopt(&file).unwrap();
        assert_eq!((digest, size), (Digest::of(b"{}"), 2));
        assert!(!file.exists());
        assert_eq!(store.read(digest).unwrap(), b"{}");
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), "pipe-cache 2\n").unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
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
