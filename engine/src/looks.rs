//! Looking at files without reading them: for a sight of what one instance uses, and for the account of all that a run
//! has looked at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pipe_cache::{Digest, Sighting, Stamp};
use rayon::prelude::*;

use crate::bind::TableSource;
use crate::input::list_folder;
use crate::items::row_files::{Found, RowFiles};
use crate::stage::RowItems;

/// All that a run has looked at outside the store.
pub(crate) struct Looked {
    /// `None` once something could not be seen well enough.
    seen: Mutex<Option<Seen>>,
    /// What is believed without another look, while something is.
    believed: Mutex<Option<Believed>>,
}

/// What a look at each file and folder has found; folders that were written too lately have no digest.
#[derive(Default)]
struct Believed {
    files: HashMap<PathBuf, Stamp>,
    folders: HashMap<PathBuf, Option<Digest>>,
}

/// Files, and folders with a digest of what was seen in them.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) files: BTreeMap<PathBuf, Stamp>,
    pub(crate) folders: BTreeMap<PathBuf, Digest>,
}

impl Default for Looked {
    fn default() -> Self {
        Self { seen: Mutex::new(Some(Seen::default())), believed: Mutex::default() }
    }
}

impl Looked {
    /// Something was not seen well enough.
    pub(crate) fn spoil(&self) {
        *self.account() = None;
    }

    /// What was seen, if all of it was seen well and the same each time.
    pub(crate) fn take(&self) -> Option<Seen> {
        self.account().take()
    }

    /// Whether what is looked at is looked at once. Right for a moment in which many look at the same.
    pub(crate) fn look_once(&self, once: bool) {
        *self.believed() = once.then(Believed::default);
    }

    fn account(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn believed(&self) -> MutexGuard<'_, Option<Believed>> {
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file system says of files; `None` when one is not there.
    fn stamps(&self, paths: &[PathBuf]) -> Option<Vec<Stamp>> {
        let known = |believed: &Believed| -> Option<Vec<Stamp>> {
            paths.iter().map(|path| believed.files.get(path).copied()).collect()
        };
        if let Some(stamps) = self.believed().as_ref().and_then(known) {
            return Some(stamps);
        }
        let stamps = stamps(paths)?;
        if let Some(believed) = self.believed().as_mut() {
            believed.files.extend(paths.iter().cloned().zip(stamps.iter().copied()));
        }
        Some(stamps)
    }

    /// What is seen of a folder's files; `None` when it is not there or was written too lately.
    fn folder_digest(&self, folder: &Path) -> Option<Digest> {
        if let Some(known) = self.believed().as_ref().and_then(|believed| believed.folders.get(folder)) {
            return *known;
        }
        let digest = see_folder(folder);
        if let Some(believed) = self.believed().as_mut() {
            believed.folders.insert(folder.to_path_buf(), digest);
        }
        digest
    }

    fn files(&self, files: impl Iterator<Item = (PathBuf, Stamp)>) {
        self.add(|seen| seen.add_files(files).is_some());
    }

    fn folder(&self, folder: &Path, digest: Digest) {
        self.add(|seen| *seen.folders.entry(folder.to_path_buf()).or_insert(digest) == digest);
    }

    /// Adds what agrees with what was seen before.
    fn add(&self, add: impl FnOnce(&mut Seen) -> bool) {
        let mut account = self.account();
        if account.as_mut().is_some_and(|seen| !add(seen)) {
            *account = None;
        }
    }
}

/// A sight in the making, of which the run's account is kept.
pub(crate) struct Look<'a> {
    sighting: Sighting,
    looked: &'a Looked,
    /// Whether an earlier look may be believed.
    believes: bool,
}

impl<'a> Look<'a> {
    /// A look that believes what was seen a moment ago, where that is kept.
    pub(crate) fn new(purpose: &str, looked: &'a Looked) -> Self {
        Self { sighting: Sighting::new(purpose), looked, believes: true }
    }

    /// The same look taken now, whatever was seen before.
    pub(crate) fn anew(self) -> Self {
        Self { believes: false, ..self }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) {
        self.sighting.text(text);
    }

