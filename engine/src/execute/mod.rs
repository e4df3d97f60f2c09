//! Executing one instance: assess it, compute what is missing, commit; and compute again what the store has lost.

mod feed;
mod gather;
pub(crate) mod guard;
mod items;
mod repair;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use pipe_cache::{Claim, Claimed, Digest, Error, Hasher, RecordOutcome, ResultRecord};

use self::whole::Surroundings;
use crate::assess::{Assessed, Stale, UpToDate};
use crate::bind::{Binder, Bound, Done};
use crate::context::{Cancel, Device, Devices, Reporter};
use crate::event::{Event, FailedItem, Observer};
use crate::lookup::class_of;
use crate::manifest::Instance;
use crate::naming::is_among;
use crate::requests::{Secrets, Turns};
use crate::stage::{Busy, StageError, Work};

/// What all instances of a run share.
pub(crate) struct Executor<'a> {
    pub(crate) binder: Binder<'a>,
    /// What instances compute on, as far as their kinds compute on devices.
    pub(crate) devices: Devices,
    /// Memory that instances may take together.
    pub(crate) memory_bytes: Option<u64>,
    /// Where kinds that ask services get their keys.
    pub(crate) secrets: Secrets,
    pub(crate) run: String,
    pub(crate) run_folder: PathBuf,
    pub(crate) force: BTreeSet<String>,
    pub(crate) keep_going: bool,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a Cancel,
    /// The results so far, by instance.
    pub(crate) results: RwLock<Vec<Option<Arc<Done>>>>,
}

/// How an instance ended well.
pub(crate) struct Executed {
    pub(crate) done: Arc<Done>,
    pub(crate) items: Option<Digest>,
    /// What it was computed on, for a kind that computes on devices.
    pub(crate) device: Option<Device>,
    pub(crate) executed: bool,
    pub(crate) items_executed: usize,
    pub(crate) items_cached: usize,
    /// What its result carries, and what was found in this run.
    pub(crate) warnings: Vec<String>,
    pub(crate) scalars: BTreeMap<String, f64>,
}

/// How an instance failed.
pub(crate) struct Failure {
    pub(crate) error: StageError,
    pub(crate) fingerprint: Option<Box<Digest>>,
    pub(crate) failed_items: Vec<FailedItem>,
    pub(crate) items_executed: usize,
    pub(crate) items_cached: usize,
    /// What was warned of before it failed.
    pub(crate) warnings: Vec<String>,
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self {
            error,
            fingerprint: None,
            failed_items: Vec::new(),
            items_executed: 0,
            items_cached: 0,
            warnings: Vec::new(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        StageError::from(error).into()
    }
}

impl Executor<'_> {
    /// Brings an instance to its result: the known one, unless it must be rebuilt. The device is its own meanwhile.
    pub(crate) fn execute(
        &self,
        position: usize,
        must_rebuild: bool,
        device: Device,
    ) -> Result<Executed, Failure> {
        match self.assess(position, must_rebuild)? {
            Assessed::UpToDate(known) => self.known(*known),
            Assessed::Stale(stale) => self.perform(position, &stale, device),
        }
    }

    /// An instance's known result, as far as it can be told without reading inputs.
    pub(crate) fn known_by_stats(&self, position: usize) -> Result<Option<Executed>, Failure> {
        let instance = self.instance(position)?;
        if self.is_forced(instance) || self.cancel.is_cancelled() {
            return Ok(None);
        }
        let known = self.binder.assess_by_stats(instance, &|index| self.result(index));
        known.map(|known| self.known(known)).transpose()
    }

    /// Finds out whether an instance's result is known.
    fn assess(&self, position: usize, must_rebuild: bool) -> Result<Assessed, StageError> {
        let instance = self.instance(position)?;
        let must_compute = must_rebuild || self.is_forced(instance);
        self.binder.assess(instance, &|index| self.result(index), must_compute)
    }

    /// Computes an instance, unless another process has done so or does.
    fn perform(&self, position: usize, stale: &Stale, device: Device) -> Result<Executed, Failure> {
        let instance = self.instance(position)?;
        let upstream = |index: usize| self.result(index);
        // What is computed item by item is claimed in portions.
        let claim = match instance.kind.work() {
            Work::Whole(_) => Some(self.claim(instance, stale.bound.fingerprint)?),
            Work::Items(_) => None,
        };
        if claim.is_some()
            && let Some(known) = self.binder.look_again(instance, &upstream, stale)
        {
            // Another process has finished it just before.
            return self.known(known);
        }
        let executed = self.compute(instance, &stale.bound, device)?;
        drop(claim);
        self.binder.remember_if_unchanged(
            instance,
            &upstream,
            stale.signature,
            (&stale.bound, executed.items),
        );
        Ok(executed)
    }

    /// An instance whose result is known. Its listing of items is kept, which the record refers to.
    fn known(&self, known: UpToDate) -> Result<Executed, Failure> {
        if let (Some((_, digest)), Some(listing)) = (known.items, &known.listing)
            && !self.binder.store.contains(digest)
        {
            self.binder.store.put(listing)?;
        }
        Ok(Executed {
            done: known.done,
            items: known.items.map(|(_, listing)| listing),
            device: None,
            executed: false,
            items_executed: 0,
            items_cached: known.items.map_or(0, |(count, _)| count),
            warnings: known.warnings,
            scalars: known.scalars,
        })
    }

