//! Putting packs together: those of processes that have ended, and those of which something goes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{FULL, MANY, MERGED, Packs, WRITTEN, index_path, is_cut_short, pack_paths};
use crate::Digest;
use crate::atomic::write_atomically;
use crate::blobs::pack_file::{
    BLOB_HEAD, INDEX_HEADER, PACK_HEADER, Record, blob_head, index_of_pack, pread, records,
};
use crate::error::{Error, Result};
use crate::io::open;
use crate::listing::is_gone;
use crate::owner::is_abandoned;

impl Packs {
    /// Merges the packs of processes that have ended, when there are many.
    pub(crate) fn tidy(&self) -> Result<()> {
        self.sync()?;
        let length = |path: PathBuf| Some((fs::metadata(&path).ok()?.len(), path));
        let mut small: Vec<(u64, PathBuf)> = complete_packs(&self.folder)?
            .into_iter()
            .filter_map(length)
            .filter(|(length, _)| *length < FULL)
            .collect();
        if small.len() < MANY {
            return Ok(());
        }
        // They are put together in memory.
        small.sort();
        let mut total = 0;
        let fits = |(length, _): &(u64, PathBuf)| {
            total += length;
            total <= FULL
        };
        let chosen: Vec<PathBuf> = small.into_iter().take_while(fits).map(|(_, path)| path).collect();
        if chosen.len() > 1 { self.rewrite(&chosen, &|_| true) } else { Ok(()) }
    }

    /// Leaves out of complete and old packs what is not to be kept. Gives the number of blobs and bytes that went.
    pub(crate) fn retain(
        &self,
        keep: &dyn Fn(Digest) -> bool,
        is_old: &dyn Fn(&Path) -> bool,
        dry: bool,
    ) -> Result<(u64, u64)> {
        let mut gone = (0, 0);
        for path in complete_packs(&self.folder)?.into_iter().filter(|path| is_old(path)) {
            let Some(records) = present(index_of(&path)).map_err(Error::io("read", &path))? else { continue };
            let dead: Vec<&Record> = records.iter().filter(|record| !keep(record.digest)).collect();
            gone.0 += dead.len() as u64;
            gone.1 += dead.iter().map(|record| u64::from(record.length) + BLOB_HEAD as u64).sum::<u64>();
            if !dead.is_empty() && !dry {
                self.rewrite(&[path], keep)?;
            }
        }
        Ok(gone)
    }

    /// Puts the whole blobs of some packs, as far as they are to be kept, into one new pack.
    fn rewrite(&self, packs: &[PathBuf], keep: &dyn Fn(Digest) -> bool) -> Result<()> {
        let (mut pack, mut index) = (PACK_HEADER.to_vec(), INDEX_HEADER.to_vec());
        let mut seen = HashSet::new();
        for path in packs {
            // Another process may merge the same packs at the same time.
            let found = present(open(path)).and_then(|file| Ok(file.zip(present(index_of(path))?)));
            let Some((file, records)) = found.map_err(Error::io("read", path))? else { continue };
            for record in records {
                if !keep(record.digest) || seen.contains(&record.digest) {
                    continue;
                }
                let bytes = match pread(&file, record.offset, record.length) {
                    Ok(bytes) => bytes,
                    Err(error) if is_cut_short(&error) => continue,
                    // What cannot be read now may be there all the same: the pack stays.
                    Err(error) => return Err(Error::io("read", path)(error)),
                };
                if Digest::of(&bytes) != record.digest {
                    continue;
                }
                seen.insert(record.digest);
                pack.extend_from_slice(&blob_head(record.digest, record.length));
                let offset = pack.len() as u64;
                pack.extend_from_slice(&bytes);
                index.extend_from_slice(&Record { offset, ..record }.to_bytes());
            }
        }
        let path = self.folder.join(format!("{MERGED}{}.pack", Digest::of(&index).short()));
        if !seen.is_empty() {
            // The pack first: whoever sees the index finds it.
            write_atomically(&path, &pack)?;
            write_atomically(&index_path(&path), &index)?;
        }
        for old in packs.iter().filter(|old| **old != path) {
            let _ = fs::remove_file(index_path(old));
            let _ = fs::remove_file(old);
        }
        self.lock().reload(&self.folder)
    }
}

/// What has been found; `None` when it is not there.
fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The packs that nobody appends to any more.
fn complete_packs(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_complete = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.starts_with(MERGED) || is_abandoned(path, WRITTEN)
    };
    Ok(pack_paths(folder)?.into_iter().filter(is_complete).collect())
}

/// The records of a pack: of its index, or of itself where it has none.
fn index_of(pack: &Path) -> io::Result<Vec<Record>> {
    match records(&index_path(pack), 0) {
        Ok(records) => Ok(records.into_iter().flatten().collect()),
        Err(error) if is_gone(&error) => index_of_pack(pack),
        Err(error) => Err(error),
    }
}
