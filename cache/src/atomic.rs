//! Files that appear whole or not at all: written beside their destination, synced, then renamed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes a file so that a reader, also after a crash, sees the old bytes or all of the new ones.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_parts_atomically(path, &[bytes])
}

/// Like [`write_atomically`], for bytes that lie in several places.
pub(crate) fn write_parts_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let file = written_beside(path, parts)?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    sync_folder(parent(path));
    Ok(())
}

/// Like [`write_atomically`], but leaves a file that is already there; says whether it wrote.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<bool> {
    let file = written_beside(path, &[bytes])?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            sync_folder(parent(path));
            Ok(true)
        }
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("write", path)(error.error)),
    }
}

/// A temporary file in the folder of `path` that holds these bytes, synced.
fn written_beside(path: &Path, parts: &[&[u8]]) -> Result<NamedTempFile> {
    let folder = parent(path);
    create_folder(folder)?;
    let mut file =
        NamedTempFile::with_prefix_in(".writing-", folder).map_err(Error::io("write in", folder))?;
    for part in parts {
        file.write_all(part).map_err(Error::io("write", path))?;
    }
    file.as_file().sync_data().map_err(Error::io("sync", path))?;
    Ok(file)
}

/// Makes a folder and its ancestors, readable by the owner only.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(Error::io("create folder", folder))
}

/// Makes a rename durable. File systems that cannot sync a folder keep the rename's order anyway.
pub(crate) fn sync_folder(folder: &Path) {
    if let Ok(handle) = File::open(folder) {
        let _ = handle.sync_all();
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
