//! Folders and collections with known content, in the store or outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use pipe_cache::{Digest, Form, Hashed, Index, IndexBuilder, InputMemo, Stamp, Store};

use super::file::Place;
use super::{InputError, InputFile, list_items};
use crate::stage::StageError;

/// What file managers, and Python beside its modules, leave in folders; Apple's are hidden files.
const LEFT_BY_SYSTEMS: [&str; 4] = ["Thumbs.db", "desktop.ini", "Desktop.ini", "__pycache__"];

/// A folder or a collection with known content.
#[derive(Clone, Debug)]
pub struct Files {
    /// Its name in words, for messages.
    pub shown: String,
    /// Digest of its index.
    pub digest: Digest,
    index: Arc<Index>,
    origin: FilesOrigin,
}

#[derive(Clone, Debug)]
enum FilesOrigin {
    Stored(Arc<Store>),
    Outside {
        /// What the names of the index are read against.
        folder: Arc<Path>,
        /// What the file system said of each file of the index, and whether that tells.
        stamps: Arc<Vec<(Stamp, bool)>>,
    },
}

impl Files {
    /// An artifact of the store.
    ///
    /// # Errors
    /// When its index is missing or damaged.
    pub fn stored(store: &Arc<Store>, digest: Digest, shown: String) -> Result<Self, InputError> {
        let index = Arc::new(store.index(digest)?);
        Ok(Self { shown, digest, index, origin: FilesOrigin::Stored(Arc::clone(store)) })
    }

    /// A folder outside the store: its sorted tree, links followed, hidden files left out.
    ///
    /// # Errors
    /// When something in it cannot be read or named.
    pub fn outside(memo: &InputMemo, folder: &Path, form: Form) -> Result<Self, InputError> {
        let mut paths = Vec::new();
        list_folder(folder, "", 0, &mut paths)?;
        Self::of_paths(memo, folder, form, paths)
    }

    /// [`Files::part`] of a folder outside the store, of which nothing else is read.
    ///
    /// # Errors
    /// When something in it cannot be read or named.
    pub fn part_outside(
        memo: &InputMemo,
        folder: &Path,
        form: Form,
        names: &[String],
    ) -> Result<Self, InputError> {
        let mut paths = Vec::new();
        list_folder(folder, "", 0, &mut paths)?;
        paths.retain(|(name, _)| is_of_part(name, names));
        Self::of_paths(memo, folder, form, paths)
    }

