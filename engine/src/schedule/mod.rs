//! The order of a run: known results are taken first; then instances whose inputs are there are given to an executor as
//! jobs, and each ending frees those that waited for it. An instance that fails because the store has lost something is
//! tried again when that is repaired. What an instance does, and where, is not known here.

mod account;
mod board;
mod executor;
mod local;
mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipe_cache::Error;

use self::account::Account;
use self::board::{Board, Start};
pub(crate) use self::executor::Executor;
pub(crate) use self::local::Local;
pub(crate) use self::processes::Processes;
use crate::bind::Done;
use crate::context::{Device, Devices};
use crate::event::Summary;
use crate::execute::Worker;
use crate::job::{Cause, Demand, Ending, Executed, Failure, Job, Results};
use crate::manifest::Instance;
use crate::naming::is_among;
use crate::options::RunOptions;
use crate::record::RecordWriter;

/// How often to look whether the run was asked to stop while other processes are waited for.
const LOOK: Duration = Duration::from_millis(200);

/// What is told of an instance that somebody else has stopped.
const STOPPED: &str = "its worker was asked to stop, and not by this run";

/// The instances of a run and where each of them stands.
pub(crate) struct Schedule<'a> {
    worker: &'a Worker<'a>,
    devices: &'a Devices,
    options: &'a RunOptions,
    board: Board,
    account: Account<'a>,
    results: Results,
}

impl<'a> Schedule<'a> {
    /// The selected instances of the worker's pipeline.
    pub(crate) fn new(
        (worker, devices): (&'a Worker<'a>, &'a Devices),
        record: &'a RecordWriter,
        options: &'a RunOptions,
        selected: &BTreeSet<usize>,
    ) -> Self {
        let instances = &worker.binder.pipeline.instances;
        let needs = |need: fn(&Instance) -> u64| instances.iter().map(need).collect::<Vec<u64>>();
        let upstream = instances.iter().map(|instance| instance.upstream());
        let mut board = Board::new(upstream.collect(), selected);
        if let Devices::Cuda(numbers) = devices {
            board = board.with_devices(numbers, &needs(|instance| instance.resources.gpus as u64));
        }
        if let Some(memory) = options.memory_bytes {
            board = board.with_memory(memory, &needs(|instance| instance.resources.memory_bytes));
        }
        board = board.with_processors(options.jobs, &needs(|instance| instance.resources.cpus as u64));
        let account = Account::new(worker, record, options.keep_going);
        Self { worker, devices, options, board, account, results: vec![None; instances.len()] }
    }

    /// What has been done so far.
    pub(crate) fn summary(&self) -> Summary {
        self.account.summary()
    }

    /// The result of an instance, if it has one.
    pub(crate) fn result(&self, position: usize) -> Option<Arc<Done>> {
        self.results.get(position)?.clone()
    }

    /// Runs what is to be run, until nothing is left that can be.
    pub(crate) fn work_off(&mut self, executor: &mut dyn Executor) -> Result<(), Error> {
        self.coordinate(executor)?;
        self.account.unreached(self.board.unreached())
    }

    /// Computes again those instances of a stage whose results are damaged, and what these need.
    pub(crate) fn restore(&mut self, stage: &str, executor: &mut dyn Executor) -> Result<(), Error> {
        for (position, instance) in self.worker.binder.pipeline.instances.iter().enumerate() {
            let done = self.result(position).filter(|_| instance.stage == stage);
            if done.is_some_and(|done| !self.worker.is_whole(&done)) {
                self.board.start_over(position);
            }
        }
        self.coordinate(executor)
    }

    /// Takes the results that are known without reading inputs, before anything is computed, looking at each file and
    /// folder once. Where inputs must be read, jobs do it.
    pub(crate) fn take_known(&mut self) -> Result<(), Error> {
        let Worker { binder, cancel, .. } = self.worker;
        let is_wanted =
            |position| self.board.takes_part(position) && !self.is_forced(position) && !cancel.is_cancelled();
        binder.look_once();
        let found = binder.known_by_stats(&is_wanted).into_iter().enumerate();
        binder.look_again();
        let known: Vec<(usize, Executed)> =
            found.filter_map(|(position, known)| Some((position, known?.into()))).collect();
        for (position, known) in &known {
            self.results[*position] = Some(Arc::clone(&known.done));
            self.board.was_known(*position);
        }
        self.account.up_to_date(&known)
    }

    /// Gives jobs to the executor and takes their endings, until nothing is under way and nothing is left to be begun.
    fn coordinate(&mut self, executor: &mut dyn Executor) -> Result<(), Error> {
        loop {
            let next = self.board.wake(Instant::now());
            self.start_ready(executor)?;
            let waits = next.filter(|_| !self.is_stopped());
            if waits.is_none() && self.board.running() == 0 {
                return Ok(());
            }
            for ending in executor.poll(waits.map(|time| time.min(Instant::now() + LOOK))) {
                self.ended(ending)?;
            }
        }
    }

    fn ended(&mut self, mut ending: Ending) -> Result<(), Error> {
        if let Err(failure) = &mut ending.outcome
            && failure.cause == Cause::Interrupted
            && !self.worker.cancel.is_cancelled()
        {
            // The run goes on: whoever stopped this one was not asked to by it.
            *failure = Failure { cause: Cause::Error, error: STOPPED.to_string(), ..std::mem::take(failure) };
        }
        let Ending { position, outcome, .. } = &ending;
        match outcome {
            Ok(executed) => {
                self.account.succeeded(&ending, executed)?;
                self.results[*position] = Some(Arc::clone(&executed.done));
                self.board.succeeded(*position);
            }
            Err(failure) => {
                let damaged = match &failure.cause {
                    Cause::Busy { owner } => {
                        self.account.waiting(*position, failure, owner);
                        self.board.postponed(*position, Instant::now());
                        return Ok(());
                    }
                    Cause::Damaged(makers) => makers.as_slice(),
                    Cause::Interrupted | Cause::Error => &[],
                };
                match self.board.failed(*position, damaged) {
                    true => self.account.delayed(*position, failure),
                    false => {
                        self.account.failed(&ending, failure)?;
                        self.results[*position] = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether nothing more is to be begun.
    fn is_stopped(&self) -> bool {
        self.worker.cancel.is_cancelled() || (self.account.has_failures() && !self.options.keep_going)
    }

    /// Whether an instance's result is to be computed anew although it is known.
    fn is_forced(&self, position: usize) -> bool {
        let instance = &self.worker.binder.pipeline.instances[position];
        is_among(&self.options.force, &instance.stage, &instance.label)
    }

    /// Hands out no more than is begun at once: what has been handed out is not taken back when something fails.
    fn start_ready(&mut self, executor: &mut dyn Executor) -> Result<(), Error> {
        while !self.is_stopped() {
            let Some(start) = self.board.start() else { break };
            executor.submit(self.job(start))?;
        }
        Ok(())
    }

    fn job(&self, Start { position, devices, rebuild }: Start) -> Job {
        let instance = &self.worker.binder.pipeline.instances[position];
        let upstream = instance.upstream().into_iter();
        let upstream = upstream.filter_map(|maker| Some((maker, self.results[maker].clone()?)));
        let demand = match (self.is_forced(position), rebuild) {
            (true, _) => Demand::All,
            (false, true) => Demand::Result,
            (false, false) => Demand::Missing,
        };
        let device = devices.first().map_or_else(|| self.devices.any(), |number| Device::Cuda(*number));
        let processors = instance.resources.cpus.min(self.options.jobs.max(1));
        Job { position, upstream: upstream.collect::<BTreeMap<_, _>>(), demand, device, processors }
    }
}
