//! What a kind sees at a glance, before any work, and what it finds wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// A table's row that is an item, or a part of one, with where its files are; their content is not looked at yet.
#[derive(Clone, Debug)]
pub struct InspectedRow {
    /// The item's name.
    pub name: String,
    /// The table and line that it comes from.
    pub place: String,
    /// The values of its row, by column; blank cells are absent.
    pub values: BTreeMap<String, String>,
    /// What its paths lead to, by column.
    pub files: BTreeMap<String, InspectedFile>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InspectedFile {
    /// A file.
    One(PathBuf),
    /// The two halves of content that is kept in two files.
    Pair(PathBuf, PathBuf),
    /// A folder's files by name within it.
    Folder(Vec<(String, PathBuf)>),
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A run would fail.
    Error,
    /// A run would go through, and its results may not be what is wanted.
    Warning,
}

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
pub type Inspect = fn(&serde_json::Value, &[InspectedRow]) -> Vec<Finding>;
