//! What a running stage has in hand: its inputs, a place for its outputs, the seed, the device, and a way
//! to tell how it gets on. It does not see the cache, other stages or the run record.

mod cancel;
mod device;
mod item;
mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pipe_cache::{ResumePoint, check_name};

pub use self::cancel::Cancel;
pub use self::device::{Device, Devices};
pub use self::item::{ItemContext, ItemContextParts};
pub use self::machine::Machine;
use crate::input::{Files, Input, InputError, InputFile, InputValue};
use crate::stage::{Interrupted, StageError};
use crate::table::Table;

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
    /// What it may take of the machine.
    pub machine: Machine<'a>,
}

impl<'a> Context<'a> {
    /// A context of its parts.
    pub fn new(parts: ContextParts<'a>) -> Self {
        Self(parts)
    }

    /// All artifacts by input.
    pub fn all_inputs(&self) -> &BTreeMap<String, Vec<Input>> {
        self.0.inputs
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

    /// What it may take of the machine.
    pub fn machine(&self) -> &Machine<'a> {
        &self.0.machine
    }

    /// Whom to ask whether to stop.
    pub fn cancel(&self) -> &Cancel {
        self.0.cancel
    }

    /// Hears what the kind tells.
    pub fn reporter(&self) -> &dyn Report {
        self.0.reporter
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
