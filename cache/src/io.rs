//! Writing and syncing, in one place: the store writes through here, so that tests can make any write fail. What makes
//! them fail is compiled into development builds only.

use std::fs::File;
use std::io::{self, Write as _};

#[cfg(debug_assertions)]
pub mod faults;

/// Writes all bytes.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next() {
        return fault.write(file, bytes);
    }
    file.write_all(bytes)
}

/// Makes what was written durable.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next() {
        return fault.fail();
    }
    file.sync_data()
}

/// A point before a change of names, where a test may make the file system refuse it.
pub(crate) fn before_rename() -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next() {
        return fault.fail();
    }
    Ok(())
}
