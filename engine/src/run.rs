//! Running a pipeline: what to run, in which pool, into which record; publishing and showing what came out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use pipe_cache::Error;

use crate::bind::Binder;
use crate::context::{Cancel, Devices};
use crate::event::{Event, Observer, Status, Summary};
use crate::execute::Worker;
use crate::manifest::{Instance, Pipeline};
use crate::naming::{self, Named, is_among};
pub use crate::options::{ExecutorChoice, RunError, RunOptions, WorkerCommand};
use crate::publish::{self, CopyError};
use crate::record::{Elsewhere, RecordWriter, RunHeader, utc};
use crate::schedule::{Executor, Local, Processes, Schedule};
use crate::session::Session;
use crate::stage::StageError;

/// Runs a pipeline.
///
/// # Errors
/// Only what keeps a run from beginning or being recorded; a failing stage is in the summary.
pub fn run(
    session: &Session<'_>,
    pipeline: &Pipeline,
    options: &RunOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Summary, RunError> {
    let started = Instant::now();
    // However this ends, nobody looks at old stats afterwards.
    let _looking = Looking(session);
    check_stages(pipeline, options.only.iter().chain(&options.force))?;
    check_devices(pipeline, &session.devices)?;
    let pool = thread_pool(options.jobs)?;
    let store = &session.store;
    let record = RecordWriter::create(store)?;
    record.can_be_ended_by(&options.ender);
    record.header(store, header(session, pipeline, options))?;
    record.manifest(&pipeline.resolved)?;
    let selected = selected(pipeline, &options.only);
    observer.event(&Event::Started {
        run: record.run.clone(),
        pipeline: pipeline.name.clone(),
        instances: selected.len(),
    });
    let worker = Worker {
        strict: false,
        binder: session.binder(pipeline),
        secrets: options.secrets.clone(),
        run: record.run.clone(),
        run_folder: record.folder.clone(),
        keep_going: options.keep_going,
        observer,
        cancel: cancel.clone(),
    };
    let mut schedule = Schedule::new((&worker, &session.devices), &record, options, &selected);
    pool.install(|| schedule.take_known()).map_err(RunError::Broken)?;
    let ended = match &options.executor {
        ExecutorChoice::Local => pool.in_place_scope(|scope| {
            let mut executor = Local::new(scope, &worker);
            finish(Execution { schedule: &mut schedule, executor: &mut executor, worker: &worker })
        }),
        ExecutorChoice::Processes(command) => std::thread::scope(|scope| {
            let mut executor = Processes::new(scope, &worker, command);
            finish(Execution { schedule: &mut schedule, executor: &mut executor, worker: &worker })
        }),
    };
    let (mut summary, headlines) = ended.map_err(RunError::Broken)?;
    summary.seconds = started.elapsed().as_secs_f64();
    record.finished(&summary).map_err(RunError::Broken)?;
    tidy_up(&worker, summary.executed > 0);
    headlines.into_iter().for_each(|headline| observer.event(&headline));
    observer.event(&Event::Finished(summary.clone()));
    Ok(summary)
}

/// Until its end files may be looked at once for all instances.
struct Looking<'s, 'r>(&'s Session<'r>);

impl Drop for Looking<'_, '_> {
    fn drop(&mut self) {
        self.0.look_again();
    }
}

/// How often a result is restored that cannot be read.
const REPAIRS: usize = 4;

/// Brings a run to its end. Where it breaks off, jobs under way are asked to stop: nobody waits for them.
fn finish(execution: Execution<'_, '_>) -> Result<(Summary, Vec<Event>), Error> {
    let worker = execution.worker;
    execution.finish().inspect_err(|_| worker.cancel.cancel())
}

/// A run under way.
struct Execution<'r, 'a> {
    schedule: &'r mut Schedule<'a>,
    executor: &'r mut dyn Executor,
    worker: &'a Worker<'a>,
}

impl Execution<'_, '_> {
    /// Computes what is missing, publishes, and gives what there is to tell: the summary and the headlines.
    fn finish(mut self) -> Result<(Summary, Vec<Event>), Error> {
        self.schedule.work_off(self.executor)?;
        if self.schedule.summary().executed > 0 {
            self.worker.binder.store.sync()?;
        }
        let unpublished = self.publish()?;
        let headlines = self.headlines()?;
        let mut summary = self.schedule.summary();
        if summary.executed + summary.items_executed > 0 {
            // What was repaired meanwhile, and the items of stages that failed.
            self.worker.binder.store.sync()?;
        }
        if let Some((stage, error)) = unpublished {
            summary.failed += 1;
            tell_unpublished(self.worker, stage, error);
        }
        summary.status = match (self.worker.cancel.is_cancelled(), summary.failed) {
            (true, _) => Status::Interrupted,
            (false, 0) => Status::Ok,
            (false, _) => Status::Failed,
        };
        summary.headline = self.headline_in_a_line();
        Ok((summary, headlines))
    }

    /// Copies out what is to be published; gives the stage that could not be. A result that turns out to be damaged is
    /// computed again.
    fn publish(&mut self) -> Result<Option<(String, CopyError)>, Error> {
        let Worker { binder, observer, cancel, .. } = self.worker;
        for (stage, folder) in &binder.pipeline.publish {
            let copy = |schedule: &Schedule<'_>| {
                let results = |position| schedule.result(position);
                publish::publish_stage(binder, stage, folder, &results, (*observer, cancel))
            };
            let is_lost = |outcome: &Result<(), CopyError>| matches!(outcome, Err(CopyError::Store(error)) if error.lost_blob().is_some());
            let mut outcome = copy(self.schedule);
            // Damage below damage is found only when the upper one is repaired.
            for _ in 0..REPAIRS {
                if is_lost(&outcome) {
                    self.schedule.restore(stage, self.executor)?;
                    outcome = copy(self.schedule);
                }
            }
            if let Err(error) = outcome {
                return Ok(Some((stage.clone(), error)));
            }
        }
        Ok(None)
    }

    /// Each finished stage's headline. One that is damaged is computed again first.
    fn headlines(&mut self) -> Result<Vec<Event>, Error> {
        let Binder { pipeline, store, .. } = &self.worker.binder;
        let mut headlines = Vec::new();
        for (position, instance) in pipeline.instances.iter().enumerate() {
            let headline = |schedule: &Schedule<'_>| {
                publish::headline(store, instance, schedule.result(position)?.as_ref())
            };
            if self.schedule.result(position).is_none() || instance.kind.about().headline.is_none() {
                continue;
            }
            let mut text = headline(self.schedule);
            for _ in 0..REPAIRS {
                if text.is_none() {
                    self.schedule.restore(&instance.stage, self.executor)?;
                    text = headline(self.schedule);
                }
            }
            headlines.extend(text.map(|text| Event::Headline { stage: instance.label.clone(), text }));
        }
        Ok(headlines)
    }

    /// The first stage's headline in a line, and how many others have one.
    fn headline_in_a_line(&self) -> Option<String> {
        let Binder { pipeline, store, .. } = &self.worker.binder;
        let instances = pipeline.instances.iter().enumerate();
        let mut lines = instances.filter_map(|(position, instance)| {
            publish::headline_in_a_line(store, instance, self.schedule.result(position)?.as_ref())
        });
        let first = lines.next()?;
        match lines.count() {
            0 => Some(first),
            more => Some(format!("{first} (and {more} more)")),
        }
    }
}

