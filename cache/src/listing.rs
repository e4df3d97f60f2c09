//! What is in a folder of the store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What is in a folder; nothing when there is none. Files that are being written are left out.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_whole = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    entries.filter(is_whole).map(|entry| entry.path()).collect()
}

/// All that is in a folder, in the order of the names; nothing where there is none. For who must not miss anything.
///
/// # Errors
/// [`Error::Io`] when a part of it cannot be listed.
pub(crate) fn all_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("read", folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed()(error)),
    };
    let mut paths =
        entries.map(|entry| Ok(entry.map_err(failed())?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether a file has been removed, here or by another host.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}