    /// A folder's items outside the store, as files with an extension.
    ///
    /// # Errors
    /// Two files for one item; when something cannot be read or named.
    pub fn items_outside(
        memo: &InputMemo,
        folder: &Path,
        shown: &str,
        extension: &str,
    ) -> Result<Self, StageError> {
        let items = list_items(folder, shown, extension)?.items.into_values();
        let named = |path: PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (name.unwrap_or_default(), path)
        };
        Ok(Self::of_paths(memo, folder, Form::Collection, items.map(named).collect())?)
    }

    fn of_paths(
        memo: &InputMemo,
        folder: &Path,
        form: Form,
        mut paths: Vec<(String, PathBuf)>,
    ) -> Result<Self, InputError> {
        paths.sort_unstable();
        let hash = |(_, path): &(String, PathBuf)| memo.digest(path);
        let hashed: Vec<_> = paths.par_iter().with_min_len(16).map(hash).collect();
        let mut builder = IndexBuilder::new(form);
        let mut stamps = Vec::with_capacity(paths.len());
        for ((name, _), hashed) in paths.iter().zip(hashed) {
            let Hashed { digest, size, stamp, settled } = hashed?;
            builder.add(name, digest, size)?;
            stamps.push((stamp, settled));
        }
        let index = builder.finish()?;
        let origin = FilesOrigin::Outside { folder: folder.into(), stamps: Arc::new(stamps) };
        Ok(Self::of(folder.display().to_string(), index, origin))
    }

    fn of(shown: String, index: Index, origin: FilesOrigin) -> Self {
        Self { shown, digest: Digest::of(&index.to_bytes()), index: Arc::new(index), origin }
    }

    /// Only those files that are named, lie in the named folders, or end as a name that begins with `*` does.
    ///
    /// # Errors
    /// When the index of the part cannot be made.
    pub fn part(&self, names: &[String]) -> Result<Self, InputError> {
        let kept = |name: &str| is_of_part(name, names).then(|| name.to_string());
        self.cut(self.index.form(), &kept, self.shown.clone(), None)
    }

    /// Those files that `rename` gives a name, read against a folder of this one if need be.
    fn cut(
        &self,
        form: Form,
        rename: &dyn Fn(&str) -> Option<String>,
        shown: String,
        under: Option<&str>,
    ) -> Result<Self, InputError> {
        let mut builder = IndexBuilder::new(form);
        let mut kept = Vec::new();
        for (position, entry) in self.index.entries().iter().enumerate() {
            let Some(name) = rename(&entry.name) else { continue };
            builder.add(&name, entry.digest, entry.size)?;
            if let FilesOrigin::Outside { stamps, .. } = &self.origin {
                kept.extend(stamps.get(position).copied());
            }
        }
        // The files of one folder stay in the order of their names.
        let index = builder.finish()?;
        let origin = match &self.origin {
            FilesOrigin::Stored(store) => FilesOrigin::Stored(Arc::clone(store)),
            FilesOrigin::Outside { folder, .. } => FilesOrigin::Outside {
                folder: under.map_or_else(|| Arc::clone(folder), |under| folder.join(under).into()),
                stamps: Arc::new(kept),
            },
        };
        Ok(Self::of(shown, index, origin))
    }

    /// What is in one of its folders, by names within that folder.
    ///
    /// # Errors
    /// When the index of the folder cannot be made.
    pub fn under(&self, folder: &str) -> Result<Self, InputError> {
        let within = |name: &str| name_under(folder, name).map(str::to_string);
        self.cut(Form::Tree, &within, format!("{folder} of {}", self.shown), Some(folder))
    }

    /// Whether there is something in a folder of that name.
    pub fn has_folder(&self, folder: &str) -> bool {
        self.names().any(|name| name_under(folder, name).is_some())
    }

    /// Whether all files outside the store are still as they were when they were hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when one is not.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        match &self.origin {
            FilesOrigin::Stored(_) => Ok(()),
            FilesOrigin::Outside { .. } => {
                self.names().filter_map(|name| self.get(name)).try_for_each(|file| file.check_unchanged())
            }
        }
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.index.entries().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.entries().iter().map(|entry| entry.name.as_str())
    }

    /// The file of that name.
    pub fn get(&self, name: &str) -> Option<InputFile> {
        let position = self.index.position(name)?;
        let entry = self.index.entries().get(position)?;
        match &self.origin {
            FilesOrigin::Outside { folder, stamps } => {
                let (stamp, settled) = *stamps.get(position)?;
                let path = folder.join(name);
                Some(InputFile {
                    digest: entry.digest,
                    size: entry.size,
                    shown: path.display().to_string(),
                    place: Place::Outside { path, stamp, settled },
                })
            }
            FilesOrigin::Stored(store) => {
                let shown = format!("{name} of {}", self.shown);
                Some(InputFile::stored(store, entry.digest, entry.size, shown))
            }
        }
    }

    /// The file of an item.
    pub fn item(&self, item: &str) -> Option<InputFile> {
        self.get(&self.index.item(item)?.name)
    }

    /// The bytes of a file that must be there.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, InputError> {
        let file = self.get(name).ok_or_else(|| self.lacks(name))?;
        file.read()
    }

    /// The only file of the artifact.
    ///
    /// # Errors
    /// When it has none or several.
    pub fn only_file(&self) -> Result<InputFile, InputError> {
        match self.index.entries() {
            [entry] => self.get(&entry.name).ok_or_else(|| self.lacks(&entry.name)),
            entries => Err(self.shape(format!("has {} files where one is needed", entries.len()))),
        }
    }

    /// The name of the only CSV file at the top of a tree.
    ///
    /// # Errors
    /// When there is none or there are several.
    pub fn only_table(&self) -> Result<&str, InputError> {
        let tables: Vec<&str> =
            self.names().filter(|name| name.ends_with(".csv") && !name.contains('/')).collect();
        match tables.as_slice() {
            [name] => Ok(name),
            _ => Err(self.shape(format!("has {} CSV files at its top where one is needed", tables.len()))),
        }
    }

    /// The names and digests and sizes of all files, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Digest, u64)> {
        self.index.entries().iter().map(|entry| (entry.name.as_str(), entry.digest, entry.size))
    }

    fn lacks(&self, name: &str) -> InputError {
        self.shape(format!("has no file `{name}`"))
    }

    fn shape(&self, problem: String) -> InputError {
        InputError::Shape { shown: self.shown.clone(), problem }
    }
}

