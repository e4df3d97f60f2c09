//! What an audit finds, as values that name the file, line, instance or input.

use std::fmt;
use std::path::PathBuf;

use pipe_cache::Digest;
use serde::Serialize;

use crate::lineage::Change;
use crate::publish::PublishedProblem;

/// Something that is not as it has to be, or not as it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// A record, or what it refers to, cannot be read.
    Unreadable {
        /// Why.
        problem: String,
    },
    /// An entry of a pack is not the one that was written there.
    Pack {
        /// Which, and how.
        problem: String,
    },
    /// A line of a record is not the one that was written there.
    Line {
        /// The record.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The last line of a record has no end.
    CutShort {
        /// The record.
        path: PathBuf,
    },
    /// A later run saw more of a record than there is now, or something else.
    CutOff {
        /// The record.
        path: PathBuf,
        /// The later run.
        seen_by: String,
    },
    /// A run is gone.
    RunGone {
        /// The run.
        run: String,
        /// A run that began after it.
        seen_by: String,
    },
    /// A record is not that of the run in whose folder it is.
    OtherRun {
        /// The record.
        path: PathBuf,
        /// The run that it is of.
        run: String,
    },
    /// Lines stand behind the one that tells the end of the run.
    BehindEnd {
        /// The record.
        path: PathBuf,
        /// The first of them, counted from 1.
        line: usize,
    },
    /// The head that was noted is that of a part of the record.
    HeadBefore {
        /// The record.
        path: PathBuf,
        /// The last line of that part.
        line: usize,
    },
    /// The head that was noted is in no record.
    HeadUnknown {
        /// The head.
        head: Digest,
    },
    /// A signature is not of this record as it is.
    Signature {
        /// The signature.
        path: PathBuf,
        /// Of how many of its lines it is; none of this record.
        lines: Option<usize>,
    },
    /// Nobody whose signature counts has signed the record.
    NotSigned {
        /// The keys of those who have.
        keys: Vec<String>,
    },
    /// A log or another file beside a record is not as it was when its instance ended.
    SideFile {
        /// The instance.
        instance: String,
        /// The file.
        path: PathBuf,
    },
    /// What a fingerprint was made of is not in the cache.
    NoPreimage {
        /// The instance.
        instance: String,
        /// Its fingerprint.
        fingerprint: Digest,
    },
    /// What is kept as a fingerprint's preimage gives another fingerprint.
    Preimage {
        /// The instance.
        instance: String,
        /// Its fingerprint.
        fingerprint: Digest,
        /// What the preimage gives; none where it cannot be read.
        gives: Option<Digest>,
    },
    /// The cache has no result of an instance.
    NoResult {
        /// The instance.
        instance: String,
        /// Its fingerprint.
        fingerprint: Digest,
    },
    /// The cache's result of an instance is not the one that the record tells.
    Result {
        /// The instance.
        instance: String,
        /// The outputs that differ.
        outputs: Vec<String>,
    },
    /// The run that computed a result tells something else of it.
    Maker {
        /// The instance.
        instance: String,
        /// The run.
        run: String,
    },
    /// An artifact has not as many files or bytes as the record tells.
    Size {
        /// The instance and the output.
        output: String,
    },
    /// A blob's bytes do not have its digest, or are gone.
    Blob {
        /// What it is.
        file: String,
        /// The digest.
        digest: Digest,
        /// How it is.
        condition: String,
    },
    /// An instance does not follow from what it is given now.
    Drift {
        /// The instance.
        instance: String,
        /// What is not the same.
        change: Change,
        /// What is given, and where that is written.
        given: Option<String>,
        /// Whether it came from other instances of the run: then it is not what these gave.
        within: bool,
    },
    /// What an instance is given cannot be looked at.
    Input {
        /// The instance.
        instance: String,
        /// Why.
        problem: String,
    },
    /// The record's manifest cannot be followed by this program.
    Manifest {
        /// Why.
        problem: String,
    },
    /// A published file or folder.
    Published {
        /// Which.
        path: PathBuf,
        /// How it is.
        problem: PublishedProblem,
    },
    /// Computing again gave something else.
    Replayed {
        /// The instance.
        instance: String,
        /// What, and where it begins.
        difference: String,
    },
    /// It could not be computed again.
    NotReplayed {
        /// The instance.
        instance: String,
        /// Why.
        problem: String,
    },
}

/// What whoever reads an audit should know besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// The run has not ended, or not well.
    State {
        /// What has become of it.
        state: &'static str,
        /// How many instances have no result.
        without_result: usize,
    },
    /// The record is of before records had seals.
    Unsealed {
        /// The run.
        run: String,
    },
    /// The record is signed by a key of which nobody said whose it is.
    SignedByUnknown {
        /// The key.
        key: String,
    },
    /// A run that was killed has computed results and did not come to tell of them.
    MakerKilled {
        /// The run.
        run: String,
        /// The instances.
        instances: Vec<String>,
    },
    /// The paths of the project were read against the folder where the run was made, which is not the one around this cache.
    Elsewhere {
        /// The folder.
        root: PathBuf,
    },
    /// `provenance.json` in a published folder is of a run of another cache, which gave the same.
    AccountOfOther {
        /// The folder.
        path: PathBuf,
        /// The run.
        run: String,
    },
    /// The records of runs that computed results are gone.
    MakersGone {
        /// The runs.
        runs: Vec<String>,
    },
    /// Files of the project differed from its commit when the run began.
    Modified {
        /// The commit.
        commit: String,
    },
    /// This program's code of kinds is not the run's.
    OtherCode {
        /// The kinds.
        kinds: Vec<String>,
        /// The program of the run.
        program: String,
    },
    /// A folder was published to by another run since.
    Replaced {
        /// The folder.
        path: PathBuf,
        /// The run.
        run: String,
    },
    /// Blobs of results are told by their digests only.
    LeftOut {
        /// How many.
        blobs: usize,
    },
    /// What was not looked at.
    NotLookedAt {
        /// What, and why.
        what: String,
    },
    /// An instance upstream gave something else when it was computed again.
    Inherits {
        /// The instance, which gave the same.
        instance: String,
        /// The instances that did not.
        from: Vec<String>,
    },
}

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
            Self::NotLookedAt { what } => write!(f, "not looked at: {what}"),
            Self::Inherits { instance, from } => {
                write!(f, "{instance} follows from its recorded inputs; it inherits from {}", from.join(", "))
            }
        }
    }
}
