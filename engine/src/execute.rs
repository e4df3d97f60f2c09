//! Executing one instance: bind, look up, compute what is missing, commit; and compute again what the
//! store has lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use pipe_cache::{
    ArtifactRef, Digest, Error, Form, IndexBuilder, ItemJournal, ItemOutcome, ItemWriter, RecordOutcome,
    ResultRecord,
};
use rayon::prelude::*;

use crate::bind::{Binder, Bound, Done};
use crate::context::{Cancel, Context, ItemContext, Reporter};
use crate::event::{Event, FailedItem, Observer};
use crate::items::{BoundItem, BoundItems};
use crate::manifest::Instance;
use crate::run::upstream_of;
use crate::stage::{AnyItems, AnyWhole, Interrupted, Item, OutputForm, StageError, Work};

/// How often an instance is tried while its inputs are being repaired.
const ATTEMPTS: usize = 8;

/// What all instances of a run share.
pub(crate) struct Executor<'a> {
    pub(crate) binder: Binder<'a>,
    pub(crate) run: String,
    pub(crate) run_folder: std::path::PathBuf,
    pub(crate) force: BTreeSet<String>,
    pub(crate) keep_going: bool,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a Cancel,
    /// The results so far, by instance.
    pub(crate) results: RwLock<Vec<Option<Done>>>,
    /// One lock for each instance, so that it is not repaired twice at once.
    pub(crate) repairing: Vec<Mutex<()>>,
}

/// How an instance ended well.
pub(crate) struct Executed {
    pub(crate) done: Done,
    pub(crate) fingerprint: Digest,
    pub(crate) items: Option<Digest>,
    pub(crate) executed: bool,
    pub(crate) items_executed: usize,
    pub(crate) items_cached: usize,
}

/// How an instance failed.
pub(crate) struct Failure {
    pub(crate) error: StageError,
    pub(crate) fingerprint: Option<Digest>,
    pub(crate) failed_items: Vec<FailedItem>,
    pub(crate) items_executed: usize,
    pub(crate) items_cached: usize,
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self { error, fingerprint: None, failed_items: Vec::new(), items_executed: 0, items_cached: 0 }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        StageError::from(error).into()
    }
}