    /// Looks at files. `None` when one is not there.
    pub(crate) fn files(&mut self, paths: Vec<PathBuf>) -> Option<()> {
        let stamps = if self.believes { self.looked.stamps(&paths)? } else { stamps(&paths)? };
        for (path, stamp) in paths.iter().zip(&stamps) {
            self.sighting.file(path, *stamp);
        }
        self.looked.files(paths.into_iter().zip(stamps));
        Some(())
    }

    /// Looks at all files of a folder.
    pub(crate) fn folder(&mut self, folder: &Path) -> Option<()> {
        let digest = if self.believes { self.looked.folder_digest(folder)? } else { see_folder(folder)? };
        self.sighting.text(digest.as_bytes());
        self.looked.folder(folder, digest);
        Some(())
    }

    /// Looks at what the rows of a table name, once for each cell.
    pub(crate) fn row_files(&mut self, source: &TableSource, rows: &RowItems) -> Option<()> {
        let RowFiles::Root(root) = &source.files else { return Some(()) };
        for column in &rows.files {
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
            self.files(files)?;
        }
        Some(())
    }

    /// The sight; `None` when something was written too lately.
    pub(crate) fn finish(self) -> Option<Digest> {
        self.sighting.finish()
    }
}

impl Seen {
    /// Looks at the same files and folders anew; what is seen of them, or `None` when something is not there or was
    /// written too lately.
    pub(crate) fn look_again(files: &[PathBuf], folders: &[PathBuf]) -> Option<Digest> {
        let stamps = stamps(files)?;
        let digests: Vec<Digest> = folders.iter().map(|folder| see_folder(folder)).collect::<Option<_>>()?;
        sum_up(files.iter().zip(stamps), folders.iter().zip(digests))
    }

    /// What was seen, as a digest; see [`Seen::look_again`].
    pub(crate) fn digest(&self) -> Option<Digest> {
        let files = self.files.iter().map(|(path, stamp)| (path, *stamp));
        sum_up(files, self.folders.iter().map(|(path, digest)| (path, *digest)))
    }

    /// Looks at more files; `None` when one is not as it was seen before.
    pub(crate) fn look_at(&mut self, paths: Vec<PathBuf>) -> Option<()> {
        let stamps = stamps(&paths)?;
        self.add_files(paths.into_iter().zip(stamps))
    }

    /// Adds files that were seen; `None` when one was seen otherwise before.
    pub(crate) fn add_files(&mut self, files: impl IntoIterator<Item = (PathBuf, Stamp)>) -> Option<()> {
        let mut files = files.into_iter();
        files.all(|(path, stamp)| *self.files.entry(path).or_insert(stamp) == stamp).then_some(())
    }
}

fn sum_up<'a>(
    files: impl Iterator<Item = (&'a PathBuf, Stamp)>,
    folders: impl Iterator<Item = (&'a PathBuf, Digest)>,
) -> Option<Digest> {
    let mut sighting = Sighting::new("run");
    for (path, stamp) in files {
        sighting.file(path, stamp);
    }
    for (path, digest) in folders {
        sighting.text(path.as_os_str().as_encoded_bytes());
        sighting.text(digest.as_bytes());
    }
    sighting.finish()
}

/// What the file system says of files; `None` when one is not there.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    let look = |path: &PathBuf| std::fs::metadata(path);
    let seen: Vec<io::Result<Metadata>> = paths.par_iter().with_min_len(64).map(look).collect();
    seen.into_iter().map(|metadata| Some(Stamp::of(&metadata.ok()?))).collect()
}

fn see_folder(folder: &Path) -> Option<Digest> {
    let mut files = Vec::new();
    list_folder(folder, "", 0, &mut files).ok()?;
    files.sort_unstable();
    let paths: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
    let stamps = stamps(&paths)?;
    let mut sighting = Sighting::new("folder");
    for (path, stamp) in paths.iter().zip(stamps) {
        sighting.file(path, stamp);
    }
    sighting.finish()
}
