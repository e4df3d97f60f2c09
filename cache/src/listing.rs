//! What is in a folder of the store.

use std::fs;
use std::path::{Path, PathBuf};

/// What is in a folder; nothing when there is none. Files that are being written are left out.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_whole = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    entries.filter(is_whole).map(|entry| entry.path()).collect()
}
