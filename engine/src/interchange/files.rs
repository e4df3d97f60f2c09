//! Writing files into a folder.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::InterchangeError;

/// A value as the bytes of a file.
pub(super) fn json(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Writes a file of a folder.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), InterchangeError> {
    let path = folder.join(name);
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
    written.map_err(|source| InterchangeError::Write { path, source })
}

/// Writes a file of a folder; gives its number of bytes.
pub(super) fn copy(folder: &Path, name: &str, bytes: &mut impl Read) -> Result<u64, InterchangeError> {
    let path = folder.join(name);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::File::create(&path));
    made.and_then(|mut file| io::copy(bytes, &mut file))
        .map_err(|source| InterchangeError::Write { path, source })
}
