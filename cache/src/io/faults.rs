//! Faults on demand, for tests: the n-th write, sync or rename of the process fails in a chosen way, or the n-th reading.

use std::fs::File;
use std::io::{self, Write as _};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a file system fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error, once.
    Error,
    /// The disk is full from now on.
    Full,
    /// Half of the bytes are written, then the device reports an error.
    Short,
    /// The process ends at once, half-way through the write.
    Death,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A write, a sync or a rename.
    Write,
    /// The reading of a file, or of a part of it.
    Read,
}

/// A fault and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What fails.
    pub operation: Operation,
    /// What happens.
    pub fault: Fault,
    /// Counted from 1 over all such operations of the process.
    pub at: u64,
}

static PLAN: Mutex<Option<Plan>> = Mutex::new(None);
static WRITES: AtomicU64 = AtomicU64::new(0);
static READINGS: AtomicU64 = AtomicU64::new(0);

/// Lets a fault happen in this process.
pub fn arm(plan: Plan) {
    *PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(plan);
}

impl FromStr for Plan {
    type Err = String;

    /// Reads `error@17`, `full@17`, `short@17` or `death@17`, for readings `read-error@17` or `read-death@17`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is no fault: expected such as error@17");
        let (fault, at) = text.split_once('@').ok_or_else(refuse)?;
        let (operation, fault) = match fault.strip_prefix("read-") {
            Some(fault) => (Operation::Read, fault),
            None => (Operation::Write, fault),
        };
        let fault = match fault {
            "error" => Fault::Error,
            "full" => Fault::Full,
            "short" => Fault::Short,
            "death" => Fault::Death,
            _ => return Err(refuse()),
        };
        Ok(Self { operation, fault, at: at.parse().map_err(|_| refuse())? })
    }
}

/// The fault of the present write, sync or rename, if one is due.
pub(super) fn next_write() -> Option<Fault> {
    next(Operation::Write, &WRITES)
}

/// The fault of the present reading, if one is due.
pub(super) fn next_read() -> Option<Fault> {
    next(Operation::Read, &READINGS)
}

/// Whether what was planned has come to pass; true of a process that plans nothing.
pub fn has_come() -> bool {
    let plan = *PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    plan.is_none_or(|plan| match plan.operation {
        Operation::Write => WRITES.load(Ordering::SeqCst) >= plan.at,
        Operation::Read => READINGS.load(Ordering::SeqCst) >= plan.at,
    })
}

fn next(operation: Operation, count: &AtomicU64) -> Option<Fault> {
    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
    let plan = (*PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
    let due = number == plan.at || (plan.fault == Fault::Full && number > plan.at);
    (due && operation == plan.operation).then_some(plan.fault)
}

impl Fault {
    pub(super) fn write(self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        let half = bytes.len() / 2;
        match self {
            Self::Error => self.fail(),
            Self::Full | Self::Short | Self::Death => {
                file.write_all(bytes.get(..half).unwrap_or_default())?;
                self.fail()
            }
        }
    }

    pub(super) fn fail(self) -> io::Result<()> {
        match self {
            Self::Error | Self::Short => Err(io::Error::other("input/output error (made by a test)")),
            Self::Full => Err(io::ErrorKind::StorageFull.into()),
            Self::Death => std::process::abort(),
        }
    }
}
