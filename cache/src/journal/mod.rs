//! Journals: which key leads to which blob.
//!
//! A folder of journals holds append-only files of fixed-size, checksummed records, one file for each writer. A record
//! torn by a crash is skipped by its checksum, so a journal needs no repair. Files that nobody writes to any more are
//! merged now and then; those that other writers still append to are left alone. What a record's number means, and which
//! of several records of a key counts, is for the caller to say.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::Digest;
use crate::atomic::{create_folder, create_to_append, sync_folder, write_atomically};
use crate::error::{Error, Result};
use crate::io::{before_rename, sync, write_all};
use crate::listing::{all_entries, is_gone};
use crate::owner::{is_abandoned, own_mark};
use crate::records::{RECORD, decode_all, encode};

const MERGED: &str = "m-";
const WRITTEN: &str = "w-";

/// So often journals are looked for while others merge them.
const LOOKS: usize = 16;

/// A file that is so many times as large as others together is not written anew with them.
const MUCH_LARGER: u64 = 4;

/// What the files of a kind of journal begin with and are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) header: &'static [u8; 16],
    pub(crate) extension: &'static str,
}

/// What a key leads to: a blob, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lead {
    pub(crate) digest: Digest,
    pub(crate) number: u64,
}

/// The journals of a folder, as far as they have been read.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    layout: Layout,
    /// The files that were read and that nobody writes to.
    complete: BTreeSet<PathBuf>,
    /// How many bytes of each file have been read.
    read: BTreeMap<PathBuf, u64>,
    records: Records,
}

/// What journals say, in the order of their files. Most keys lead to one blob.
#[derive(Debug, Default)]
struct Records {
    first: HashMap<Digest, Lead>,
    others: HashMap<Digest, Vec<Lead>>,
}

impl Journal {
    /// The journals of a folder, of which nothing has been read.
    pub(crate) fn unread(folder: PathBuf, layout: Layout) -> Self {
        let (complete, read) = (BTreeSet::new(), BTreeMap::new());
        Self { folder, layout, complete, read, records: Records::default() }
    }

