//! The folder that a program works in: inputs under neutral names, places for outputs, a home and a place for temporary files of its
//! own. All paths that a program is told are relative to it, so that they are the same in every run and on every host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pipe_plugin::canonical_text;
use pipe_plugin::input::{Files, InputFile};
use pipe_plugin::stage::StageError;
use serde_json::Value;
use tempfile::TempDir;

/// Files of this size in bytes and larger are shown where they are, if the program has a file system of its own.
const LARGE: u64 = 1 << 20;

/// Folders of so many files and more are laid out once for all programs of an instance.
const MANY: usize = 32;

/// Where the program finds its parameters.
pub const PARAMETERS: &str = "params.json";
/// Where the program tells how far it is.
pub const MESSAGES: &str = "progress";

/// A program's folder; gone when this is dropped.
pub struct Folder {
    all: TempDir,
    /// Large files that are shown instead of copied: where they are, and their names in the folder.
    pub shown: Vec<(PathBuf, PathBuf)>,
    shows_large: bool,
}

impl Folder {
    /// An empty folder. With `shows_large`, whoever runs the program shows it large files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(scratch: &Path, shows_large: bool) -> Result<Self, StageError> {
        let all = tempfile::Builder::new().prefix("command-").tempdir_in(scratch)?;
        let folder = Self { all, shown: Vec::new(), shows_large };
        for name in ["in", "out", "home", "tmp"] {
            fs::create_dir_all(folder.work().join(name))?;
        }
        fs::create_dir(folder.root())?;
        Ok(folder)
    }

    /// The folder that the program works in.
    pub fn work(&self) -> PathBuf {
        self.all.path().join("work")
    }

    /// An empty folder to mount a file system at.
    pub fn root(&self) -> PathBuf {
        self.all.path().join("root")
    }

    /// Puts a file at a place in the folder, for reading only.
    ///
    /// # Errors
    /// When it is damaged, has changed, or cannot be copied.
    pub fn put(&mut self, file: &InputFile, place: &str, is_program: bool) -> Result<(), StageError> {
        let path = self.work().join(place);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let source = file.path()?;
        if self.shows_large && file.size >= LARGE && !is_program {
            fs::write(&path, b"")?;
            self.shown.push((source, place.into()));
            return Ok(());
        }
        // Where the file system can, a copy shares the bytes until one of them is written to.
        fs::copy(&source, &path)?;
        // Whether a file was executable is not part of its content: a script in a folder may be started. Copies of it may be
        // written to; it itself is on a mount for reading only, or a copy.
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    /// Puts files by their names into a folder.
    ///
    /// # Errors
    /// As [`Folder::put`].
    pub fn put_all(&mut self, files: &Files, place: &str) -> Result<(), StageError> {
        fs::create_dir_all(self.work().join(place))?;
        if self.shows_large && files.len() >= MANY {
            self.shown.push((self.laid_out(files)?, place.into()));
            return Ok(());
        }
        for name in files.names() {
            let Some(file) = files.get(name) else { continue };
            self.put(&file, &format!("{place}/{name}"), false)?;
        }
        Ok(())
    }

    /// A folder with these files that all programs of the instance are shown, made by the first that needs it.
    fn laid_out(&self, files: &Files) -> Result<PathBuf, StageError> {
        let shared =
            self.all.path().parent().unwrap_or(self.all.path()).join(format!("files-{}", files.digest));
        if shared.exists() {
            return Ok(shared);
        }
        let folder = tempfile::Builder::new().prefix("laying-out-").tempdir_in(self.all.path())?;
        for name in files.names() {
            let Some(file) = files.get(name) else { continue };
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::copy(file.path()?, &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        // Another program's may have come first; the files are the same.
        match fs::rename(folder.keep(), &shared) {
            Err(error) if !shared.exists() => Err(error.into()),
            _ => Ok(shared),
        }
    }

    /// Writes a file for reading only.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, place: &str, bytes: &[u8]) -> Result<(), StageError> {
        let path = self.work().join(place);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(&path, bytes)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o444))?)
    }

    /// Writes the program's own parameters.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_parameters(&self, own: &BTreeMap<String, Value>) -> Result<(), StageError> {
        // Values that count as one are written as one.
        let text = canonical_text(&serde_json::to_value(own)?);
        self.write(PARAMETERS, text.as_bytes())
    }

    /// Makes what the program has left readable, whatever rights it gave it.
    ///
    /// # Errors
    /// When its folders are not its own any more.
    pub fn unlock(&self) -> Result<(), StageError> {
        let out = self.work().join("out");
        for folder in [self.work(), out] {
            if !fs::symlink_metadata(&folder)?.is_dir() {
                return Err(StageError::message(
                    "the program has put something else in place of its folder `out`",
                )
                .advise("write outputs to the paths that {out.NAME} stands for"));
            }
        }
        Ok(unlock(&self.work())?)
    }

    /// Keeps the files that the program has left of its outputs for people to look at, in place of what was kept before; links and
    /// what is no file are not kept. Nothing if there is nothing.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn keep_partial(&self, place: &Path) -> io::Result<bool> {
        let out = self.work().join("out");
        keep_files(&out)?;
        if !has_files(&out)? {
            return Ok(false);
        }
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::create_dir_all(place.parent().unwrap_or(place))?;
        move_folder(&out, place)?;
        Ok(true)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be entered cannot be removed.
        let _ = unlock(&self.work());
    }
}

/// Lets the owner into all folders that a program has shut.
fn unlock(folder: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(folder)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}

fn has_files(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_files(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes what is neither a file nor a folder: a link leads elsewhere, and who opens a pipe waits for ever.
fn keep_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            keep_files(&entry.path())?;
        } else if !kind.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Moves a folder, to another disk if need be.
fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            move_folder(&entry.path(), &place)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
