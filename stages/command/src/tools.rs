//! What tools answer: a version, a list of packages. It is asked once in a process, and is part of a result's identity.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pipe_plugin::host::Host;
use pipe_plugin::stage::StageError;

use crate::program::Program;

/// So long has a tool to answer.
const LONGEST: Duration = Duration::from_secs(120);
/// So much of an answer counts, in bytes.
const MOST: u64 = 1 << 20;

/// The answer of a tool: all that it writes to its standard output and error, without blanks at its ends.
///
/// # Errors
/// When it is not there, fails, or does not end.
pub fn answer(command: &str, host: &Host) -> Result<String, StageError> {
    let found =
        host.once(&format!("tool {command}"), || ask(command, host).map_err(|error| error.to_string()));
    found.map_err(|problem| {
        StageError::message(format!("the tool `{command}` in `tools`: {problem}"))
            .advise("correct it, or install it; it tells which software a result follows from")
    })
}

/// The name of the program that a tool is.
///
/// # Errors
/// When there is none.
pub fn program(command: &str) -> Result<String, StageError> {
    words(command)?.into_iter().next().ok_or_else(|| StageError::message("a tool in `tools` is blank"))
}

fn words(command: &str) -> Result<Vec<String>, StageError> {
    shlex::split(command).ok_or_else(|| {
        StageError::message(format!("the quotes of the tool `{command}` in `tools` do not end"))
    })
}

fn ask(command: &str, host: &Host) -> Result<String, StageError> {
    let words = words(command)?;
    let (name, arguments) = words.split_first().ok_or_else(|| StageError::message("it is blank"))?;
    let program = Program::find(name, host)?;
    let variables = BTreeMap::from([
        ("PATH", host.variable("PATH").unwrap_or("/usr/bin:/bin")),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("HOME", "/nonexistent"),
        ("PYTHONNOUSERSITE", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ]);
    let (mut reader, writer) = std::io::pipe()?;
    let mut child = Command::new(&program.path)
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(MOST).read_to_end(&mut bytes);
        read.map(|_| bytes)
    });
    let end = Instant::now() + LONGEST;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Err(StageError::message(format!("it has not answered for {} s", LONGEST.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let bytes = reading.join().map_err(|_| StageError::message("its answer cannot be read"))??;
    let text = String::from_utf8_lossy(&bytes).trim().to_string();
    match status.success() {
        true => Ok(text),
        false => Err(StageError::message(format!("it failed ({status}): {text}"))),
    }
}
