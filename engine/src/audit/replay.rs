//! Computing again: each instance from the results that the record tells of the instances upstream, in an empty store of its
//! own, past every known result and resume point. What comes out is compared with what the record tells.
//!
//! An instance is judged by its own recorded inputs. So one that gives the same is right even where an instance upstream is
//! not, from which it then inherits, and all of them together show that the last results follow from the first inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pipe_cache::{ArtifactRef, Digest, Form, Hasher, Store};
use serde::Serialize;
use tempfile::TempDir;

use super::compare::{self, Difference};
use super::finding::{Finding, Note};
use super::inputs::{ByLabel, done_of, drift};
use super::{Asked, Audit, Recorded};
use crate::bind::Done;
use crate::context::{Cancel, Devices};
use crate::event::{Event, Observer};
use crate::execute::guard::guarded;
use crate::execute::{Sampled, Worker};
use crate::job::{Cause, Demand, Failure, Job};
use crate::lineage::Preimage;
use crate::manifest::{Instance, Pipeline};
use crate::naming::is_among;
use crate::options::RunError;
use crate::record::InstanceRecord;
use crate::registry::Registry;
use crate::requests::Secrets;
use crate::run::{check_stages, thread_pool};
use crate::session::Session;
use crate::stage::OutputForm;

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
        match (&outcome, NotAsked::of(instance, asked.is_pack, &replayer)) {
            (Outcome::Failed { problem }, Some(why)) => {
                audit.notes.push(Note::NotLookedAt {
                    what: format!("{label} again, {}: {problem}", why.in_words()),
                });
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

/// Why it is nobody's fault that something was not computed again.
enum NotAsked {
    /// It asked for the key of a service.
    Service,
    /// A pack need not have what it takes.
    Pack,
}

impl NotAsked {
    fn of(instance: &Instance, is_pack: bool, replayer: &Replayer<'_>) -> Option<Self> {
        let has_asked = instance.kind.about().service && replayer.has_asked.swap(false, Ordering::Relaxed);
        if has_asked { Some(Self::Service) } else { is_pack.then_some(Self::Pack) }
    }

    fn in_words(&self) -> &'static str {
        match self {
            Self::Service => "which asks a service",
            Self::Pack => "for which the pack has not all",
        }
    }
}

fn finding(instance: &str, outcome: &Outcome) -> Option<Finding> {
    let instance = instance.to_string();
    match outcome {
        Outcome::Identical | Outcome::WithinTolerance { .. } => None,
        Outcome::Different { differences } => {
            let told: Vec<String> = differences.iter().map(ToString::to_string).collect();
            Some(Finding::Replayed { instance, difference: told.join("; ") })
        }
        Outcome::Failed { problem } => Some(Finding::NotReplayed { instance, problem: problem.clone() }),
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
                Some(Outcome::Different { .. }) => drop(from.insert(maker)),
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

struct Replayer<'a> {
    registry: &'a Registry,
    /// What is audited.
    original: &'a Store,
    /// The same, and over it what a pack has left out and was computed again.
    store: &'a Arc<Store>,
    pipeline: &'a Pipeline,
    records: &'a ByLabel<'a>,
    is_pack: bool,
    /// Whether an instance has asked for the key of a service.
    has_asked: Arc<AtomicBool>,
    how: &'a Replay<'a>,
}

/// A folder for what is computed, on the cache's disk if that can be written.
fn scratch(store: &Store) -> Result<TempDir, RunError> {
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

type Items = Option<(usize, usize)>;

impl Replayer<'_> {
    /// Computes one instance in an empty store, which is gone afterwards.
    fn instance(&self, instance: &Instance) -> Result<(Outcome, Items), RunError> {
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
        if let Some(problem) = self.drift_in_pack(&worker, instance, record, &job) {
            return Ok((failed(&problem), None));
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
        Ok(found.unwrap_or_else(|error| (failed(&error.to_string()), None)))
    }

    /// How what a pack gives an instance is not what it was given: known only when what was left out has been computed.
    fn drift_in_pack(
        &self,
        worker: &Worker<'_>,
        instance: &Instance,
        record: &InstanceRecord,
        job: &Job,
    ) -> Option<String> {
        let stored = self.original.preimage(record.fingerprint.filter(|_| self.is_pack)?);
        let preimage = stored.ok().flatten().and_then(|stored| Preimage::from_json(&stored));
        let bind = || worker.binder.bind(instance, &|position| job.upstream.get(&position).cloned());
        match (preimage, guarded(bind)) {
            (None, _) => Some("what it was made of is not in the pack".to_string()),
            (_, Err(error)) => Some(format!("what it is given is not at hand: {error}")),
            (Some(preimage), Ok(bound)) => {
                let drift = drift(&worker.binder, record, &preimage, &bound);
                drift.first().map(|finding| format!("what it is given is not what it was: {finding}"))
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

    /// Compares items with the files of the recorded collection, and the names of all items with those of all files.
    fn judge_items(
        &self,
        instance: &Instance,
        record: &InstanceRecord,
        store: &Store,
        sampled: &Sampled,
    ) -> Result<(Outcome, Items), pipe_cache::Error> {
        let count = (sampled.items.len(), sampled.total);
        let output = instance.kind.about().outputs.first();
        let recorded = output.and_then(|output| record.outputs.get(output.name));
        let (Some(OutputForm::Collection(extension)), Some(artifact)) =
            (output.map(|output| output.form), recorded)
        else {
            return Ok((failed("the record does not tell of its items"), Some(count)));
        };
        let index = self.store.index(artifact.digest)?;
        let file = |item: &String| format!("{item}.{extension}");
        let then: BTreeSet<String> = index.entries().iter().map(|entry| entry.name.clone()).collect();
        let now: BTreeSet<String> = sampled.names.iter().map(file).collect();
        let mut differences = Vec::new();
        if let Some(name) = then.symmetric_difference(&now).next() {
            let when =
                if then.contains(name) { "is given by no item" } else { "is not in the recorded output" };
            differences.push(Difference {
                output: output.map_or_else(String::new, |output| output.name.to_string()),
                file: Some(name.clone()),
                place: format!("it {when}"),
                largest: None,
                files: then.symmetric_difference(&now).count(),
            });
        }
        for (item, now) in &sampled.items {
            let Some(entry) = index.get(&file(item)) else { continue };
            let named = |digest: Digest, bytes: u64| {
                BTreeMap::from([(
                    format!("item {item}"),
                    ArtifactRef { form: Form::File, digest, files: 1, bytes },
                )])
            };
            let sides = (named(entry.digest, entry.size), named(now.digest, now.size));
            differences.extend(compare::outputs((self.store, &sides.0), (store, &sides.1))?);
        }
        Ok((self.judge(instance, record, differences), Some(count)))
    }

    /// What differences mean: between classes of devices a kind may allow some.
    fn judge(&self, instance: &Instance, record: &InstanceRecord, differences: Vec<Difference>) -> Outcome {
        let about = instance.kind.about();
        if differences.is_empty() {
            return Outcome::Identical;
        }
        let largest = differences.iter().try_fold(0.0_f64, |most, one| Some(most.max(one.largest?)));
        let is_of_other_class =
            about.device && !self.classes_of(record).contains(&self.how.devices.any().class());
        match largest {
            Some(largest) if is_of_other_class && largest <= about.tolerance => {
                Outcome::WithinTolerance { largest, tolerance: about.tolerance }
            }
            _ => Outcome::Different { differences },
        }
    }

    /// The classes of devices that gave an instance's recorded result.
    fn classes_of(&self, record: &InstanceRecord) -> Vec<String> {
        let results = record.fingerprint.and_then(|fingerprint| self.original.results(fingerprint).ok());
        let same = results.unwrap_or_default().into_iter().filter(|one| one.outputs == record.outputs);
        same.map(|one| one.class).collect()
    }
}

fn failed(problem: &str) -> Outcome {
    Outcome::Failed { problem: problem.to_string() }
}

fn failure_of(failure: &Failure) -> Outcome {
    match &failure.cause {
        Cause::Damaged(_) => failed(&format!("what it is given is no longer whole: {}", failure.error)),
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