fn tell_unpublished(worker: &Worker<'_>, stage: String, error: CopyError) {
    let known = error.advice();
    let error = StageError::from(error);
    let usual = "see that the folder can be written and the cache be read, or change `publish`";
    worker.observer.event(&Event::StageFailed {
        stage,
        error: format!("publishing: {error}"),
        advice: error.full_advice().or_else(|| Some(known.unwrap_or(usual).to_string())),
        failed_items: Vec::new(),
        log: worker.run_folder.clone(),
    });
}

/// Saves what saves work. The run's results do not need it.
fn tidy_up(worker: &Worker<'_>, has_executed: bool) {
    let Binder { store, memo, .. } = &worker.binder;
    let tidied = if has_executed { store.tidy() } else { Ok(()) };
    for (what, outcome) in
        [("small files were not put together", tidied), ("hashing was not remembered", memo.save())]
    {
        if let Err(error) = outcome {
            let text = format!("{what}: {}", StageError::from(error));
            worker.observer.event(&Event::Warning { stage: None, text });
        }
    }
}

/// Refuses names that mean no stage, instance or output of the pipeline.
///
/// # Errors
/// [`RunError::UnknownStage`].
pub fn check_stages<'a>(
    pipeline: &Pipeline,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), RunError> {
    let is_there = |named: &Named<'_>, instance: &Instance| {
        let has = |output: &str| instance.kind.about().outputs.iter().any(|spec| spec.name == output);
        named.means(&instance.stage, &instance.label) && named.output.is_none_or(has)
    };
    let is_unknown =
        |name: &&String| !pipeline.instances.iter().any(|instance| is_there(&Named::read(name), instance));
    match names.into_iter().find(is_unknown) {
        None => Ok(()),
        Some(name) => Err(RunError::UnknownStage {
            name: name.clone(),
            known: naming::known(
                &Named::read(name),
                pipeline.instances.iter().map(|instance| (instance.stage.as_str(), instance.label.as_str())),
            ),
        }),
    }
}

