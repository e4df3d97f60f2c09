//! What a stage is given: files, folders, collections and tables whose content is known by digest.
//!
//! Reading checks the content: a stored blob against its name, a file outside the store against the digest
//! that the fingerprint was made with.

mod collection;
mod file;
mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::collection::{Listing, ListingCache, list_items};
pub use self::file::InputFile;
pub use self::files::Files;
pub use self::files::{PROVENANCE, list_folder};
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
}

impl Input {
    /// Whether files are still as they were when they were hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when one is not.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        match &self.value {
            InputValue::File(file) => file.check_unchanged(),
            InputValue::Files(files) => files.check_unchanged(),
            _ => Ok(()),
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
    /// A folder or a collection.
    Files(Files),
    /// One file.
    File(InputFile),
}
