//! What a program's result follows from on the machine: the programs that are started, what tools answer, variables.

use std::collections::BTreeMap;
use std::path::Path;

use pipe_plugin::canonical_text;
use pipe_plugin::host::Host;
use pipe_plugin::stage::StageError;
use serde_json::Value;

use crate::container;
use crate::declaration::Declared;
use crate::environment;
use crate::params::CommandParams;
use crate::program::Program;
use crate::template::Template;
use crate::tools;

/// What the result of a program follows from on this machine.
///
/// # Errors
/// A program, tool or folder of software that is not there, or a tool that fails.
pub fn of_machine(
    declared: &Declared,
    params: &CommandParams,
    host: &Host,
) -> Result<BTreeMap<String, String>, StageError> {
    let mut found = BTreeMap::new();
    if let Some(folder) = params.software.iter().find(|folder| !Path::new(folder).exists()) {
        return Err(StageError::message(format!("there is no {folder}, which `software` names")));
    }
    let programs = match declared.software {
        Some(container::IMAGE) => vec![container::runtime(&params.software, host)?],
        environment => programs(params, environment, host)?,
    };
    for (name, program) in programs {
        let digest = host.once(&format!("program {}", program.path.display()), || {
            program.digest().map(|digest| digest.to_string()).map_err(|error| error.to_string())
        });
        let digest = digest.map_err(StageError::message)?;
        found.insert(format!("program {name}"), format!("{} {digest}", program.path.display()));
    }
    for name in &params.env {
        found.extend(host.variable(name).map(|value| (format!("variable {name}"), value.to_string())));
    }
    for command in &params.tools {
        found.insert(format!("tool {command}"), tools::answer(command, &params.software, host)?);
    }
    Ok(found)
}

/// The programs that count: that which is started, and those that answer as tools. With an `environment` that need not have been made
/// yet, what it is made with, and no program of its own.
///
/// # Errors
/// When one is not there.
pub fn programs(
    params: &CommandParams,
    environment: Option<&str>,
    host: &Host,
) -> Result<Vec<(String, Program)>, StageError> {
    let mut found = environment::counted(environment, params, host)?;
    found.extend(started(params, environment, host)?);
    for command in &params.tools {
        let name = tools::program(command)?;
        if !found.iter().any(|(known, _)| *known == name) {
            found.extend(with_interpreter(&name, params, host)?);
        }
    }
    Ok(found)
}

/// The program that is started, and what reads it if it is a script. None where an input of the stage is the program.
///
/// # Errors
/// When it is not there.
pub fn started(
    params: &CommandParams,
    environment: Option<&str>,
    host: &Host,
) -> Result<Vec<(String, Program)>, StageError> {
    let Some(first) = params.run.first() else {
        return Ok(vec![("bash".to_string(), find("bash", params, host)?)]);
    };
    let template = Template::parse(first);
    if template.lone().is_some_and(|name| !name.starts_with("params.")) {
        return Ok(Vec::new());
    }
    let name = template.filled(&mut |name| match name.strip_prefix("params.") {
        Some(own) => Ok(params.own.get(own).map(text).unwrap_or_default()),
        None => Err(StageError::message(format!("{first:?} names no program"))
            .advise("name a program, or give {INPUT} alone for one that is an input")),
    })?;
    if environment.is_some() && !name.contains('/') {
        // It is the environment's, and counts by the lock.
        return Ok(Vec::new());
    }
    with_interpreter(&name, params, host)
}

/// A program, and what reads it if it is a script.
fn with_interpreter(
    name: &str,
    params: &CommandParams,
    host: &Host,
) -> Result<Vec<(String, Program)>, StageError> {
    let program = find(name, params, host)?;
    let interpreter = program.interpreter(&params.software, host).transpose()?;
    let of_script = interpreter.map(|interpreter| (format!("of {name}"), interpreter));
    Ok([(name.to_string(), program)].into_iter().chain(of_script).collect())
}

fn find(name: &str, params: &CommandParams, host: &Host) -> Result<Program, StageError> {
    Program::find(name, &params.software, host).map_err(|error| {
        StageError::from(error)
            .advise("install it, or name another; programs of the project are inputs of the stage")
    })
}

/// A value as an argument: a text as it is, anything else as JSON.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| canonical_text(value), str::to_string)
}
