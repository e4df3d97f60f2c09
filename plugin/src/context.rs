//! What a running stage has in hand: its inputs, a place for its outputs, the seed, the device, and a way
//! to tell how it gets on. It does not see the cache, other stages or the run record.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pipe_cache::{ResumePoint, check_name};
use serde::{Deserialize, Serialize};

use crate::input::{Files, Input, InputError, InputFile, InputValue};
use crate::requests::{RequestLimits, Secrets, Turns, sleep_until};
use crate::stage::{Interrupted, Item, StageError};
use crate::table::Table;

/// The device a run computes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device by number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => formatter.write_str("cpu"),
            Device::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

/// The devices that a run may compute on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The processor.
    #[default]
    Cpu,
    /// CUDA devices by number; each is used by one instance at a time.
    Cuda(Vec<usize>),
}

impl From<Device> for Devices {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Cpu,
            Device::Cuda(number) => Self::Cuda(vec![number]),
        }
    }
}

impl Devices {
    /// One of them, as far as kind and class go.
    pub fn any(&self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(numbers) => Device::Cuda(numbers.first().copied().unwrap_or_default()),
        }
    }
}

impl Device {
    /// The part that identity holds.
    pub fn kind(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
        }
    }

    /// The fine class under which results are stored.
    pub fn class(self) -> String {
        match self {
            Device::Cpu => format!("cpu/{}", cpu_class()),
            Device::Cuda(_) => "cuda".to_string(),
        }
    }
}

/// The widest vector instructions, which decide how matrix products are summed.
fn cpu_class() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            "avx512"
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            "avx2"
        } else {
            "sse2"
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH
    }
}

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

/// What a running kind tells, for whoever runs it.
pub trait Report: Sync {
    /// Something that whoever uses the result should know; it is kept with the result.
    fn warn(&self, text: &str);

    /// A number that tells of the result in brief; it is kept with the result.
    fn scalar(&self, name: &str, value: f64);

    /// A line for the log.
    fn log(&self, line: &str);

    /// How far the work is.
    fn progress(&self, done: u64, total: u64, note: &str);
}

/// What a running [`crate::stage::Whole`] kind has in hand.
pub struct Context<'a>(ContextParts<'a>);

/// What a [`Context`] is made of, by whoever runs kinds.
pub struct ContextParts<'a> {
    /// The artifacts given to each input.
    pub inputs: &'a BTreeMap<String, Vec<Input>>,
    /// The folder for outputs, each in a folder of its name.
    pub outputs: &'a Path,
    /// The folder for side files.
    pub side: PathBuf,
    /// The seed, 0 for a kind that draws no random numbers.
    pub seed: u64,
    /// The device that is the kind's own.
    pub device: Device,
    /// Hears what the kind tells.
    pub reporter: &'a dyn Report,
    /// Asks the kind to stop.
    pub cancel: &'a Cancel,
    /// Keeps the kind's progress.
    pub resume: ResumePoint,
}

impl<'a> Context<'a> {
    /// A context of its parts.
    pub fn new(parts: ContextParts<'a>) -> Self {
        Self(parts)
    }

    /// All artifacts given to an input, in the order of their foreach values; none for an input left out.
    pub fn inputs(&self, name: &str) -> &[Input] {
        self.0.inputs.get(name).map_or(&[], Vec::as_slice)
    }

    /// The one artifact given to an input, if any.
    pub fn optional(&self, name: &str) -> Option<&InputValue> {
        self.inputs(name).first().map(|input| &input.value)
    }

    /// The table given to an input, cut down to the kind's columns.
    ///
    /// # Errors
    /// When there is none.
    pub fn table(&self, name: &str) -> Result<&Table, InputError> {
        match self.optional(name) {
            Some(InputValue::Table(table)) => Ok(table),
            _ => Err(InputError::Absent(name.to_string())),
        }
    }

    /// The folder or collection given to an input.
    ///
    /// # Errors
    /// When there is none.
    pub fn files(&self, name: &str) -> Result<&Files, InputError> {
        match self.optional(name) {
            Some(InputValue::Files(files)) => Ok(files),
            _ => Err(InputError::Absent(name.to_string())),
        }
    }

