//! What is to become of each instance of a pipeline: the same binding and the same preimages as a run, nothing computed.
//! `plan` and `get` read these values.

mod history;
mod instance;
mod reason;

use std::collections::BTreeMap;
use std::sync::Arc;

use pipe_cache::ArtifactRef;
use serde::Serialize;

use self::history::{Former, History};
pub(crate) use self::instance::{Assessed, Stale, UpToDate};
pub use self::reason::Reason;
use crate::bind::{Binder, Bound, Done, Filled};
use crate::lineage::{Change, ItemChanges, Preimage};
use crate::manifest::{Instance, Pipeline};
use crate::naming::is_among;
use crate::session::Session;
use crate::stage::StageError;

/// What is to become of an instance.
#[derive(Debug)]
pub enum Verdict {
    /// Its result is known.
    UpToDate {
        /// The run that computed it.
        from_run: String,
        /// The artifacts by output name.
        outputs: BTreeMap<String, ArtifactRef>,
    },
    /// It is to be computed.
    Stale {
        /// Why.
        reasons: Vec<Reason>,
        /// Its items, for a kind that works item by item.
        items: Option<ItemCount>,
    },
    /// It is to be computed if what it needs gives other bytes than before.
    Waiting {
        /// The instances that come before it.
        on: Vec<String>,
        /// What has changed besides.
        reasons: Vec<Reason>,
    },
    /// Its inputs cannot be read.
    Wrong(StageError),
}

/// How many items a stage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ItemCount {
    /// All of them.
    pub total: usize,
    /// Those that are to be computed.
    pub missing: usize,
}

/// What decides verdicts besides the pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<'a> {
    /// Stages and instances that are to be computed although their results are known.
    pub force: &'a [String],
    /// Whether reasons matter; finding them reads what former runs did.
    pub with_reasons: bool,
}

/// Finds out what is to become of each instance, in the order of [`Pipeline::instances`]. Each file and folder is
/// looked at once.
pub fn assess(session: &Session<'_>, pipeline: &Pipeline, policy: Policy<'_>) -> Vec<Verdict> {
    let history = History::new(&session.store, &pipeline.name, policy.with_reasons);
    let assessor = Assessor { binder: session.binder(pipeline), history, force: policy.force };
    let verdicts = assessor.all();
    // What was hashed is remembered if it can be: looking must not need the right to write.
    let _ = session.memo.save();
    verdicts
}

struct Assessor<'a> {
    binder: Binder<'a>,
    history: History<'a>,
    force: &'a [String],
}

impl Assessor<'_> {
    fn all(&self) -> Vec<Verdict> {
        let instances = &self.binder.pipeline.instances;
        self.binder.look_once();
        let force = self.force;
        let known = self.binder.known_by_stats(&|position| !is_forced(force, &instances[position]));
        // What is bound in full must not be older than its stats.
        self.binder.tables.hold(false);
        let mut results: Vec<Option<Arc<Done>>> = Vec::with_capacity(instances.len());
        let mut verdicts = Vec::with_capacity(instances.len());
        for (instance, known) in instances.iter().zip(known) {
            let verdict = match known {
                Some(known) => Ok(up_to_date(known)),
                None => self.instance(instance, &results),
            };
            let (verdict, result) = verdict.unwrap_or_else(|error| (Verdict::Wrong(error), None));
            verdicts.push(verdict);
            results.push(result);
        }
        self.binder.look_again();
        verdicts
    }

    /// An instance's verdict, and its result if it has one. `results` are those of the instances before it.
    fn instance(
        &self,
        instance: &Instance,
        results: &[Option<Arc<Done>>],
    ) -> Result<(Verdict, Option<Arc<Done>>), StageError> {
        let instances = &self.binder.pipeline.instances;
        let result = |index: usize| results.get(index)?.clone();
        let unknown = instance.upstream().into_iter().filter(|maker| result(*maker).is_none());
        let on: Vec<String> = unknown.filter_map(|maker| Some(instances.get(maker)?.label.clone())).collect();
        if !on.is_empty() {
            let reasons = self.parameter_reasons(instance);
            return Ok((Verdict::Waiting { on, reasons }, None));
        }
        let is_forced = is_forced(self.force, instance);
        match self.binder.assess(instance, &result, is_forced) {
            Ok(Assessed::UpToDate(known)) => Ok(up_to_date(*known)),
            Ok(Assessed::Stale(stale)) => {
                let reasons = match is_forced {
                    true => vec![Reason::Forced],
                    false => self.reasons(instance, &stale.bound),
                };
                let items = self.count_items(&stale.bound, is_forced)?;
                Ok((Verdict::Stale { reasons, items }, None))
            }
            // An input's index is gone from the store: what made it runs again, then this.
            Err(error) if error.lost_blob().is_some() => {
                Ok((Verdict::Stale { reasons: vec![Reason::InputLost], items: None }, None))
            }
            Err(error) => Err(error),
        }
    }

    fn count_items(&self, bound: &Bound, forced: bool) -> Result<Option<ItemCount>, StageError> {
        let Some(items) = &bound.items else { return Ok(None) };
        let journal = self.binder.store.items(items.scope)?;
        let known = |key| journal.get(key, self.binder.store).is_some();
        let missing = items.list.iter().filter(|one| forced || !known(one.key)).count();
        Ok(Some(ItemCount { total: items.list.len(), missing }))
    }

    fn reasons(&self, instance: &Instance, bound: &Bound) -> Vec<Reason> {
        let Some(Former { run, record, preimage: before }) = self.history.last(&instance.label) else {
            return vec![Reason::New];
        };
        let changes = bound.preimage.changes_since(&before);
        let mut reasons: Vec<Reason> =
            changes.into_iter().map(|change| Reason::changed(change, (instance, &bound.filled))).collect();
        // With another scope every item is another one; naming them would add nothing.
        if let Some(items) = bound.items.as_ref().filter(|_| reasons.is_empty())
            && let Some(before) = record.items.and_then(|listing| self.binder.store.read(listing).ok())
        {
            let changes = ItemChanges::between(&before, &items.listing());
            reasons.extend((!changes.is_empty()).then(|| Reason::items(changes)));
        }
        if reasons.is_empty() {
            reasons.push(Reason::of_status(record.status, run));
        }
        reasons
    }

    /// The changed parameters of an instance whose inputs are not known yet.
    fn parameter_reasons(&self, instance: &Instance) -> Vec<Reason> {
        let Some(Former { preimage: before, .. }) = self.history.last(&instance.label) else {
            return Vec::new();
        };
        let mut now = Preimage::default();
        now.add_params(&instance.params, instance.kind.uncounted());
        // What an input gives to parameters that are not written is not known yet.
        let is_filled = instance.inputs.iter().any(|binding| binding.spec.fills);
        let is_known = |change: &Change| match change {
            Change::Parameter { name, .. } => instance.is_written(name.split('.').next().unwrap_or(name)),
            _ => true,
        };
        let changes = now.parameter_changes(&before).into_iter();
        let changes = changes.filter(|change| !is_filled || is_known(change));
        let reason = |change| Reason::changed(change, (instance, &Filled::default()));
        changes.map(reason).collect()
    }
}

fn up_to_date(known: UpToDate) -> (Verdict, Option<Arc<Done>>) {
    let Done { outputs, run, .. } = known.done.as_ref().clone();
    (Verdict::UpToDate { from_run: run, outputs }, Some(known.done))
}

fn is_forced(force: &[String], instance: &Instance) -> bool {
    is_among(force, &instance.stage, &instance.label)
}