impl Executor<'_> {
    /// Brings an instance to its result. When it fails and an input of it turns out to be damaged or gone,
    /// that input is computed again and the instance gets another chance.
    pub(crate) fn execute(&self, position: usize, must_rebuild: bool) -> Result<Executed, Failure> {
        for _ in 1..ATTEMPTS {
            let outcome = self.attempt(position, must_rebuild);
            match &outcome {
                Err(failure) if !failure.error.is_interrupted() && self.repair_inputs(position)? => {}
                _ => return outcome,
            }
        }
        self.attempt(position, must_rebuild)
    }

    fn attempt(&self, position: usize, must_rebuild: bool) -> Result<Executed, Failure> {
        let instance = self.instance(position)?;
        let upstream = |index: usize| self.result(index);
        let bound = self.binder.bind(instance, &upstream)?;
        let forced = self.force.contains(&instance.stage);
        let class = self.class(instance);
        if !forced
            && !must_rebuild
            && let Some(known) = self.look_up(bound.fingerprint, &class)
        {
            let items_cached = bound.items.as_ref().map_or(0, |items| items.list.len());
            return Ok(Executed {
                done: Done { outputs: known.outputs, run: known.run },
                fingerprint: bound.fingerprint,
                items: bound.items.as_ref().map(|items| Digest::of(&items.listing())),
                executed: false,
                items_executed: 0,
                items_cached,
            });
        }
        self.compute(instance, bound, class, forced)
    }

    /// A result whose artifacts are all there, as far as a look at their names tells.
    fn look_up(&self, fingerprint: Digest, class: &str) -> Option<ResultRecord> {
        let record = self.binder.store.result(fingerprint, class)?;
        record.outputs.values().all(|artifact| self.binder.store.contains(artifact.digest)).then_some(record)
    }

    fn compute(
        &self,
        instance: &Instance,
        bound: Bound,
        class: String,
        forced: bool,
    ) -> Result<Executed, Failure> {
        let store = self.binder.store;
        let fingerprint = bound.fingerprint;
        store.record_preimage(fingerprint, &bound.preimage.to_json())?;
        let log = self.run_folder.join("logs").join(format!("{}.log", file_label(&instance.label)));
        let reporter = Reporter::new(&instance.label, log, self.observer);
        let started = Instant::now();
        let listing = bound.items.as_ref().map(|items| store.put(&items.listing())).transpose()?;
        let outcome = match (instance.kind.work(), &bound.items) {
            (Work::Whole(stage), _) => {
                self.observer.event(&Event::StageStarted {
                    stage: instance.label.clone(),
                    items: None,
                    items_cached: 0,
                });
                self.run_whole(instance, stage, &bound, &reporter).map(|outputs| (outputs, 0, 0))
            }
            (Work::Items(stage), Some(items)) => self.run_items(instance, stage, items, &reporter, forced),
            (Work::Items(_), None) => Err(StageError::message("the items were not bound").into()),
        };
        let (outputs, items_executed, items_cached) = outcome.map_err(|mut failure| {
            reporter.log(&format!("failed: {}", failure.error));
            failure.fingerprint = Some(fingerprint);
            failure
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let record = ResultRecord { class, outputs: outputs.clone(), run: self.run.clone(), seconds };
        let mut run = self.run.clone();
        let mut outputs = outputs;
        if let RecordOutcome::Conflict(first) = store.record_result(fingerprint, &record)? {
            let detail = conflict_detail(&first, &record);
            self.observer.event(&Event::Conflict { stage: instance.label.clone(), detail });
            // The first result stays the one that everything downstream sees, unless its bytes are gone.
            if first.outputs.values().all(|artifact| store.contains(artifact.digest)) {
                (outputs, run) = (first.outputs, first.run);
            }
        }
        Ok(Executed {
            done: Done { outputs, run },
            fingerprint,
            items: listing,
            executed: true,
            items_executed,
            items_cached,
        })
    }

    fn run_whole(
        &self,
        instance: &Instance,
        stage: &dyn AnyWhole,
        bound: &Bound,
        reporter: &Reporter<'_>,
    ) -> Result<BTreeMap<String, ArtifactRef>, Failure> {
        let staging = self.binder.store.staging()?;
        let mut context = Context {
            inputs: &bound.inputs,
            outputs: staging.path(),
            side: self.run_folder.join("side").join(file_label(&instance.label)),
            seed: self.binder.pipeline.seed,
            device: self.binder.device,
            reporter,
            cancel: self.cancel,
        };
        guarded(|| stage.run(&instance.params, &mut context))?;
        for input in bound.inputs.values().flatten() {
            if let crate::input::InputValue::File(file) = &input.value {
                file.check_unchanged().map_err(StageError::from)?;
            }
        }
        let mut outputs = BTreeMap::new();
        for spec in instance.kind.about().outputs {
            let folder = staging.path().join(spec.name);
            let artifact = self.ingest(&folder, spec.form).map_err(|error| {
                StageError::message(format!("output `{}` of {}: {error}", spec.name, instance.label))
            })?;
            outputs.insert(spec.name.to_string(), artifact);
        }
        Ok(outputs)
    }

    /// Moves an output from the staging folder into the store.
    fn ingest(&self, folder: &Path, form: OutputForm) -> Result<ArtifactRef, StageError> {
        let store = self.binder.store;
        let mut names = Vec::new();
        list_files(folder, "", &mut names)?;
        names.sort();
        let index_form = match form {
            OutputForm::File(name) => {
                if names != [name] {
                    return Err(StageError::message(format!(
                        "expected the one file {name}, found {names:?}"
                    )));
                }
                let (digest, bytes) = store.adopt(&folder.join(name))?;
                return Ok(ArtifactRef { form: Form::File, digest, files: 1, bytes });
            }
            OutputForm::Tree => Form::Tree,
            OutputForm::Collection(_) => Form::Collection,
        };
        if names.is_empty() {
            return Err(StageError::message("nothing was written"));
        }
        let mut builder = IndexBuilder::new(index_form);
        let mut bytes = 0;
        for name in &names {
            let (digest, size) = store.adopt(&folder.join(name))?;
            builder.add(name, digest, size)?;
            bytes += size;
        }
        let digest = store.put(&builder.finish()?.to_bytes())?;
        Ok(ArtifactRef { form: index_form, digest, files: names.len() as u64, bytes })
    }

    fn run_items(
        &self,
        instance: &Instance,
        stage: &dyn AnyItems,
        items: &BoundItems,
        reporter: &Reporter<'_>,
        forced: bool,
    ) -> Result<(BTreeMap<String, ArtifactRef>, usize, usize), Failure> {
        let store = self.binder.store;
        let journal = store.items(items.scope)?;
        self.tell_conflicts(instance, &journal);
        let known =
            |one: &BoundItem| journal.get(one.key).filter(|known| !forced && store.contains(known.digest));
        let mut outcomes: BTreeMap<&str, ItemOutcome> = BTreeMap::new();
        let mut missing: Vec<&BoundItem> = Vec::new();
        for one in &items.list {
            match known(one) {
                Some(outcome) => {
                    outcomes.insert(&one.item.name, outcome);
                }
                None => missing.push(one),
            }
        }
        let items_cached = outcomes.len();
        self.observer.event(&Event::StageStarted {
            stage: instance.label.clone(),
            items: Some(items.list.len()),
            items_cached,
        });
        let mut items_executed = 0;
        if !missing.is_empty() {
            let writer = journal.writer()?;
            let computed = self.run_groups(instance, stage, missing, &writer, reporter);
            let (good, bad): (Vec<_>, Vec<_>) =
                computed.into_iter().partition(|(_, outcome)| outcome.is_ok());
            items_executed = good.len();
            outcomes.extend(good.into_iter().filter_map(|(name, outcome)| Some((name, outcome.ok()?))));
            journal.merge(writer)?;
            if let Some(failure) = items_failure(bad, items_executed, items_cached) {
                return Err(failure);
            }
        }
        let artifact = self.collect(instance, &outcomes)?;
        let name = instance.kind.about().outputs.first().map_or("items", |output| output.name);
        Ok((BTreeMap::from([(name.to_string(), artifact)]), items_executed, items_cached))
    }

    /// Computes groups of items side by side and commits each item as soon as it is there.
    fn run_groups<'i>(
        &self,
        instance: &Instance,
        stage: &dyn AnyItems,
        missing: Vec<&'i BoundItem>,
        writer: &ItemWriter,
        reporter: &Reporter<'_>,
    ) -> Vec<(&'i str, Result<ItemOutcome, StageError>)> {
        let total = missing.len() as u64;
        let finished = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);
        let context = ItemContext { seed: self.binder.pipeline.seed, reporter, cancel: self.cancel };
        let run_group = |group: Vec<&'i BoundItem>| {
            let stop = self.cancel.is_cancelled() || (!self.keep_going && failed.load(Ordering::Relaxed) > 0);
            if stop {
                return group
                    .into_iter()
                    .map(|one| (one.item.name.as_str(), Err(Interrupted.into())))
                    .collect();
            }
            let list: Vec<Item> = group.iter().map(|one| one.item.clone()).collect();
            let computed = self.compute_group(stage, instance, &list, &context);
            let outcomes: Vec<(&'i str, Result<ItemOutcome, StageError>)> = group
                .into_iter()
                .zip(computed)
                .map(|(one, bytes)| {
                    let outcome = bytes.and_then(|bytes| self.commit_item(one, &bytes, writer));
                    if let Err(error) = &outcome {
                        failed.fetch_add(1, Ordering::Relaxed);
                        reporter.log(&format!("item {}: {error}", one.item.name));
                    }
                    (one.item.name.as_str(), outcome)
                })
                .collect();
            let done = finished.fetch_add(outcomes.len(), Ordering::Relaxed) + outcomes.len();
            let (stage, note) = (instance.label.clone(), String::new());
            self.observer.event(&Event::Progress { stage, done: done as u64, total, note });
            outcomes
        };
        group_items(missing).into_par_iter().flat_map_iter(run_group).collect()
    }

    fn compute_group(
        &self,
        stage: &dyn AnyItems,
        instance: &Instance,
        list: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let mut computed = Vec::new();
        let outcome = guarded(|| {
            computed = stage.run_group(&instance.params, list, context);
            Ok(())
        });
        let unchanged =
            list.iter().flat_map(|item| item.files.values()).try_for_each(|file| file.check_unchanged());
        if let Err(error) = outcome.and_then(|()| unchanged.map_err(StageError::from)) {
            let (text, lost) = (error.to_string(), error);
            let mut first = Some(lost);
            return list
                .iter()
                .map(|_| Err(first.take().unwrap_or_else(|| StageError::message(&text))))
                .collect();
        }
        computed
            .resize_with(list.len(), || Err(StageError::message("the kind gave no result for this item")));
        computed
    }

    fn commit_item(
        &self,
        one: &BoundItem,
        bytes: &[u8],
        writer: &ItemWriter,
    ) -> Result<ItemOutcome, StageError> {
        let digest = self.binder.store.put(bytes)?;
        let outcome = ItemOutcome { digest, size: bytes.len() as u64 };
        writer.commit(one.key, outcome)?;
        Ok(outcome)
    }

    fn collect(
        &self,
        instance: &Instance,
        outcomes: &BTreeMap<&str, ItemOutcome>,
    ) -> Result<ArtifactRef, Error> {
        let extension = match instance.kind.about().outputs.first().map(|output| output.form) {
            Some(OutputForm::Collection(extension)) => extension,
            _ => "bin",
        };
        let mut builder = IndexBuilder::new(Form::Collection);
        let mut bytes = 0;
        for (name, outcome) in outcomes {
            builder.add(&format!("{name}.{extension}"), outcome.digest, outcome.size)?;
            bytes += outcome.size;
        }
        let digest = self.binder.store.put(&builder.finish()?.to_bytes())?;
        Ok(ArtifactRef { form: Form::Collection, digest, files: outcomes.len() as u64, bytes })
    }

    /// Compares everything that an instance uses with its digest and computes again what is not as it should
    /// be; says whether that was anything.
    fn repair_inputs(&self, position: usize) -> Result<bool, Failure> {
        let mut repaired = false;
        for maker in upstream_of(self.instance(position)?) {
            let lock = self.repairing.get(maker);
            let _one_at_a_time = lock.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
            let whole =
                self.result(maker).is_none_or(|done| done.outputs.values().all(|one| self.is_whole(one)));
            self.tell_repairs();
            if !whole {
                let executed = self.execute(maker, true)?;
                let mut results = self.results.write().unwrap_or_else(PoisonError::into_inner);
                if let Some(slot) = results.get_mut(maker) {
                    *slot = Some(executed.done);
                }
                repaired = true;
            }
        }
        Ok(repaired)
    }

    fn tell_repairs(&self) {
        for repair in self.binder.store.take_repairs() {
            let (digest, aside) = (repair.digest.to_string(), repair.aside);
            self.observer.event(&Event::Repaired { digest, aside });
        }
    }

    /// Whether all blobs of an artifact are there and undamaged; damaged ones are set aside.
    fn is_whole(&self, artifact: &ArtifactRef) -> bool {
        let store = self.binder.store;
        match artifact.form {
            Form::File => store.verified_path(artifact.digest).is_ok(),
            Form::Tree | Form::Collection => store.index(artifact.digest).is_ok_and(|index| {
                // Every entry is looked at, so that all damage is found in one go.
                let lost = index.entries().iter().filter(|entry| store.verified_path(entry.digest).is_err());
                lost.count() == 0
            }),
        }
    }

    fn tell_conflicts(&self, instance: &Instance, journal: &ItemJournal) {
        if !journal.conflicts().is_empty() {
            let count = journal.conflicts().len();
            let detail = format!("{count} item keys have two different results; the first of each is used");
            self.observer.event(&Event::Conflict { stage: instance.label.clone(), detail });
        }
    }

    fn instance(&self, position: usize) -> Result<&Instance, StageError> {
        let instance = self.binder.pipeline.instances.get(position);
        instance.ok_or_else(|| StageError::message(format!("there is no instance {position}")))
    }

    pub(crate) fn result(&self, position: usize) -> Option<Done> {
        self.results.read().unwrap_or_else(PoisonError::into_inner).get(position).cloned().flatten()
    }

    /// The class that an instance's results are stored under.
    fn class(&self, instance: &Instance) -> String {
        class_of(instance, &self.binder)
    }
}

