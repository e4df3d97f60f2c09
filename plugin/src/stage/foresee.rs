//! What can be said of an instance before any work: what its results will be like, and what is wrong with what it is
//! given.
//!
//! A kind's [`Foresee`] function sees its parameters and its inputs: files and folders outside the store, which it may
//! read, and of other stages' outputs what their own kinds foresee. It stands beside the kind, so that its code has no
//! part in the fingerprints of results.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::error::StageError;
use super::inspect::Finding;
use crate::input::{Listing, ListingCache, Selector};
use crate::table::{Table, TableCache, TableError};

/// Looks ahead, by a kind's canonical parameters.
pub type Foresee = fn(&Value, &Preview<'_>) -> Foreseen;

/// An instance before any work.
pub struct Preview<'a> {
    /// Its name with the foreach values.
    pub label: &'a str,
    /// Where its stage is written, for findings that concern no input.
    pub place: &'a str,
    /// The folder that paths in tables are read against.
    pub root: &'a Path,
    /// What is given to its inputs, in the order of the kind's inputs.
    pub given: &'a [Given],
    /// Whether a parameter is written in the manifest; others are defaults.
    pub is_written: &'a dyn Fn(&str) -> bool,
    /// Whether files may be looked at that take seconds; before a run only what is quick is looked at.
    pub thorough: bool,
    /// Tables that have been read.
    pub tables: &'a TableCache,
    /// Folders that have been listed.
    pub listings: &'a ListingCache,
}

impl<'a> Preview<'a> {
    /// All that is given to an input.
    pub fn all<'b>(&'b self, input: &'b str) -> impl Iterator<Item = &'b Given> + use<'a, 'b> {
        self.given.iter().filter(move |given| given.input == input)
    }

    /// A table outside the store, which is read once for all instances.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn table(&self, path: &Path) -> Result<Arc<Table>, TableError> {
        let shown = path.strip_prefix(self.root).unwrap_or(path).display().to_string();
        self.tables.open(path, &shown)
    }

    /// The items of a folder outside the store, which is listed once for all instances.
    ///
    /// # Errors
    /// As [`list_items`](crate::input::list_items).
    pub fn items(&self, folder: &Path, extension: &'static str) -> Result<Arc<Listing>, StageError> {
        let shown = folder.strip_prefix(self.root).unwrap_or(folder).display().to_string();
        self.listings.items(folder, &shown, extension)
    }

    /// What is given to an input that takes one artifact.
    pub fn one(&self, input: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.input == input)
    }
}

/// One artifact given to an input.
pub struct Given {
    /// The input's name.
    pub input: &'static str,
    /// The foreach values of the instance that makes it; with the name, where a manifest gives several by name.
    pub selector: Selector,
    /// Where it is written, as `p.toml:12` or `--set …`.
    pub place: String,
    /// How it is written: a path, `"@stage"`, a word.
    pub text: String,
    /// What it is.
    pub source: GivenSource,
}

/// What is given.
pub enum GivenSource {
    /// A word of the kind.
    Word(String),
    /// A file or folder outside the store, which is there.
    Outside(PathBuf),
    /// What another instance makes, with what its kind foresees of it; `Null` if nothing.
    Made {
        /// The instance.
        label: String,
        /// The output's name.
        output: &'static str,
        /// What is foreseen.
        foreseen: Value,
    },
    /// A file that has to be downloaded first.
    Absent,
}

impl Given {
    /// The file or folder outside the store.
    pub fn outside(&self) -> Option<&Path> {
        match &self.source {
            GivenSource::Outside(path) => Some(path),
            _ => None,
        }
    }

    /// What is foreseen of what another instance makes; `Null` for anything else.
    pub fn foreseen(&self) -> &Value {
        match &self.source {
            GivenSource::Made { foreseen, .. } => foreseen,
            _ => &Value::Null,
        }
    }
}

/// What a kind foresees of an instance.
#[derive(Debug, Default)]
pub struct Foreseen {
    /// What its results will be like, for the kinds that they are given to. The engine hands it on and does not read it.
    pub results: Value,
    /// What is wrong.
    pub findings: Vec<Finding>,
}
