//! What a run did.

use std::path::PathBuf;
use std::time::SystemTime;

use pipe_cache::Store;
use serde::Serialize;
use serde_json::Value;

use crate::record::{
    InstanceRecord, RecordError, RunHead, RunHeader, RunRecord, RunState, read_head, run_ids,
};

/// A run with its instances.
#[derive(Clone, Debug, Serialize)]
pub struct RunView {
    /// See [`VERSION`](super::VERSION).
    pub version: u32,
    /// What has become of it.
    pub state: &'static str,
    /// What was asked for, and where.
    pub asked: RunHeader,
    /// The folder of its record.
    pub folder: PathBuf,
    /// How it ended; none while it goes on, or when it was killed.
    pub summary: Option<Value>,
    /// Its instances, in the order in which they ended.
    pub instances: Vec<InstanceRecord>,
}

/// The runs of a store.
#[derive(Clone, Debug, Serialize)]
pub struct RunsView {
    /// See [`VERSION`](super::VERSION).
    pub version: u32,
    /// The runs, the last one first.
    pub runs: Vec<RunInList>,
}

/// A run in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RunInList {
    /// A run.
    Told {
        /// Its id.
        run: String,
        /// What has become of it.
        state: &'static str,
        /// When it began, UTC.
        started: String,
        /// How long it took, or has taken so far.
        seconds: Option<f64>,
        /// The pipeline's name.
        pipeline: String,
        /// What came out, in a line.
        headline: Option<String>,
        /// `--profile` names.
        profiles: Vec<String>,
        /// `--set` texts.
        set: Vec<String>,
    },
    /// A run whose record cannot be told.
    Unreadable {
        /// Its id.
        run: String,
        /// Why.
        error: String,
    },
}

impl From<RunRecord> for RunView {
    fn from(run: RunRecord) -> Self {
        Self {
            version: super::VERSION,
            state: run.head.state().word(),
            asked: run.head.header,
            folder: run.head.folder,
            summary: run.head.summary,
            instances: run.instances,
        }
    }
}

impl RunsView {
    /// All runs of a store, by the beginning and the end of their records.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn of(store: &Store) -> Result<Self, RecordError> {
        let told = |id: String| match read_head(store, &id) {
            Ok(head) => RunInList::told(head),
            Err(error) => RunInList::Unreadable { run: id, error: error.to_string() },
        };
        Ok(Self { version: super::VERSION, runs: run_ids(store)?.into_iter().map(told).collect() })
    }
}

impl RunInList {
    fn told(head: RunHead) -> Self {
        let state = head.state();
        let field = |name: &str| head.summary.as_ref().and_then(|summary| summary.get(name));
        let seconds = field("seconds").and_then(Value::as_f64).or_else(|| so_far(&head, state));
        let headline = field("headline").and_then(Value::as_str).map(str::to_owned);
        let RunHeader { run, started, pipeline, profiles, set, .. } = head.header;
        Self::Told { run, state: state.word(), started, seconds, pipeline, headline, profiles, set }
    }
}

/// How long a run that goes on has taken.
fn so_far(head: &RunHead, state: RunState) -> Option<f64> {
    if state != RunState::Running {
        return None;
    }
    // The folder is as old as the run, and its clock is the file system's, as that of the next file is.
    let begun = std::fs::metadata(&head.folder).and_then(|folder| folder.created()).ok()?;
    Some(SystemTime::now().duration_since(begun).ok()?.as_secs_f64())
}
