//! Starting a program, watching over it, and ending all that it leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, Stdin};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::{set_child_subreaper, set_dumpable, set_pdeathsig};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid as RawPid, PidfdFlags, pidfd_open};

use super::{Ending, Order, Word};
use crate::helper::isolate::isolate;

/// So long has a program to end by itself once it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// So often is looked how much memory is taken.
const LOOK: Duration = Duration::from_millis(100);

/// Reads the order, obeys it, and tells how the program ended. Within namespaces the process is the first one in them, and has
/// come out of whoever made them.
pub(super) fn obey(is_within: bool) -> ExitCode {
    if is_within {
        // With the namespaces' maker gone, nobody waits for the program.
        let _ = set_pdeathsig(Signal::SIGKILL);
    } else {
        close_inherited();
        let _ = setsid();
    }
    // Its open files are not the program's.
    let _ = set_dumpable(false);
    let stdin = io::stdin();
    let mut text = String::new();
    let order = match stdin.lock().read_line(&mut text).map(|_| serde_json::from_str::<Order>(&text)) {
        Ok(Ok(order)) => order,
        _ => return ExitCode::FAILURE,
    };
    let ending = run(&order, &stdin, is_within);
    let ending = ending.unwrap_or_else(|problem| Ending { problem: Some(problem), ..Ending::default() });
    match tell(&Word::Ended(ending)) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Tells whoever started the helper; whether that was possible.
pub(super) fn tell(word: &Word) -> bool {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    let mut rest = &line[..];
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdin(), rest) {
            Ok(count) => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Closes what the process has inherited besides standard input, output and error: a program would have it too.
pub(super) fn close_inherited() {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _ = nix::unistd::close(number);
    }
}

fn run(order: &Order, stdin: &Stdin, is_within: bool) -> Result<Ending, String> {
    isolate(order)?;
    let Some((program, arguments)) = order.argv.split_first() else { return Ok(Ending::default()) };
    umask(Mode::from_bits_truncate(0o022));
    set_child_subreaper(true).map_err(|error| format!("cannot watch over a program: {error}"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&order.variables).stdin(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    tell(&Word::Started(child.id() as i32));
    let mut ending = watch(order, stdin, &mut child)?;
    let group = Pid::from_raw(child.id() as i32);
    match is_within {
        // All others in the namespaces end with this process.
        true => drop(killpg(group, Signal::SIGKILL)),
        false => end_all(group),
    }
    let status = child.wait().map_err(|error| format!("cannot learn how {program} ended: {error}"))?;
    (ending.code, ending.signal) = (status.code(), status.signal());
    Ok(ending)
}

/// Waits until the program ends, is not wanted any more, or takes too much memory.
fn watch(order: &Order, stdin: &Stdin, child: &mut Child) -> Result<Ending, String> {
    let raw = RawPid::from_child(child);
    let handle =
        pidfd_open(raw, PidfdFlags::empty()).map_err(|error| format!("cannot watch a program: {error}"))?;
    let mut ending = Ending::default();
    let limit = (order.memory_bytes > 0).then_some(LOOK);
    loop {
        let (is_over, is_unwanted) = wait(&handle, Some(stdin), limit)?;
        if is_over {
            return Ok(ending);
        }
        if limit.is_some() {
            ending.peak_bytes = ending.peak_bytes.max(memory());
            ending.is_too_large = ending.peak_bytes > order.memory_bytes;
        }
        if is_unwanted || ending.is_too_large {
            stop(raw, &handle, ending.is_too_large)?;
            return Ok(ending);
        }
    }
}

/// Waits for one of two ends: of the program, and of the standard input.
fn wait(handle: &OwnedFd, stdin: Option<&Stdin>, time: Option<Duration>) -> Result<(bool, bool), String> {
    let mut places = vec![PollFd::new(handle, PollFlags::IN)];
    if let Some(stdin) = stdin {
        places.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
    }
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut places, time.as_ref()) {
        Err(rustix::io::Errno::INTR) => return Ok((false, false)),
        Err(error) => return Err(format!("cannot wait for a program: {error}")),
        Ok(_) => {}
    }
    let is_ready = |place: Option<&PollFd<'_>>| place.is_some_and(|place| !place.revents().is_empty());
    Ok((is_ready(places.first()), is_ready(places.get(1))))
}

/// Asks the program's group to end, and ends it if it does not. One that takes too much memory is not asked.
fn stop(child: RawPid, handle: &OwnedFd, is_urgent: bool) -> Result<(), String> {
    let group = Pid::from_raw(child.as_raw_nonzero().get());
    if !is_urgent {
        let _ = killpg(group, Signal::SIGTERM);
        let end = Instant::now() + GRACE;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if wait(handle, None, Some(left))?.0 {
                return Ok(());
            }
        }
    }
    let _ = killpg(group, Signal::SIGKILL);
    Ok(())
}

/// Ends all that a program has left behind, in its group or in groups of its own, and waits for it.
fn end_all(program: Pid) {
    let _ = killpg(program, Signal::SIGKILL);
    // Those whose parents have gone are this process's children now; ending one may bring more.
    for _ in 0..1000 {
        let children = children_of("self");
        let left: Vec<i32> = children.into_iter().filter(|pid| *pid != program.as_raw()).collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            while let Ok(WaitStatus::StillAlive) = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The processes that a process has started, as the system lists them.
fn children_of(process: &str) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    children
        .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

/// The memory of all that this process has started, in bytes. What several share counts once.
fn memory() -> u64 {
    let mut waiting = children_of("self");
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    while let Some(pid) = waiting.pop() {
        if seen.insert(pid) {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            bytes += kibibytes.unwrap_or_default() * 1024;
            waiting.extend(children_of(&pid.to_string()));
        }
    }
    bytes
}
