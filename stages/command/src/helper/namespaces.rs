//! Making namespaces, and starting the helper that is their first process.

use std::fs;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid, sethostname, setsid};

use super::supervise::{close_inherited, tell};
use super::{Ending, THIS, WITHIN, Word};

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
    let ended = Command::new(THIS).args(WITHIN).env_clear().status();
    match ended {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
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
