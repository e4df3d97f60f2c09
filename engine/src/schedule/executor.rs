//! Where jobs are done.

use std::time::Instant;

use pipe_cache::Error;

use crate::job::{Ending, Job};

/// Does jobs, several at a time, and tells how they ended.
pub(crate) trait Executor {
    /// Begins a job.
    ///
    /// # Errors
    /// When jobs cannot be begun at all; one that fails has an ending.
    fn submit(&mut self, job: Job) -> Result<(), Error>;

    /// The endings since the last call. Waits until there is one, or until a time; forever only while a job is under
    /// way.
    fn poll(&mut self, until: Option<Instant>) -> Vec<Ending>;
}
