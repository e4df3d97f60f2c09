//! What a stage is given: files, folders, collections and tables whose content is known by digest.
//!
//! Reading checks the content: a stored blob against its name, a file outside the store against the digest
//! that the fingerprint was made with.

mod collection;
mod file;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use pipe_cache::{Digest, Hasher};

pub use self::collection::{Listing, ListingCache, list_items};
pub use self::file::InputFile;
pub use self::files::Files;
pub use self::files::{PROVENANCE, list_folder};
use crate::stage::{ItemFile, Named};
use crate::table::{Table, TableError};

/// The foreach values that name an instance, by key, as canonical texts.
pub type Selector = BTreeMap<String, String>;

/// The key of a [`Selector`] that holds the name of an artifact, where a manifest gives several by name.
pub const NAME: &str = "name";

/// Why an input cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The store's reason.
    #[error("{0}")]
    Store(#[from] pipe_cache::Error),
    /// A table's reason.
    #[error("{0}")]
    Table(#[from] TableError),
    /// A file outside the store cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file outside the store was written to while the run was using it.
    #[error("{} changed while the run was using it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A folder is nested too deeply, or links to itself.
    #[error("{} is nested too deeply; does a link in it lead back to it?", path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
    },
    /// An input does not have the shape that the kind needs.
    #[error("{shown} {problem}")]
    Shape {
        /// The input in words.
        shown: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A kind asked for an input that it does not have.
    #[error("there is no input `{0}`")]
    Absent(String),
}

/// One artifact given to an input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The foreach values of the instance that made it; empty for a path.
    pub selector: Selector,
    /// What it is.
    pub value: InputValue,
    /// The extension of a file's name with its dot, where it counts; see [`InputForm::Any`](crate::stage::InputForm::Any).
    pub extension: String,
}

impl Input {
    /// An artifact whose name does not count.
    pub fn new(selector: Selector, value: InputValue) -> Self {
        Self { selector, value, extension: String::new() }
    }

    /// Whether files are still as they were when they were hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when one is not.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        match &self.value {
            InputValue::File(file) => file.check_unchanged(),
            InputValue::Files(files) => files.check_unchanged(),
            InputValue::Rows(rows) => rows.check_unchanged(),
            InputValue::Keyword(_) | InputValue::Table(_) => Ok(()),
        }
    }
}

/// What an input can be.
#[derive(Clone, Debug)]
pub enum InputValue {
    /// A word, such as `random`.
    Keyword(String),
    /// The used columns of a table.
    Table(Arc<Table>),
    /// A table with the files that its rows name, for a kind that [uses](crate::stage::Stage::row_files) them.
    Rows(Arc<RowTable>),
    /// A folder or a collection.
    Files(Files),
    /// One file.
    File(InputFile),
}

/// A table and the files that its rows name.
#[derive(Clone, Debug)]
pub struct RowTable {
    /// The table.
    pub table: Table,
    /// What the cells of a row lead to, by column; one for each row.
    pub files: Vec<Named<ItemFile>>,
}

impl RowTable {
    /// A digest of what each column's cells lead to, in the order of the rows.
    pub fn column_digests(&self) -> BTreeMap<String, Digest> {
        let columns: BTreeSet<&str> = self.files.iter().flat_map(Named::iter).map(|(name, _)| name).collect();
        let digest = |column: &str| {
            let mut hasher = Hasher::new("pipe files of rows, version 1");
            for files in &self.files {
                match files.get(column) {
                    Some(file) => hasher.field(file.digest().as_bytes()),
                    None => hasher.field(""),
                };
            }
            hasher.finish()
        };
        columns.into_iter().map(|column| (column.to_string(), digest(column))).collect()
    }

    /// Whether all files outside the store are still as they were when they were hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when one is not.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        self.files.iter().flat_map(Named::values).try_for_each(ItemFile::check_unchanged)
    }
}

/// The extension of a file's name with its dot, that of compressed files in full: `.nii.gz`. A name that is only an extension has
/// none.
pub fn extension(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    match stem.rfind('.') {
        Some(dot) if dot > 0 => &name[dot..],
        _ => &name[stem.len()..],
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn extensions_are_those_of_programs_that_go_by_them() {
        let table = [
            ("scan.nii.gz", ".nii.gz"),
            ("a.b/scan.nii", ".nii"),
            ("run.py", ".py"),
            ("a.tar.gz", ".tar.gz"),
            ("archive.gz", ".gz"),
            ("README", ""),
            (".hidden", ""),
            ("folder.d/README", ""),
            ("", ""),
        ];
        for (name, expected) in table {
            assert_eq!(super::extension(name), expected, "{name}");
        }
    }
}
