//! What computing an instance takes of the machine: processor time, memory, bytes read and written.
//!
//! The system counts by process. So an instance's own numbers are known when it was the only one in its process, and not
//! told otherwise: a peak that includes others is worse than none. Where the system does not count, nothing is told.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What an instance took while it was computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processor time of all its threads, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// The most memory that its process had meanwhile, in bytes. In records of before version 3 the most that it had had so
    /// far, with whatever ran beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Bytes that it read from files, from the system's memory or from a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes that it wrote to files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
}

/// Instances that this process has begun to compute, and those that have ended.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// Measures what an instance takes from its making on.
pub(crate) struct Meter {
    /// How many were begun with this one, if none was under way.
    alone: Option<u64>,
    cpu_seconds: Option<f64>,
    io: Option<[u64; 2]>,
    /// The peak that was there before, where it could not be taken back.
    former_peak: Option<u64>,
}

impl Meter {
    pub(crate) fn begin() -> Self {
        let ended = ENDED.load(Ordering::SeqCst);
        let begun = BEGUN.fetch_add(1, Ordering::SeqCst) + 1;
        let alone = (begun == ended + 1).then_some(begun);
        // Writing 5 there takes the peak back to what the process has now.
        let is_reset = alone.is_some() && fs::write("/proc/self/clear_refs", "5").is_ok();
        let former_peak = if is_reset { None } else { peak_memory() };
        Self { alone, cpu_seconds: cpu_seconds(), io: io(), former_peak }
    }

    /// What was taken since; nothing of an instance beside which another one ran.
    pub(crate) fn end(self) -> Usage {
        let begun = BEGUN.load(Ordering::SeqCst);
        ENDED.fetch_add(1, Ordering::SeqCst);
        if self.alone != Some(begun) {
            return Usage::default();
        }
        let since = |before: Option<[u64; 2]>, place: usize| {
            before.zip(io()).map(|(before, now)| now[place].saturating_sub(before[place]))
        };
        let is_own = |peak: &u64| self.former_peak.is_none_or(|former| *peak > former);
        Usage {
            cpu_seconds: self.cpu_seconds.zip(cpu_seconds()).map(|(before, now)| (now - before).max(0.0)),
            peak_memory_bytes: peak_memory().filter(is_own),
            read_bytes: since(self.io, 0),
            written_bytes: since(self.io, 1),
        }
    }
}

/// The processor time that this process has taken, in seconds.
fn cpu_seconds() -> Option<f64> {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The most memory this process has had, in bytes.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Bytes read and written by this process so far.
fn io() -> Option<[u64; 2]> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some([value("rchar:")?, value("wchar:")?])
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_alone_is_measured_and_others_are_not() {
        let meter = Meter::begin();
        let memory = vec![1_u8; 64 << 20];
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &memory[..1 << 20]).unwrap();
        // Other tests of this process take time, too.
        while cpu_seconds() < meter.cpu_seconds.map(|before| before + 0.05) {
            std::hint::black_box(memory.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        }
        std::hint::black_box(&memory);
        let usage = meter.end();
        assert!(usage.cpu_seconds.unwrap() >= 0.05, "{usage:?}");
        assert!(usage.written_bytes.unwrap() >= 1 << 20, "{usage:?}");
        drop(memory);
        // What the first one took is not the next one's, if the system takes its peak back.
        let meter = Meter::begin();
        let next = meter.end();
        assert!(
            next.peak_memory_bytes.is_none_or(|peak| peak < usage.peak_memory_bytes.unwrap()),
            "{next:?}"
        );
        let (first, second) = (Meter::begin(), Meter::begin());
        assert_eq!([first.end(), second.end()], [Usage::default(); 2]);
        assert_ne!(Meter::begin().end(), Usage::default());
    }
}
