//! Files that appear whole or not at all: written beside their destination, synced, then renamed.
//!
//! What is made can be read by the owner only, unless the folder that it is made in can be written by a group: then
//! the group may read and write it, too.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::io::{before_rename, sync, write_all};

/// Writes a file so that a reader, also after a crash, sees the old bytes or all of the new ones.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_parts_atomically(path, &[bytes], Durability::Now)
}

/// Like [`write_atomically`], for bytes that lie in several places.
pub(crate) fn write_parts_atomically(path: &Path, parts: &[&[u8]], durability: Durability) -> Result<()> {
    let file = written_beside(path, parts, durability)?;
    before_rename().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    if durability == Durability::Now {
        sync_folder(parent(path));
    }
    Ok(())
}

/// Appends bytes to a file that was made by [`create_to_append`].
///
/// # Errors
/// The system's.
pub fn append(file: &File, bytes: &[u8]) -> io::Result<()> {
    write_all(file, bytes)
}

/// When what is written has to outlast a power failure. A crash of the process never matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Before the call returns.
    Now,
    /// When the system writes it; until then a power failure leaves it absent, or cut short, which its readers notice.
    Soon,
}

/// Like [`write_atomically`], but leaves a file that is already there; says whether it wrote.
pub(crate) fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> Result<bool> {
    let file = written_beside(path, &[bytes], durability)?;
    before_rename().map_err(Error::io("write", path))?;
    match file.persist_noclobber(path) {
        Ok(_) => {
            if durability == Durability::Now {
                sync_folder(parent(path));
            }
            Ok(true)
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("write", path)(error.error)),
    }
}

/// A temporary file in the folder of `path` that holds these bytes.
fn written_beside(path: &Path, parts: &[&[u8]], durability: Durability) -> Result<NamedTempFile> {
    let folder = parent(path);
    create_folder(folder)?;
    let file = NamedTempFile::with_prefix_in(WRITING, folder).map_err(Error::io("write in", folder))?;
    share_file(folder, file.as_file());
    for part in parts {
        write_all(file.as_file(), part).map_err(Error::io("write", path))?;
    }
    if durability == Durability::Now {
        sync(file.as_file()).map_err(Error::io("sync", path))?;
    }
    Ok(file)
}

/// How the names of files begin that are being written.
pub(crate) const WRITING: &str = ".writing-";

/// Makes a folder and its ancestors, for the owner alone or, in a shared cache, for its group.
///
/// # Errors
/// [`Error::Io`] when it cannot be made.
pub fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match create_new_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let what = if folder.is_symlink() { "a link there leads nowhere" } else { "a file is there" };
            Err(Error::io("create folder", folder)(io::Error::new(io::ErrorKind::AlreadyExists, what)))
        }
        outcome => outcome.map_err(Error::io("create folder", folder)),
    }
}

/// Makes a folder that must not be there yet, with the rights of [`create_folder`].
///
/// # Errors
/// The system's.
pub fn create_new_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    share_folder(folder);
    Ok(())
}

/// Makes a file in a folder, to append to; it must not be there yet. Its rights are those of [`create_folder`].
///
/// # Errors
/// The system's.
pub fn create_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    share_file(parent(path), &file);
    Ok(file)
}

/// Whether what is made in a folder is for a group.
#[cfg(unix)]
fn is_shared(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o2020 == 0o2020)
}

/// Gives a file to the group of its folder, if that is shared. The folder's set-group-id bit has chosen the group.
#[cfg(unix)]
pub(crate) fn share_file(folder: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt as _;
    if is_shared(folder) {
        let _ = file.set_permissions(fs::Permissions::from_mode(0o660));
    }
}

/// Gives a file that comes from elsewhere the rights of one that is made in that folder.
#[cfg(unix)]
pub(crate) fn set_rights(folder: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = if is_shared(folder) { 0o660 } else { 0o600 };
    let _ = file.set_permissions(fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
pub(crate) fn set_rights(_folder: &Path, _file: &File) {}

#[cfg(unix)]
fn share_folder(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // The set-group-id bit of the parent has been handed on, the group's right to write has not.
    let is_shared = folder.parent().is_some_and(|parent| is_shared(parent) && is_inside_cache(parent));
    if is_shared {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o2770));
    }
}

/// Gives a folder that another program has made in a cache, and all in it, to the group, if the cache is a group's.
#[cfg(unix)]
pub(crate) fn share_made(folder: &Path) -> Result<()> {
    if is_shared(parent(folder)) { share_all(folder) } else { Ok(()) }
}

#[cfg(not(unix))]
pub(crate) fn share_made(_folder: &Path) -> Result<()> {
    Ok(())
}

/// Whether a file is a key, which stays its owner's.
#[cfg(unix)]
fn is_secret(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "key")
}

/// Gives a folder and all in it to its group, but for keys. Programs stay programs; links are left alone.
#[cfg(unix)]
pub(crate) fn share_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("share", path))
    };
    set(folder, 0o2770)?;
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            share_all(&entry.path())?;
        } else if kind.is_file() && !is_secret(&entry.path()) {
            let is_program =
                entry.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0);
            set(&entry.path(), if is_program { 0o770 } else { 0o660 })?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn share_all(folder: &Path) -> Result<()> {
    Err(Error::io("share", folder)(io::ErrorKind::Unsupported.into()))
}

/// Whether a folder is a cache or in one: what lies around a cache does not make it shared.
#[cfg(unix)]
fn is_inside_cache(folder: &Path) -> bool {
    folder.ancestors().any(|folder| folder.join("format").is_file())
}

#[cfg(not(unix))]
pub(crate) fn share_file(_folder: &Path, _file: &File) {}

#[cfg(not(unix))]
fn share_folder(_folder: &Path) {}

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
