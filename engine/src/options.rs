//! How a run is asked for, and why it may not begin.

use std::path::PathBuf;

use crate::record::{RecordEnder, Surroundings};
use crate::requests::Secrets;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Rows and stages computed side by side.
    pub jobs: usize,
    /// Stages whose results are computed anew.
    pub force: Vec<String>,
    /// Run only these stages and what they need; empty means all.
    pub only: Vec<String>,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// Memory that instances may take together, by what their `resources` say; without it nobody counts.
    pub memory_bytes: Option<u64>,
    /// Where instances are computed.
    pub executor: ExecutorChoice,
    /// Where kinds that ask services get their keys.
    pub secrets: Secrets,
    /// Written into the record.
    pub surroundings: Surroundings,
    /// Ends the record when whoever runs it gives up.
    pub ender: RecordEnder,
}

/// Where instances are computed.
#[derive(Clone, Debug, Default)]
pub enum ExecutorChoice {
    /// In threads of this process.
    #[default]
    Local,
    /// Each in a process of its own on this machine, with as many threads as its `cpus`.
    Processes(WorkerCommand),
}

/// How a process is started that does a job.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before the job's file. It does what [`JobFile::perform`](crate::job::JobFile::perform) does, stops
    /// when its standard input ends, and writes each event as a line of JSON on standard output.
    pub arguments: Vec<String>,
    /// Whether it hashes inputs whatever is remembered of them.
    pub verify: bool,
}

/// Why a run could not begin or its record could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] pipe_cache::Error),
    /// The store's reason, after the run had begun.
    #[error("the run could not go on: {0}")]
    Broken(#[source] pipe_cache::Error),
    /// A name of `--only` or `--force` that is no stage.
    #[error("there is no stage `{name}`; stages: {known}")]
    UnknownStage {
        /// The name.
        name: String,
        /// All stages.
        known: String,
    },
    /// A stage needs more devices than there are.
    #[error("`{stage}` needs {needed} graphics processors at once, and the run has {given}")]
    Devices {
        /// The stage.
        stage: String,
        /// What its `resources` say.
        needed: usize,
        /// How many there are.
        given: usize,
    },
    /// The worker threads could not be started.
    #[error("cannot start {jobs} threads: {problem}")]
    Threads {
        /// How many.
        jobs: usize,
        /// The reason.
        problem: String,
    },
}
