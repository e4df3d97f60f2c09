//! What an audit shows, in words.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::replay::{Outcome, Replayed, ReplayedInstance};

/// What an audit shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something was found.
    None {
        /// How many findings there are.
        findings: usize,
    },
    /// What is kept agrees with itself and with the inputs.
    Consistent,
    /// What is kept agrees with itself. Names and digests are keyed hashes, so inputs cannot be compared.
    DeIdentified {
        /// The cache with a run of which the key gives the same bytes, where that was asked for.
        same_as_in: Option<PathBuf>,
    },
    /// Besides, somebody whose signature counts has signed the record.
    Signed {
        /// Who.
        by: Vec<String>,
    },
    /// Some of it was computed again, and is the same.
    PartlyComputedAgain {
        /// Instances whose results are the same.
        instances: usize,
        /// Instances that were not computed again, or of which only some items were.
        left: usize,
    },
    /// All of it was computed again, and is the same.
    ComputedAgain {
        /// Instances whose results are the same, byte for byte.
        identical: usize,
        /// Instances whose numbers differ within what their kinds allow between classes of devices.
        within_tolerance: usize,
        /// Instances whose bytes differ, of stages that do not promise the same.
        not_promised: usize,
    },
}

impl Level {
    /// Of results that were computed again, with no finding.
    pub(super) fn of_replayed(replayed: &Replayed) -> Self {
        let count =
            |is_it: fn(&ReplayedInstance) -> bool| replayed.instances.iter().filter(|one| is_it(one)).count();
        let is_failed = |one: &ReplayedInstance| {
            matches!(one.outcome, Outcome::Failed { .. } | Outcome::NotAtHand { .. })
        };
        let left =
            count(|one| one.items.is_some_and(|(done, of)| done < of)) + count(is_failed) + replayed.left_out;
        let instances = replayed.instances.iter().filter(|one| !is_failed(one));
        if replayed.interrupted || left > 0 {
            return Self::PartlyComputedAgain { instances: instances.count(), left };
        }
        let identical = count(|one| one.outcome == Outcome::Identical);
        let not_promised = count(|one| matches!(one.outcome, Outcome::NotPromised { .. }));
        let within_tolerance = replayed.instances.len() - identical - not_promised;
        Self::ComputedAgain { identical, within_tolerance, not_promised }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { findings: 1 } => f.write_str("level: none, for what was found"),
            Self::None { findings } => write!(f, "level: none, for the {findings} findings"),
            Self::PartlyComputedAgain { instances, left } => write!(
                f,
                "level: consistent, and computed again in part. Results of {} are what their recorded inputs give; \
                 of {} nothing was computed again, or not all items.",
                counted(*instances),
                counted(*left)
            ),
            Self::ComputedAgain { identical, within_tolerance, not_promised } => {
                write!(
                    f,
                    "level: computed again. Results of {} are, byte for byte, what their recorded inputs give",
                    counted(*identical)
                )?;
                if *within_tolerance > 0 {
                    write!(f, ", and those of {within_tolerance} are within what their kinds allow")?;
                }
                if *not_promised > 0 {
                    write!(f, "; those of {not_promised} differ, and `deterministic = false` says that they may")?;
                }
                f.write_str(
                    ", on this host, past every known result. What is left to believe is this program, and that the \
                     inputs are what they are said to be.",
                )
            }
            Self::DeIdentified { same_as_in: Some(cache) } => write!(
                f,
                "level: consistent, de-identified, and byte for byte what the key gives of that run in {}. What the run itself \
                 shows, an audit of it tells.",
                cache.display()
            ),
            Self::DeIdentified { same_as_in: None } => f.write_str(
                "level: consistent, de-identified. Record, fingerprints, results and the bytes that are there agree with one \
                 another; what inputs were is told by keyed hashes. Whoever has the key and the cache can compare it with the \
                 run: pipe audit PACK --key FILE.",
            ),
            Self::Signed { by } => write!(
                f,
                "level: signed, by {}. The record is the one that they signed, and fingerprints, results, bytes and inputs \
                 agree with it. That they are what the inputs give is their word: compute it again with --replay.",
                by.join(", ")
            ),
            Self::Consistent => f.write_str(
                "level: consistent. Record, fingerprints, results, bytes and inputs agree with one another. Whoever can \
                 write the cache could have invented all of them: compare the head with one that was noted before, verify \
                 a signature, or compute it again with --replay.",
            ),
        }
    }
}

fn counted(instances: usize) -> String {
    match instances {
        1 => "1 instance".to_string(),
        many => format!("{many} instances"),
    }
}
