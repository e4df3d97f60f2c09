//! Packs: small blobs, many to a file.
//!
//! A process appends the small blobs that it makes to a pack of its own, and for each a record to the pack's index.
//! The index only saves reading the pack: one that is missing is made anew from it. Packs of processes that have
//! ended are merged now and then. What a blob holds is compared with its digest by whoever reads it.

mod merge;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use super::FRESH;
use super::pack_file::{
    BLOB_HEAD, INDEX_HEADER, PACK_HEADER, RECORD, Record, blob_head, index_of_pack, pread, records, strike,
};
use crate::Digest;
use crate::atomic::{create_folder, create_to_append, sync_folder, write_atomically};
use crate::error::{Error, Result};
use crate::io::{before_rename, open, sync, write_all};
use crate::listing::{all_entries, is_gone};
use crate::owner::own_mark;

/// Longest blob that goes into a pack, in bytes.
pub(crate) const MOST_PACKED: usize = 32 << 10;

/// So many packs of ended processes are merged into one.
const MANY: usize = 8;

/// A pack of that many bytes is not appended to nor merged any more.
const FULL: u64 = 64 << 20;

const MERGED: &str = "p-";

/// So often packs are looked for while others merge them.
const LOOKS: usize = 16;
const WRITTEN: &str = "w-";

/// The packs of a store.
#[derive(Debug)]
pub(crate) struct Packs {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_loaded: bool,
    places: HashMap<Digest, Place>,
    packs: Vec<Pack>,
    numbers: HashMap<PathBuf, u32>,
    own: Option<Own>,
    /// Packs that this process has appended to before and that may not be durable.
    unsynced: Vec<Own>,
}

/// Where a blob is.
#[derive(Clone, Copy, Debug)]
struct Place {
    pack: u32,
    /// The number of its record in the index.
    record: u32,
    offset: u64,
    length: u32,
}

#[derive(Debug)]
struct Pack {
    /// Path of the pack; its index has the same name with another extension.
    path: PathBuf,
    /// Records of the index that have been taken.
    taken: u32,
    file: Option<Arc<File>>,
    /// When this process has last marked it as used.
    marked: Option<Instant>,
}

/// The pack that this process appends to.
#[derive(Debug)]
struct Own {
    number: u32,
    pack: File,
    index: File,
    length: u64,
    records: u32,
    is_synced: bool,
}

impl Own {
    fn sync(&mut self, folder: &Path) -> Result<()> {
        if !self.is_synced {
            sync(&self.pack)
                .and_then(|()| sync(&self.index))
                .map_err(Error::io("sync the packs in", folder))?;
            self.is_synced = true;
            sync_folder(folder);
        }
        Ok(())
    }
}

impl Packs {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a blob, unless it is there.
    pub(crate) fn put(&self, digest: Digest, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        state.load(&self.folder)?;
        if let Some(place) = state.places.get(&digest).copied() {
            if state.mark_used(place.pack) {
                return Ok(());
            }
            // The pack has gone, and the blob with it if nobody has merged it into another.
            state.reload(&self.folder)?;
            if state.places.contains_key(&digest) {
                return Ok(());
            }
        }
        let outcome = state.append(&self.folder, digest, bytes);
        if outcome.is_err() {
            // How much of it was written is not known: nothing more goes into this pack.
            state.put_away();
        }
        outcome
    }

