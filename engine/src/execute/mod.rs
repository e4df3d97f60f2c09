//! Doing a job in this process: assess an instance, compute what is missing, commit; find out which inputs the store has
//! lost when it fails.

mod feed;
mod gather;
pub(crate) mod guard;
mod items;
mod repair;
mod reporter;
mod sample;
mod usage;
mod whole;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pipe_cache::{Claim, Claimed, Digest, Hasher, RecordOutcome, ResultRecord};

use self::guard::guarded;
use self::reporter::Reporter;
pub(crate) use self::sample::Sampled;
pub(crate) use self::usage::Meter;
pub use self::usage::Usage;
use self::whole::Attempt;
use crate::assess::{Assessed, Stale, UpToDate};
use crate::bind::{Binder, Bound, Done};
use crate::context::{Cancel, Device, Machine, Report as _};
use crate::event::{Event, Observer};
use crate::job::{Cause, Demand, Ending, Executed, Failure, ItemCounts, Job};
use crate::lookup::class_of;
use crate::manifest::{Instance, Resources};
use crate::requests::{Secrets, Turns};
use crate::stage::{StageError, Work};

/// Where in a run's folder instances' logs are, each named by its label.
pub(crate) const LOGS: &str = "logs";
/// Where in a run's folder each instance's side files are, in a folder named by its label.
pub(crate) const SIDE: &str = "side";

/// What does jobs in this process.
#[derive(Clone)]
pub(crate) struct Worker<'a> {
    pub(crate) binder: Binder<'a>,
    /// Where kinds that ask services get their keys.
    pub(crate) secrets: Secrets,
    pub(crate) run: String,
    pub(crate) run_folder: PathBuf,
    /// After an item's failure, go on with other items.
    pub(crate) keep_going: bool,
    /// Whether kinds must be closed off from what they do not declare, or else refuse to work.
    pub(crate) strict: bool,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: Cancel,
}

/// An instance and what is asked of it.
#[derive(Clone, Copy)]
struct Task<'a> {
    instance: &'a Instance,
    job: &'a Job,
}

impl Task<'_> {
    /// The result of an instance upstream.
    fn result(&self, position: usize) -> Option<Arc<Done>> {
        self.job.upstream.get(&position).cloned()
    }

    /// Whether all of the work is to be done, whatever is known of it.
    fn is_forced(&self) -> bool {
        self.job.demand == Demand::All
    }
}

