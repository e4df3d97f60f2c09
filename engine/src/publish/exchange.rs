//! Folders that change places: what the new one takes along, and what came into the old one meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pipe_cache::is_abandoned;

/// What is in a folder and is not replaced, as hard links in another.
pub(super) fn carry_over(from: &Path, to: &Path, replaced: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        // Paths of the set are told below the folder as it was named.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            carry_over(&path, &target, replaced)?;
        } else if kind.is_file() && !replaced.contains(&path) {
            fs::hard_link(&path, &target)?;
        } else if !kind.is_file() {
            return Err(io::Error::other("neither a file nor a folder"));
        }
    }
    Ok(())
}

/// Lets a folder be read by all who may read its parent: temporary ones are private.
pub(super) fn open_to_read(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// Puts a folder in another's place in one step; what was there is then where the first was.
pub(super) fn change_places(new: &Path, old: &Path) -> io::Result<()> {
    if !old.exists() {
        return fs::rename(new, old);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)?)
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Files that somebody put into the old folder while the new one was made.
pub(super) fn keep_late_files(old: &Path, new: &Path, gone: &[PathBuf], top: &Path) {
    let mut folders = vec![PathBuf::new()];
    while let Some(within) = folders.pop() {
        for entry in fs::read_dir(old.join(&within)).into_iter().flatten().flatten() {
            let name = within.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(name);
            } else if !new.join(&name).exists() && !gone.contains(&top.join(&name)) {
                let to = new.join(&name);
                let _ = to.parent().map(fs::create_dir_all);
                let _ = fs::rename(old.join(&name), to);
            }
        }
    }
}

/// Removes folders that processes were filling when they were killed.
pub(super) fn remove_left_over(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_abandoned(&entry.path(), prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
