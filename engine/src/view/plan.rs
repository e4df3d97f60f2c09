//! What a run would do.

use serde::Serialize;

use crate::assess::{ItemCount, Reason, Verdict};
use crate::manifest::Pipeline;
use crate::stage::StageError;

/// What a run would do, and why.
#[derive(Clone, Debug, Serialize)]
pub struct PlanView {
    /// See [`VERSION`](super::VERSION).
    pub version: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// How many instances have their results.
    pub known: usize,
    /// How many would run.
    pub running: usize,
    /// How many would run if what they need gives other bytes.
    pub following: usize,
    /// All instances, in an order in which inputs come first.
    pub instances: Vec<PlannedInstance>,
}

/// An instance in a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedInstance {
    /// The instance.
    pub instance: String,
    /// What is to become of it.
    #[serde(flatten)]
    pub state: PlannedState,
}

/// What is to become of an instance.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum PlannedState {
    /// Its result is known.
    UpToDate {
        /// The run that computed it.
        from_run: String,
    },
    /// It would run.
    Stale {
        /// Its items.
        items: Option<ItemCount>,
        /// Why.
        reasons: Vec<ReasonView>,
    },
    /// It would run if what it needs gives other bytes.
    Waiting {
        /// The instances that come before it.
        on: Vec<String>,
        /// What has changed besides.
        reasons: Vec<ReasonView>,
    },
}

/// A reason with its words.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonView {
    /// The reason in English.
    pub text: String,
    /// The reason as a value.
    #[serde(flatten)]
    pub reason: Reason,
}

impl PlanView {
    /// The plan of a pipeline whose instances have these verdicts.
    ///
    /// # Errors
    /// What is wrong with an input.
    pub fn new(pipeline: &Pipeline, verdicts: Vec<Verdict>) -> Result<Self, StageError> {
        let mut view = Self {
            version: super::VERSION,
            pipeline: pipeline.name.clone(),
            known: 0,
            running: 0,
            following: 0,
            instances: Vec::with_capacity(verdicts.len()),
        };
        for (instance, verdict) in pipeline.instances.iter().zip(verdicts) {
            let state = match verdict {
                Verdict::UpToDate { from_run, .. } => {
                    view.known += 1;
                    PlannedState::UpToDate { from_run }
                }
                Verdict::Stale { reasons, items } => {
                    view.running += 1;
                    PlannedState::Stale { items, reasons: in_words(reasons) }
                }
                Verdict::Waiting { on, reasons } => {
                    view.following += 1;
                    PlannedState::Waiting { on, reasons: in_words(reasons) }
                }
                Verdict::Wrong(error) => return Err(error),
            };
            view.instances.push(PlannedInstance { instance: instance.label.clone(), state });
        }
        Ok(view)
    }
}

fn in_words(reasons: Vec<Reason>) -> Vec<ReasonView> {
    reasons.into_iter().map(|reason| ReasonView { text: reason.to_string(), reason }).collect()
}
