//! What an audit came to.

use serde::Serialize;

use crate::audit::{Audit, Checked, Finding, Level, Note, RecordFacts, Replayed};

/// An audit with its words.
#[derive(Clone, Debug, Serialize)]
pub struct AuditView {
    /// See [`VERSION`](super::VERSION).
    pub version: u32,
    /// The run.
    pub run: String,
    /// What it shows, if nothing is found.
    pub level: Level,
    /// The level in words.
    pub text: String,
    /// What its record is.
    pub record: RecordFacts,
    /// Whose signatures it has, of those that count.
    pub signed_by: Vec<String>,
    /// How much was looked at.
    pub checked: Checked,
    /// What was computed again, if that was asked for.
    pub replayed: Option<Replayed>,
    /// What is not as it has to be, or not as it was.
    pub findings: Vec<InWords<Finding>>,
    /// What to know besides.
    pub notes: Vec<InWords<Note>>,
}

/// A value and the same in English.
#[derive(Clone, Debug, Serialize)]
pub struct InWords<T> {
    /// The value.
    #[serde(flatten)]
    pub value: T,
    /// In words.
    pub text: String,
}

impl<T: Clone + ToString> InWords<T> {
    fn all(values: &[T]) -> Vec<Self> {
        values.iter().map(|value| Self { value: value.clone(), text: value.to_string() }).collect()
    }
}

impl AuditView {
    /// An audit as programs read it.
    pub fn new(audit: &Audit) -> Self {
        let level = audit.level();
        Self {
            version: super::VERSION,
            run: audit.run.clone(),
            text: level.to_string(),
            level,
            record: audit.record.clone(),
            signed_by: audit.signed_by.clone(),
            checked: audit.checked,
            replayed: audit.replayed.clone(),
            findings: InWords::all(&audit.findings),
            notes: InWords::all(&audit.notes),
        }
    }
}
