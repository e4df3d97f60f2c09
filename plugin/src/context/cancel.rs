//! Asking work to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asks a run to stop; may be shared and set from a signal handler.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    is_asked: Arc<AtomicBool>,
    /// When the time is up, for what has a limited time.
    deadline: Option<Instant>,
}

impl Cancel {
    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to, or the time is up.
    pub fn is_cancelled(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed) || self.is_overdue()
    }

    /// Whether the time is up.
    fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The same, with a limited time from now on.
    #[must_use]
    pub fn within(&self, time: Option<Duration>) -> Self {
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Self { is_asked: Arc::clone(&self.is_asked), deadline }
    }
}
