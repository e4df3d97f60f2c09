//! Running a program under the helper: its output goes to the log as it comes, its messages to whoever listens.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use pipe_plugin::context::{Cancel, Report};
use pipe_plugin::host::Host;
use pipe_plugin::stage::{Interrupted, StageError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::folder::MESSAGES;
use crate::helper::{Ending, Isolation, Order, THIS, WORD, Word, words};
use crate::message::Message;
use crate::output::{Kept, Lines};

/// So often is looked whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(50);
/// So many messages of a program are heard, besides those of how far it is.
const MOST_MESSAGES: usize = 1000;
/// So long has the helper to end a program and itself.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a program ended, and its last lines.
pub struct Ran {
    /// How it ended.
    pub ending: Ending,
    /// Its last lines, without blank ones.
    pub last: Vec<String>,
}

/// How far programs can be closed off here, and why not further.
pub fn isolation(host: &Host, scratch: &Path) -> (Isolation, Option<String>) {
    let probe = |isolation: Isolation| {
        host.once(&format!("isolation {isolation}"), || {
            let folder = crate::folder::Folder::new(scratch, false).map_err(|error| error.to_string())?;
            let order = Order { work: folder.work(), root: folder.root(), isolation, ..Order::default() };
            let silent = |_: &str| {};
            let ran = follow(&order, host, &Cancel::default(), &silent, &|_| {});
            match ran.map_err(|error| error.to_string())?.ending.problem {
                Some(problem) => Err(problem),
                None => Ok(String::new()),
            }
        })
    };
    let Err(first) = probe(Isolation::Namespaces) else { return (Isolation::Namespaces, None) };
    match probe(Isolation::Landlock) {
        Ok(_) => (Isolation::Landlock, Some(first)),
        Err(second) => (Isolation::None, Some(format!("{first}; {second}"))),
    }
}

/// Runs a program to its end.
///
/// # Errors
/// [`Interrupted`] when the run was asked to stop; when the helper cannot be started or dies.
pub fn run(order: &Order, host: &Host, cancel: &Cancel, reporter: &dyn Report) -> Result<Ran, StageError> {
    let path = order.work.join(MESSAGES);
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).map_err(io::Error::from)?;
    let log = |line: &str| reporter.log(line);
    let (heard, told) = (Cell::new(0_usize), Cell::new(None::<Instant>));
    let hear = |line: &str| match Message::parse(line) {
        Ok(Message::Progress { done, total, note }) => {
            let is_soon = told.get().is_some_and(|last| last.elapsed() < LOOK);
            if !is_soon || done == total {
                told.set(Some(Instant::now()));
                reporter.progress(done, total, &note);
            }
        }
        _ if heard.replace(heard.get() + 1) >= MOST_MESSAGES => {}
        Ok(Message::Scalar(name, value)) => reporter.scalar(&name, value),
        Ok(Message::Warning(text)) => reporter.warn(&text),
        Err(problem) => reporter.log(&problem),
    };
    follow(order, host, cancel, &log, &hear)
}

