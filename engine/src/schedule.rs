//! The order of a run: instances whose inputs are there are handed to a fixed number of workers, and each
//! ending frees those that waited for it. What an instance does is not known here.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pipe_cache::Error;

use crate::event::{Event, Status, Summary};
use crate::execute::{Executed, Executor, Failure, file_label};
use crate::manifest::Instance;
use crate::record::{InstanceRecord, InstanceStatus, RecordWriter, peak_memory};

/// What an instance is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not part of this run.
    Out,
    /// For this many instances to end.
    Waiting(usize),
    /// Handed to a worker.
    Running,
    /// Ended, with its result or without.
    Ended,
}

type Ending = (usize, f64, Result<Executed, Failure>);

/// The instances of a run and where each of them stands.
pub(crate) struct Schedule<'a> {
    executor: &'a Executor<'a>,
    record: &'a RecordWriter,
    states: Vec<State>,
    users: Vec<Vec<usize>>,
    /// Those that wait for nothing any more, in the pipeline's order.
    ready: BTreeSet<usize>,
    running: usize,
    failed: bool,
    pub(crate) summary: Summary,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(
        executor: &'a Executor<'a>,
        record: &'a RecordWriter,
        selected: BTreeSet<usize>,
    ) -> Self {
        let instances = &executor.binder.pipeline.instances;
        let mut users = vec![Vec::new(); instances.len()];
        let mut states = vec![State::Out; instances.len()];
        for &position in &selected {
            let upstream = instances[position].upstream();
            states[position] = State::Waiting(upstream.len());
            for maker in upstream {
                users[maker].push(position);
            }
        }
        let ready = selected.into_iter().filter(|position| states[*position] == State::Waiting(0)).collect();
        let summary = Summary {
            run: record.run.clone(),
            status: Status::Ok,
            executed: 0,
            cached: 0,
            failed: 0,
            items_executed: 0,
            items_cached: 0,
            seconds: 0.0,
        };
        Self { executor, record, states, users, ready, running: 0, failed: false, summary }
    }

    /// Runs what is ready with that many workers, until nothing is.
    pub(crate) fn work_off(&mut self, pool: &rayon::ThreadPool, jobs: usize) -> Result<(), Error> {
        let executor = self.executor;
        let (give, take) = channel::<usize>();
        let take = Mutex::new(take);
        let (ended, endings) = channel::<Ending>();
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                let ended = ended.clone();
                let take = &take;
                scope.spawn(move || worker(executor, pool, take, &ended));
            }
            drop(ended);
            let outcome = self.coordinate(give, &endings);
            // Workers end when `give` is dropped, which `coordinate` has done.
            outcome
        })
    }

    fn coordinate(&mut self, give: Sender<usize>, endings: &Receiver<Ending>) -> Result<(), Error> {
        self.start_ready(&give);
        while self.running > 0 {
            let Ok((position, seconds, outcome)) = endings.recv() else { break };
            self.running -= 1;
            self.states[position] = State::Ended;
            match outcome {
                Ok(executed) => self.succeed(position, seconds, executed)?,
                Err(failure) => self.fail(position, seconds, failure)?,
            }
            self.start_ready(&give);
        }
        drop(give);
        self.skip_rest()
    }

    fn start_ready(&mut self, give: &Sender<usize>) {
        if self.executor.cancel.is_cancelled() || (self.failed && !self.executor.keep_going) {
            return;
        }
        while let Some(position) = self.ready.pop_first() {
            if give.send(position).is_ok() {
                self.states[position] = State::Running;
                self.running += 1;
            }
        }
    }

    fn succeed(&mut self, position: usize, seconds: f64, executed: Executed) -> Result<(), Error> {
        let instance = &self.executor.binder.pipeline.instances[position];
        let counter = if executed.executed { &mut self.summary.executed } else { &mut self.summary.cached };
        *counter += 1;
        self.summary.items_executed += executed.items_executed;
        self.summary.items_cached += executed.items_cached;
        let mut record = self.instance_record(instance, seconds);
        record.status = if executed.executed { InstanceStatus::Executed } else { InstanceStatus::Cached };
        record.fingerprint = Some(executed.fingerprint);
        record.items = executed.items;
        record.outputs = executed.done.outputs.clone();
        record.from_run = Some(executed.done.run.clone());
        record.items_executed = executed.items_executed;
        record.items_cached = executed.items_cached;
        self.record.instance(record)?;
        self.executor.observer.event(&Event::StageFinished {
            stage: instance.label.clone(),
            executed: executed.executed,
            items_executed: executed.items_executed,
            items_cached: executed.items_cached,
            seconds,
            from_run: executed.done.run.clone(),
        });
        let mut results = self.executor.results.write().unwrap_or_else(PoisonError::into_inner);
        results[position] = Some(executed.done);
        for &user in &self.users[position] {
            if let State::Waiting(count) = self.states[user] {
                self.states[user] = State::Waiting(count.saturating_sub(1));
                if count == 1 {
                    self.ready.insert(user);
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, position: usize, seconds: f64, failure: Failure) -> Result<(), Error> {
        let instance = &self.executor.binder.pipeline.instances[position];
        self.summary.items_executed += failure.items_executed;
        self.summary.items_cached += failure.items_cached;
        let interrupted = failure.error.is_interrupted();
        let mut record = self.instance_record(instance, seconds);
        record.status = if interrupted { InstanceStatus::Skipped } else { InstanceStatus::Failed };
        record.fingerprint = failure.fingerprint;
        record.items_executed = failure.items_executed;
        record.items_cached = failure.items_cached;
        record.error = Some(failure.error.to_string());
        let log = self.record.folder.join("logs").join(format!("{}.log", file_label(&instance.label)));
        self.record.instance(record)?;
        if interrupted {
            let reason = "the run was interrupted".to_string();
            self.executor.observer.event(&Event::StageSkipped { stage: instance.label.clone(), reason });
            return Ok(());
        }
        self.failed = true;
        self.summary.failed += 1;
        self.executor.observer.event(&Event::StageFailed {
            stage: instance.label.clone(),
            error: failure.error.to_string(),
            advice: failure.error.advice,
            failed_items: failure.failed_items,
            log,
        });
        Ok(())
    }

    /// Tells of every instance that was not reached.
    fn skip_rest(&mut self) -> Result<(), Error> {
        let reason = match (self.executor.cancel.is_cancelled(), self.executor.keep_going) {
            (true, _) => "the run was interrupted",
            (false, true) => "something it needs failed",
            (false, false) => "another stage failed",
        };
        for position in 0..self.states.len() {
            if matches!(self.states[position], State::Waiting(_)) {
                let instance = &self.executor.binder.pipeline.instances[position];
                let mut record = self.instance_record(instance, 0.0);
                record.error = Some(reason.to_string());
                self.record.instance(record)?;
                let (stage, reason) = (instance.label.clone(), reason.to_string());
                self.executor.observer.event(&Event::StageSkipped { stage, reason });
            }
        }
        Ok(())
    }

    fn instance_record(&self, instance: &Instance, seconds: f64) -> InstanceRecord {
        let log = PathBuf::from("logs").join(format!("{}.log", file_label(&instance.label)));
        InstanceRecord {
            label: instance.label.clone(),
            stage: instance.stage.clone(),
            kind: instance.kind.about().name.to_string(),
            selector: instance.selector.clone(),
            status: InstanceStatus::Skipped,
            fingerprint: None,
            items: None,
            outputs: Default::default(),
            from_run: None,
            items_executed: 0,
            items_cached: 0,
            seconds,
            peak_memory_bytes: peak_memory(),
            log: self.record.folder.join(&log).is_file().then_some(log),
            error: None,
        }
    }
}

/// Takes instances until there are no more. The work itself happens in the pool, so that stages and rows
/// together never use more threads than it has.
fn worker(
    executor: &Executor<'_>,
    pool: &rayon::ThreadPool,
    take: &Mutex<Receiver<usize>>,
    ended: &Sender<Ending>,
) {
    loop {
        let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(position) = next else { return };
        let started = Instant::now();
        let outcome = pool.install(|| executor.execute(position, false));
        if ended.send((position, started.elapsed().as_secs_f64(), outcome)).is_err() {
            return;
        }
    }
}