    /// Makes what this process has appended durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut state = self.lock();
        let folder = &self.folder;
        let State { own, unsynced, .. } = &mut *state;
        unsynced.iter_mut().chain(own).try_for_each(|own| own.sync(folder))?;
        unsynced.clear();
        Ok(())
    }

    /// Whether a blob was in a pack at the last look.
    pub(crate) fn knows(&self, digest: Digest) -> bool {
        let mut state = self.lock();
        state.load(&self.folder).is_ok() && state.places.contains_key(&digest)
    }

    /// Whether a blob is in a pack, looking again if need be; its bytes are not compared.
    pub(crate) fn contains(&self, digest: Digest) -> bool {
        let mut state = self.lock();
        let found = |state: &State| state.places.contains_key(&digest);
        state.load(&self.folder).is_ok()
            && (found(&state) || (state.refresh(&self.folder).is_ok() && found(&state)))
    }

    /// Takes those out of the set that are in packs.
    pub(crate) fn take_known(&self, digests: &mut HashSet<Digest>) -> Result<()> {
        let mut state = self.lock();
        state.load(&self.folder)?;
        digests.retain(|digest| !state.places.contains_key(digest));
        Ok(())
    }

    /// A blob's bytes as they are; `None` when no pack has it.
    pub(crate) fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        // Packs may be merged by others at any time: then they are looked for once more.
        for attempt in 0..3 {
            let place = {
                let mut state = self.lock();
                state.load(&self.folder)?;
                if !state.places.contains_key(&digest) {
                    state.refresh(&self.folder)?;
                }
                let Some(place) = state.places.get(&digest).copied() else { return Ok(None) };
                state.file(place.pack).map(|file| (file, place))
            };
            match place.and_then(|(file, place)| pread(&file, place.offset, place.length)) {
                Ok(bytes) => return Ok(Some(bytes)),
                // The pack has lost its end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && attempt > 0 => {
                    self.strike_out(digest)?;
                }
                Err(error) if is_cut_short(&error) => self.lock().reload(&self.folder)?,
                Err(error) => return Err(Error::io("read the packs in", &self.folder)(error)),
            }
        }
        Ok(None)
    }

    /// Takes a damaged blob out of its index. Another copy of it, if there is one, is found from now on.
    pub(crate) fn strike_out(&self, digest: Digest) -> Result<()> {
        let mut state = self.lock();
        let Some(place) = state.places.get(&digest).copied() else { return Ok(()) };
        let path = state.index_path(place.pack);
        let struck = match records(&path, u32::MAX) {
            Ok(_) => OpenOptions::new().write(true).open(&path).and_then(|file| strike(&file, place.record)),
            Err(error) => Err(error),
        };
        match struck {
            Ok(()) => {}
            // The index is gone or is none: it is made anew, without the damaged blob.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                renew_index(&path.with_extension("pack"), &|found| found != digest)?;
            }
            Err(error) => return Err(Error::io("write", &path)(error)),
        }
        state.reload(&self.folder)
    }

    /// All blobs in packs with their sizes.
    pub(crate) fn list(&self) -> Result<BTreeMap<Digest, u64>> {
        let mut state = self.lock();
        state.reload(&self.folder)?;
        Ok(state.places.iter().map(|(digest, place)| (*digest, u64::from(place.length))).collect())
    }
}

impl State {
    fn load(&mut self, folder: &Path) -> Result<()> {
        if self.is_loaded { Ok(()) } else { self.refresh(folder) }
    }

    /// Forgets all places and looks for them anew.
    fn reload(&mut self, folder: &Path) -> Result<()> {
        self.places.clear();
        for pack in &mut self.packs {
            pack.taken = 0;
            pack.file = None;
        }
        self.refresh(folder)
    }

    /// Takes what other processes have added since the last look.
    fn refresh(&mut self, folder: &Path) -> Result<()> {
        for _ in 0..LOOKS {
            if self.look(folder)? {
                break;
            }
        }
        self.is_loaded = true;
        Ok(())
    }

    /// Takes what is new; false when a pack has gone meanwhile: what it held is in another one, which may have come
    /// after the list of packs was made.
    fn look(&mut self, folder: &Path) -> Result<bool> {
        let mut has_all = true;
        for path in pack_paths(folder)? {
            let number = self.number(&path);
            let taken = self.packs[number as usize].taken;
            let found = match records(&index_path(&path), taken) {
                Ok(found) => found,
                Err(error) if is_gone(&error) => match index_of_pack(&path) {
                    Ok(found) => found.into_iter().skip(taken as usize).map(Some).collect(),
                    Err(error) if is_gone(&error) => {
                        has_all = false;
                        continue;
                    }
                    Err(error) => return Err(Error::io("read", &path)(error)),
                },
                Err(error) => return Err(Error::io("read", &index_path(&path))(error)),
            };
            for (record, found) in (taken..).zip(&found) {
                if let Some(Record { digest, offset, length }) = *found {
                    self.places.entry(digest).or_insert(Place { pack: number, record, offset, length });
                }
            }
            self.packs[number as usize].taken += found.len() as u32;
        }
        Ok(has_all)
    }

    fn number(&mut self, path: &Path) -> u32 {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        let number = self.packs.len() as u32;
        self.packs.push(Pack { path: path.to_path_buf(), taken: 0, file: None, marked: None });
        self.numbers.insert(path.to_path_buf(), number);
        number
    }

