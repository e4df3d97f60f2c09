//! Findings and notes in English.

use std::fmt;

use super::{Finding, Note};

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { problem } | Self::Pack { problem } => f.write_str(problem),
            Self::Line { path, line } => {
                write!(f, "{}: line {line} is not the one that was written there", path.display())
            }
            Self::CutShort { path } => write!(f, "{}: the last line has no end", path.display()),
            Self::CutOff { path, seen_by } => write!(
                f,
                "{}: run {seen_by} saw lines of it that are not there now: it was cut off, or written anew",
                path.display()
            ),
            Self::RunGone { run, seen_by } => {
                write!(f, "run {run}, which was there when run {seen_by} began, is gone")
            }
            Self::OtherRun { path, run } => {
                write!(f, "{}: it is the record of run {run}", path.display())
            }
            Self::BehindEnd { path, line } => {
                write!(f, "{}: line {line} stands behind the end of the run", path.display())
            }
            Self::HeadBefore { path, line } => {
                write!(f, "{}: the head that was noted is of its first {line} lines only", path.display())
            }
            Self::HeadUnknown { head } => write!(
                f,
                "the head {head} is in no record: the cache was put back to an earlier state, or is another one"
            ),
            Self::Signature { path, lines: None } => {
                write!(f, "{}: it is no signature of this record", path.display())
            }
            Self::Signature { path, lines: Some(lines) } => {
                write!(f, "{}: it is of the first {lines} lines of the record only", path.display())
            }
            Self::NotSigned { keys } if keys.is_empty() => f.write_str("the record is not signed"),
            Self::NotSigned { keys } => {
                write!(f, "the record is signed by {}, and by nobody whose signature counts", keys.join(", "))
            }
            Self::SideFile { instance, path } => {
                write!(f, "{}: not as it was when {instance} ended", path.display())
            }
            Self::NoPreimage { instance, fingerprint } => {
                write!(f, "{instance}: what its fingerprint {fingerprint} was made of is not in the cache")
            }
            Self::Preimage { instance, fingerprint, gives: Some(gives) } => {
                write!(f, "{instance}: the preimage kept for its fingerprint {fingerprint} gives {gives}")
            }
            Self::Preimage { instance, fingerprint, gives: None } => {
                write!(f, "{instance}: the preimage kept for its fingerprint {fingerprint} cannot be read")
            }
            Self::NoResult { instance, fingerprint } => {
                write!(f, "{instance}: the cache has no result of its fingerprint {fingerprint}")
            }
            Self::Result { instance, outputs } => write!(
                f,
                "{instance}: the cache's result is not the one that the record tells ({})",
                outputs.join(", ")
            ),
            Self::Maker { instance, run } => {
                write!(
                    f,
                    "{instance}: run {run}, which is said to have computed it, does not tell this result"
                )
            }
            Self::Size { output } => {
                write!(f, "{output}: it has not as many files and bytes as the record tells")
            }
            Self::Blob { file, digest, condition } => write!(f, "{file} is {condition} (blake3 {digest})"),
            Self::Link { instance, input, given } => {
                write!(f, "{instance}: its `{input}` is not what {given} gave")
            }
            Self::Items { instance } => {
                write!(
                    f,
                    "{instance}: the listing of its items is not the one that its fingerprint was made of"
                )
            }
            Self::NotCompared { cache, problem } => {
                write!(f, "it cannot be compared with the run in {}: {problem}", cache.display())
            }
            Self::OtherThanKey { entry, cache } => {
                write!(f, "{entry} is not what the key gives of that run in {}", cache.display())
            }
            Self::Drift { instance, change, given, within } => {
                write!(f, "{instance}: {change}")?;
                match (within, given) {
                    (true, given) => write!(
                        f,
                        ": it is not what {} gave in this run",
                        given.as_deref().unwrap_or("the stage upstream")
                    ),
                    (false, Some(given)) => write!(f, " since ({given})"),
                    (false, None) => Ok(()),
                }
            }
            Self::Input { instance, problem } => {
                write!(f, "{instance}: what it is given cannot be looked at: {problem}")
            }
            Self::Manifest { problem } => {
                write!(
                    f,
                    "this program cannot follow the run's manifest, so inputs were not compared: {problem}"
                )
            }
            Self::Published { path, problem } => write!(f, "{} {problem}", path.display()),
            Self::Replayed { instance, difference } => {
                write!(f, "{instance} differs from what its own recorded inputs give: {difference}")
            }
            Self::NotReplayed { instance, problem } => {
                write!(f, "{instance} could not be computed again: {problem}")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { state, without_result: 0 } => write!(f, "the run's state is: {state}"),
            Self::State { state, without_result } => {
                write!(f, "the run's state is: {state}; {without_result} instances have no result")
            }
            Self::Unsealed { run } => write!(
                f,
                "the record of run {run} is of before records had seals: edits of its text cannot be noticed"
            ),
            Self::SignedByUnknown { key } => {
                write!(f, "the record is signed by the key {key}; --trusted says whose keys count")
            }
            Self::MakerKilled { run, instances } => {
                write!(f, "run {run} was killed before it told that it had computed {}", instances.join(", "))
            }
            Self::Elsewhere { root } => write!(
                f,
                "inputs and published files are those of {}, where the run was made; --root names another folder",
                root.display()
            ),
            Self::AccountOfOther { path, run } => write!(
                f,
                "{} was published by run {run}, which is not in this cache; it gave the same",
                path.display()
            ),
            Self::MakersGone { runs } => {
                write!(f, "results were computed by runs whose records are gone: {}", runs.join(", "))
            }
            Self::Modified { commit } => {
                write!(f, "files of the project differed from commit {commit} when the run began")
            }
            Self::OtherCode { kinds, program } => write!(
                f,
                "this program's code is not that of the run ({program}) for kinds {}: it can compare bytes with it, \
                 but not compute the same again",
                kinds.join(", ")
            ),
            Self::Replaced { path, run } => {
                write!(f, "{} holds what run {run} gave, which published there since", path.display())
            }
            Self::LeftOut { blobs } => {
                write!(f, "{blobs} files of results are not in the pack, which tells their digests only")
            }
            Self::LinksUntold { inputs } => write!(
                f,
                "{inputs} inputs are columns of tables, or some files of folders, of which digests do not tell which output they are of"
            ),
            Self::OtherMachine { instance, what } => {
                write!(f, "on this machine {instance} would run with others: {what}")
            }
            Self::NotLookedAt { what } => write!(f, "not looked at: {what}"),
            Self::Inherits { instance, from } => {
                write!(f, "{instance} follows from its recorded inputs; it inherits from {}", from.join(", "))
            }
        }
    }
}
