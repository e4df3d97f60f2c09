//! The account of a run's endings: what is counted, told and written into the record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pipe_cache::{Digest, Error};

use crate::event::{Event, Status, Summary};
use crate::execute::{LOGS, SIDE, Worker, file_label};
use crate::job::{Cause, Ending, Executed, Failure, ItemCounts};
use crate::record::{InstanceRecord, InstanceStatus, RecordWriter, utc};

/// What an instance adds to the summary.
#[derive(Clone, Default)]
struct Counts {
    /// Whether it was computed now; `None` while it has no result.
    executed: Option<bool>,
    items: ItemCounts,
    warnings: usize,
}

pub(super) struct Account<'a> {
    worker: &'a Worker<'a>,
    keep_going: bool,
    record: &'a RecordWriter,
    counts: Vec<Counts>,
    failures: usize,
    /// The instances of which it was told that another process computes them.
    told: BTreeSet<usize>,
}

impl<'a> Account<'a> {
    pub(super) fn new(worker: &'a Worker<'a>, record: &'a RecordWriter, keep_going: bool) -> Self {
        let counts = vec![Counts::default(); worker.binder.pipeline.instances.len()];
        Self { worker, keep_going, record, counts, failures: 0, told: BTreeSet::new() }
    }

    pub(super) fn has_failures(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn summary(&self) -> Summary {
        let with = |executed| self.counts.iter().filter(|counts| counts.executed == Some(executed)).count();
        Summary {
            run: self.record.run.clone(),
            status: Status::Ok,
            executed: with(true),
            cached: with(false),
            failed: self.failures,
            items_executed: self.counts.iter().map(|counts| counts.items.executed).sum(),
            items_cached: self.counts.iter().map(|counts| counts.items.cached).sum(),
            seconds: 0.0,
            warnings: self.counts.iter().map(|counts| counts.warnings).sum(),
            headline: None,
        }
    }

    /// Tells what a known result carries; what was computed now has told it.
    fn tell_known_warnings(&self, stage: &str, warnings: &[String]) {
        for text in warnings {
            let (stage, text) = (Some(stage.to_string()), text.clone());
            self.worker.observer.event(&Event::Warning { stage, text });
        }
    }

    /// An instance has its result, perhaps for the second time.
    pub(super) fn succeeded(&mut self, ending: &Ending, executed: &Executed) -> Result<(), Error> {
        self.ended_well(ending.position, ending.seconds, executed);
        let instance = &self.worker.binder.pipeline.instances[ending.position];
        let pipeline = self.worker.binder.pipeline;
        let mut record = InstanceRecord::ended_well(instance, pipeline, executed, ending.seconds);
        if executed.executed {
            self.add_files(&mut record);
            add_times(&mut record);
            record.usage = ending.usage;
        }
        self.record.instance(record)
    }

    /// Instances were up to date before any work.
    pub(super) fn up_to_date(&mut self, known: &[(usize, Executed)]) -> Result<(), Error> {
        known.iter().for_each(|(position, known)| self.ended_well(*position, 0.0, known));
        let pipeline = self.worker.binder.pipeline;
        self.record.up_to_date(self.worker.binder.store, known, |(position, known)| {
            InstanceRecord::ended_well(&pipeline.instances[*position], pipeline, known, 0.0)
        })
    }

    /// Counts and tells that an instance has its result.
    fn ended_well(&mut self, position: usize, seconds: f64, executed: &Executed) {
        self.count(position, executed.items);
        if let Some(counts) = self.counts.get_mut(position) {
            counts.executed = Some(executed.executed || counts.executed == Some(true));
            counts.warnings = executed.warnings.len();
        }
        let stage = &self.worker.binder.pipeline.instances[position].label;
        if !executed.executed {
            self.tell_known_warnings(stage, &executed.warnings);
        }
        self.worker.observer.event(&Event::StageFinished {
            stage: stage.clone(),
            executed: executed.executed,
            items_executed: executed.items.executed,
            items_cached: executed.items.cached,
            seconds,
            from_run: executed.done.run.clone(),
        });
    }

    /// An instance is computed by another process, which is told once.
    pub(super) fn waiting(&mut self, position: usize, failure: &Failure, owner: &str) {
        self.count(position, failure.before.items);
        if self.told.insert(position) {
            let stage = self.worker.binder.pipeline.instances[position].label.clone();
            self.worker.observer.event(&Event::Waiting { stage, owner: owner.to_owned() });
        }
    }

    /// An instance failed and will be tried again.
    pub(super) fn delayed(&mut self, position: usize, failure: &Failure) {
        self.count(position, failure.before.items);
    }

    /// An instance failed for good.
    pub(super) fn failed(&mut self, ending: &Ending, failure: &Failure) -> Result<(), Error> {
        let position = ending.position;
        self.count(position, failure.before.items);
        let instance = &self.worker.binder.pipeline.instances[position];
        let interrupted = failure.cause == Cause::Interrupted;
        let mut record = InstanceRecord::given(instance, self.worker.binder.pipeline, ending.seconds);
        self.add_files(&mut record);
        add_times(&mut record);
        record.status = if interrupted { InstanceStatus::Skipped } else { InstanceStatus::Failed };
        record.fingerprint = failure.before.fingerprint;
        record.items_executed = failure.before.items.executed;
        record.items_cached = failure.before.items.cached;
        record.error = Some(failure.error.clone());
        record.warnings = failure.before.warnings.clone();
        if let Some(counts) = self.counts.get_mut(position) {
            counts.warnings = record.warnings.len();
            // A result that was known and could not be repaired is none.
            counts.executed = None;
        }
        record.usage = ending.usage;
        let log = self.record.folder.join(LOGS).join(format!("{}.log", file_label(&instance.label)));
        self.record.instance(record)?;
        if interrupted {
            let reason = "the run was interrupted".to_string();
            self.worker.observer.event(&Event::StageSkipped { stage: instance.label.clone(), reason });
            return Ok(());
        }
        self.failures += 1;
        self.worker.observer.event(&Event::StageFailed {
            stage: instance.label.clone(),
            error: failure.error.clone(),
            advice: failure.advice.clone(),
            failed_items: failure.before.failed_items.clone(),
            log,
        });
        Ok(())
    }

    /// Tells of every instance that was not reached.
    pub(super) fn unreached(&self, positions: impl Iterator<Item = usize>) -> Result<(), Error> {
        let reason = match (self.worker.cancel.is_cancelled(), self.keep_going) {
            (true, _) => "the run was interrupted",
            (false, true) => "something it needs failed",
            (false, false) => "another stage failed",
        };
        for position in positions {
            let instance = &self.worker.binder.pipeline.instances[position];
            let mut record = InstanceRecord::of(instance, 0.0);
            record.error = Some(reason.to_string());
            self.record.instance(record)?;
            let (stage, reason) = (instance.label.clone(), reason.to_string());
            self.worker.observer.event(&Event::StageSkipped { stage, reason });
        }
        Ok(())
    }

    /// Adds up the items of all attempts: those of an earlier one are known to the next.
    fn count(&mut self, position: usize, ItemCounts { executed, cached }: ItemCounts) {
        if let Some(counts) = self.counts.get_mut(position) {
            counts.items.cached = cached.saturating_sub(counts.items.executed);
            counts.items.executed += executed;
        }
    }

    /// Tells an instance's log, if it has written any, and its side files.
    fn add_files(&self, record: &mut InstanceRecord) {
        let folder = &self.record.folder;
        let label = file_label(&record.label);
        let log = PathBuf::from(LOGS).join(format!("{label}.log"));
        record.files = digests_below(folder, &PathBuf::from(SIDE).join(&label));
        if let Ok((digest, _)) = File::open(folder.join(&log)).and_then(Digest::of_reader) {
            record.files.insert(log.display().to_string(), digest);
            record.log = Some(log);
        }
    }
}

/// Tells when an instance began that has just ended.
fn add_times(record: &mut InstanceRecord) {
    let now = SystemTime::now();
    let took = Duration::try_from_secs_f64(record.seconds).unwrap_or_default();
    record.began = Some(utc(now.checked_sub(took).unwrap_or(now)));
    record.ended = Some(utc(now));
}

/// The digests of the files in a part of a folder, by their paths in the folder. One that cannot be read is left out, and so is what
/// is no file: a link leads elsewhere, and a pipe has no end.
fn digests_below(folder: &Path, part: &Path) -> BTreeMap<String, Digest> {
    let mut digests = BTreeMap::new();
    for entry in fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
        let path = part.join(entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            digests.extend(digests_below(folder, &path));
        } else if kind.is_file()
            && let Ok((digest, _)) = File::open(entry.path()).and_then(Digest::of_reader)
        {
            digests.insert(path.display().to_string(), digest);
        }
    }
    digests
}
