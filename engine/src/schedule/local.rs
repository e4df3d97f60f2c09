//! Jobs in the threads of this process.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use pipe_cache::Error;

use super::executor::Executor;
use crate::execute::Worker;
use crate::job::{Ending, Job};

/// Does jobs in a pool, so that instances and items together never use more threads than it has.
pub(crate) struct Local<'pool, 'scope> {
    scope: &'pool rayon::Scope<'scope>,
    worker: &'scope Worker<'scope>,
    ended: Sender<Ending>,
    endings: Receiver<Ending>,
}

impl<'pool, 'scope> Local<'pool, 'scope> {
    /// An executor of that many jobs at a time in the pool of a scope.
    pub(crate) fn new(scope: &'pool rayon::Scope<'scope>, worker: &'scope Worker<'scope>) -> Self {
        let (ended, endings) = channel();
        Self { scope, worker, ended, endings }
    }
}

impl Executor for Local<'_, '_> {
    fn submit(&mut self, job: Job) -> Result<(), Error> {
        let (worker, ended) = (self.worker, self.ended.clone());
        self.scope.spawn(move |_| {
            // Nobody listens any more only when the run has broken off.
            let _ = ended.send(worker.perform(&job));
        });
        Ok(())
    }

    fn poll(&mut self, until: Option<Instant>) -> Vec<Ending> {
        next(&self.endings, until)
    }
}

/// The endings that are there; waits for one until a time.
fn next(endings: &Receiver<Ending>, until: Option<Instant>) -> Vec<Ending> {
    let first = match until {
        None => endings.recv().ok(),
        Some(time) => endings.recv_timeout(time.saturating_duration_since(Instant::now())).ok(),
    };
    first.into_iter().chain(endings.try_iter()).collect()
}
