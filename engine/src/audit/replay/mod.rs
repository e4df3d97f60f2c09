//! Computing again: each instance from the results that the record tells of the instances upstream, in an empty store of its
//! own, past every known result and resume point. What comes out is compared with what the record tells.
//!
//! An instance is judged by its own recorded inputs. So one that gives the same is right even where an instance upstream is
//! not, from which it then inherits, and all of them together show that the last results follow from the first inputs.

mod again;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pipe_cache::{Digest, Hasher, Store};
use serde::Serialize;

use self::again::{Replayer, scratch};
use super::compare::Difference;
use super::finding::{Finding, Note};
use super::inputs::ByLabel;
use super::{Asked, Audit, Recorded};
use crate::context::{Cancel, Devices};
use crate::event::{Event, Observer};
use crate::manifest::{Instance, Pipeline};
use crate::naming::is_among;
use crate::options::RunError;
use crate::registry::Registry;
use crate::run::{check_stages, thread_pool};

/// How to compute again.
pub struct Replay<'a> {
    /// Stages and instances; all if none are named.
    pub stages: Vec<String>,
    /// Of kinds that work item by item, no more items than that.
    pub sample: Option<Sample>,
    /// Rows computed side by side.
    pub jobs: usize,
    /// What to compute on.
    pub devices: Devices,
    /// Sees how it goes on.
    pub observer: &'a dyn Observer,
    /// Asks it to stop.
    pub cancel: Cancel,
}

/// Which items are computed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// How many of an instance, at most.
    pub count: usize,
    /// What chooses them: nobody who made the results could know it, and whoever knows it chooses the same again.
    pub seed: String,
}

impl Sample {
    /// The keys that are chosen.
    fn choose(&self, keys: &[Digest]) -> BTreeSet<Digest> {
        let rank = |key: &Digest| {
            Hasher::new("pipe audit sample, version 1").field(&self.seed).field(key.as_bytes()).finish()
        };
        let mut ranked: Vec<(Digest, Digest)> = keys.iter().map(|key| (rank(key), *key)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(self.count).map(|(_, key)| key).collect()
    }
}

/// What was computed again.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replayed {
    /// The instances that were meant, in their order.
    pub instances: Vec<ReplayedInstance>,
    /// Instances with results that were not meant.
    pub left_out: usize,
    /// How items were chosen, if not all were computed.
    pub sample: Option<Sample>,
    /// Whether it was asked to stop before the end.
    pub interrupted: bool,
}

/// An instance that was computed again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayedInstance {
    /// Its label.
    pub instance: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Its items that were computed, and how many there are; none where all of it was computed.
    pub items: Option<(usize, usize)>,
    /// How long it took.
    pub seconds: f64,
}

/// What came of computing an instance again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The same bytes.
    Identical,
    /// Numbers that differ by no more than the kind allows between classes of devices.
    WithinTolerance {
        /// The largest difference.
        largest: f64,
        /// What the kind allows.
        tolerance: f64,
    },
    /// Something else, of a stage that does not promise the same bytes.
    NotPromised {
        /// Where, by output.
        differences: Vec<Difference>,
    },
    /// Something else.
    Different {
        /// Where, by output.
        differences: Vec<Difference>,
    },
    /// It could not be computed.
    Failed {
        /// Why.
        problem: String,
    },
    /// What it takes is not there.
    NotAtHand {
        /// What.
        problem: String,
    },
}

