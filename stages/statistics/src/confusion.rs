//! Decisions at a threshold, and their rates.
//!
//! The module counts; it does not know which threshold is a good one or where scores come from.

use serde::{Deserialize, Serialize};

/// What a decision "positive from this threshold on" gives.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Confusion {
    /// Positive cases called positive.
    pub true_positives: u64,
    /// Negative cases called positive.
    pub false_positives: u64,
    /// Negative cases called negative.
    pub true_negatives: u64,
    /// Positive cases called negative.
    pub false_negatives: u64,
}

impl Confusion {
    /// Share of the positive cases that were found; `None` without positive cases.
    pub fn sensitivity(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the negative cases that were left alone; `None` without negative cases.
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// Share of all cases that were called rightly; `None` without cases.
    pub fn accuracy(&self) -> Option<f64> {
        let right = self.true_positives + self.true_negatives;
        share(right, right + self.false_positives + self.false_negatives)
    }
}

/// The threshold at which sensitivity + specificity is greatest (Youden 1950).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct YoudenPoint {
    /// Cases with at least this score are called positive.
    pub threshold: f64,
    /// Share of the positive cases at or above the threshold.
    pub sensitivity: f64,
    /// Share of the negative cases below the threshold.
    pub specificity: f64,
}

/// `part / whole`, where there is a whole.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares_of_what_they_are_about() {
        let table =
            Confusion { true_positives: 3, false_positives: 2, true_negatives: 6, false_negatives: 1 };
        assert_eq!(table.sensitivity(), Some(0.75));
        assert_eq!(table.specificity(), Some(0.75));
        assert_eq!(table.accuracy(), Some(0.75));
    }

    #[test]
    fn a_class_without_cases_has_no_rate() {
        let table = Confusion { true_negatives: 4, ..Confusion::default() };
        assert_eq!((table.sensitivity(), table.specificity()), (None, Some(1.0)));
        assert_eq!(Confusion::default().accuracy(), None);
    }
}
