//! Running a pipeline: instances whose inputs are there are handed to a fixed number of workers, and each
//! ending frees those that waited for it.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use pipe_cache::{InputMemo, Store};

use crate::bind::Binder;
use crate::context::{Cancel, Device};
use crate::event::{Event, Observer, Status, Summary};
use crate::execute::{Executed, Executor, Failure, file_label};
use crate::manifest::{InputSource, Instance, Pipeline};
use crate::publish::{self, CopyError};
use crate::record::{
    InstanceRecord, InstanceStatus, RecordWriter, RunHeader, Surroundings, peak_memory, utc,
};
use crate::registry::Registry;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Rows and stages computed side by side.
    pub jobs: usize,
    /// Stages whose results are computed anew.
    pub force: Vec<String>,
    /// Run only these stages and what they need; empty means all.
    pub only: Vec<String>,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// Hash every input file anew.
    pub verify: bool,
    /// The device.
    pub device: Device,
    /// Written into the record.
    pub surroundings: Surroundings,
}

/// Why a run could not begin or its record could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] pipe_cache::Error),
    /// A name of `--only` or `--force` that is no stage.
    #[error("there is no stage `{name}`; stages: {known}")]
    UnknownStage {
        /// The name.
        name: String,
        /// All stages.
        known: String,
    },
    /// The worker threads could not be started.
    #[error("cannot start {jobs} threads: {problem}")]
    Threads {
        /// How many.
        jobs: usize,
        /// The reason.
        problem: String,
    },
}

/// Runs a pipeline.
///
/// # Errors
/// Only what keeps a run from beginning or being recorded; a failing stage is in the summary.
pub fn run(
    pipeline: &Pipeline,
    registry: &Registry,
    store: &Arc<Store>,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Summary, RunError> {
    let started = Instant::now();
    for name in options.only.iter().chain(&options.force) {
        check_stage(pipeline, name)?;
    }
    let pool = thread_pool(options.jobs)?;
    let memo = InputMemo::open(store, !options.verify);
    let record = RecordWriter::create(store)?;
    record.header(header(pipeline, registry, options, &record.run))?;
    let selected = selected(pipeline, &options.only);
    observer.event(&Event::Started {
        run: record.run.clone(),
        pipeline: pipeline.name.clone(),
        instances: selected.len(),
    });
    let executor = Executor {
        binder: Binder { pipeline, registry, store, memo: &memo, device: options.device },
        run: record.run.clone(),
        run_folder: record.folder.clone(),
        force: options.force.iter().cloned().collect(),
        keep_going: options.keep_going,
        observer,
        cancel,
        results: RwLock::new(vec![None; pipeline.instances.len()]),
        repairing: pipeline.instances.iter().map(|_| Mutex::new(())).collect(),
    };
    let mut schedule = Schedule::new(&executor, &record, selected);
    schedule.work_off(&pool, options)?;
    let mut summary = schedule.summary;
    memo.save()?;
    if let Err((stage, error)) = publish(&executor, &pool) {
        summary.failed += 1;
        observer.event(&Event::StageFailed {
            stage,
            error: format!("publishing: {error}"),
            advice: Some("make the folder writable, or change `publish`".to_string()),
            failed_items: Vec::new(),
            log: record.folder.clone(),
        });
    }
    summary.status = match (cancel.is_cancelled(), summary.failed) {
        (true, _) => Status::Interrupted,
        (false, 0) => Status::Ok,
        (false, _) => Status::Failed,
    };
    summary.seconds = started.elapsed().as_secs_f64();
    record.finished(&summary)?;
    tell_headlines(&executor, &pool);
    observer.event(&Event::Finished(summary.clone()));
    Ok(summary)
}

/// Copies out what is to be published. A result that turns out to be damaged is computed again.
fn publish(executor: &Executor<'_>, pool: &rayon::ThreadPool) -> Result<(), (String, CopyError)> {
    let Binder { pipeline, store, .. } = &executor.binder;
    let results = |position| executor.result(position);
    for (stage, folder) in &pipeline.publish {
        let copy = || publish::publish_stage(pipeline, store, stage, folder, &results, executor.observer);
        let outcome = match copy() {
            Err(CopyError::Store(error)) if error.lost_blob().is_some() => {
                let _ = pool.install(|| executor.restore(stage));
                copy()
            }
            outcome => outcome,
        };
        outcome.map_err(|error| (stage.clone(), error))?;
    }
    Ok(())
}

/// Shows each finished stage's headline. One that is damaged is computed again first.
fn tell_headlines(executor: &Executor<'_>, pool: &rayon::ThreadPool) {
    let Binder { pipeline, store, .. } = &executor.binder;
    for (position, instance) in pipeline.instances.iter().enumerate() {
        let headline = || publish::headline(store, instance, &executor.result(position)?);
        if executor.result(position).is_none() || instance.kind.about().headline.is_none() {
            continue;
        }
        let text = headline().or_else(|| {
            let _ = pool.install(|| executor.restore(&instance.stage));
            headline()
        });
        if let Some(text) = text {
            executor.observer.event(&Event::Headline { stage: instance.label.clone(), text });
        }
    }
}

fn check_stage(pipeline: &Pipeline, name: &str) -> Result<(), RunError> {
    let known: BTreeSet<&str> = pipeline.instances.iter().map(|instance| instance.stage.as_str()).collect();
    if known.contains(name) {
        return Ok(());
    }
    let known = known.into_iter().collect::<Vec<_>>().join(", ");
    Err(RunError::UnknownStage { name: name.to_string(), known })
}

/// One bounded pool for everything that computes; deep graphs of operations need roomy stacks.
fn thread_pool(jobs: usize) -> Result<rayon::ThreadPool, RunError> {
    let problem = |error: rayon::ThreadPoolBuildError| RunError::Threads { jobs, problem: error.to_string() };
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .stack_size(16 << 20)
        .thread_name(|index| format!("pipe-{index}"))
        .build()
        .map_err(problem)
}

fn header(pipeline: &Pipeline, registry: &Registry, options: &RunOptions, run: &str) -> RunHeader {
    RunHeader {
        version: 1,
        run: run.to_string(),
        pipeline: pipeline.name.clone(),
        manifest: pipeline.manifest.clone(),
        started: utc(SystemTime::now()),
        seed: pipeline.seed,
        device: options.device.kind().to_string(),
        device_class: options.device.class(),
        jobs: options.jobs,
        set: pipeline.overrides.set.clone(),
        profiles: pipeline.overrides.profiles.clone(),
        code: registry.code_of_all(),
        surroundings: options.surroundings.clone(),
        manifest_resolved: pipeline.resolved.clone(),
    }
}

/// The instances that an instance takes inputs from.
pub(crate) fn upstream_of(instance: &Instance) -> BTreeSet<usize> {
    instance
        .inputs
        .iter()
        .flat_map(|binding| &binding.sources)
        .filter_map(|source| match source {
            InputSource::Output { instance, .. } => Some(*instance),
            _ => None,
        })
        .collect()
}

/// The instances of the chosen stages and of all that they need.
fn selected(pipeline: &Pipeline, only: &[String]) -> BTreeSet<usize> {
    let all = 0..pipeline.instances.len();
    if only.is_empty() {
        return all.collect();
    }
    let mut waiting: Vec<usize> =
        all.filter(|position| only.contains(&pipeline.instances[*position].stage)).collect();
    let mut selected = BTreeSet::new();
    while let Some(position) = waiting.pop() {
        if selected.insert(position) {
            waiting.extend(upstream_of(&pipeline.instances[position]));
        }
    }
    selected
}

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

struct Schedule<'a> {
    executor: &'a Executor<'a>,
    record: &'a RecordWriter,
    states: Vec<State>,
    users: Vec<Vec<usize>>,
    running: usize,
    failed: bool,
    summary: Summary,
}

