//! The files and folders that a table's rows name: where their paths lead, and what is there.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pipe_cache::{Form, InputMemo};

use crate::bind::missing_path;
use crate::input::{Files, InputFile};
use crate::stage::{FileColumn, ItemFile, LeadsTo, StageError};

/// Where the paths in a table lead.
pub(crate) enum RowFiles {
    /// To what lies outside the store, against this folder.
    Root(PathBuf),
    /// To files of the artifact that the table is in.
    Within(Files),
}

/// What a cell leads to, by names against the folder or within the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    One(String),
    Pair(String, String),
    Folder(String),
}

impl RowFiles {
    /// What a cell of a column leads to; nothing is read.
    ///
    /// # Errors
    /// What is not there, or is of the wrong sort, in words.
    pub(crate) fn find(&self, column: &FileColumn, cell: &str) -> Result<Found, String> {
        let name = cell.strip_prefix("./").unwrap_or(cell);
        let name = name.strip_suffix('/').filter(|name| !name.is_empty()).unwrap_or(name);
        let is_file = self.is_file(name);
        if is_file && column.leads_to != LeadsTo::Folder {
            let pair = column.pair_of.map(|pair_of| pair_of(name, &|length| self.beginning(name, length)));
            let pair = pair.transpose().map_err(|problem| format!("{cell}: {problem}"))?;
            let Some((first, second)) = pair.flatten() else { return Ok(Found::One(name.to_string())) };
            let other = if first == name { &second } else { &first };
            return match self.is_file(other) {
                true => Ok(Found::Pair(first, second)),
                false => Err(format!("{}, the other half of {cell}", self.lacks("file", other))),
            };
        }
        let is_folder = self.is_folder(name);
        match (column.leads_to, is_folder) {
            (LeadsTo::Folder | LeadsTo::FileOrFolder, true) => Ok(Found::Folder(name.to_string())),
            (LeadsTo::File, true) => Err(format!("{cell} is a folder, expected a file")),
            (LeadsTo::Folder, false) if is_file => Err(format!("{cell} is a file, expected a folder")),
            (LeadsTo::Folder, false) => Err(self.lacks("folder", name)),
            (LeadsTo::File, false) => Err(self.lacks("file", name)),
            (LeadsTo::FileOrFolder, false) => Err(self.lacks("file or folder", name)),
        }
    }

    /// Opens what was found, by content.
    ///
    /// # Errors
    /// When something cannot be read.
    pub(crate) fn open(&self, memo: &InputMemo, found: &Found) -> Result<ItemFile, StageError> {
        Ok(match found {
            Found::One(name) => ItemFile::One(self.file(memo, name)?),
            Found::Pair(first, second) => ItemFile::Pair(self.file(memo, first)?, self.file(memo, second)?),
            Found::Folder(name) => ItemFile::Folder(match self {
                RowFiles::Root(root) => Files::outside(memo, &root.join(name), Form::Tree)?,
                RowFiles::Within(files) => files.under(name)?,
            }),
        })
    }

    fn file(&self, memo: &InputMemo, name: &str) -> Result<InputFile, StageError> {
        match self {
            RowFiles::Root(root) => Ok(InputFile::outside(memo, &root.join(name))?),
            RowFiles::Within(files) => {
                files.get(name).ok_or_else(|| StageError::message(self.lacks("file", name)))
            }
        }
    }

    /// The first bytes of a file, as many of `length` as it has.
    fn beginning(&self, name: &str, length: usize) -> Option<Vec<u8>> {
        let path = match self {
            RowFiles::Root(root) => root.join(name),
            RowFiles::Within(files) => files.get(name)?.path().ok()?,
        };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(length as u64).read_to_end(&mut bytes)).ok()?;
        Some(bytes)
    }

    fn is_file(&self, name: &str) -> bool {
        match self {
            RowFiles::Root(root) => root.join(name).is_file(),
            RowFiles::Within(files) => files.get(name).is_some(),
        }
    }

    fn is_folder(&self, name: &str) -> bool {
        match self {
            RowFiles::Root(root) => root.join(name).is_dir(),
            RowFiles::Within(files) => files.has_folder(name),
        }
    }

    fn lacks(&self, what: &str, name: &str) -> String {
        match self {
            RowFiles::Root(root) => {
                format!("there is no {what} {}", missing_path(root, &root.join(Path::new(name))))
            }
            RowFiles::Within(files) => format!("{} has no {what} {name}", files.shown),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    /// `.a` and `.b` belong together; a `.c` says what belongs to it.
    fn halves(
        name: &str,
        beginning: &dyn Fn(usize) -> Option<Vec<u8>>,
    ) -> Result<Option<(String, String)>, String> {
        if name.ends_with(".c") {
            let other = String::from_utf8(beginning(64).unwrap_or_default()).unwrap();
            return match other.as_str() {
                "bad" => Err("it says nothing of its other half".to_string()),
                other => Ok(Some((name.to_string(), other.to_string()))),
            };
        }
        let stem = name.strip_suffix(".a").or_else(|| name.strip_suffix(".b"));
        Ok(stem.map(|stem| (format!("{stem}.a"), format!("{stem}.b"))))
    }

    #[test]
    fn cells_lead_to_files_pairs_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["whole", "two.a", "two.b", "lone.b", "series/1"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        for (name, text) in [("says.c", "whole"), ("lone.c", "away"), ("bad.c", "bad")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let files = RowFiles::Root(folder.path().to_path_buf());
        let find =
            |leads_to, cell: &str| files.find(&FileColumn::new("path", leads_to).pair_of(halves), cell);
        let pair = Found::Pair("two.a".to_string(), "two.b".to_string());
        let series = Found::Folder("series".to_string());
        let table = [
            (LeadsTo::File, "whole", Ok(Found::One("whole".to_string()))),
            (LeadsTo::File, "./whole", Ok(Found::One("whole".to_string()))),
            (LeadsTo::File, "two.a", Ok(pair.clone())),
            (LeadsTo::File, "two.b", Ok(pair)),
            (LeadsTo::File, "lone.b", Err("there is no file lone.a in ROOT, the other half of lone.b")),
            (LeadsTo::File, "says.c", Ok(Found::Pair("says.c".to_string(), "whole".to_string()))),
            (LeadsTo::File, "lone.c", Err("there is no file away in ROOT, the other half of lone.c")),
            (LeadsTo::File, "bad.c", Err("bad.c: it says nothing of its other half")),
            (LeadsTo::File, "none", Err("there is no file none in ROOT")),
            (LeadsTo::File, "series", Err("series is a folder, expected a file")),
            (LeadsTo::Folder, "series/", Ok(series.clone())),
            (LeadsTo::Folder, "whole", Err("whole is a file, expected a folder")),
            (LeadsTo::Folder, "none", Err("there is no folder none in ROOT")),
            (LeadsTo::FileOrFolder, "series", Ok(series)),
            (LeadsTo::FileOrFolder, "whole", Ok(Found::One("whole".to_string()))),
            (LeadsTo::FileOrFolder, "none", Err("there is no file or folder none in ROOT")),
        ];
        for (leads_to, cell, expected) in table {
            let root = folder.path().display().to_string();
            let expected = expected.map_err(|text| text.replace("ROOT", &root));
            assert_eq!(find(leads_to, cell), expected, "{leads_to:?} {cell}");
        }
    }
}