    /// The file given to an input.
    ///
    /// # Errors
    /// When there is none.
    pub fn file(&self, name: &str) -> Result<&InputFile, InputError> {
        match self.optional(name) {
            Some(InputValue::File(file)) => Ok(file),
            _ => Err(InputError::Absent(name.to_string())),
        }
    }

    /// The pipeline's seed; 0 for a kind that does not declare that it draws random numbers.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The device to compute on; the processor for a kind that does not declare that it uses one.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// Writes a file of an output. For an output that is one file, `name` is that file's name.
    ///
    /// # Errors
    /// When the name is not a plain relative path or the file cannot be written.
    pub fn write(&self, output: &str, name: &str, bytes: &[u8]) -> Result<(), StageError> {
        let path = self.output_path(output, name)?;
        fs::write(&path, bytes).map_err(pipe_cache::Error::io("write", &path))?;
        Ok(())
    }

    /// A path at which to write a file of an output; folders on the way are made.
    ///
    /// # Errors
    /// When the name is not a plain relative path.
    pub fn output_path(&self, output: &str, name: &str) -> Result<PathBuf, StageError> {
        check_name(name)?;
        let path = self.0.outputs.join(output).join(name);
        let folder = path.parent().unwrap_or(self.0.outputs);
        fs::create_dir_all(folder).map_err(pipe_cache::Error::io("create folder", folder))?;
        Ok(path)
    }

    /// A path for a side file of the run: kept with the run record, never part of a result.
    ///
    /// # Errors
    /// When the name is not a plain relative path.
    pub fn side_path(&self, name: &str) -> Result<PathBuf, StageError> {
        check_name(name)?;
        let path = self.0.side.join(name);
        let folder = path.parent().unwrap_or(&self.0.side);
        fs::create_dir_all(folder).map_err(pipe_cache::Error::io("create folder", folder))?;
        Ok(path)
    }

    /// Keeps how far the work has come, in place of what was kept before: when the process dies, the same work on the
    /// same device class gets it back from [`Context::saved_progress`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_progress(&self, bytes: &[u8]) -> Result<(), StageError> {
        Ok(self.0.resume.save(bytes)?)
    }

    /// What an earlier attempt at this very work has kept. A result must not depend on it.
    pub fn saved_progress(&self) -> Option<Vec<u8>> {
        self.0.resume.load()
    }

    /// Adds a line to the instance's log.
    pub fn log(&self, line: &str) {
        self.0.reporter.log(line);
    }

    /// Tells people what they should know of the result: a whole sentence, lower-case at its beginning. It goes to the log, to
    /// the terminal and into the records, and is told again by every run that finds this result.
    pub fn warn(&self, text: &str) {
        self.0.reporter.warn(text);
    }

    /// Keeps a number that tells of the result in brief, such as `auroc`, with the result and in the records of all runs
    /// that use it. Several data sets or parts are told apart by the name, as in `external.auroc`.
    ///
    /// # Errors
    /// When it is not finite: leave away what there is not.
    pub fn scalar(&self, name: &str, value: f64) -> Result<(), StageError> {
        if !value.is_finite() {
            return Err(StageError::message(format!("the scalar `{name}` is {value}, not a finite number")));
        }
        self.0.reporter.scalar(name, value);
        Ok(())
    }

    /// Tells how far the work is.
    pub fn progress(&self, done: u64, total: u64, note: &str) {
        self.0.reporter.progress(done, total, note);
    }

    /// Stops the work when the run was asked to stop.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check_cancelled(&self) -> Result<(), Interrupted> {
        if self.0.cancel.is_cancelled() { Err(Interrupted) } else { Ok(()) }
    }
}

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

    /// The file given to an input that all items share, if any.
    pub fn file(&self, name: &str) -> Option<&InputFile> {
        match &self.parts.inputs.get(name)?.first()?.value {
            InputValue::File(file) => Some(file),
            _ => None,
        }
    }

    /// Tells people what they should know of an item's result, whose name is put before it. It goes where
    /// [`Context::warn`]'s goes, and is told again wherever this item's result is used.
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