/// What a published folder says of itself stands in a file of this name, at its top.
pub const PROVENANCE: &str = "provenance.json";

/// Whether a file of that name is what it seems to be, and not somebody's data.
fn is_provenance(path: &Path) -> bool {
    let read: Option<serde_json::Value> =
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.is_some_and(|read| read.get("pipe_provenance").is_some_and(serde_json::Value::is_u64))
}

/// Whether a file belongs to the part of a folder that these names tell.
fn is_of_part(name: &str, names: &[String]) -> bool {
    let is_told = |part: &String| match part.strip_prefix('*') {
        Some(ending) => name.ends_with(ending),
        None => name.strip_prefix(part.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    names.iter().any(is_told)
}

/// A name within a folder, if it lies in that folder.
fn name_under<'a>(folder: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(folder)?.strip_prefix('/')
}

/// Whether an entry of a folder is, or leads to, a folder. What is neither file nor folder is refused.
fn is_folder(entry: &fs::DirEntry, path: &Path) -> Result<bool, InputError> {
    let read = |source| InputError::Read { path: path.to_path_buf(), source };
    let kind = entry.file_type().map_err(read)?;
    if kind.is_file() || kind.is_dir() {
        return Ok(kind.is_dir());
    }
    let metadata = fs::metadata(path).map_err(read)?;
    if !metadata.is_dir() && !metadata.is_file() {
        let problem = "is neither a file nor a folder".to_string();
        return Err(InputError::Shape { shown: path.display().to_string(), problem });
    }
    Ok(metadata.is_dir())
}

/// The files of a folder and of those in it, by name: links followed, hidden files, those of file managers and what a
/// published folder says of itself left out.
///
/// # Errors
/// What cannot be read, is neither file nor folder, or lies too deep.
pub fn list_folder(
    folder: &Path,
    prefix: &str,
    depth: usize,
    paths: &mut Vec<(String, PathBuf)>,
) -> Result<(), InputError> {
    if depth > 32 {
        return Err(InputError::TooDeep { path: folder.to_path_buf() });
    }
    let read = |source| InputError::Read { path: folder.to_path_buf(), source };
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(InputError::Shape {
                shown: path.display().to_string(),
                problem: "has a name that is not UTF-8".to_string(),
            });
        };
        if name.starts_with('.') || LEFT_BY_SYSTEMS.contains(&name.as_str()) {
            continue;
        }
        if name == PROVENANCE && is_provenance(&path) {
            continue;
        }
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if is_folder(&entry, &path)? {
            list_folder(&path, &name, depth + 1, paths)?;
        } else {
            paths.push((name, path));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_named_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let memo = InputMemo::open(&store, true);
        for name in ["fold_1/a.csv", "fold_1/b.csv", "fold_10/a.csv", "fold_1.csv", "fold_2"] {
            let path = folder.path().join("splits").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let files = Files::outside(&memo, &folder.path().join("splits"), Form::Tree).unwrap();
        let part = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
            files.part(&names).unwrap()
        };
        assert_eq!(part(&["fold_1"]).names().collect::<Vec<_>>(), ["fold_1/a.csv", "fold_1/b.csv"]);
        assert_eq!(part(&["fold_2", "fold_1/a.csv"]).names().collect::<Vec<_>>(), ["fold_1/a.csv", "fold_2"]);
        assert!(part(&[]).is_empty());
        let tables = part(&["*.csv", "fold_2"]);
        assert_eq!(tables.len(), 5);
        let named = ["*/a.csv".to_string()];
        let read = Files::part_outside(&memo, &folder.path().join("splits"), Form::Tree, &named).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["fold_1/a.csv", "fold_10/a.csv"]);
        assert_eq!(read.digest, part(&["*/a.csv"]).digest);
        assert_eq!(part(&["fold_2"]).read("fold_2").unwrap(), b"fold_2");
        let under = files.under("fold_1").unwrap();
        assert_eq!(under.names().collect::<Vec<_>>(), ["a.csv", "b.csv"]);
        assert_eq!(under.read("b.csv").unwrap(), b"fold_1/b.csv");
        assert!(files.has_folder("fold_10") && !files.has_folder("fold_2"));
        fs::write(folder.path().join("splits/fold_1/a.csv"), "other").unwrap();
        assert!(under.check_unchanged().is_err());
    }
}