    fn index_path(&self, pack: u32) -> PathBuf {
        self.packs.get(pack as usize).map(|pack| index_path(&pack.path)).unwrap_or_default()
    }

    fn file(&mut self, pack: u32) -> io::Result<Arc<File>> {
        let Some(pack) = self.packs.get_mut(pack as usize) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Some(file) = &pack.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(open(&pack.path)?);
        pack.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Appends no more to the present pack.
    fn put_away(&mut self) {
        self.unsynced.extend(self.own.take().filter(|own| !own.is_synced));
    }

    /// Marks a pack as used, so that none of its blobs looks forgotten; says whether it is there.
    fn mark_used(&mut self, pack: u32) -> bool {
        let Some(pack) = self.packs.get_mut(pack as usize) else { return false };
        if pack.marked.is_some_and(|time| time.elapsed() < FRESH) {
            return true;
        }
        let now = SystemTime::now();
        let written = fs::metadata(&pack.path).and_then(|metadata| metadata.modified());
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return false;
        }
        pack.marked = Some(Instant::now());
        if written.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > FRESH)) {
            let _ = File::options().append(true).open(&pack.path).and_then(|file| file.set_modified(now));
        }
        true
    }

    fn append(&mut self, folder: &Path, digest: Digest, bytes: &[u8]) -> Result<()> {
        // Another host may have merged a pack away that it took for one of an ended process.
        let is_lost = |own: &Own| self.packs.get(own.number as usize).is_none_or(|pack| !pack.path.exists());
        if self.own.as_ref().is_none_or(|own| own.length > FULL || is_lost(own)) {
            self.put_away();
            self.own = Some(self.begin(folder)?);
        }
        let failed = Error::io("write a pack in", folder);
        let Some(own) = &mut self.own else { return Ok(()) };
        let length = bytes.len() as u32;
        let mut whole = blob_head(digest, length).to_vec();
        whole.extend_from_slice(bytes);
        let offset = own.length + BLOB_HEAD as u64;
        let record = Record { digest, offset, length };
        write_all(&own.pack, &whole)
            .and_then(|()| write_all(&own.index, &record.to_bytes()))
            .map_err(failed)?;
        own.length += whole.len() as u64;
        own.is_synced = false;
        let place = Place { pack: own.number, record: own.records, offset, length };
        own.records += 1;
        if let Some(pack) = self.packs.get_mut(own.number as usize) {
            pack.taken = own.records;
        }
        self.places.insert(digest, place);
        Ok(())
    }

    /// Makes a pack of one's own.
    fn begin(&mut self, folder: &Path) -> Result<Own> {
        let failed = || Error::io("make a pack in", folder);
        create_folder(folder)?;
        let made = tempfile::Builder::new()
            .prefix(&format!("{WRITTEN}{}", own_mark()))
            .suffix(".pack")
            .rand_bytes(12)
            .make_in(folder, create_to_append)
            .map_err(failed())?;
        let (pack, path) = made.keep().map_err(|error| failed()(error.error))?;
        let index = create_to_append(&index_path(&path)).map_err(failed())?;
        write_all(&pack, PACK_HEADER).and_then(|()| write_all(&index, INDEX_HEADER)).map_err(failed())?;
        before_rename().map_err(failed())?;
        let number = self.number(&path);
        let length = PACK_HEADER.len() as u64;
        Ok(Own { number, pack, index, length, records: 0, is_synced: false })
    }
}

/// Makes the index of a pack anew from its own bytes.
fn renew_index(pack: &Path, keep: &dyn Fn(Digest) -> bool) -> Result<()> {
    let found = match index_of_pack(pack) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", pack)(error)),
    };
    let kept = found.into_iter().filter(|record| keep(record.digest));
    let bytes = kept.fold(INDEX_HEADER.to_vec(), |mut bytes, record| {
        bytes.extend_from_slice(&record.to_bytes());
        bytes
    });
    write_atomically(&index_path(pack), &bytes)
}

/// Whether a pack is gone, or shorter than its index says.
fn is_cut_short(error: &io::Error) -> bool {
    is_gone(error) || error.kind() == io::ErrorKind::UnexpectedEof
}

fn index_path(pack: &Path) -> PathBuf {
    pack.with_extension("index")
}

/// All packs, in the order of their names.
fn pack_paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_pack = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pack");
    Ok(all_entries(folder)?.into_iter().filter(is_pack).collect())
}

const _: () = assert!(RECORD == 48 && BLOB_HEAD == 40);
