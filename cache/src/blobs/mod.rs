//! Blobs in and out of the store: small ones in packs, others as files.
//!
//! A blob is compared with its digest whenever it is read; one that differs is set aside.

mod pack_file;
pub(crate) mod packs;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use self::packs::MOST_PACKED;
use crate::atomic::{WRITING, create_folder, set_rights, share_file, sync_folder, write_atomically};
use crate::error::{Error, Result};
use crate::io::{before_rename, open, read, sync, write_all};
use crate::store::Repair;
use crate::{Digest, Index, Store};

/// A blob that is used again after that long is marked as used, so that it does not look forgotten.
const FRESH: Duration = Duration::from_secs(600);

/// So many copies of a blob are looked at.
const TRIES: usize = 8;

/// From that many blobs on it is quicker to list the folders than to look for each file.
const MANY: usize = 512;

/// How a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its bytes have its digest; they are so many.
    Whole(u64),
    /// Its bytes have another digest.
    Damaged,
    /// It is not there.
    Missing,
}

impl Store {
    /// Stores bytes and returns their digest. Small blobs are durable after [`Store::sync`].
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if bytes.len() <= MOST_PACKED {
            // What was computed again may be there and damaged.
            if self.packs().knows(digest) && self.packs().read(digest)?.is_some_and(|found| found != bytes) {
                self.packs().strike_out(digest)?;
            }
            self.packs().put(digest, bytes)?;
        } else if !holds(&self.blob_path(digest), digest, bytes.len() as u64) {
            self.write_file(digest, bytes)?;
        }
        Ok(digest)
    }

    /// Moves a finished file of the store's staging folder in; returns its digest and size.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or moved.
    pub fn adopt(&self, file: &Path) -> Result<(Digest, u64)> {
        let handle = open(file).map_err(Error::io("read", file))?;
        if handle.metadata().is_ok_and(|metadata| metadata.len() <= MOST_PACKED as u64) {
            let bytes = read(file).map_err(Error::io("read", file))?;
            let digest = self.put(&bytes)?;
            fs::remove_file(file).map_err(Error::io("remove", file))?;
            return Ok((digest, bytes.len() as u64));
        }
        let (digest, size) = Digest::of_reader(&handle).map_err(Error::io("read", file))?;
        let path = self.blob_path(digest);
        if holds(&path, digest, size) {
            fs::remove_file(file).map_err(Error::io("remove", file))?;
        } else {
            let folder = self.blob_folder(digest)?;
            let moved = sync(&handle).and_then(|()| before_rename()).and_then(|()| fs::rename(file, &path));
            moved.map_err(Error::io("move into the cache", file))?;
            set_rights(&folder, &handle);
            sync_folder(&folder);
        }
        Ok((digest, size))
    }

    /// Makes all blobs and results durable that this process has stored.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not take them.
    pub fn sync(&self) -> Result<()> {
        // The blobs first: a result must not outlive what it tells of.
        self.packs().sync()?;
        self.result_journal().sync()
    }

    /// Merges what ended processes have left in many small files.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read or written.
    pub fn tidy(&self) -> Result<()> {
        self.packs().tidy()?;
        self.result_journal().tidy()
    }

    /// Whether a blob of that digest is there; its bytes are compared only when they are read.
    pub fn contains(&self, digest: Digest) -> bool {
        let is_own =
            self.packs().knows(digest) || self.blob_path(digest).is_file() || self.packs().contains(digest);
        is_own || self.under.as_ref().is_some_and(|under| under.contains(digest))
    }

    /// Whether blobs of all these digests are there.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn contains_all(&self, digests: impl IntoIterator<Item = Digest>) -> Result<bool> {
        let mut wanted: HashSet<Digest> = digests.into_iter().collect();
        self.packs().take_known(&mut wanted)?;
        if wanted.len() >= MANY {
            self.list_files(|digest, _| {
                wanted.remove(&digest);
            })?;
        }
        Ok(wanted.into_iter().all(|digest| self.contains(digest)))
    }

    /// A blob's bytes, compared with its digest.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`] (the blob is then set aside), or [`Error::Io`].
    pub fn read(&self, digest: Digest) -> Result<Vec<u8>> {
        match (self.read_own(digest), &self.under) {
            (Err(Error::Missing { .. }), Some(under)) => under.read(digest),
            (own, _) => own,
        }
    }

    /// A blob to be read from its beginning, compared with its digest before. Small ones are in memory.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn open_blob(&self, digest: Digest) -> Result<Box<dyn Read>> {
        let own = || -> Result<Box<dyn Read>> {
            if self.packs().contains(digest) {
                return Ok(Box::new(Cursor::new(self.read_own(digest)?)));
            }
            let path = self.own_verified_path(digest)?;
            Ok(Box::new(open(&path).map_err(Error::io("read", &path))?))
        };
        match (own(), &self.under) {
            (Err(Error::Missing { .. }), Some(under)) => under.open_blob(digest),
            (own, _) => own,
        }
    }

    fn read_own(&self, digest: Digest) -> Result<Vec<u8>> {
        let mut last = Error::Missing { digest };
        for _ in 0..TRIES {
            if self.packs().knows(digest)
                && let Some(bytes) = self.packs().read(digest)?
            {
                match self.check_packed(digest, &bytes)? {
                    true => return Ok(bytes),
                    // Another copy may be whole.
                    false => last = self.set_aside_bytes(digest, &bytes),
                }
                if self.contains(digest) {
                    continue;
                }
                return Err(last);
            }
            let path = self.blob_path(digest);
            match read(&path) {
                Ok(bytes) if Digest::of(&bytes) == digest => return Ok(bytes),
                Ok(_) => return Err(self.set_aside(digest)),
                // Another process may have packed it since the packs were looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.packs().contains(digest) => {}
                Err(error) => return Err(read_error(digest, &path, error)),
            }
        }
        Err(last)
    }

    /// The path of a blob whose bytes this process has compared with its digest. A packed one is unpacked.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn verified_path(&self, digest: Digest) -> Result<PathBuf> {
        match (self.own_verified_path(digest), &self.under) {
            (Err(Error::Missing { .. }), Some(under)) if under.blob_path(digest).is_file() => {
                under.verified_path(digest)
            }
            (Err(Error::Missing { .. }), Some(under)) => {
                // It is unpacked here: nothing is written there.
                self.write_file(digest, &under.read(digest)?)?;
                Ok(self.blob_path(digest))
            }
            (own, _) => own,
        }
    }

    fn own_verified_path(&self, digest: Digest) -> Result<PathBuf> {
        let path = self.blob_path(digest);
        let seen = self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest);
        if seen && path.is_file() {
            return Ok(path);
        }
        match open(&path) {
            Ok(file) => {
                let (found, _) = Digest::of_reader(file).map_err(Error::io("read", &path))?;
                if found != digest {
                    return Err(self.set_aside(digest));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.packs().contains(digest) => {
                let bytes = self.read_own(digest)?;
                self.write_file(digest, &bytes)?;
            }
            Err(error) => return Err(read_error(digest, &path, error)),
        }
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        Ok(path)
    }

    /// Compares a blob with its digest, without giving it away: its size, if it is whole.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn verify(&self, digest: Digest) -> Result<u64> {
        match self.condition(digest)? {
            Condition::Whole(size) => Ok(size),
            Condition::Missing => Err(Error::Missing { digest }),
            Condition::Damaged if self.packs().contains(digest) => Ok(self.read(digest)?.len() as u64),
            Condition::Damaged => Err(self.set_aside(digest)),
        }
    }

    /// Compares a blob with its digest and leaves it as it is.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn condition(&self, digest: Digest) -> Result<Condition> {
        let of = |found: Digest, size| match found == digest {
            true => Condition::Whole(size),
            false => Condition::Damaged,
        };
        if let Some(bytes) = self.packs().read(digest)? {
            return Ok(of(Digest::of(&bytes), bytes.len() as u64));
        }
        let path = self.blob_path(digest);
        match open(&path).and_then(Digest::of_reader) {
            Ok((found, size)) => Ok(of(found, size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Condition::Missing),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// An artifact's index.
    ///
    /// # Errors
    /// As [`Store::read`], and [`Error::Invalid`] when the blob is no index.
    pub fn index(&self, digest: Digest) -> Result<Index> {
        Index::from_bytes(&self.read(digest)?)
    }

    /// The blobs that this process found damaged so far; asking empties the list.
    pub fn take_repairs(&self) -> Vec<Repair> {
        std::mem::take(&mut *self.repairs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All blobs and their sizes in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be read.
    pub fn blobs(&self) -> Result<BTreeMap<Digest, u64>> {
        let mut found = self.packs().list()?;
        self.list_files(|digest, path| {
            if let Ok(metadata) = fs::metadata(path) {
                found.insert(digest, metadata.len());
            }
        })?;
        Ok(found)
    }

    /// Gives every blob that is a file, with its path.
    pub(crate) fn list_files(&self, mut each: impl FnMut(Digest, &Path)) -> Result<()> {
        let blobs = self.root().join("blobs");
        let folders = match fs::read_dir(&blobs) {
            Ok(folders) => folders,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("read", &blobs)(error)),
        };
        for folder in folders.flatten() {
            let start = folder.file_name().to_string_lossy().into_owned();
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if let Ok(digest) = format!("{start}{}", file.file_name().to_string_lossy()).parse() {
                    each(digest, &file.path());
                }
            }
        }
        Ok(())
    }

    fn write_file(&self, digest: Digest, bytes: &[u8]) -> Result<()> {
        let folder = self.blob_folder(digest)?;
        let path = self.blob_path(digest);
        let file = tempfile::NamedTempFile::with_prefix_in(WRITING, &folder)
            .map_err(Error::io("write in", &folder))?;
        share_file(&folder, file.as_file());
        write_all(file.as_file(), bytes).map_err(Error::io("write", &path))?;
        sync(file.as_file()).map_err(Error::io("sync", &path))?;
        before_rename().map_err(Error::io("write", &path))?;
        file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        sync_folder(&folder);
        Ok(())
    }

    /// Whether a packed blob is whole; one that is not is struck out.
    fn check_packed(&self, digest: Digest, bytes: &[u8]) -> Result<bool> {
        if Digest::of(bytes) == digest {
            return Ok(true);
        }
        self.packs().strike_out(digest)?;
        Ok(false)
    }

    /// Keeps damaged bytes for inspection.
    fn set_aside_bytes(&self, digest: Digest, bytes: &[u8]) -> Error {
        let aside = self.root().join("damaged").join(digest.to_string());
        match write_atomically(&aside, bytes) {
            Ok(()) => self.noted(digest, aside),
            Err(error) => error,
        }
    }

    /// Moves a damaged blob out of the way, so that computing it again writes it anew.
    fn set_aside(&self, digest: Digest) -> Error {
        let folder = self.root().join("damaged");
        let aside = folder.join(digest.to_string());
        let path = self.blob_path(digest);
        let moved = create_folder(&folder)
            .and_then(|()| fs::rename(&path, &aside).map_err(Error::io("set aside the damaged blob", &path)));
        match moved {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Error::Missing { digest }
            }
            Err(error) => error,
            Ok(()) => self.noted(digest, aside),
        }
    }

    fn noted(&self, digest: Digest, aside: PathBuf) -> Error {
        let repair = Repair { digest, aside: aside.clone() };
        self.repairs.lock().unwrap_or_else(PoisonError::into_inner).push(repair);
        Error::Damaged { digest, aside }
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.root().join("blobs").join(&name[..2]).join(&name[2..])
    }

    fn blob_folder(&self, digest: Digest) -> Result<PathBuf> {
        let folder = self.root().join("blobs").join(&digest.to_string()[..2]);
        create_folder(&folder)?;
        Ok(folder)
    }
}

/// Whether the blob file is there and whole. Who asks has computed it again, so it is compared byte by byte.
fn holds(path: &Path, digest: Digest, size: u64) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    if !metadata.is_file() || metadata.len() != size {
        return false;
    }
    let found = open(path).and_then(Digest::of_reader);
    if !found.is_ok_and(|(found, _)| found == digest) {
        return false;
    }
    let now = SystemTime::now();
    let is_fresh =
        metadata.modified().is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age < FRESH));
    if !is_fresh {
        let _ = File::options().append(true).open(path).and_then(|file| file.set_modified(now));
    }
    true
}

fn read_error(digest: Digest, path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        Error::Missing { digest }
    } else {
        Error::io("read", path)(error)
    }
}

#[cfg(test)]
mod tests;
