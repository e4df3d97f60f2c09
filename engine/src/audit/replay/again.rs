//! Computing one instance again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pipe_cache::{Form, Store};
use tempfile::TempDir;

use super::super::compare;
use super::super::inputs::{ByLabel, done_of, drift};
use super::{Outcome, Replay};
use crate::bind::Done;
use crate::event::{Event, Observer};
use crate::execute::Worker;
use crate::execute::guard::guarded;
use crate::job::{Cause, Demand, Failure, Job};
use crate::lineage::Preimage;
use crate::manifest::{Instance, Pipeline};
use crate::options::RunError;
use crate::record::InstanceRecord;
use crate::registry::Registry;
use crate::requests::Secrets;
use crate::session::Session;

pub(super) struct Replayer<'a> {
    pub(super) registry: &'a Registry,
    /// What is audited.
    pub(super) original: &'a Store,
    /// The same, and over it what a pack has left out and was computed again.
    pub(super) store: &'a Arc<Store>,
    pub(super) pipeline: &'a Pipeline,
    pub(super) records: &'a ByLabel<'a>,
    pub(super) is_pack: bool,
    /// Whether an instance has asked for the key of a service.
    pub(super) has_asked: Arc<AtomicBool>,
    pub(super) how: &'a Replay<'a>,
}

/// A folder for what is computed, on the cache's disk if that can be written.
pub(super) fn scratch(store: &Store) -> Result<TempDir, RunError> {
    let elsewhere =
        |_| tempfile::tempdir().map_err(pipe_cache::Error::io("make a folder in", Path::new("TMPDIR")));
    Ok(store.staging().or_else(elsewhere)?)
}

/// Takes the outputs that an instance has in one store into another that lacks them.
fn keep(record: &InstanceRecord, from: &Store, to: &Store) -> Result<(), RunError> {
    for artifact in record.outputs.values() {
        let mut digests = vec![artifact.digest];
        if artifact.form != Form::File {
            digests.extend(from.index(artifact.digest)?.entries().iter().map(|entry| entry.digest));
        }
        for digest in digests.into_iter().filter(|digest| !to.contains(*digest)) {
            to.put(&from.read(digest)?)?;
        }
    }
    Ok(())
}

/// Items that were computed, and how many there are; none of what was computed whole.
pub(super) type Items = Option<(usize, usize)>;

impl Replayer<'_> {
    /// Computes one instance in an empty store, which is gone afterwards.
    pub(super) fn instance(&self, instance: &Instance) -> Result<(Outcome, Items), RunError> {
        let folder = scratch(self.store)?;
        let store = Arc::new(Store::over(folder.path(), self.store)?);
        let Some(record) = self.records.get(instance.label.as_str()).copied() else {
            return Ok((failed("the record does not tell of it"), None));
        };
        let Some(job) = self.job(instance) else {
            return Ok((failed("the record does not tell what the instances upstream gave"), None));
        };
        let session = Session::new(self.registry, &store, self.how.devices.clone(), true);
        let quiet = Quiet(self.how.observer);
        let worker = Worker {
            strict: true,
            binder: session.binder(self.pipeline),
            secrets: Secrets::new({
                let has_asked = Arc::clone(&self.has_asked);
                move |_| {
                    has_asked.store(true, Ordering::Relaxed);
                    None
                }
            }),
            run: "replay".to_string(),
            run_folder: folder.path().join("replay"),
            keep_going: true,
            observer: &quiet,
            cancel: self.how.cancel.clone(),
        };
        if let Some(outcome) = self.drift_in_pack(&worker, instance, record, &job) {
            return Ok((outcome, None));
        }
        let began = Instant::now();
        let found = match &self.how.sample {
            Some(sample) => match worker.compute_some(&job, &|keys| sample.choose(keys)) {
                Ok(Some(sampled)) => self.judge_items(instance, record, &store, &sampled),
                Ok(None) => self.whole(&worker, &job, record, &store),
                Err(failure) => Ok((failure_of(&failure), None)),
            },
            None => self.whole(&worker, &job, record, &store),
        };
        self.tell(instance, began.elapsed().as_secs_f64());
        if let (true, Ok((Outcome::Identical, None))) = (self.is_pack, &found) {
            keep(record, &store, self.store)?;
        }
        // What cannot be read of the recorded outputs was found before.
        Ok(found.unwrap_or_else(|error| (not_at_hand(&error.to_string()), None)))
    }

    /// How what a pack gives an instance is not what it was given: known only when what was left out has been computed.
    fn drift_in_pack(
        &self,
        worker: &Worker<'_>,
        instance: &Instance,
        record: &InstanceRecord,
        job: &Job,
    ) -> Option<Outcome> {
        let preimage = Preimage::kept(self.original, record.fingerprint.filter(|_| self.is_pack)?);
        let bind = || worker.binder.bind(instance, &|position| job.upstream.get(&position).cloned());
        match (preimage, guarded(bind)) {
            (None, _) => Some(not_at_hand("what it was made of is not in the pack")),
            (_, Err(error)) => Some(not_at_hand(&error.to_string())),
            (Some(preimage), Ok(bound)) => {
                let drift = drift(&worker.binder, record, &preimage, &bound);
                drift
                    .first()
                    .map(|finding| failed(&format!("what it is given is not what it was: {finding}")))
            }
        }
    }

    fn tell(&self, instance: &Instance, seconds: f64) {
        self.how.observer.event(&Event::StageFinished {
            stage: instance.label.clone(),
            executed: true,
            items_executed: 0,
            items_cached: 0,
            seconds,
            from_run: String::new(),
        });
    }

    /// What is to be computed: all of it, from what the record tells.
    fn job(&self, instance: &Instance) -> Option<Job> {
        let instances = &self.pipeline.instances;
        let position = instances.iter().position(|one| one.label == instance.label)?;
        let done = |maker: usize| -> Option<(usize, Arc<Done>)> {
            let record = self.records.get(instances.get(maker)?.label.as_str())?;
            Some((maker, Arc::new(done_of(record)?)))
        };
        let upstream = instance.upstream().into_iter().map(done).collect::<Option<BTreeMap<_, _>>>()?;
        let (device, processors) = (self.how.devices.any(), self.how.jobs.max(1));
        Some(Job { position, upstream, demand: Demand::All, device, processors })
    }

    fn whole(
        &self,
        worker: &Worker<'_>,
        job: &Job,
        record: &InstanceRecord,
        store: &Store,
    ) -> Result<(Outcome, Items), pipe_cache::Error> {
        let executed = match worker.perform(job).outcome {
            Ok(executed) => executed,
            Err(failure) => return Ok((failure_of(&failure), None)),
        };
        let outputs = &executed.done.outputs;
        let differences = compare::outputs((self.store, &record.outputs), (store, outputs))?;
        Ok((self.judge(&worker.binder.pipeline.instances[job.position], record, differences), None))
    }
}

fn not_at_hand(problem: &str) -> Outcome {
    Outcome::NotAtHand { problem: problem.to_string() }
}

pub(super) fn failed(problem: &str) -> Outcome {
    Outcome::Failed { problem: problem.to_string() }
}

fn failure_of(failure: &Failure) -> Outcome {
    match &failure.cause {
        Cause::Damaged(_) => not_at_hand(&format!("what it is given is no longer whole: {}", failure.error)),
        _ => failed(&failure.error),
    }
}

/// Passes on how work goes; what is warned of was told when the run was made.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn event(&self, event: &Event) {
        if matches!(event, Event::StageStarted { .. } | Event::Progress { .. } | Event::Log { .. }) {
            self.0.event(event);
        }
    }
}
