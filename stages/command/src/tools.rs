//! What tools answer: a version, a list of packages. It is asked once in a process, and is part of a result's identity.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pipe_plugin::host::Host;
use pipe_plugin::stage::StageError;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::program::{Program, search_path};

/// So long has a tool to answer.
const LONGEST: Duration = Duration::from_secs(120);
/// So much of an answer counts, in bytes.
const MOST: u64 = 1 << 20;

/// The answer of a tool: all that it writes to its standard output and error, without blanks at its ends.
///
/// # Errors
/// When it is not there, fails, or does not end.
pub fn answer(command: &str, software: &[String], host: &Host) -> Result<String, StageError> {
    let name = format!("tool {command} {}", software.join(":"));
    let found = host.once(&name, || ask(command, software, host).map_err(|error| error.to_string()));
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

fn end_group(group: Pid) {
    let _ = kill_process_group(group, Signal::KILL);
}

fn ask(command: &str, software: &[String], host: &Host) -> Result<String, StageError> {
    let words = words(command)?;
    let (name, arguments) = words.split_first().ok_or_else(|| StageError::message("it is blank"))?;
    let program = Program::find(name, software, host)?;
    let path = search_path(software, host);
    let variables = BTreeMap::from([
        ("PATH", path.as_str()),
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
        .process_group(0)
        .spawn()?;
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(MOST).read_to_end(&mut bytes);
        read.map(|_| bytes)
    });
    let group = Pid::from_child(&child);
    let end = Instant::now() + LONGEST;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            // What it leaves behind may hold its output open.
            end_group(group);
            break status;
        }
        if Instant::now() > end {
            end_group(group);
            child.wait()?;
            return Err(StageError::message(format!("it has not answered for {} s", LONGEST.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let bytes = reading.join().map_err(|_| StageError::message("its answer cannot be read"))??;
    let text = String::from_utf8_lossy(&bytes).trim().to_string();
    match status.success() {
        true => Ok(text),
        false => {
            let beginning: String = text.chars().take(500).collect();
            Err(StageError::message(format!("it failed ({status}): {beginning}")))
        }
    }
}