/// The class that an instance's results are stored under: `any` for kinds that give the same bytes anywhere.
pub(crate) fn class_of(instance: &Instance, binder: &Binder<'_>) -> String {
    if instance.kind.about().device { binder.device.class() } else { "any".to_string() }
}

/// Items that belong together in one group, groups in the order of their first item.
fn group_items(missing: Vec<&BoundItem>) -> Vec<Vec<&BoundItem>> {
    let mut groups: Vec<Vec<&BoundItem>> = Vec::new();
    let mut positions: std::collections::HashMap<Digest, usize> = std::collections::HashMap::new();
    for one in missing {
        match one.group.and_then(|group| positions.get(&group)).and_then(|position| groups.get_mut(*position))
        {
            Some(group) => group.push(one),
            None => {
                if let Some(group) = one.group {
                    positions.insert(group, groups.len());
                }
                groups.push(vec![one]);
            }
        }
    }
    groups
}

/// The failure of a stage whose items failed: the first error that is not a consequence of another.
fn items_failure(
    bad: Vec<(&str, Result<ItemOutcome, StageError>)>,
    items_executed: usize,
    items_cached: usize,
) -> Option<Failure> {
    let mut errors: Vec<(&str, StageError)> =
        bad.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?))).collect();
    if errors.is_empty() {
        return None;
    }
    let real = errors.iter().position(|(_, error)| !error.is_interrupted());
    let failed_items = errors
        .iter()
        .filter(|(_, error)| !error.is_interrupted())
        .map(|(item, error)| FailedItem { item: (*item).to_string(), error: error.to_string() })
        .collect();
    let (name, error) = errors.swap_remove(real.unwrap_or(0));
    let error = if real.is_none() {
        error
    } else {
        let text = error.to_string();
        // Errors of rows name their table's line already.
        let message = if text.contains(name) { text } else { format!("item {name}: {text}") };
        StageError { source: message.into(), advice: error.advice }
    };
    Some(Failure { error, fingerprint: None, failed_items, items_executed, items_cached })
}

/// Runs a kind's code; a panic in it becomes an error.
fn guarded(run: impl FnOnce() -> Result<(), StageError>) -> Result<(), StageError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(StageError::message(format!("the stage's code panicked: {text}"))
                .advise("please report this"))
        }
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

fn list_files(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), StageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", folder)(error).into()),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(Error::io("read", folder))?;
        if kind.is_dir() {
            list_files(&entry.path(), &name, names)?;
        } else if kind.is_file() {
            names.push(name);
        } else {
            return Err(StageError::message(format!("{name} is neither a file nor a folder")));
        }
    }
    Ok(())
}

/// An instance's label as a file name.
pub(crate) fn file_label(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() || "-_=.,".contains(c) { c } else { '_' }).collect()
}
