//! What a running kind may take of the machine.

use std::path::Path;

use pipe_cache::Environments;

use crate::host::Host;

/// What a running kind may take of the machine; no result may follow from it, but for the host's variables that a kind
/// [counts](crate::stage::Stage::environment).
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// The machine.
    pub host: &'a Host,
    /// A folder for files that are needed while it runs, on the disk on which results are kept. Whoever makes files in it removes
    /// them.
    pub scratch: &'a Path,
    /// Software that is made once and used by many.
    pub environments: &'a Environments,
    /// Processors that it may keep busy.
    pub cpus: usize,
    /// Memory that it may take in bytes; 0 if nobody says.
    pub memory_bytes: u64,
    /// Whether what it does must be closed off from all that it does not declare.
    pub strict: bool,
}
