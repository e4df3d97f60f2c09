//! Jobs as values: what is to be computed, and how it ended. Both can be written down, so that a job can be done in
//! another process or on another machine as well as here.

mod file;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use pipe_cache::{Digest, Error};
use serde::{Deserialize, Serialize};

pub use self::file::{JobError, JobFile};
use crate::bind::Done;
use crate::context::Device;
use crate::event::FailedItem;
use crate::execute::Usage;
use crate::stage::{Interrupted, StageError};

/// An instance to be brought to its result. [`JobFile`] is its written form.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Its position in the pipeline.
    pub(crate) position: usize,
    /// The results that it takes inputs from, by the positions of what made them.
    pub(crate) upstream: BTreeMap<usize, Arc<Done>>,
    pub(crate) demand: Demand,
    /// What it computes on, if its kind computes on devices. It has the device to itself.
    pub(crate) device: Device,
    /// How many processors it may keep busy.
    pub(crate) processors: usize,
}

/// How much of a job is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Demand {
    /// What is missing: a known result will do.
    Missing,
    /// The result, since the known one is damaged; what else is known will do.
    Result,
    /// All of it, since that was asked for.
    All,
}

/// How a job ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// The instance's position in the pipeline.
    pub(crate) position: usize,
    pub(crate) seconds: f64,
    /// What it took of the machine.
    #[serde(default)]
    pub(crate) usage: Usage,
    pub(crate) outcome: Result<Executed, Failure>,
}

impl Ending {
    /// Of a job that could not be begun, or whose worker is gone.
    pub(crate) fn failed(position: usize, failure: Failure) -> Self {
        Self { position, seconds: 0.0, usage: Usage::default(), outcome: Err(failure) }
    }
}

/// How an instance ended well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Executed {
    pub(crate) done: Arc<Done>,
    /// The listing of its items.
    pub(crate) listing: Option<Digest>,
    /// What it was computed on, for a kind that computes on devices.
    pub(crate) device: Option<Device>,
    /// Whether it was computed now.
    pub(crate) executed: bool,
    pub(crate) items: ItemCounts,
    /// What its result carries, and what was found in this run.
    pub(crate) warnings: Vec<String>,
    /// Numbers that tell of its result in brief.
    pub(crate) scalars: BTreeMap<String, f64>,
}

/// How an instance ended without a result.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// What happened, in words.
    pub(crate) error: String,
    /// What to do about it.
    pub(crate) advice: Option<String>,
    pub(crate) before: Box<Before>,
}

/// What an instance came to before it failed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) fingerprint: Option<Digest>,
    pub(crate) failed_items: Vec<FailedItem>,
    pub(crate) items: ItemCounts,
    /// What was warned of.
    pub(crate) warnings: Vec<String>,
}

/// The items of an instance that have results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemCounts {
    /// Those that were computed now.
    pub(crate) executed: usize,
    /// Those whose results were known.
    pub(crate) cached: usize,
}

/// What a failure means to whoever decides what happens next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// Another process does the work already.
    Busy {
        /// The process.
        owner: String,
    },
    /// It was asked to stop.
    Interrupted,
    /// Results that it builds on are damaged: those of the instances at these positions.
    Damaged(Vec<usize>),
    /// Anything else.
    #[default]
    Error,
}

impl Failure {
    fn new(cause: Cause, error: String, advice: Option<String>) -> Self {
        Self { cause, error, advice, before: Box::default() }
    }

    /// Of work that another process does already.
    pub(crate) fn busy(owner: String) -> Self {
        Self::new(Cause::Busy { owner: owner.clone() }, format!("{owner} is computing it"), None)
    }

    /// Of work that was asked to stop.
    pub(crate) fn interrupted() -> Self {
        StageError::from(Interrupted).into()
    }

    /// Of what is known in words only.
    pub(crate) fn message(error: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Cause::Error, error.into(), Some(advice.into()))
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let cause = if error.is_interrupted() { Cause::Interrupted } else { Cause::Error };
        Self::new(cause, error.to_string(), error.full_advice())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        StageError::from(error).into()
    }
}

/// The results of a run so far, by position.
pub(crate) type Results = Vec<Option<Arc<Done>>>;
