//! Whose a file in the store is: the host and the process that write it, and whether that process has ended.
//!
//! What a process of another host does cannot be known here, so its files count as in use.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::Digest;

/// The identity of the namespace in which a host's own processes are numbered.
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// A file of a process of another host that nobody has written to for so long is left over.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// A process somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    host: String,
    process: u32,
    /// When it was started, in the system's own count: numbers of processes are used again.
    started: u64,
}

impl Owner {
    pub(crate) fn this_process() -> Self {
        let process = std::process::id();
        Self { host: host_name().to_string(), process, started: start_of(process).unwrap_or_default() }
    }

    /// Whether it is known to have ended.
    pub(crate) fn has_ended(&self) -> bool {
        let is_another = || start_of(self.process).is_some_and(|started| started != self.started);
        self.host == host_name() && (is_gone(self.process) || is_another())
    }

    /// Whether it is a process of this host, of which everything can be known.
    pub(crate) fn is_here(&self) -> bool {
        self.host == host_name()
    }

    /// The process, for people.
    pub(crate) fn in_words(&self) -> String {
        let host = self.host.rsplit_once('-').map_or(self.host.as_str(), |(name, _)| name);
        format!("process {} on {host}", self.process)
    }

    #[cfg(test)]
    pub(crate) fn of_ended_process() -> Self {
        Self { process: 4_294_967_294, ..Self::this_process() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}", self.host, self.process, self.started)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('~');
        let (Some(host), Some(process), Some(started), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        Ok(Self {
            host: host.to_owned(),
            process: process.parse().map_err(|_| ())?,
            started: started.parse().map_err(|_| ())?,
        })
    }
}

/// When a process of this host was started, where the system tells.
fn start_of(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// This process's mark in the names of files that it is writing.
pub fn own_mark() -> String {
    format!("{}~{}~", host_name(), std::process::id())
}

/// Whether a file with [`own_mark`] after `prefix` in its name belongs to a process of this host that has ended, or to
/// one of another host that has not written to it for a week.
pub fn is_abandoned(path: &Path, prefix: &str) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let mut parts = name.strip_prefix(prefix).unwrap_or_default().split('~');
    let (host, process) = (parts.next(), parts.next().and_then(|process| process.parse().ok()));
    let Some(process) = process else { return false };
    if host == Some(host_name()) {
        return is_gone(process);
    }
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    written.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > FORGOTTEN))
}

/// Whether no process of that number runs on this host; false where that cannot be told, above all where the system
/// shows a user no processes but their own.
pub(crate) fn is_gone(process: u32) -> bool {
    Path::new("/proc/1").exists() && !Path::new("/proc").join(process.to_string()).exists()
}

/// The host's name, made safe as part of a file name, and a mark of the machine, for names are given twice. Containers
/// that number their processes apart are hosts apart.
pub(crate) fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let namespace = namespace.to_string_lossy();
        let apart = if namespace == HOST_NAMESPACE { "" } else { &namespace };
        let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let name: String = name.trim().chars().chain(apart.chars()).filter(plain).collect();
        let name = if name.trim_matches('.').is_empty() { "host" } else { &name };
        format!("{name}-{}", machine())
    })
}

/// A few digits that tell machines apart: of what the system calls this one, or this start of it.
fn machine() -> String {
    let known = ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"];
    let id = known.iter().filter_map(|path| fs::read_to_string(path).ok()).find(|id| !id.trim().is_empty());
    Digest::of(id.unwrap_or_default().trim().as_bytes()).to_string()[..8].to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_this_hosts_ended_processes_are_abandoned() {
        let host = host_name();
        let is_abandoned = |name: &str| is_abandoned(Path::new(name), "w-");
        assert!(!is_abandoned(&format!("w-{}x.items", own_mark())));
        assert!(is_abandoned(&format!("w-{host}~4294967294~x.items")));
        assert!(!is_abandoned("w-another.host~4294967294~x.items"));
        assert!(!is_abandoned("w-without-a-mark.items"));
        assert!(!is_abandoned(&format!("m-{host}~4294967294~x.items")));
    }

    #[test]
    fn files_of_other_hosts_are_left_over_after_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w-another.host~1~x.items");
        fs::write(&path, "").unwrap();
        assert!(!is_abandoned(&path, "w-"));
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - FORGOTTEN - Duration::from_secs(60)).unwrap();
        assert!(is_abandoned(&path, "w-"));
    }

    #[test]
    fn a_process_that_has_the_number_of_another_is_not_that_one() {
        let own = Owner::this_process();
        assert!(!own.has_ended());
        assert!(Owner::of_ended_process().has_ended());
        assert!(Owner { started: own.started + 1, ..own.clone() }.has_ended());
        assert!(!Owner { host: "elsewhere".to_owned(), process: 4_294_967_294, started: 0 }.has_ended());
        assert_eq!(own.to_string().parse(), Ok(own));
        for text in ["", "a~b~c", "a~1", "a~1~2~3"] {
            assert_eq!(text.parse::<Owner>(), Err(()));
        }
    }
}
