//! What a kind sees at a glance, before any work, and what it finds wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Filling;
use super::about::{About, Column};
use super::erased::{AnyStage, Work};
use super::error::StageError;
use super::foresee::{Foresee, Foreseen, Preview};
use crate::table::Table;

/// A table's row that is an item, or a part of one, with where its files are; their content is not looked at yet.
#[derive(Clone, Debug)]
pub struct Sighted {
    /// The item's name.
    pub name: String,
    /// The table and line that it comes from.
    pub place: String,
    /// The values of its row, by column; blank cells are absent.
    pub values: BTreeMap<String, String>,
    /// What its paths lead to, by column.
    pub files: BTreeMap<String, SightedFile>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SightedFile {
    /// A file.
    One(PathBuf),
    /// The two halves of content that is kept in two files.
    Pair(PathBuf, PathBuf),
    /// A folder's files by name within it.
    Folder(Vec<(String, PathBuf)>),
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A run would fail.
    Error,
    /// A run would go through, and its results may not be what is wanted.
    Warning,
}

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The table and line.
    pub place: String,
    /// One sentence with what was found and what was expected.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
    /// What findings like it are in the plural, as "points outside their scans": many of a kind are told once.
    pub kind: Option<&'static str>,
}

impl Finding {
    /// Something that a run would fail on.
    pub fn error(place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (place.into(), message.into());
        Self { severity: Severity::Error, place, message, advice: None, kind: None }
    }

    /// Something that a run would pass over.
    pub fn warning(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Adds the next step.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Says what findings like it are in the plural.
    #[must_use]
    pub fn of_kind(mut self, kind: &'static str) -> Self {
        self.kind = Some(kind);
        self
    }
}

/// Looks at rows whose items would be handed over together, by the kind's parameters.
pub type Inspect = fn(&serde_json::Value, &[Sighted]) -> Vec<Finding>;

/// A kind with functions that check its inputs before any work. They stand beside the kind, so that their code has no
/// part in results' fingerprints.
pub struct Checked<K> {
    /// The kind.
    pub kind: K,
    /// Looks at the rows of its table.
    pub rows: Option<Inspect>,
    /// Looks ahead at what it is given.
    pub given: Option<Foresee>,
}

impl<K: AnyStage> AnyStage for Checked<K> {
    fn inspect(&self, params: &serde_json::Value, group: &[Sighted]) -> Vec<Finding> {
        self.rows.map_or_else(Vec::new, |rows| rows(params, group))
    }

    fn foresee(&self, params: &serde_json::Value, preview: &Preview<'_>) -> Foreseen {
        self.given.map_or_else(Foreseen::default, |given| given(params, preview))
    }

    fn about(&self) -> &'static About {
        self.kind.about()
    }

    fn schema(&self) -> serde_json::Value {
        self.kind.schema()
    }

    fn canonical(&self, params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        self.kind.canonical(params)
    }

    fn fill_from(
        &self,
        params: &serde_json::Value,
        filling: &Filling<'_>,
    ) -> Result<serde_json::Value, StageError> {
        self.kind.fill_from(params, filling)
    }

    fn check(&self, params: &serde_json::Value) -> Vec<String> {
        self.kind.check(params)
    }

    fn check_inputs(&self, params: &serde_json::Value, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        self.kind.check_inputs(params, given)
    }

    fn columns(&self, params: &serde_json::Value, input: &str) -> Vec<Column> {
        self.kind.columns(params, input)
    }

    fn files(&self, params: &serde_json::Value, input: &str) -> Option<Vec<String>> {
        self.kind.files(params, input)
    }

    fn check_table(&self, params: &serde_json::Value, input: &str, table: &Table) -> Vec<StageError> {
        self.kind.check_table(params, input, table)
    }

    fn work(&self) -> Work<'_> {
        self.kind.work()
    }
}