fn check_devices(pipeline: &Pipeline, devices: &Devices) -> Result<(), RunError> {
    let Devices::Cuda(numbers) = devices else { return Ok(()) };
    match pipeline.instances.iter().find(|instance| instance.resources.gpus > numbers.len()) {
        None => Ok(()),
        Some(instance) => Err(RunError::Devices {
            stage: instance.stage.clone(),
            needed: instance.resources.gpus,
            given: numbers.len(),
        }),
    }
}

/// One bounded pool for everything that computes; deep graphs of operations need roomy stacks.
pub(crate) fn thread_pool(jobs: usize) -> Result<rayon::ThreadPool, RunError> {
    let problem = |error: rayon::ThreadPoolBuildError| RunError::Threads { jobs, problem: error.to_string() };
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .stack_size(16 << 20)
        .thread_name(|index| format!("pipe-{index}"))
        .build()
        .map_err(problem)
}

/// What a run is; its record fills in its own name.
fn header(session: &Session<'_>, pipeline: &Pipeline, options: &RunOptions) -> RunHeader {
    let device = session.devices.any();
    RunHeader {
        version: crate::record::VERSION,
        sequence: None,
        run: String::new(),
        process: None,
        pipeline: pipeline.name.clone(),
        manifest: lossy(&pipeline.manifest),
        root: Some(lossy(&pipeline.root)),
        started: utc(SystemTime::now()),
        seed: pipeline.seed,
        seed_origin: Some(pipeline.seed_origin.to_string()),
        device: device.kind().to_string(),
        device_class: device.class(),
        jobs: options.jobs,
        set: pipeline.overrides.set.clone(),
        profiles: pipeline.overrides.profiles.clone(),
        force: options.force.clone(),
        code: session.registry.code_of_all(),
        crates: session.registry.crates().clone(),
        surroundings: options.surroundings.clone(),
        elsewhere: Elsewhere::among(&pipeline.root, pipeline.instances.iter().flat_map(Instance::paths)),
        after: Vec::new(),
        de_identified: false,
    }
}

/// A path as a record can hold it: what is not UTF-8 is replaced.
fn lossy(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

/// The instances of the chosen stages and of all that they need.
fn selected(pipeline: &Pipeline, only: &[String]) -> BTreeSet<usize> {
    let all = 0..pipeline.instances.len();
    if only.is_empty() {
        return all.collect();
    }
    let is_named = |instance: &Instance| is_among(only, &instance.stage, &instance.label);
    let mut waiting: Vec<usize> = all.filter(|position| is_named(&pipeline.instances[*position])).collect();
    let mut selected = BTreeSet::new();
    while let Some(position) = waiting.pop() {
        if selected.insert(position) {
            waiting.extend(pipeline.instances[position].upstream());
        }
    }
    selected
}
