//! Which item key gave which blob.
//!
//! The items of one scope (a kind, its code and its parameters) share a folder of journals: append-only
//! files of fixed-size, checksummed records, one file for each process that wrote. A record torn by a
//! crash is skipped by its checksum, so a journal needs no repair. When a stage has finished, its
//! journals are merged into one.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::atomic::{create_folder, write_atomically};
use crate::error::{Error, Result};
use crate::{Digest, Store};

const HEADER: &[u8; 16] = b"pipe-items 1\n\0\0\0";
const RECORD: usize = 80;

/// A finished item: its blob and that blob's size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemOutcome {
    /// Digest of the item's file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The finished items of one scope, as found when the journal was opened.
#[derive(Debug)]
pub struct ItemJournal {
    folder: PathBuf,
    files: Vec<PathBuf>,
    finished: HashMap<Digest, ItemOutcome>,
    conflicts: Vec<Digest>,
}

impl Store {
    /// Reads the journals of a scope.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub fn items(&self, scope: Digest) -> Result<ItemJournal> {
        let name = scope.to_string();
        ItemJournal::open(self.root().join("items").join(&name[..2]).join(&name[2..]))
    }
}

impl ItemJournal {
    fn open(folder: PathBuf) -> Result<Self> {
        let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
            Ok(entries) => {
                entries.flatten().map(|entry| entry.path()).filter(|path| is_journal(path)).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &folder)(error)),
        };
        files.sort();
        let mut journal = Self { folder, files: Vec::new(), finished: HashMap::new(), conflicts: Vec::new() };
        for file in files {
            match fs::read(&file) {
                Ok(bytes) => journal.load(&bytes),
                // Another process merged it in the meantime; what it held is in the merged file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("read", &file)(error)),
            }
            journal.files.push(file);
        }
        Ok(journal)
    }

    /// The result of an item key.
    pub fn get(&self, key: Digest) -> Option<ItemOutcome> {
        self.finished.get(&key).copied()
    }

    /// How many items are known.
    pub fn len(&self) -> usize {
        self.finished.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Item keys for which two different blobs were recorded; the first one counts.
    pub fn conflicts(&self) -> &[Digest] {
        &self.conflicts
    }

    /// Starts this process's own journal file in the scope.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn writer(&self) -> Result<ItemWriter> {
        create_folder(&self.folder)?;
        let file = tempfile::Builder::new()
            .prefix("w-")
            .suffix(".items")
            .rand_bytes(12)
            .make_in(&self.folder, |path| OpenOptions::new().append(true).create_new(true).open(path))
            .map_err(Error::io("make a journal in", &self.folder))?;
        let (mut handle, path) =
            file.keep().map_err(|error| Error::io("make a journal in", &self.folder)(error.error))?;
        handle.write_all(HEADER).map_err(Error::io("write", &path))?;
        Ok(ItemWriter { path, file: Mutex::new(handle) })
    }

    /// Merges the journals that were read and the given writer's into one file.
    ///
    /// # Errors
    /// [`Error::Io`] when the merged file cannot be written; the journals then stay as they are.
    pub fn merge(self, writer: ItemWriter) -> Result<()> {
        let own = writer.path.clone();
        drop(writer);
        let mut files = self.files;
        files.push(own);
        if files.len() < 2 {
            return Ok(());
        }
        let mut all =
            Self { folder: self.folder, files: Vec::new(), finished: HashMap::new(), conflicts: Vec::new() };
        for file in &files {
            if let Ok(bytes) = fs::read(file) {
                all.load(&bytes);
            }
        }
        let mut records: Vec<(Digest, ItemOutcome)> = all.finished.into_iter().collect();
        records.sort_by_key(|(key, _)| *key);
        let mut bytes = HEADER.to_vec();
        for (key, outcome) in records {
            bytes.extend_from_slice(&encode(key, outcome));
        }
        // Named by content, so that two processes merging the same records agree.
        let merged = all.folder.join(format!("m-{}.items", Digest::of(&bytes).short()));
        write_atomically(&merged, &bytes)?;
        for file in files.iter().filter(|file| **file != merged) {
            let _ = fs::remove_file(file);
        }
        Ok(())
    }

    fn load(&mut self, bytes: &[u8]) {
        let Some(records) = bytes.strip_prefix(HEADER) else { return };
        for (key, outcome) in records.chunks_exact(RECORD).filter_map(decode) {
            let first = *self.finished.entry(key).or_insert(outcome);
            if first.digest != outcome.digest {
                self.conflicts.push(key);
            }
        }
    }
}