/// Starts the helper and follows it to its end: each line of output to `log`, each message to `hear`.
///
/// # Errors
/// As [`run`].
pub fn follow(
    order: &Order,
    host: &Host,
    cancel: &Cancel,
    log: &dyn Fn(&str),
    hear: &dyn Fn(&str),
) -> Result<Ran, StageError> {
    if host.program().is_none() {
        return Err(StageError::message("this program cannot start itself as a helper"));
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new(THIS)
        .arg(WORD)
        .args(words(order.isolation, order.network))
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let outcome = attend(order, (&mut child, &mut ours), cancel, log, hear);
    let was_stopped = end(&mut child, &ours)?;
    let (started, ending) = told(&mut ours);
    if ending.is_none() && order.isolation != Isolation::Namespaces {
        // With the helper gone, nobody else ends the program.
        let group = started.and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    let last = outcome?;
    if cancel.is_cancelled() {
        return Err(Interrupted.into());
    }
    let ending = ending.ok_or_else(|| {
        let why = if was_stopped { "did not end in time" } else { "ended before it could tell how" };
        StageError::message(format!("the helper that watches over the program {why}"))
            .advise("run again; a program that has the kind `command` must call `pipe_command::serve` first")
    })?;
    Ok(Ran { ending, last })
}

/// What the helper has told: the program's process, and how it ended.
fn told(socket: &mut UnixStream) -> (Option<i32>, Option<Ending>) {
    let mut text = String::new();
    // What it told before it died counts.
    let _ = socket.set_nonblocking(true).and_then(|()| socket.read_to_string(&mut text));
    let (mut started, mut ending) = (None, None);
    for word in text.lines().filter_map(|line| serde_json::from_str::<Word>(line).ok()) {
        match word {
            Word::Started(process) => started = Some(process),
            Word::Ended(ended) => ending = Some(ended),
        }
    }
    (started, ending)
}

/// Hands the order over, and reads until the helper ends or is not wanted any more, which it is told.
fn attend(
    order: &Order,
    (child, socket): (&mut Child, &mut UnixStream),
    cancel: &Cancel,
    log: &dyn Fn(&str),
    hear: &dyn Fn(&str),
) -> Result<Vec<String>, StageError> {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(io::Error::from)?;
    hand_over(order, socket)?;
    let mut kept = Kept::default();
    let mut streams = Vec::new();
    streams.extend(child.stdout.take().map(|stream| Stream::new(OwnedFd::from(stream), false)));
    streams.extend(child.stderr.take().map(|stream| Stream::new(OwnedFd::from(stream), false)));
    let messages = order.work.join(MESSAGES);
    if messages.exists() {
        // Opened for writing as well, it never ends, whoever opens and closes it.
        streams.push(Stream::new(OpenOptions::new().read(true).write(true).open(messages)?.into(), true));
    }
    for stream in &streams {
        rustix::io::ioctl_fionbio(&stream.file, true).map_err(io::Error::from)?;
    }
    loop {
        let (ready, is_over) = wait(&handle, &streams)?;
        for (stream, _) in streams.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
            stream.read(1, &mut kept, log, hear)?;
            if stream.is_over {
                stream.finish(&mut kept, log, hear);
            }
        }
        streams.retain(|stream| !stream.is_over);
        if is_over || cancel.is_cancelled() {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
    if cancel.is_cancelled() {
        // The helper has some seconds to end what runs; what that writes meanwhile is read, so that it is not held up.
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && !wait(&handle, &streams)?.1 {
            streams.iter_mut().try_for_each(|stream| stream.read(1, &mut kept, log, hear))?;
            streams.retain(|stream| !stream.is_over);
        }
    }
    // What is left in the pipes; a process that escaped may hold them open, and is not waited for.
    streams.iter_mut().try_for_each(|stream| stream.read(usize::MAX, &mut kept, log, hear))?;
    streams.iter_mut().for_each(|stream| stream.finish(&mut kept, log, hear));
    Ok(kept.finish(log))
}

fn hand_over(order: &Order, socket: &mut UnixStream) -> Result<(), StageError> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    // A helper that cannot read it tells so by its end.
    match socket.write_all(&line) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Waits a moment: which streams have something, and whether the helper is over.
fn wait(handle: &OwnedFd, streams: &[Stream]) -> Result<(Vec<bool>, bool), StageError> {
    let files = streams.iter().map(|stream| stream.file.as_fd()).chain([handle.as_fd()]);
    let mut places: Vec<PollFd<'_>> =
        files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)).collect();
    let time = Timespec::try_from(LOOK).ok();
    match poll(&mut places, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let mut ready: Vec<bool> = places.iter().map(|place| !place.revents().is_empty()).collect();
    let is_over = ready.pop().unwrap_or_default();
    Ok((ready, is_over))
}

/// Waits for the helper, and ends it if it does not end by itself; whether that was needed.
fn end(child: &mut Child, socket: &UnixStream) -> Result<bool, StageError> {
    let _ = socket.shutdown(Shutdown::Write);
    let limit = Instant::now() + PATIENCE;
    loop {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if Instant::now() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A stream of lines.
struct Stream {
    file: fs::File,
    lines: Lines,
    /// Whether its lines are messages, and no output.
    is_heard: bool,
    is_over: bool,
}

impl Stream {
    fn new(file: OwnedFd, is_heard: bool) -> Self {
        Self { file: file.into(), lines: Lines::default(), is_heard, is_over: false }
    }

    /// Reads what there is, so many times at most.
    fn read(
        &mut self,
        times: usize,
        kept: &mut Kept,
        log: &dyn Fn(&str),
        hear: &dyn Fn(&str),
    ) -> Result<(), StageError> {
        let mut buffer = [0; 1 << 16];
        for _ in 0..times {
            let count = match self.file.read(&mut buffer) {
                Ok(0) => {
                    self.is_over = true;
                    return Ok(());
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let is_heard = self.is_heard;
            self.lines.take(&buffer[..count], &mut |line| Self::give(is_heard, line, kept, log, hear));
        }
        Ok(())
    }

    fn finish(&mut self, kept: &mut Kept, log: &dyn Fn(&str), hear: &dyn Fn(&str)) {
        let is_heard = self.is_heard;
        self.lines.finish(&mut |line| Self::give(is_heard, line, kept, log, hear));
    }

    fn give(is_heard: bool, line: &str, kept: &mut Kept, log: &dyn Fn(&str), hear: &dyn Fn(&str)) {
        match is_heard {
            true => hear(line),
            false => kept.take(line, log),
        }
    }
}