    /// Reads the journals of a folder.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub(crate) fn open(folder: PathBuf, layout: Layout) -> Result<Self> {
        let mut journal = Self::unread(folder, layout);
        journal.refresh()?;
        Ok(journal)
    }

    /// Reads what others have added since the last look. False when files came and went all the while, so that something
    /// may have been missed.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        for _ in 0..LOOKS {
            if self.look()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads what is new; false when a journal has gone meanwhile: what it held is in another one, which may have come
    /// after the list of journals was made.
    fn look(&mut self) -> Result<bool> {
        let mut has_all = true;
        for file in self.files()? {
            // Nobody writes to these any more.
            if self.complete.contains(&file) {
                continue;
            }
            // Asked before: what its process wrote last must have been read when it is removed. It is read once more from
            // the beginning: what was in the making at an earlier look may have been skipped.
            let is_complete = is_complete(&file);
            let read = if is_complete { 0 } else { self.read.get(&file).copied().unwrap_or_default() };
            match read_from(&file, read) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    // A record that is being written is read when it is whole.
                    let header = if read == 0 { self.layout.header.len() } else { 0 };
                    let whole = bytes.len().saturating_sub(header) / RECORD * RECORD;
                    self.records.load(bytes.get(header..).unwrap_or_default());
                    self.read.insert(file.clone(), read + (header + whole) as u64);
                }
                Err(error) if is_gone(&error) => {
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

    /// All journals, in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let is_journal =
            |path: &PathBuf| path.extension().is_some_and(|found| found == self.layout.extension);
        Ok(all_entries(&self.folder)?.into_iter().filter(is_journal).collect())
    }

    /// What a key leads to, in the order in which it was read.
    pub(crate) fn leads(&self, key: Digest) -> impl Iterator<Item = Lead> {
        let first = self.records.first.get(&key);
        // Most keys have one, and then there is nothing else to be looked for.
        let others = first.and_then(|_| self.records.others.get(&key));
        first.into_iter().chain(others.into_iter().flatten()).copied()
    }

    /// All keys and what they lead to.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Digest, Lead)> {
        let others = self.records.others.iter();
        let others = others.flat_map(|(key, leads)| leads.iter().map(|lead| (*key, *lead)));
        self.records.first.iter().map(|(key, lead)| (*key, *lead)).chain(others)
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.records.first.len()
    }

    /// Takes a record that has been written by this process, without reading it.
    pub(crate) fn add(&mut self, key: Digest, lead: Lead) {
        self.records.add(key, lead);
    }

    /// Starts a file of one's own.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub(crate) fn writer(&self) -> Result<Writer> {
        let failed = || Error::io("make a journal in", &self.folder);
        create_folder(&self.folder)?;
        let file = tempfile::Builder::new()
            .prefix(&format!("{WRITTEN}{}", own_mark()))
            .suffix(&format!(".{}", self.layout.extension))
            .rand_bytes(12)
            .make_in(&self.folder, create_to_append)
            .map_err(failed())?;
        let (file, path) = file.keep().map_err(|error| failed()(error.error))?;
        write_all(&file, self.layout.header).map_err(Error::io("write", &path))?;
        let length = self.layout.header.len() as u64;
        Ok(Writer { path, open: Mutex::new(Open { file, length, is_synced: false }) })
    }

    /// Merges what was read with what the given writer wrote, in one file. Gives how many records of it are further ones
    /// of known keys; all are kept.
    ///
    /// # Errors
    /// [`Error::Io`] when the writer's file cannot be read or the merged one cannot be written; all stay as they are then.
    pub(crate) fn merge_with(mut self, writer: Writer) -> Result<usize> {
        let own = writer.path.clone();
        drop(writer);
        let before = self.records.count_others();
        let written = crate::io::read(&own).map_err(Error::io("read", &own))?;
        self.records.load(written.get(self.layout.header.len()..).unwrap_or_default());
        let more = self.records.count_others() - before;
        if self.complete.is_empty() {
            // There is nothing else: the file itself will do.
            let merged = self.merged_name(&written);
            before_rename()
                .and_then(|()| fs::rename(&own, &merged))
                .map_err(Error::io("name a journal", &merged))?;
            return Ok(more);
        }
        let files: Vec<PathBuf> = self.complete.iter().cloned().chain([own]).collect();
        self.put_together(&files, &|_| true)?;
        Ok(more)
    }

    /// Puts together the files that nobody writes to, when there are many. A file that is much larger than the others
    /// together stays as it is: else each few records would be written with all that there are.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read, or the merged one cannot be written; all stay as they are then.
    pub(crate) fn tidy(&mut self, many: usize) -> Result<()> {
        if self.complete.len() < many {
            return Ok(());
        }
        let length = |path: &PathBuf| Some((fs::metadata(path).ok()?.len(), path.clone()));
        let mut sized: Vec<(u64, PathBuf)> = self.complete.iter().filter_map(length).collect();
        sized.sort();
        let mut total = 0;
        let mut chosen = Vec::new();
        for (length, path) in sized {
            if chosen.len() >= many && length > MUCH_LARGER * total {
                break;
            }
            total += length;
            chosen.push(path);
        }
        self.put_together(&chosen, &|_| true)
    }

    /// Forgets keys of old files that nobody writes to, but for those that are to be kept and those that other files hold
    /// as well. Gives the keys that go; with `dry` they stay.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read or written, or not all could be seen.
    pub(crate) fn forget(
        &mut self,
        keep: &dyn Fn(Digest) -> bool,
        is_old: &dyn Fn(&Path) -> bool,
        dry: bool,
    ) -> Result<HashSet<Digest>> {
        if !self.refresh()? {
            return Err(Error::io("read", &self.folder)(io::Error::other("it changes all the while")));
        }
        let (old, others): (Vec<PathBuf>, Vec<PathBuf>) =
            self.files()?.into_iter().partition(|file| self.complete.contains(file) && is_old(file));
        let others = self.records_of(&others)?;
        let old_records = self.records_of(&old)?;
        let goes = |key: &Digest| !keep(*key) && !others.first.contains_key(key);
        let gone: HashSet<Digest> = old_records.first.keys().copied().filter(goes).collect();
        if !dry && !gone.is_empty() {
            self.put_together(&old, &|key| !gone.contains(&key))?;
            self.records.first.retain(|key, _| !gone.contains(key));
            self.records.others.retain(|key, _| !gone.contains(key));
        }
        Ok(gone)
    }

    /// What some files say. Those that are gone are in others by now.
    fn records_of(&self, files: &[PathBuf]) -> Result<Records> {
        let mut records = Records::default();
        for file in files {
            match crate::io::read(file) {
                Ok(bytes) => records.load(bytes.get(self.layout.header.len()..).unwrap_or_default()),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(Error::io("read", file)(error)),
            }
        }
        Ok(records)
    }

    /// Puts files into one that is as old as the youngest of them, as far as they are to be kept, and removes them.
    fn put_together(&mut self, files: &[PathBuf], keep: &dyn Fn(Digest) -> bool) -> Result<()> {
        let written =
            files.iter().filter_map(|file| fs::metadata(file).and_then(|found| found.modified()).ok());
        let youngest = written.max();
        let mut records = self.records_of(files)?;
        records.first.retain(|key, _| keep(*key));
        records.others.retain(|key, _| keep(*key));
        let mut bytes = self.layout.header.to_vec();
        records.write_to(&mut bytes);
        let merged = self.merged_name(&bytes);
        write_atomically(&merged, &bytes)?;
        if let Some(time) = youngest {
            let _ = File::options().append(true).open(&merged).and_then(|file| file.set_modified(time));
        }
        for file in files.iter().filter(|file| **file != merged) {
            let _ = fs::remove_file(file);
            self.complete.remove(file);
        }
        self.complete.insert(merged);
        Ok(())
    }

    /// Named by content, so that two processes merging the same records agree, and none replaces other ones.
    fn merged_name(&self, bytes: &[u8]) -> PathBuf {
        self.folder.join(format!("{MERGED}{}.{}", Digest::of(bytes).short(), self.layout.extension))
    }
}

