//! What a kind that works item by item has in hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Cancel, Device, Machine, Report};
use crate::input::{Input, InputError, InputFile, InputValue};
use crate::requests::{RequestLimits, Secrets, Turns, sleep_until};
use crate::stage::{Interrupted, Item};

/// What a running group of an [`crate::stage::PerItem`] has in hand.
pub struct ItemContext<'a> {
    parts: ItemContextParts<'a>,
    /// What was warned of, by item, until the item's result is committed.
    warned: Mutex<BTreeMap<String, Vec<String>>>,
}

/// What an [`ItemContext`] is made of, by whoever runs kinds.
pub struct ItemContextParts<'a> {
    /// The artifacts given to the inputs that all items share.
    pub inputs: &'a BTreeMap<String, Vec<Input>>,
    /// The seed, 0 for a kind that draws no random numbers.
    pub seed: u64,
    /// Hears what the kind tells.
    pub reporter: &'a dyn Report,
    /// Asks the kind to stop.
    pub cancel: &'a Cancel,
    /// Keys of services.
    pub secrets: &'a Secrets,
    /// How services may be asked.
    pub limits: RequestLimits,
    /// Whose turn it is to ask.
    pub turns: &'a Turns,
    /// The device that is the kind's own.
    pub device: Device,
    /// The folder for side files.
    pub side: PathBuf,
    /// What it may take of the machine.
    pub machine: Machine<'a>,
}

impl<'a> ItemContext<'a> {
    /// A context of its parts.
    pub fn new(parts: ItemContextParts<'a>) -> Self {
        Self { parts, warned: Mutex::default() }
    }

    /// Hears what the kind tells.
    pub fn reporter(&self) -> &dyn Report {
        self.parts.reporter
    }

    /// The artifacts given to each input that all items share.
    pub fn inputs(&self) -> &BTreeMap<String, Vec<Input>> {
        self.parts.inputs
    }

    /// The device to compute on; the processor for a kind that does not declare that it uses one.
    pub fn device(&self) -> Device {
        self.parts.device
    }

    /// The folder for side files of the run: kept with the run record, never part of a result.
    pub fn side(&self) -> &Path {
        &self.parts.side
    }

    /// What it may take of the machine.
    pub fn machine(&self) -> &Machine<'a> {
        &self.parts.machine
    }

    /// Whom to ask whether to stop.
    pub fn cancel(&self) -> &Cancel {
        self.parts.cancel
    }

    /// The file given to an input that all items share, if any.
    pub fn file(&self, name: &str) -> Option<&InputFile> {
        match &self.parts.inputs.get(name)?.first()?.value {
            InputValue::File(file) => Some(file),
            _ => None,
        }
    }

    /// Tells people what they should know of an item's result, whose name is put before it. It goes where
    /// [`Context::warn`](super::Context::warn)'s goes, and is told again wherever this item's result is used.
    pub fn warn(&self, item: &Item, text: &str) {
        let text = format!("{}: {text}", item.name);
        self.parts.reporter.warn(&text);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.entry(item.name.clone()).or_default().push(text);
    }

    /// What an item's result is to be kept with.
    pub fn take_warnings(&self, item: &str) -> Vec<String> {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).remove(item).unwrap_or_default()
    }

    /// Whether the shared files are still as they were when they were hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when one is not.
    pub fn check_inputs_unchanged(&self) -> Result<(), InputError> {
        self.parts.inputs.values().flatten().try_for_each(Input::check_unchanged)
    }

    /// A service's key, by the name of the environment variable that holds it.
    pub fn secret(&self, name: &str) -> Option<String> {
        self.parts.secrets.get(name)
    }

    /// How a service may be asked.
    pub fn request_limits(&self) -> RequestLimits {
        self.parts.limits
    }

    /// Waits until a service may be asked again.
    ///
    /// # Errors
    /// [`Interrupted`] when the run was asked to stop.
    pub fn wait_for_turn(&self) -> Result<(), Interrupted> {
        self.parts.turns.wait(self.parts.cancel)
    }

    /// Sleeps.
    ///
    /// # Errors
    /// [`Interrupted`] when the run was asked to stop.
    pub fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        sleep_until(Instant::now() + time, self.parts.cancel)
    }

    /// Nobody of this instance asks the service before this time has passed.
    pub fn hold_requests(&self, time: Duration) {
        self.parts.turns.hold(time);
    }

    /// The pipeline's seed; 0 for a kind that does not declare that it draws random numbers.
    pub fn seed(&self) -> u64 {
        self.parts.seed
    }

    /// Adds a line to the instance's log.
    pub fn log(&self, line: &str) {
        self.parts.reporter.log(line);
    }

    /// Stops the work when the run was asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check_cancelled(&self) -> Result<(), Interrupted> {
        if self.parts.cancel.is_cancelled() { Err(Interrupted) } else { Ok(()) }
    }
}
