//! Reading, writing and syncing, in one place: the store works through here, so that tests can make any of it fail. What
//! makes it fail is compiled into development builds only.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

#[cfg(debug_assertions)]
pub mod faults;

/// Writes all bytes.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next_write() {
        return fault.write(file, bytes);
    }
    file.write_all(bytes)
}

/// Makes what was written durable.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next_write() {
        return fault.fail();
    }
    file.sync_data()
}

/// A point before a change of names, where a test may make the file system refuse it.
pub(crate) fn before_rename() -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next_write() {
        return fault.fail();
    }
    Ok(())
}

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    before_read()?;
    fs::read(path)
}

/// A file that is to be read.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    before_read()?;
    File::open(path)
}

/// A point before reading, where a test may make the device fail.
pub(crate) fn before_read() -> io::Result<()> {
    #[cfg(debug_assertions)]
    if let Some(fault) = faults::next_read() {
        return fault.fail();
    }
    Ok(())
}
