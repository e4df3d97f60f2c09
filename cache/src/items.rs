//! Which item key gave which blob.
//!
//! The items of one scope (a kind, its code and its parameters) share a folder of journals: append-only
//! files of fixed-size, checksummed records, one file for each writer. A record torn by a crash is skipped
//! by its checksum, so a journal needs no repair. When a stage has finished, its journal is merged with
//! the merged ones before it. Journals that other stages or processes still write to are left alone; those
//! of processes that are gone are merged too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::atomic::{create_folder, create_to_append, write_atomically};
use crate::error::{Error, Result};
use crate::io::{before_rename, write_all};
use crate::listing::entries;
use crate::owner::{is_abandoned, own_mark};
use crate::records::{RECORD, decode_all, encode};
use crate::{Digest, Store};

const HEADER: &[u8; 16] = b"pipe-items 1\n\0\0\0";
const MERGED: &str = "m-";

/// So often journals are looked for while others merge them.
const LOOKS: usize = 16;
const WRITTEN: &str = "w-";

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
    /// The files that were read and that nobody writes to.
    complete: BTreeSet<PathBuf>,
    /// How many bytes of each file have been read.
    read: BTreeMap<PathBuf, u64>,
    records: Records,
}

/// What journals say, in the order of their files.
#[derive(Debug, Default)]
struct Records {
    first: HashMap<Digest, ItemOutcome>,
    /// Other blobs for the same key: conflicts, kept because the first blob may be gone.
    others: Vec<(Digest, ItemOutcome)>,
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

impl Store {
    /// The blobs of all finished items, whatever stage they are of.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub fn items_of_all(&self) -> Result<HashSet<Digest>> {
        let mut found = HashSet::new();
        for start in entries(&self.root().join("items")) {
            for folder in entries(&start) {
                let records = ItemJournal::open(folder)?.records;
                found.extend(records.first.values().map(|outcome| outcome.digest));
                found.extend(records.others.iter().map(|(_, outcome)| outcome.digest));
            }
        }
        Ok(found)
    }
}

impl ItemJournal {
    fn open(folder: PathBuf) -> Result<Self> {
        let (complete, read) = (BTreeSet::new(), BTreeMap::new());
        let mut journal = Self { folder, complete, read, records: Records::default() };
        journal.refresh()?;
        Ok(journal)
    }

    /// Reads what others have added since the last look.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub fn refresh(&mut self) -> Result<()> {
        for _ in 0..LOOKS {
            if self.look()? {
                break;
            }
        }
        Ok(())
    }

    /// Reads what is new; false when a journal has gone meanwhile: what it held is in another one, which may have come
    /// after the list of journals was made.
    fn look(&mut self) -> Result<bool> {
        let mut has_all = true;
        let mut files: Vec<PathBuf> = match fs::read_dir(&self.folder) {
            Ok(entries) => {
                entries.flatten().map(|entry| entry.path()).filter(|path| is_journal(path)).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &self.folder)(error)),
        };
        files.sort();
        for file in files {
            let read = self.read.get(&file).copied().unwrap_or_default();
            // Asked before: what its process wrote last must have been read when it is removed.
            let is_complete = is_complete(&file);
            match read_from(&file, read) {
                Ok(bytes) => {
                    // A record that is being written is read when it is whole.
                    let bytes = if read == 0 { bytes.as_slice() } else { &[&HEADER[..], &bytes].concat() };
                    let whole = bytes.len().saturating_sub(HEADER.len()) / RECORD * RECORD;
                    self.records.load(bytes);
                    let header = if read == 0 && !bytes.is_empty() { HEADER.len() } else { 0 };
                    self.read.insert(file.clone(), read + (header + whole) as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    has_all = false;
                    continue;
                }
                Err(error) => return Err(Error::io("read", &file)(error)),
            }
            if is_complete {
                self.complete.insert(file);
            }
        }
        Ok(has_all)
    }

    /// The result of an item key: of several, the first whose blob is in the store.
    pub fn get(&self, key: Digest, store: &Store) -> Option<ItemOutcome> {
        let first = self.records.first.get(&key)?;
        if store.contains(first.digest) {
            return Some(*first);
        }
        let others = self.records.others.iter().filter(|(other, _)| *other == key);
        others.map(|(_, outcome)| *outcome).find(|outcome| store.contains(outcome.digest))
    }

    /// How many items are known.
    pub fn len(&self) -> usize {
        self.records.first.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a journal file of one's own in the scope.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn writer(&self) -> Result<ItemWriter> {
        create_folder(&self.folder)?;
        let file = tempfile::Builder::new()
            .prefix(&format!("{WRITTEN}{}", own_mark()))
            .suffix(".items")
            .rand_bytes(12)
            .make_in(&self.folder, create_to_append)
            .map_err(Error::io("make a journal in", &self.folder))?;
        let (handle, path) =
            file.keep().map_err(|error| Error::io("make a journal in", &self.folder)(error.error))?;
        write_all(&handle, HEADER).map_err(Error::io("write", &path))?;
        Ok(ItemWriter { path, journal: Mutex::new(Journal { file: handle, length: HEADER.len() as u64 }) })
    }

    /// Merges what was read with what the given writer wrote, in one file. Gives how many item keys have got two
    /// different blobs; all of these are kept.
    ///
    /// # Errors
    /// [`Error::Io`] when the writer's journal cannot be read or the merged file cannot be written; the journals
    /// then stay as they are.
    pub fn merge(self, writer: ItemWriter) -> Result<usize> {
        let own = writer.path.clone();
        drop(writer);
        let Self { folder, complete, read: _, mut records } = self;
        let before = records.others.len();
        let written = crate::io::read(&own).map_err(Error::io("read", &own))?;
        records.load(&written);
        let conflicts = records.others.len() - before;
        // Named by content, so that two processes merging the same records agree, and none replaces other ones.
        let named = |bytes: &[u8]| folder.join(format!("{MERGED}{}.items", Digest::of(bytes).short()));
        if complete.is_empty() {
            // There is nothing else: the journal itself will do.
            let merged = named(&written);
            before_rename()
                .and_then(|()| fs::rename(&own, &merged))
                .map_err(Error::io("name a journal", &merged))?;
            return Ok(conflicts);
        }
        let bytes = records.to_bytes();
        let merged = named(&bytes);
        write_atomically(&merged, &bytes)?;
        for file in complete.iter().chain([&own]).filter(|file| **file != merged) {
            let _ = fs::remove_file(file);
        }
        Ok(conflicts)
    }
}

