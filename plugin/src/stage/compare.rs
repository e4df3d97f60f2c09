//! Which of two results of a kind is better on the same cases, for people who compare runs.
//!
//! A kind's [`Compare`] function reads files of both results. It stands beside the kind, so that its code has no part in the
//! fingerprints of results.

use serde::Serialize;

use super::error::StageError;

/// Compares two results of a kind.
pub type Compare = fn(&Results<'_>, &Results<'_>) -> Result<Vec<PairedComparison>, StageError>;

/// The outputs of an instance.
#[derive(Clone, Copy)]
pub struct Results<'a> {
    /// A file of an output by the output's name and the file's, which is empty for an output of one file; `None` where there
    /// is none.
    pub read: &'a dyn Fn(&str, &str) -> Option<Vec<u8>>,
}

/// A number of both results on the cases that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairedComparison {
    /// What is compared, such as `AUROC of ensemble`.
    pub name: String,
    /// How many cases both have.
    pub n: usize,
    /// The number in the first result.
    pub before: f64,
    /// The number in the second result.
    pub after: f64,
    /// Ends of the 95 % interval of the difference, second less first.
    pub interval: [f64; 2],
    /// Two-sided probability of a difference at least as large where there is none.
    pub p: f64,
    /// The test.
    pub test: &'static str,
}
