//! A kind as a table of kinds holds it.

use std::fmt;
use std::ops::Deref;

use super::compare::{Compare, PairedComparison, Results};
use super::declare::{Declaration, Declare, Misdeclared};
use super::erased::{AnyStage, Work};
use super::error::StageError;
use super::foresee::{Foresee, Foreseen, Preview};
use super::inspect::{Finding, Inspect, InspectedRow};
use super::methods::{Describe, Sentence, StageAccount};
use super::{PerItem, Whole};

/// Files of an output that are of all cases together, and tell nothing of single ones.
#[derive(Clone, Copy, Debug)]
pub struct OfAllCases {
    /// The output, a folder.
    pub output: &'static str,
    /// Files in it, JSON or CSV.
    pub files: &'static [&'static str],
    /// The words in them that are the kind's own; others may be somebody's.
    pub words: &'static [&'static str],
}

/// A kind of any type, with functions that check what it is given before any work, and compare
/// what it gave. These stand beside the kind, so that
/// their code has no part in results' fingerprints.
#[derive(Clone, Copy)]
pub struct Kind {
    stage: &'static dyn AnyStage,
    work: Work<'static>,
    inspect: Option<Inspect>,
    foresee: Option<Foresee>,
    compare: Option<Compare>,
    of_all_cases: &'static [OfAllCases],
    describe: Option<Describe>,
    declare: Option<Declare>,
}

impl Kind {
    /// A kind that computes its outputs in one go.
    pub const fn whole<S: Whole>(stage: &'static S) -> Self {
        Self {
            stage,
            work: Work::Whole(stage),
            inspect: None,
            foresee: None,
            compare: None,
            of_all_cases: &[],
            describe: None,
            declare: None,
        }
    }

    /// A kind that computes item by item.
    pub const fn per_item<S: PerItem>(stage: &'static S) -> Self {
        Self {
            stage,
            work: Work::Items(stage),
            inspect: None,
            foresee: None,
            compare: None,
            of_all_cases: &[],
            describe: None,
            declare: None,
        }
    }

    /// With a look at the rows of its table, at a glance at their files.
    #[must_use]
    pub const fn inspected_by(mut self, inspect: Inspect) -> Self {
        self.inspect = Some(inspect);
        self
    }

    /// With a look ahead at what it is given.
    #[must_use]
    pub const fn foreseen_by(mut self, foresee: Foresee) -> Self {
        self.foresee = Some(foresee);
        self
    }

    /// With a comparison of two of its results on the same cases.
    #[must_use]
    pub const fn compared_by(mut self, compare: Compare) -> Self {
        self.compare = Some(compare);
        self
    }

    /// With sentences for the methods and results of a paper.
    #[must_use]
    pub const fn described_by(mut self, describe: Describe) -> Self {
        self.describe = Some(describe);
        self
    }

    /// With inputs and outputs that each stage declares for itself.
    #[must_use]
    pub const fn declared_by(mut self, declare: Declare) -> Self {
        self.declare = Some(declare);
        self
    }

    /// Whether each stage declares inputs and outputs for itself.
    pub fn is_declared(&self) -> bool {
        self.declare.is_some()
    }

    /// The kind of a stage that declares this; the same kind for the same declaration.
    ///
    /// # Errors
    /// All that is wrong with the declaration.
    pub fn of(self, declaration: &Declaration<'_>) -> Result<Self, Vec<Misdeclared>> {
        self.declare.map_or(Ok(self), |declare| declare(declaration))
    }

    /// What a stage did, in sentences; nothing for a kind that does not say.
    ///
    /// # Errors
    /// Results that cannot be read.
    pub fn describe(&self, account: &StageAccount<'_>) -> Result<Vec<Sentence>, StageError> {
        self.describe.map_or_else(|| Ok(Vec::new()), |describe| describe(account))
    }

    /// With results that are of all cases together: their numbers stay when a run is de-identified.
    #[must_use]
    pub const fn of_all_cases(mut self, results: &'static [OfAllCases]) -> Self {
        self.of_all_cases = results;
        self
    }

    /// The results that are of all cases together.
    pub fn results_of_all_cases(&self) -> &'static [OfAllCases] {
        self.of_all_cases
    }

    /// How to run it.
    pub fn work(&self) -> Work<'static> {
        self.work
    }

    /// What looks wrong with rows whose items would be handed over together, at a glance at their files and before any
    /// work.
    pub fn inspect(&self, params: &serde_json::Value, group: &[InspectedRow]) -> Vec<Finding> {
        self.inspect.map_or_else(Vec::new, |inspect| inspect(params, group))
    }

    /// Which of two results is better on the cases that both have; nothing for a kind that does not say.
    ///
    /// # Errors
    /// Results that cannot be read.
    pub fn compare(
        &self,
        before: &Results<'_>,
        after: &Results<'_>,
    ) -> Result<Vec<PairedComparison>, StageError> {
        self.compare.map_or_else(|| Ok(Vec::new()), |compare| compare(before, after))
    }

    /// Looks ahead at what an instance is given, before any work.
    pub fn foresee(&self, params: &serde_json::Value, preview: &Preview<'_>) -> Foreseen {
        self.foresee.map_or_else(Foreseen::default, |foresee| foresee(params, preview))
    }
}

impl Deref for Kind {
    type Target = dyn AnyStage;

    fn deref(&self) -> &Self::Target {
        self.stage
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Kind({})", self.about().name)
    }
}