impl Records {
    fn load(&mut self, bytes: &[u8]) {
        self.first.reserve(bytes.len() / RECORD);
        decode_all(bytes).for_each(|(key, digest, number)| self.add(key, Lead { digest, number }));
    }

    fn add(&mut self, key: Digest, lead: Lead) {
        let first = *self.first.entry(key).or_insert(lead);
        if first != lead {
            let others = self.others.entry(key).or_default();
            if !others.contains(&lead) {
                others.push(lead);
            }
        }
    }

    fn count_others(&self) -> usize {
        self.others.values().map(Vec::len).sum()
    }

    fn write_to(&self, bytes: &mut Vec<u8>) {
        let mut sorted: Vec<(&Digest, &Lead)> = self.first.iter().collect();
        sorted.sort_by_key(|(key, _)| **key);
        for (key, first) in sorted {
            let others = self.others.get(key).into_iter().flatten();
            for lead in std::iter::once(first).chain(others) {
                bytes.extend_from_slice(&encode(*key, lead.digest, lead.number));
            }
        }
    }
}

/// A journal file that this process appends to; may be shared by its threads.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    open: Mutex<Open>,
}

/// An open journal and the length of what is whole of it.
#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    is_synced: bool,
}

impl Writer {
    /// Whether the file has been merged away by another host, which took its process for gone.
    pub(crate) fn is_lost(&self) -> bool {
        !self.path.exists()
    }

    /// Appends a record. Its blob must be in the store already.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub(crate) fn append(&self, key: Digest, lead: Lead) -> Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // What an earlier failure has left of a record would make those behind it unreadable.
        let is_torn = open.file.metadata().map_or(true, |metadata| metadata.len() != open.length);
        let cut = if is_torn { open.file.set_len(open.length) } else { Ok(()) };
        cut.and_then(|()| write_all(&open.file, &encode(key, lead.digest, lead.number)))
            .map_err(Error::io("write", &self.path))?;
        open.length += RECORD as u64;
        open.is_synced = false;
        Ok(())
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk does not take it.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.is_synced {
            sync(&open.file).map_err(Error::io("sync", &self.path))?;
            self.path.parent().into_iter().for_each(sync_folder);
            open.is_synced = true;
        }
        Ok(())
    }
}

/// The bytes of a file from a place on. It is opened first: on a file system of other hosts only that tells how long it is.
fn read_from(file: &Path, place: u64) -> io::Result<Vec<u8>> {
    let mut file = crate::io::open(file)?;
    let mut bytes = Vec::new();
    if file.metadata()?.len() > place {
        file.seek(SeekFrom::Start(place))?;
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Whether nobody writes to a journal any more.
fn is_complete(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.starts_with(MERGED) || is_abandoned(path, WRITTEN)
}

#[cfg(test)]
mod tests;
