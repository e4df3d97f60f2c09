//! Environments of packages that a stage names by a lock: made once, kept in the cache, used by every stage and run with that lock.
//!
//! What is in an environment follows from the lock and, for Python's own, from the interpreter that it is made with. So the lock is an
//! input of the stage like any other, and nothing need be made to know what a result follows from.

mod lock;
mod make;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pipe_cache::{Digest, Environment, Hasher};
use pipe_plugin::context::{Cancel, Machine, Report};
use pipe_plugin::host::Host;
use pipe_plugin::input::{Input, InputValue};
use pipe_plugin::stage::{Interrupted, StageError};

use crate::counted::started;
use crate::params::CommandParams;
use crate::program::Program;

/// The input that is a lock of Python packages.
pub const VENV: &str = "venv";
/// The input that is a lock of conda packages.
pub const CONDA: &str = "conda";

/// What an environment of Python packages is made with.
const PYTHON: &str = "python3";

/// What makes an environment.
#[derive(Clone, Debug)]
enum Maker {
    /// Python's `venv` and `pip`.
    Python(Program),
    /// The first manager of conda's packages that is there.
    Conda(Program),
}

/// A stage's parameters with its environment, which stays as long as this lives.
pub struct Equipped {
    /// The parameters, whose software is the environment's first.
    pub params: CommandParams,
    _environment: Option<Environment>,
}

/// Makes the environment that a stage names, if it names one and it is not there.
///
/// # Errors
/// A lock that leaves something open, a maker that is not there or fails, [`Interrupted`].
pub fn equipped(
    params: &CommandParams,
    inputs: &BTreeMap<String, Vec<Input>>,
    machine: &Machine<'_>,
    cancel: &Cancel,
    reporter: &dyn Report,
) -> Result<Equipped, StageError> {
    let mut params = params.clone();
    let Some((input, lock)) = lock_of(inputs)? else {
        return Ok(Equipped { params, _environment: None });
    };
    let maker = maker(input, &params, machine.host)?;
    let mut is_wanted = || if cancel.is_cancelled() { Err(Interrupted.into()) } else { Ok(()) };
    let mut make = |folder: &Path| {
        reporter.log(&format!("making the environment of `{input}` in {}", folder.display()));
        make::environment(&maker, &lock, folder, machine, cancel, reporter)
    };
    let environment = machine.environments.get(name(&maker, &lock)?, &mut is_wanted, &mut make)?;
    params.software.insert(0, environment.path.display().to_string());
    check_program(&params, &environment.path, machine.host)?;
    Ok(Equipped { params, _environment: Some(environment) })
}

/// The programs that an environment follows from besides its lock, which is an input.
///
/// # Errors
/// When there is no Python to make one with.
pub fn counted(
    environment: Option<&str>,
    params: &CommandParams,
    host: &Host,
) -> Result<Vec<(String, Program)>, StageError> {
    match environment {
        Some(VENV) => Ok(vec![(PYTHON.to_string(), python(params, host)?)]),
        _ => Ok(Vec::new()),
    }
}

/// Refuses a program that the environment of a stage does not have: another one of the same name would run, and would not count.
fn check_program(params: &CommandParams, environment: &Path, host: &Host) -> Result<(), StageError> {
    if params.run.first().is_none_or(|program| program.contains('/')) {
        return Ok(());
    }
    let name = params.run.first().map_or("", String::as_str);
    let is_own = |started: Vec<(String, Program)>| {
        started.first().is_none_or(|(_, program)| program.path.starts_with(environment))
    };
    match started(params, None, host).map(is_own) {
        Ok(true) => Ok(()),
        _ => Err(StageError::message(format!("the stage's environment has no program `{name}`"))
            .advise("add its package to the lock; a program of the machine is given by its whole path")),
    }
}

/// The Python of an environment that was made: all of it leads to that, whatever program begins, and so to the one that it was made
/// with.
///
/// # Errors
/// When it is not there.
pub fn interpreter(
    environment: Option<&str>,
    params: &CommandParams,
    host: &Host,
) -> Result<Option<Program>, StageError> {
    Ok(match environment {
        Some(VENV) => Some(Program::find(PYTHON, &params.software, host)?),
        _ => None,
    })
}

/// The lock that a stage is given, and which input it is.
fn lock_of(inputs: &BTreeMap<String, Vec<Input>>) -> Result<Option<(&'static str, String)>, StageError> {
    for name in [VENV, CONDA] {
        if let Some([Input { value: InputValue::File(file), .. }]) = inputs.get(name).map(Vec::as_slice) {
            return Ok(Some((name, read(name, &file.path()?)?)));
        }
    }
    Ok(None)
}

/// Whether a file that is given to an input is a lock, if it is to be one.
///
/// # Errors
/// The first line that leaves something open.
pub fn check_lock(input: &str, path: &Path) -> Result<(), StageError> {
    if [VENV, CONDA].contains(&input) { read(input, path).map(drop) } else { Ok(()) }
}

/// Reads a lock, and checks it.
fn read(input: &str, path: &Path) -> Result<String, StageError> {
    let text = String::from_utf8(fs::read(path)?)
        .map_err(|_| StageError::message(format!("the lock in `{input}` is no text in UTF-8")))?;
    lock::check(input, &text)?;
    Ok(text)
}

fn maker(input: &str, params: &CommandParams, host: &Host) -> Result<Maker, StageError> {
    if input == VENV {
        return Ok(Maker::Python(python(params, host)?));
    }
    let managers = ["micromamba", "mamba", "conda"];
    let found = managers.iter().find_map(|name| Program::find(name, &params.software, host).ok());
    found.map(Maker::Conda).ok_or_else(|| {
        StageError::message("there is no micromamba, mamba or conda on PATH, which `conda` needs")
            .advise("install one of them, or name the folder of its installation in `software`")
    })
}

fn python(params: &CommandParams, host: &Host) -> Result<Program, StageError> {
    Program::find(PYTHON, &params.software, host).map_err(|error| {
        StageError::from(error).advise("`venv` makes its environment with it; install Python 3")
    })
}

/// What decides the content of an environment.
fn name(maker: &Maker, lock: &str) -> Result<Digest, StageError> {
    let mut hasher = Hasher::new("pipe environment of packages, version 1");
    match maker {
        Maker::Python(python) => {
            hasher.field("venv");
            hasher.field(python.path.as_os_str().as_encoded_bytes());
            hasher.field(python.digest()?.to_string());
        }
        Maker::Conda(_) => {
            hasher.field("conda");
        }
    }
    hasher.field(std::env::consts::OS);
    hasher.field(std::env::consts::ARCH);
    hasher.field(lock);
    Ok(hasher.finish())
}
