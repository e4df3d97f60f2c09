//! Asking a service over the network: how often, how long, and with which keys.
//!
//! The turns are shared by everything that an instance computes side by side. Nothing here knows a protocol, and
//! none of it is part of a result's identity.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::context::Cancel;
use crate::stage::Interrupted;

/// How long to sleep before looking again whether the run was asked to stop.
const NAP: Duration = Duration::from_millis(50);

/// How an instance may ask a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLimits {
    /// Requests a minute at most; without it, as many as the service answers.
    pub per_minute: Option<u32>,
    /// Seconds to wait for the answer to a request.
    pub timeout_seconds: u32,
    /// How often a request is tried at most.
    pub attempts: u32,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { per_minute: None, timeout_seconds: 120, attempts: 6 }
    }
}

/// Gives a secret by name, such as an environment variable's value.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where keys of services come from. They are looked up when they are needed, and never shown or recorded.
#[derive(Clone)]
pub struct Secrets(Arc<Lookup>);

impl Secrets {
    /// Keys that `lookup` gives by name.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// The secret of that name; `None` when there is none or it is blank.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|secret| secret.trim().to_string()).filter(|secret| !secret.is_empty())
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new(|_| None)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets")
    }
}

/// Whose turn it is to ask.
pub struct Turns {
    spacing: Duration,
    next: Mutex<Instant>,
}

impl Turns {
    /// Turns within limits.
    pub fn new(limits: RequestLimits) -> Self {
        let spacing = limits.per_minute.map_or(Duration::ZERO, |number| Duration::from_secs(60) / number);
        Self { spacing, next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn.
    pub(crate) fn wait(&self, cancel: &Cancel) -> Result<(), Interrupted> {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.spacing;
            turn
        };
        sleep_until(turn, cancel)
    }

    /// Nobody has a turn before this time has passed.
    pub(crate) fn hold(&self, time: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(Instant::now() + time);
    }
}

/// Sleeps until then, unless the run is asked to stop.
///
/// # Errors
/// [`Interrupted`] when the run was asked to stop.
pub fn sleep_until(end: Instant, cancel: &Cancel) -> Result<(), Interrupted> {
    loop {
        if cancel.is_cancelled() {
            return Err(Interrupted);
        }
        match end.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => return Ok(()),
            Some(left) => std::thread::sleep(left.min(NAP)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_minute: u32) -> RequestLimits {
        RequestLimits { per_minute: Some(per_minute), ..RequestLimits::default() }
    }

    #[test]
    fn turns_are_spaced_for_all_who_wait() {
        let turns = Turns::new(limits(1200));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..2).for_each(|_| turns.wait(&Cancel::default()).expect("a turn")));
            }
        });
        assert!(begun.elapsed() >= Duration::from_millis(5 * 50), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_held_service_is_left_alone_and_whoever_waits_can_be_stopped() {
        let turns = Turns::new(RequestLimits::default());
        turns.hold(Duration::from_secs(3600));
        let cancel = Cancel::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turns.wait(&cancel));
            cancel.cancel();
            assert!(waiting.join().expect("no panic").is_err());
        });
    }

    #[test]
    fn secrets_are_not_shown_and_blank_ones_are_none() {
        let secrets = Secrets::new(|name| Some(if name == "KEY" { " s3cret\n" } else { " " }.to_string()));
        assert_eq!(secrets.get("KEY").as_deref(), Some("s3cret"));
        assert_eq!(secrets.get("OTHER"), None);
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }
}