    /// Asks to be the one process that computes an instance.
    fn claim(&self, instance: &Instance, fingerprint: Digest) -> Result<Claim, Failure> {
        let mut hasher = Hasher::new("pipe claim, version 1");
        hasher.field("whole").field(fingerprint.as_bytes()).field(class_of(instance, &self.binder));
        match self.binder.store.claim(hasher.finish())? {
            Claimed::Mine(claim) => Ok(claim),
            Claimed::Busy(owner) => Err(StageError::from(Busy { owner }).into()),
        }
    }

    fn compute(&self, instance: &Instance, bound: &Bound, device: Device) -> Result<Executed, Failure> {
        let forced = self.is_forced(instance);
        let store = self.binder.store;
        let fingerprint = bound.fingerprint;
        store.record_preimage(fingerprint, &bound.preimage.to_json())?;
        let log = self.run_folder.join("logs").join(format!("{}.log", file_label(&instance.label)));
        let reporter = Reporter::new(&instance.label, log, self.observer);
        let started = Instant::now();
        let class = class_of(instance, &self.binder);
        let resume = store.resume_point(fingerprint, &class);
        if forced {
            // What is asked for is all of the work.
            resume.clear()?;
        }
        let listing = bound.items.as_ref().map(|items| store.put(&items.listing())).transpose()?;
        let turns = Turns::new(instance.resources.requests);
        let outcome = match (instance.kind.work(), &bound.items) {
            (Work::Whole(stage), _) => {
                self.observer.event(&Event::StageStarted {
                    stage: instance.label.clone(),
                    items: None,
                    items_cached: 0,
                });
                let device = if instance.kind.about().device { device } else { Device::default() };
                let surroundings = Surroundings { reporter: &reporter, resume: &resume, device };
                self.run_whole(instance, stage, bound, &surroundings).map(|outputs| (outputs, 0, 0))
            }
            (Work::Items(stage), Some(items)) => {
                let context = self.item_context(instance, &bound.inputs, &reporter, &turns);
                self.run_items((instance, &bound.params), stage, items, &context, forced)
            }
            (Work::Items(_), None) => Err(StageError::message("the items were not bound").into()),
        };
        let (outputs, items_executed, items_cached) = outcome.map_err(|mut failure| {
            reporter.log(&format!("failed: {}", failure.error));
            failure.fingerprint = Some(Box::new(fingerprint));
            failure.warnings = reporter.warnings();
            failure
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let warnings = reporter.warnings();
        let scalars = reporter.scalars();
        let run = self.run.clone();
        let record = ResultRecord { class, outputs: outputs.clone(), run, seconds, warnings, scalars };
        let mut run = self.run.clone();
        let mut outputs = outputs;
        if let RecordOutcome::Conflict(first) = store.record_result(fingerprint, &record)? {
            let detail = conflict_detail(&first, &record);
            self.observer.event(&Event::Conflict { stage: instance.label.clone(), detail });
            // The first result stays the one that everything downstream sees, unless its bytes are gone.
            if first.outputs.values().all(|artifact| self.is_there(artifact)) {
                (outputs, run) = (first.outputs, first.run);
            } else {
                store.replace_result(fingerprint, &record)?;
            }
        }
        // One that stays behind does no harm: nobody asks for it again.
        let _ = resume.clear();
        Ok(Executed {
            done: Arc::new(Done { outputs, run, fingerprint }),
            items: listing,
            device: instance.kind.about().device.then_some(device),
            executed: true,
            items_executed,
            items_cached,
            warnings: record.warnings,
            scalars: record.scalars,
        })
    }

    /// Whether its result is to be computed anew although it is known.
    fn is_forced(&self, instance: &Instance) -> bool {
        is_among(&self.force, &instance.stage, &instance.label)
    }

    fn instance(&self, position: usize) -> Result<&Instance, StageError> {
        let instance = self.binder.pipeline.instances.get(position);
        instance.ok_or_else(|| StageError::message(format!("there is no instance {position}")))
    }

    pub(crate) fn result(&self, position: usize) -> Option<Arc<Done>> {
        self.results.read().unwrap_or_else(PoisonError::into_inner).get(position).cloned().flatten()
    }
}

fn conflict_detail(first: &ResultRecord, second: &ResultRecord) -> String {
    let differing: Vec<&str> = second
        .outputs
        .iter()
        .filter(|(name, artifact)| {
            first.outputs.get(*name).map(|known| known.digest) != Some(artifact.digest)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    format!(
        "output {} differs from what run {} computed from the same inputs",
        differing.join(", "),
        first.run
    )
}

/// An instance's label as a file name. Labels that need changing get a mark, so that no two become the same.
pub(crate) fn file_label(label: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,[]".contains(c);
    let safe = |c: char| if plain(c) && !"[]".contains(c) { c } else { '_' };
    let name: String = label.chars().map(safe).collect();
    if label.chars().all(plain) { name } else { format!("{name}-{}", Digest::of(label.as_bytes()).short()) }
}