/// Computes what was recorded again, and adds to an audit what that shows.
///
/// # Errors
/// Stages that there are not, or a store that cannot be made.
pub fn replay(
    (registry, store): (&Registry, &Arc<Store>),
    (recorded, pipeline): (&Recorded, &Pipeline),
    asked: &Asked,
    how: &Replay<'_>,
    audit: &mut Audit,
) -> Result<(), RunError> {
    check_stages(pipeline, &how.stages)?;
    let pool = thread_pool(how.jobs)?;
    let all = &recorded.run.instances;
    let records: ByLabel<'_> = all.iter().map(|one| (one.label.as_str(), one)).collect();
    let scope = asked.target.scope(all);
    let with_result = |one: &&Instance| {
        scope.contains(one.label.as_str())
            && records.get(one.label.as_str()).is_some_and(|record| record.has_result())
    };
    let is_meant = |one: &&Instance| how.stages.is_empty() || is_among(&how.stages, &one.stage, &one.label);
    let there: Vec<&Instance> = pipeline.instances.iter().filter(with_result).collect();
    let meant: Vec<&Instance> = there.iter().copied().filter(is_meant).collect();
    let meant_count = meant.len();
    let mut replayed =
        Replayed { left_out: there.len() - meant.len(), sample: how.sample.clone(), ..Replayed::default() };
    how.observer.event(&Event::Started {
        run: format!("{} again", audit.run),
        pipeline: pipeline.name.clone(),
        instances: meant.len(),
    });
    let scratch = scratch(store)?;
    // What a pack has left out, computed again, is there for the next.
    let base = if asked.is_pack { Arc::new(Store::over(scratch.path(), store)?) } else { Arc::clone(store) };
    let replayer = Replayer {
        registry,
        original: store,
        store: &base,
        pipeline,
        records: &records,
        is_pack: asked.is_pack,
        has_asked: Arc::default(),
        how,
    };
    for instance in meant {
        if how.cancel.is_cancelled() {
            replayed.interrupted = true;
            break;
        }
        let label = instance.label.clone();
        if audit.drifted.contains(&label) {
            let problem = "what it is given is not what it was".to_string();
            audit.findings.push(Finding::NotReplayed { instance: label, problem });
            continue;
        }
        let began = Instant::now();
        let (outcome, items) = pool.install(|| replayer.instance(instance))?;
        if how.cancel.is_cancelled() {
            replayed.interrupted = true;
            break;
        }
        let has_asked = replayer.has_asked.swap(false, Ordering::Relaxed);
        match &outcome {
            Outcome::Failed { problem } if has_asked => {
                let what = format!("{label} again, which asks a service: {problem}");
                audit.notes.push(Note::NotLookedAt { what });
            }
            Outcome::NotAtHand { problem } if asked.is_pack => {
                let what = format!("{label} again, for which the pack has not all: {problem}");
                audit.notes.push(Note::NotLookedAt { what });
            }
            _ => audit.findings.extend(finding(&label, &outcome)),
        }
        let seconds = began.elapsed().as_secs_f64();
        replayed.instances.push(ReplayedInstance { instance: label, outcome, items, seconds });
    }
    replayed.left_out += meant_count - replayed.instances.len();
    audit.notes.extend(inherited(pipeline, &replayed));
    audit.replayed = Some(replayed);
    Ok(())
}

fn finding(instance: &str, outcome: &Outcome) -> Option<Finding> {
    let instance = instance.to_string();
    match outcome {
        Outcome::Identical | Outcome::WithinTolerance { .. } | Outcome::NotPromised { .. } => None,
        Outcome::Different { differences } => {
            let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
            Some(Finding::Replayed { instance, difference: told.join("; ") })
        }
        Outcome::Failed { problem } | Outcome::NotAtHand { problem } => {
            Some(Finding::NotReplayed { instance, problem: problem.clone() })
        }
    }
}

/// The instances that gave the same, and take inputs from some that did not.
fn inherited(pipeline: &Pipeline, replayed: &Replayed) -> Vec<Note> {
    let outcome: BTreeMap<&str, &Outcome> =
        replayed.instances.iter().map(|one| (one.instance.as_str(), &one.outcome)).collect();
    let mut sources: Vec<BTreeSet<usize>> = Vec::new();
    let mut notes = Vec::new();
    for instance in &pipeline.instances {
        // Inputs come from instances before it.
        let mut from: BTreeSet<usize> = BTreeSet::new();
        for maker in instance.upstream() {
            let differs = pipeline.instances.get(maker).and_then(|maker| outcome.get(maker.label.as_str()));
            match differs {
                Some(Outcome::Different { .. } | Outcome::NotPromised { .. }) => drop(from.insert(maker)),
                _ => from.extend(sources.get(maker).into_iter().flatten()),
            }
        }
        if let Some(Outcome::Identical | Outcome::WithinTolerance { .. }) =
            outcome.get(instance.label.as_str())
            && !from.is_empty()
        {
            let from = from.iter().filter_map(|maker| Some(pipeline.instances.get(*maker)?.label.clone()));
            notes.push(Note::Inherits { instance: instance.label.clone(), from: from.collect() });
        }
        sources.push(from);
    }
    notes
}
