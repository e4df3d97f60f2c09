//! What a run tells while it goes on. Libraries never print: an [`Observer`] decides what is shown.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run has begun.
    Started {
        /// Its id.
        run: String,
        /// The pipeline's name.
        pipeline: String,
        /// How many stage instances it has.
        instances: usize,
    },
    /// A stage instance has begun to execute.
    StageStarted {
        /// The instance.
        stage: String,
        /// Its items, for a stage with items.
        items: Option<usize>,
        /// Items whose results are known already.
        items_cached: usize,
    },
    /// Another process computes what a stage instance wants; it is waited for.
    Waiting {
        /// The instance.
        stage: String,
        /// The process.
        owner: String,
    },
    /// An executing instance got on.
    Progress {
        /// The instance.
        stage: String,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
        /// A short remark.
        note: String,
    },
    /// A stage instance has written a line to its log.
    Log {
        /// The instance.
        stage: String,
        /// The line.
        line: String,
    },
    /// A stage instance has its result.
    StageFinished {
        /// The instance.
        stage: String,
        /// Whether it was computed now.
        executed: bool,
        /// Items computed now.
        items_executed: usize,
        /// Items whose results were known.
        items_cached: usize,
        /// Time taken.
        seconds: f64,
        /// The run that computed it.
        from_run: String,
    },
    /// A stage instance failed.
    StageFailed {
        /// The instance.
        stage: String,
        /// Why.
        error: String,
        /// What to do about it.
        advice: Option<String>,
        /// The items that failed, with their reasons.
        failed_items: Vec<FailedItem>,
        /// Its log.
        log: PathBuf,
    },
    /// A stage instance was not reached.
    StageSkipped {
        /// The instance.
        stage: String,
        /// Why.
        reason: String,
    },
    /// A damaged artifact was set aside and will be computed again.
    Repaired {
        /// The damaged blob's digest.
        digest: String,
        /// Where its bytes are kept.
        aside: PathBuf,
    },
    /// The same fingerprint gave other bytes than before.
    Conflict {
        /// The instance.
        stage: String,
        /// What differs.
        detail: String,
    },
    /// What people should know of a stage's result, computed now or before; or something went wrong that takes nothing
    /// from the run's results.
    Warning {
        /// The instance, if it is one's result.
        stage: Option<String>,
        /// What, and what it means.
        text: String,
    },
    /// Outputs were copied to a folder.
    Published {
        /// The stage.
        stage: String,
        /// The folder.
        to: PathBuf,
        /// Files written anew.
        files: usize,
        /// Files removed that the stage no longer gives.
        removed: usize,
        /// The run whose results were there before, if they were another's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_run: Option<String>,
    },
    /// A stage's headline, for people.
    Headline {
        /// The stage.
        stage: String,
        /// The text.
        text: String,
    },
    /// The run has ended.
    Finished(Summary),
}

/// An item that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedItem {
    /// Its name.
    pub item: String,
    /// Why.
    pub error: String,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Its id.
    pub run: String,
    /// `ok`, `failed` or `interrupted`.
    pub status: Status,
    /// Stage instances computed now.
    pub executed: usize,
    /// Stage instances whose results were known.
    pub cached: usize,
    /// Stage instances that failed.
    pub failed: usize,
    /// Items computed now.
    pub items_executed: usize,
    /// Items whose results were known.
    pub items_cached: usize,
    /// Time taken.
    pub seconds: f64,
    /// Warnings that the results carry, old and new.
    pub warnings: usize,
    /// What came out, in a line, where a kind says it so.
    pub headline: Option<String>,
}

/// How a run ended, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All stages have their results.
    Ok,
    /// A stage failed.
    Failed,
    /// The run was asked to stop.
    Interrupted,
}

/// Sees the events of a run; called from several threads.
pub trait Observer: Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}
