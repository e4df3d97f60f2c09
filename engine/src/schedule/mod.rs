//! The order of a run: known results are taken first; then instances whose inputs are there are handed to a fixed number
//! of workers, and each ending frees those that waited for it. An instance that fails because the store has lost something is tried
//! again when that is repaired. What an instance does is not known here.

mod account;
mod board;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pipe_cache::Error;
use rayon::prelude::*;

use self::account::Account;
use self::board::{Board, Start};
use crate::context::{Device, Devices};
use crate::event::Summary;
use crate::execute::guard::guarded;
use crate::execute::{Executed, Executor, Failure};
use crate::record::RecordWriter;

/// How often to look whether the run was asked to stop while other processes are waited for.
const LOOK: Duration = Duration::from_millis(200);

/// How an instance ended, as its worker saw it.
struct Ending {
    position: usize,
    seconds: f64,
    outcome: Result<Executed, Failure>,
    /// After a failure: the instances it builds on whose results are damaged.
    damaged: Vec<usize>,
}

/// The instances of a run and where each of them stands.
pub(crate) struct Schedule<'a> {
    executor: &'a Executor<'a>,
    board: Board,
    account: Account<'a>,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(
        executor: &'a Executor<'a>,
        record: &'a RecordWriter,
        selected: &BTreeSet<usize>,
    ) -> Self {
        let instances = &executor.binder.pipeline.instances;
        let upstream = instances.iter().map(|instance| instance.upstream());
        let mut board = Board::new(upstream.collect(), selected);
        if let Devices::Cuda(numbers) = &executor.devices {
            let needs: Vec<usize> = instances.iter().map(|instance| instance.resources.gpus).collect();
            board = board.with_devices(numbers, &needs);
        }
        if let Some(memory) = executor.memory_bytes {
            let needs: Vec<u64> = instances.iter().map(|instance| instance.resources.memory_bytes).collect();
            board = board.with_memory(memory, &needs);
        }
        Self { executor, board, account: Account::new(executor, record) }
    }

    /// What has been done so far.
    pub(crate) fn summary(&self) -> Summary {
        self.account.summary()
    }

    /// Runs what is ready with that many workers, until nothing is.
    pub(crate) fn work_off(&mut self, pool: &rayon::ThreadPool, jobs: usize) -> Result<(), Error> {
        let executor = self.executor;
        pool.install(|| self.take_known())?;
        let (give, take) = channel::<Start>();
        let take = Mutex::new(take);
        let (ended, endings) = channel::<Ending>();
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                let ended = ended.clone();
                let take = &take;
                scope.spawn(move || worker(executor, pool, take, &ended));
            }
            drop(ended);
            let outcome = self.coordinate(give, &endings, jobs.max(1));
            // Workers end when `give` is dropped, which `coordinate` has done.
            outcome
        })
    }

    /// Takes the known results that can be told without reading inputs, those of instances that wait for nothing together,
    /// before anything is computed. Each file and folder is looked at once. Where inputs must be read, workers do it.
    fn take_known(&mut self) -> Result<(), Error> {
        let executor = self.executor;
        executor.binder.stats.hold();
        let (mut assessed, mut all) = (BTreeSet::new(), Vec::new());
        loop {
            let ready: Vec<usize> =
                self.board.ready().filter(|position| !assessed.contains(position)).collect();
            if ready.is_empty() || self.is_stopped() {
                break;
            }
            assessed.extend(ready.iter().copied());
            let known: Vec<(usize, Executed)> =
                ready.into_par_iter().filter_map(|position| known_now(executor, position)).collect();
            for (position, known) in &known {
                executor.keep(*position, &known.done);
                self.board.was_known(*position);
            }
            all.extend(known);
        }
        executor.binder.stats.release();
        self.account.up_to_date(&all)
    }

    fn coordinate(
        &mut self,
        give: Sender<Start>,
        endings: &Receiver<Ending>,
        workers: usize,
    ) -> Result<(), Error> {
        loop {
            let next = self.board.wake(Instant::now());
            self.start_ready(&give, workers);
            let waits = next.filter(|_| !self.is_stopped());
            let ending = match waits {
                None if self.board.running() == 0 => break,
                None => endings.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(time) => endings.recv_timeout(time.saturating_duration_since(Instant::now()).min(LOOK)),
            };
            match ending {
                Ok(ending) => self.ended(ending)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(give);
        self.account.unreached(self.board.unreached())
    }

    fn ended(&mut self, ending: Ending) -> Result<(), Error> {
        let Ending { position, seconds, outcome, damaged } = ending;
        match outcome {
            Ok(executed) => {
                self.account.succeeded(position, seconds, &executed)?;
                self.executor.keep(position, &executed.done);
                self.board.succeeded(position);
            }
            Err(failure) if failure.error.busy_owner().is_some() => {
                self.account.waiting(position, &failure);
                self.board.postponed(position, Instant::now());
            }
            Err(failure) if self.board.failed(position, &damaged) => {
                self.account.delayed(position, &failure);
            }
            Err(failure) => self.account.failed(position, seconds, failure)?,
        }
        Ok(())
    }

    /// Whether nothing more is to be begun.
    fn is_stopped(&self) -> bool {
        self.executor.cancel.is_cancelled() || (self.account.has_failures() && !self.executor.keep_going)
    }

    /// Hands out no more than is begun at once: what has been handed out is not taken back when something fails.
    fn start_ready(&mut self, give: &Sender<Start>, workers: usize) {
        while self.board.running() < workers && !self.is_stopped() {
            let Some(start) = self.board.start() else { return };
            if give.send(start).is_err() {
                // No worker is left, which cannot be while `take` lives.
                return;
            }
        }
    }
}

/// An instance's known result. What cannot be told fails when its turn comes.
fn known_now(executor: &Executor<'_>, position: usize) -> Option<(usize, Executed)> {
    Some((position, guarded(|| executor.known_by_stats(position)).ok()??))
}

/// Takes instances until there are no more. The work itself happens in the pool, so that stages and rows
/// together never use more threads than it has.
fn worker(
    executor: &Executor<'_>,
    pool: &rayon::ThreadPool,
    take: &Mutex<Receiver<Start>>,
    ended: &Sender<Ending>,
) {
    loop {
        let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Start { position, devices, rebuild }) = next else { return };
        let device = devices.first().map_or_else(|| executor.devices.any(), |number| Device::Cuda(*number));
        let started = Instant::now();
        // A kind's code also runs while inputs are bound; a worker that died of it would be waited for for ever.
        let outcome = guarded(|| pool.install(|| executor.execute(position, rebuild, device)));
        let damaged = match &outcome {
            Err(failure) if !failure.error.is_interrupted() && failure.error.busy_owner().is_none() => {
                executor.damaged_inputs(position)
            }
            _ => Vec::new(),
        };
        let seconds = started.elapsed().as_secs_f64();
        if ended.send(Ending { position, seconds, outcome, damaged }).is_err() {
            return;
        }
    }
}
