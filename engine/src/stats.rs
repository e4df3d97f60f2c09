//! What the file system says of files and folders, without reading them, summed up to a stat signature.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pipe_cache::{Digest, SignatureHasher, Stamp};
use rayon::prelude::*;

use crate::bind::TableSource;
use crate::input::list_folder;
use crate::items::row_files::{Found, RowFiles};
use crate::stage::FileColumn;

/// Stats that are held while many instances ask for the same ones at once; empty at any other time.
#[derive(Default)]
pub(crate) struct StatCache {
    held: Mutex<Option<Held>>,
}

#[derive(Default)]
struct Held {
    files: HashMap<PathBuf, Stamp>,
    /// Folders that were written too lately have no digest.
    folders: HashMap<PathBuf, Option<Digest>>,
}

impl StatCache {
    /// Holds stats from now on, and those that are held already, until they are let go.
    pub(crate) fn hold(&self) {
        self.held().get_or_insert_default();
    }

    /// Lets go of all stats.
    pub(crate) fn release(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stamps of files; `None` when one is not there.
    fn stamps(&self, paths: &[PathBuf]) -> Option<Vec<Stamp>> {
        let known = |held: &Held| -> Option<Vec<Stamp>> {
            paths.iter().map(|path| held.files.get(path).copied()).collect()
        };
        if let Some(stamps) = self.held().as_ref().and_then(known) {
            return Some(stamps);
        }
        let stamps = stamps(paths)?;
        if let Some(held) = self.held().as_mut() {
            held.files.extend(paths.iter().cloned().zip(stamps.iter().copied()));
        }
        Some(stamps)
    }

    /// A digest of the stamps of a folder's files; `None` when it is not there or was written too lately.
    fn folder(&self, folder: &Path) -> Option<Digest> {
        if let Some(known) = self.held().as_ref().and_then(|held| held.folders.get(folder)) {
            return *known;
        }
        let digest = folder_signature(folder);
        if let Some(held) = self.held().as_mut() {
            held.folders.insert(folder.to_path_buf(), digest);
        }
        digest
    }
}

/// A stat signature in the making.
pub(crate) struct SignatureBuilder<'a> {
    hasher: SignatureHasher,
    /// Where stats may be held; `None` to ask the file system whatever is held.
    cache: Option<&'a StatCache>,
}

impl<'a> SignatureBuilder<'a> {
    pub(crate) fn new(purpose: &str, cache: Option<&'a StatCache>) -> Self {
        Self { hasher: SignatureHasher::new(purpose), cache }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        self.hasher.text(text);
    }

    /// Adds files by their stamps. `None` when one is not there.
    pub(crate) fn files(&mut self, paths: &[PathBuf]) -> Option<()> {
        let stamps = match self.cache {
            Some(cache) => cache.stamps(paths)?,
            None => stamps(paths)?,
        };
        for (path, stamp) in paths.iter().zip(stamps) {
            self.hasher.file(path, stamp);
        }
        Some(())
    }

    /// Adds all files of a folder by their stamps. `None` when it is not there or was written too lately.
    pub(crate) fn folder(&mut self, folder: &Path) -> Option<()> {
        let digest = match self.cache {
            Some(cache) => cache.folder(folder)?,
            None => folder_signature(folder)?,
        };
        self.hasher.text(digest.as_bytes());
        Some(())
    }

    /// Adds what the rows of a table name, once for each cell.
    pub(crate) fn row_files(&mut self, source: &TableSource, columns: &[FileColumn]) -> Option<()> {
        let RowFiles::Root(root) = &source.files else { return Some(()) };
        for column in columns {
            self.text(column.name);
            let mut seen: HashSet<&str> = HashSet::new();
            let mut files = Vec::new();
            for row in source.table.rows() {
                let Some(cell) = source.table.get(row, column.name).filter(|cell| seen.insert(cell)) else {
                    continue;
                };
                match source.files.find(column, cell).ok()? {
                    Found::One(name) => files.push(root.join(name)),
                    Found::Pair(first, second) => files.extend([root.join(first), root.join(second)]),
                    Found::Folder(name) => self.folder(&root.join(name))?,
                }
            }
            self.files(&files)?;
        }
        Some(())
    }

    /// The signature; `None` when something was written too lately.
    pub(crate) fn finish(self) -> Option<Digest> {
        self.hasher.finish()
    }
}

/// The stamps of files; `None` when one is not there.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    let stat = |path: &PathBuf| std::fs::metadata(path);
    let found: Vec<io::Result<Metadata>> = paths.par_iter().with_min_len(64).map(stat).collect();
    found.into_iter().map(|metadata| Some(Stamp::of(&metadata.ok()?))).collect()
}

fn folder_signature(folder: &Path) -> Option<Digest> {
    let mut files = Vec::new();
    list_folder(folder, "", 0, &mut files).ok()?;
    files.sort_unstable();
    let paths: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
    let mut hasher = SignatureHasher::new("folder");
    for (path, stamp) in paths.iter().zip(stamps(&paths)?) {
        hasher.file(path, stamp);
    }
    hasher.finish()
}