impl Records {
    fn load(&mut self, bytes: &[u8]) {
        let Some(records) = bytes.strip_prefix(HEADER) else { return };
        for (key, digest, size) in decode_all(records) {
            let outcome = ItemOutcome { digest, size };
            self.add(key, outcome);
        }
    }

    fn add(&mut self, key: Digest, outcome: ItemOutcome) {
        let first = *self.first.entry(key).or_insert(outcome);
        if first.digest != outcome.digest && !self.others.contains(&(key, outcome)) {
            self.others.push((key, outcome));
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut sorted: Vec<(Digest, ItemOutcome)> =
            self.first.iter().map(|(key, one)| (*key, *one)).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let mut bytes = HEADER.to_vec();
        for (key, outcome) in sorted.iter().chain(&self.others) {
            bytes.extend_from_slice(&encode(*key, outcome.digest, outcome.size));
        }
        bytes
    }
}

/// One stage's journal of finished items; may be shared by its threads.
#[derive(Debug)]
pub struct ItemWriter {
    path: PathBuf,
    journal: Mutex<Journal>,
}

/// An open journal and the length of what is whole of it.
#[derive(Debug)]
struct Journal {
    file: File,
    length: u64,
}

impl ItemWriter {
    /// Commits an item. Its blob must be in the store already.
    ///
    /// # Errors
    /// [`Error::Io`] when the journal cannot be written.
    pub fn commit(&self, key: Digest, outcome: ItemOutcome) -> Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        // What an earlier failure has left of a record would make those behind it unreadable.
        let is_torn = journal.file.metadata().map_or(true, |metadata| metadata.len() != journal.length);
        let cut = if is_torn { journal.file.set_len(journal.length) } else { Ok(()) };
        cut.and_then(|()| write_all(&journal.file, &encode(key, outcome.digest, outcome.size)))
            .map_err(Error::io("write", &self.path))?;
        journal.length += RECORD as u64;
        Ok(())
    }
}

/// The bytes of a file from a place on.
fn read_from(file: &Path, place: u64) -> io::Result<Vec<u8>> {
    let mut file = crate::io::open(file)?;
    if file.metadata()?.len() <= place {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(place))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "items")
}

