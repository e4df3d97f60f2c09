//! Whose a file in the store is: the host and the process that write it, and whether that process is gone.
//!
//! What a process of another host does cannot be known here, so its files count as in use.

use std::fs;
use std::path::Path;

/// This process's mark in file names.
pub(crate) fn own_mark() -> String {
    format!("{}~{}~", host_name(), std::process::id())
}

/// Whether a name with [`own_mark`] after `prefix` belongs to a process of this host that has ended.
pub(crate) fn is_abandoned(name: &str, prefix: &str) -> bool {
    let mut parts = name.strip_prefix(prefix).unwrap_or_default().split('~');
    let (host, process) = (parts.next(), parts.next().and_then(|process| process.parse().ok()));
    host == Some(&host_name()) && process.is_some_and(is_gone)
}

/// Whether no process of that number runs on this host; false where that cannot be told.
pub(crate) fn is_gone(process: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new("/proc").join(process.to_string()).exists()
}

/// The host's name, made safe as part of a file name.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if name.trim_matches('.').is_empty() { "host".to_string() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_this_hosts_ended_processes_are_abandoned() {
        let host = host_name();
        assert!(!is_abandoned(&format!("w-{}x.items", own_mark()), "w-"));
        assert!(is_abandoned(&format!("w-{host}~4294967294~x.items"), "w-"));
        assert!(!is_abandoned("w-another.host~4294967294~x.items", "w-"));
        assert!(!is_abandoned("w-without-a-mark.items", "w-"));
        assert!(!is_abandoned(&format!("m-{host}~4294967294~x.items"), "w-"));
    }
}