impl Worker<'_> {
    /// Does a job. Whatever a kind's code does, there is an ending.
    pub(crate) fn perform(&self, job: &Job) -> Ending {
        let (started, meter) = (Instant::now(), Meter::begin());
        // A kind's code also runs while inputs are bound.
        let mut outcome = guarded(|| self.within_time(job));
        if let Err(failure) = &mut outcome
            && failure.cause == Cause::Error
        {
            // Whatever looking meets, there is an ending.
            let damaged = guarded(|| Ok::<_, StageError>(self.damaged_inputs(job))).unwrap_or_default();
            if !damaged.is_empty() {
                failure.cause = Cause::Damaged(damaged);
            }
        }
        let (seconds, usage) = (started.elapsed().as_secs_f64(), meter.end());
        Ending { position: job.position, seconds, usage, outcome }
    }

    /// Does a job, unless its instance's time is up before.
    fn within_time(&self, job: &Job) -> Result<Executed, Failure> {
        let instance = self.instance(job.position)?;
        let limit = instance.resources.time;
        let worker = Self { cancel: self.cancel.within(limit), ..self.clone() };
        worker.execute(Task { instance, job }).map_err(|failure| match limit {
            Some(limit) if failure.cause == Cause::Interrupted && !self.cancel.is_cancelled() => Failure {
                cause: Cause::Error,
                error: format!("it took longer than {} s, the `time` in its `resources`", limit.as_secs()),
                advice: Some(
                    "give it more `time`; finished items, and progress that the kind keeps, are kept"
                        .to_string(),
                ),
                ..failure
            },
            _ => failure,
        })
    }

    /// Brings an instance to its result: the known one, unless that must not be taken.
    fn execute(&self, task: Task<'_>) -> Result<Executed, Failure> {
        let must_compute = task.job.demand != Demand::Missing;
        match self.binder.assess(task.instance, &|position| task.result(position), must_compute)? {
            Assessed::UpToDate(known) => self.known(*known),
            Assessed::Stale(stale) => self.compute_unless_busy(task, &stale),
        }
    }

    /// Computes an instance, unless another process has done so or does.
    fn compute_unless_busy(&self, task: Task<'_>, stale: &Stale) -> Result<Executed, Failure> {
        let Task { instance, .. } = task;
        let upstream = |position: usize| task.result(position);
        // What is computed item by item is claimed in portions.
        let claim = match instance.kind.work() {
            Work::Whole(_) => Some(self.claim(instance, stale.bound.fingerprint)?),
            Work::Items(_) => None,
        };
        if claim.is_some()
            && let Some(known) = self.binder.known_by_content(instance, &upstream, stale)
        {
            // Another process has finished it just before.
            return self.known(known);
        }
        let executed = self.compute(task, &stale.bound)?;
        drop(claim);
        let bound = (&stale.bound, executed.listing);
        self.binder.remember_if_unchanged(instance, &upstream, stale.signature, bound);
        Ok(executed)
    }

    /// An instance whose result is known. Its listing of items is kept, which the record refers to.
    fn known(&self, known: UpToDate) -> Result<Executed, Failure> {
        if let (Some((_, digest)), Some(listing)) = (known.items, &known.listing)
            && !self.binder.store.contains(digest)
        {
            self.binder.store.put(listing)?;
        }
        Ok(known.into())
    }

    /// Asks to be the one process that computes an instance.
    fn claim(&self, instance: &Instance, fingerprint: Digest) -> Result<Claim, Failure> {
        let mut hasher = Hasher::new("pipe claim, version 1");
        hasher.field("whole").field(fingerprint.as_bytes()).field(class_of(instance, &self.binder));
        match self.binder.store.claim(hasher.finish())? {
            Claimed::Mine(claim) => Ok(claim),
            Claimed::Busy(owner) => Err(Failure::busy(owner)),
        }
    }

    fn compute(&self, task: Task<'_>, bound: &Bound) -> Result<Executed, Failure> {
        let Task { instance, job } = task;
        let (forced, device) = (task.is_forced(), job.device);
        let store = self.binder.store;
        let fingerprint = bound.fingerprint;
        store.record_preimage(fingerprint, &bound.preimage.to_json())?;
        let log = self.run_folder.join(LOGS).join(format!("{}.log", file_label(&instance.label)));
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
        let scratch = store.staging()?;
        let outcome = match (instance.kind.work(), &bound.items) {
            (Work::Whole(stage), _) => {
                self.observer.event(&Event::StageStarted {
                    stage: instance.label.clone(),
                    items: None,
                    items_cached: 0,
                });
                let device = if instance.kind.about().device { device } else { Device::default() };
                let machine = self.machine(instance, scratch.path());
                let attempt = Attempt { reporter: &reporter, resume: &resume, device, machine };
                self.run_whole(instance, stage, bound, &attempt)
                    .map(|outputs| (outputs, ItemCounts::default()))
            }
            (Work::Items(stage), Some(items)) => {
                let machine = self.machine(instance, scratch.path());
                let context =
                    self.item_context(instance, &bound.inputs, &reporter, &turns, (device, machine));
                self.run_items((instance, &bound.params), stage, items, &context, forced)
            }
            (Work::Items(_), None) => Err(StageError::message("the items were not bound").into()),
        };
        let (outputs, items) = outcome.map_err(|mut failure| {
            if !matches!(failure.cause, Cause::Busy { .. }) {
                reporter.log(&format!("failed: {}", failure.error));
            }
            failure.before.fingerprint = Some(fingerprint);
            failure.before.warnings = reporter.warnings();
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
            listing,
            device: instance.kind.about().device.then_some(device),
            executed: true,
            items,
            warnings: record.warnings,
            scalars: record.scalars,
        })
    }

    /// What an instance may take of the machine.
    fn machine<'m>(&'m self, instance: &Instance, scratch: &'m Path) -> Machine<'m> {
        let Resources { cpus, memory_bytes, .. } = instance.resources;
        let (host, environments) = (self.binder.registry.host(), self.binder.store.environments());
        Machine { host, scratch, environments, cpus, memory_bytes, strict: self.strict }
    }

    fn instance(&self, position: usize) -> Result<&Instance, StageError> {
        let instance = self.binder.pipeline.instances.get(position);
        instance.ok_or_else(|| StageError::message(format!("there is no instance {position}")))
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
    // Brackets within values could be taken for those around them, or for what stands in their place.
    let inner = label.split_once('[').map_or("", |(_, inner)| inner.strip_suffix(']').unwrap_or(inner));
    if label.chars().all(plain) && !inner.contains(['[', ']']) {
        name
    } else {
        format!("{name}-{}", Digest::of(label.as_bytes()).short())
    }
}

impl From<UpToDate> for Executed {
    fn from(known: UpToDate) -> Self {
        Self {
            done: known.done,
            listing: known.items.map(|(_, listing)| listing),
            device: None,
            executed: false,
            items: ItemCounts { executed: 0, cached: known.items.map_or(0, |(count, _)| count) },
            warnings: known.warnings,
            scalars: known.scalars,
        }
    }
}