/// Whether nobody writes to a journal any more.
fn is_complete(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.starts_with(MERGED) || is_abandoned(path, WRITTEN)
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

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    /// Puts the blob of an item, too, so that it can be found.
    fn put(store: &Store, text: &str) -> ItemOutcome {
        store.put(text.as_bytes()).unwrap();
        outcome(text)
    }

    #[test]
    fn records_behind_a_torn_one_are_whole() {
        let (_folder, store) = store();
        let scope = Digest::of(b"crop");
        let volume = put(&store, "volume");
        let writer = store.items(scope).unwrap().writer().unwrap();
        writer.commit(key(1), volume).unwrap();
        // A disk that fills up takes a part of a record.
        let mut file = File::options().append(true).open(&writer.path).unwrap();
        std::io::Write::write_all(&mut file, &[7; 33]).unwrap();
        writer.commit(key(2), volume).unwrap();
        let journal = store.items(scope).unwrap();
        assert_eq!((journal.get(key(1), &store), journal.get(key(2), &store)), (Some(volume), Some(volume)));
        assert_eq!(store.items_of_all().unwrap(), HashSet::from([volume.digest]));
    }

    #[test]
    fn committed_items_are_found_again_before_and_after_merging() {
        let (_folder, store) = store();
        let scope = Digest::of(b"crop");
        let volume = put(&store, "volume");
        for number in 0..3 {
            let journal = store.items(scope).unwrap();
            assert_eq!(journal.len(), usize::from(number));
            journal.writer().unwrap().commit(key(number), volume).unwrap();
        }
        let journal = store.items(scope).unwrap();
        let writer = journal.writer().unwrap();
        let last = put(&store, "last");
        writer.commit(key(3), last).unwrap();
        assert_eq!(journal.merge(writer).unwrap(), 0);
        let journal = store.items(scope).unwrap();
        assert_eq!(journal.len(), 4);
        assert_eq!(journal.get(key(3), &store), Some(last));
    }

    #[test]
    fn a_merge_leaves_the_journals_of_other_writers() {
        let (_folder, store) = store();
        let scope = Digest::of(b"crop");
        let volume = put(&store, "volume");
        let slow = store.items(scope).unwrap();
        let slow_writer = slow.writer().unwrap();
        slow_writer.commit(key(0), volume).unwrap();
        let quick = store.items(scope).unwrap();
        let quick_writer = quick.writer().unwrap();
        quick_writer.commit(key(1), volume).unwrap();
        quick.merge(quick_writer).unwrap();
        // What is committed after the other's merge must not be lost, even if this writer is killed now.
        slow_writer.commit(key(2), volume).unwrap();
        let journal = store.items(scope).unwrap();
        assert_eq!((0..3).filter(|number| journal.get(key(*number), &store).is_some()).count(), 3);
        slow.merge(slow_writer).unwrap();
        assert_eq!(store.items(scope).unwrap().len(), 3);
    }

    #[test]
    fn journals_of_dead_processes_are_merged_and_removed() {
        let (_folder, store) = store();
        let scope = Digest::of(b"crop");
        let volume = put(&store, "volume");
        let journal = store.items(scope).unwrap();
        let writer = journal.writer().unwrap();
        writer.commit(key(0), volume).unwrap();
        let dead = format!("w-{}~4294967294~x.items", crate::owner::host_name());
        fs::rename(&writer.path, journal.folder.join(dead)).unwrap();
        let journal = store.items(scope).unwrap();
        let folder = journal.folder.clone();
        let writer = journal.writer().unwrap();
        journal.merge(writer).unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        assert_eq!(store.items(scope).unwrap().get(key(0), &store), Some(volume));
    }

    #[test]
    fn the_first_of_two_results_counts_while_its_blob_is_there() {
        let (_folder, store) = store();
        let scope = Digest::of(b"crop");
        let (one, two) = (put(&store, "one"), put(&store, "two"));
        for (outcome, conflicts) in [(one, 0), (two, 1), (two, 0)] {
            let journal = store.items(scope).unwrap();
            let writer = journal.writer().unwrap();
            writer.commit(key(1), outcome).unwrap();
            assert_eq!(journal.merge(writer).unwrap(), conflicts);
        }
        let journal = store.items(scope).unwrap();
        assert_eq!(journal.get(key(1), &store), Some(one));
        store.packs().strike_out(one.digest).unwrap();
        assert_eq!(journal.get(key(1), &store), Some(two));
    }

    proptest! {
        #[test]
        fn a_torn_or_damaged_journal_loses_only_damaged_records(cut in 0usize..400, flip in 0usize..400) {
            let mut bytes = HEADER.to_vec();
            for number in 0..4 {
                bytes.extend_from_slice(&encode(key(number), outcome("item").digest, 4));
            }
            let cut = cut.min(bytes.len());
            bytes.truncate(bytes.len() - cut);
            if let Some(byte) = bytes.get_mut(flip) {
                *byte ^= 1;
            }
            let folder = tempfile::tempdir().unwrap();
            let mut journal = ItemJournal::open(folder.path().to_path_buf()).unwrap();
            journal.records.load(&bytes);
            prop_assert!(journal.records.first.values().all(|found| *found == outcome("item")));
            let whole = bytes.len().saturating_sub(16) / RECORD;
            if flip >= 16 {
                prop_assert!(journal.len() + 1 >= whole);
            }
        }
    }
}