/// One process's journal of finished items; may be shared by its threads.
#[derive(Debug)]
pub struct ItemWriter {
    path: PathBuf,
    file: Mutex<File>,
}

impl ItemWriter {
    /// Commits an item. Its blob must be in the store already.
    ///
    /// # Errors
    /// [`Error::Io`] when the journal cannot be written.
    pub fn commit(&self, key: Digest, outcome: ItemOutcome) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&encode(key, outcome)).map_err(Error::io("write", &self.path))
    }
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "items")
}

fn encode(key: Digest, outcome: ItemOutcome) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..32].copy_from_slice(key.as_bytes());
    record[32..64].copy_from_slice(outcome.digest.as_bytes());
    record[64..72].copy_from_slice(&outcome.size.to_le_bytes());
    let check = Digest::of(&record[..72]);
    record[72..].copy_from_slice(&check.as_bytes()[..8]);
    record
}

fn decode(record: &[u8]) -> Option<(Digest, ItemOutcome)> {
    let (content, check) = record.split_at_checked(72)?;
    if Digest::of(content).as_bytes()[..8] != *check {
        return None;
    }
    let digest =
        |range: std::ops::Range<usize>| Some(Digest::from_bytes(content.get(range)?.try_into().ok()?));
    let size = u64::from_le_bytes(content.get(64..72)?.try_into().ok()?);
    Some((digest(0..32)?, ItemOutcome { digest: digest(32..64)?, size }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(text: &str) -> ItemOutcome {
        ItemOutcome { digest: Digest::of(text.as_bytes()), size: text.len() as u64 }
    }

    fn key(number: u8) -> Digest {
        Digest::of(&[number])
    }

    #[test]
    fn committed_items_are_found_again_before_and_after_merging() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let scope = Digest::of(b"crop");
        for number in 0..3 {
            let journal = store.items(scope).unwrap();
            assert_eq!(journal.len(), usize::from(number));
            journal.writer().unwrap().commit(key(number), outcome("volume")).unwrap();
        }
        let journal = store.items(scope).unwrap();
        let writer = journal.writer().unwrap();
        writer.commit(key(3), outcome("last")).unwrap();
        let scope_folder = journal.folder.clone();
        journal.merge(writer).unwrap();
        assert_eq!(fs::read_dir(scope_folder).unwrap().count(), 1);
        let journal = store.items(scope).unwrap();
        assert_eq!(journal.len(), 4);
        assert_eq!(journal.get(key(3)), Some(outcome("last")));
    }

    #[test]
    fn the_first_of_two_results_counts_and_the_conflict_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let journal = ItemJournal::open(folder.path().to_path_buf()).unwrap();
        let writer = journal.writer().unwrap();
        writer.commit(key(1), outcome("one")).unwrap();
        writer.commit(key(1), outcome("two")).unwrap();
        let journal = ItemJournal::open(folder.path().to_path_buf()).unwrap();
        assert_eq!(journal.get(key(1)), Some(outcome("one")));
        assert_eq!(journal.conflicts(), [key(1)]);
    }

    proptest! {
        #[test]
        fn a_torn_or_damaged_journal_loses_only_damaged_records(cut in 0usize..400, flip in 0usize..400) {
            let mut bytes = HEADER.to_vec();
            for number in 0..4 {
                bytes.extend_from_slice(&encode(key(number), outcome("item")));
            }
            let cut = cut.min(bytes.len());
            bytes.truncate(bytes.len() - cut);
            if let Some(byte) = bytes.get_mut(flip) {
                *byte ^= 1;
            }
            let folder = tempfile::tempdir().unwrap();
            let mut journal = ItemJournal::open(folder.path().to_path_buf()).unwrap();
            journal.load(&bytes);
            prop_assert!(journal.finished.values().all(|found| *found == outcome("item")));
            let whole = bytes.len().saturating_sub(16) / RECORD;
            if flip >= 16 {
                prop_assert!(journal.len() + 1 >= whole);
            }
        }
    }
}
