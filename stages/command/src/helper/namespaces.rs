//! Making namespaces, and starting the helper that is their first process.

use std::fs;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getegid, geteuid, sethostname, setsid};

use super::supervise::{self, close_inherited, tell};
use super::{Ending, Word};

/// The name of every host, as programs in namespaces see it.
const HOST: &str = "pipe";

/// Makes namespaces, has a helper in them obey the order, and waits for its end.
pub(super) fn make(network: bool) -> ExitCode {
    close_inherited();
    // Without a terminal: what is written to one could be read as somebody's commands.
    let _ = setsid();
    if let Err(problem) = enter(network) {
        tell(&Word::Ended(Ending { problem: Some(problem), ..Ending::default() }));
        return ExitCode::SUCCESS;
    }
    #[allow(unsafe_code, reason = "a copy of the process is what becomes the first one in its namespaces")]
    // SAFETY: this process has one thread, so that nothing is held in the copy that nobody lets go of.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => supervise::obey(true),
        Ok(ForkResult::Parent { child }) => loop {
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => return ExitCode::SUCCESS,
                Err(nix::Error::EINTR) => {}
                _ => return ExitCode::FAILURE,
            }
        },
        Err(error) => {
            let problem = Some(format!("cannot start a process in namespaces: {error}"));
            tell(&Word::Ended(Ending { problem, ..Ending::default() }));
            ExitCode::SUCCESS
        }
    }
}

fn enter(network: bool) -> Result<(), String> {
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if !network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    unshare(flags).map_err(|error| format!("cannot make namespaces: {error}"))?;
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"))
    };
    write("/proc/self/setgroups", "deny".to_string())?;
    write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    sethostname(HOST).map_err(|error| format!("cannot name the host: {error}"))
}