impl<'a> Schedule<'a> {
    fn new(executor: &'a Executor<'a>, record: &'a RecordWriter, selected: BTreeSet<usize>) -> Self {
        let instances = &executor.binder.pipeline.instances;
        let mut users = vec![Vec::new(); instances.len()];
        let mut states = vec![State::Out; instances.len()];
        for &position in &selected {
            let upstream = upstream_of(&instances[position]);
            states[position] = State::Waiting(upstream.len());
            for maker in upstream {
                users[maker].push(position);
            }
        }
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
        Self { executor, record, states, users, running: 0, failed: false, summary }
    }

    fn work_off(&mut self, pool: &rayon::ThreadPool, options: &RunOptions) -> Result<(), RunError> {
        let executor = self.executor;
        let (give, take) = channel::<usize>();
        let take = Mutex::new(take);
        let (ended, endings) = channel::<Ending>();
        std::thread::scope(|scope| {
            for _ in 0..options.jobs.max(1) {
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

    fn coordinate(&mut self, give: Sender<usize>, endings: &Receiver<Ending>) -> Result<(), RunError> {
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
        for position in 0..self.states.len() {
            if self.states[position] == State::Waiting(0) && give.send(position).is_ok() {
                self.states[position] = State::Running;
                self.running += 1;
            }
        }
    }

    fn succeed(&mut self, position: usize, seconds: f64, executed: Executed) -> Result<(), RunError> {
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
            }
        }
        Ok(())
    }

    fn fail(&mut self, position: usize, seconds: f64, failure: Failure) -> Result<(), RunError> {
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
    fn skip_rest(&mut self) -> Result<(), RunError> {
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
        let log = std::path::PathBuf::from("logs").join(format!("{}.log", file_label(&instance.label)));
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
