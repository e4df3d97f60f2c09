//! What an audit finds, as values that name the file, line, instance or input.

mod words;

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
    /// A de-identified pack is not what the key gives of the run.
    OtherThanKey {
        /// The first entry that differs.
        entry: String,
        /// The cache that has the run.
        cache: PathBuf,
    },
    /// A de-identified pack cannot be compared with the run.
    NotCompared {
        /// The cache that has the run.
        cache: PathBuf,
        /// Why.
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
    /// What an instance was made of is not what the instance before it gave.
    Link {
        /// The instance.
        instance: String,
        /// The input.
        input: String,
        /// What it is said to be given.
        given: String,
    },
    /// The listing of an instance's items is not the one that its fingerprint was made of.
    Items {
        /// The instance.
        instance: String,
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
    /// Of some inputs of a de-identified run it is not told which file gave them.
    LinksUntold {
        /// How many.
        inputs: usize,
    },
    /// Blobs of results are told by their digests only.
    LeftOut {
        /// How many.
        blobs: usize,
    },
    /// What an instance's result followed from on the machine that gave it, and is otherwise on this one.
    OtherMachine {
        /// The instance.
        instance: String,
        /// What differs.
        what: String,
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
