//! Folders of software that are made once and used by many runs, each named by a digest of all that decides its content.
//!
//! Software knows where it lies, so a folder is made where it stays. A mark beside it is written last: it tells where the folder is and
//! what it holds, by names, sizes and times. A folder without a mark, in another place or with another content, is broken and made
//! again. Whoever uses a folder holds its claim together with others, whoever makes or removes it holds it alone. The store does not
//! know what is in them.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use walkdir::WalkDir;

use crate::atomic::{create_folder, create_to_append, share_made, write_atomically};
use crate::error::{Error, Result};
use crate::{Digest, Hasher};

/// So often is looked whether another process has let go of a folder.
const LOOK: Duration = Duration::from_millis(50);

/// The folders of software of a store. A clone shares what this process has found whole.
#[derive(Clone, Debug)]
pub struct Environments {
    root: PathBuf,
    /// The marks of folders that were looked through, which may take a while: once in a process.
    whole: Arc<Mutex<HashMap<PathBuf, String>>>,
}

/// A folder of software in use: while this lives, nobody removes it.
#[derive(Debug)]
pub struct Environment {
    /// Where it is.
    pub path: PathBuf,
    _claim: File,
}

impl Environments {
    /// Those in a folder, which need not be there yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), whole: Arc::default() }
    }

    /// The folder of that name. If it is not as it was made, what is there is removed, and `make` makes it, which one process does at a
    /// time.
    /// `is_wanted` is asked while another process holds it, and may give up by an error.
    ///
    /// # Errors
    /// What `make` and `is_wanted` say; [`Error::Io`] when the folder cannot be read or written.
    pub fn get<E: From<Error>>(
        &self,
        name: Digest,
        is_wanted: &mut dyn FnMut() -> std::result::Result<(), E>,
        make: &mut dyn FnMut(&Path) -> std::result::Result<(), E>,
    ) -> std::result::Result<Environment, E> {
        create_folder(&self.root)?;
        // Short, since the system allows only so much of a path in the first line of a script.
        let name = &name.to_string()[..20];
        let place = Place { folder: self.root.join(name), mark: self.root.join(format!("{name}.made")) };
        let claim_path = self.root.join(format!("{name}.claim"));
        loop {
            let claim = open(&claim_path)?;
            hold(&claim_path, || claim.try_lock_shared(), is_wanted)?;
            if self.is_whole(&place)? {
                place.touch();
                return Ok(Environment { path: place.folder, _claim: claim });
            }
            drop(claim);
            let claim = open(&claim_path)?;
            hold(&claim_path, || claim.try_lock(), is_wanted)?;
            if !self.is_whole(&place)? {
                place.remove()?;
                make(&place.folder)?;
                share_made(&place.folder)?;
                write_atomically(&place.mark, mark(&place.folder)?.as_bytes())?;
            }
        }
    }

    fn is_whole(&self, place: &Place) -> Result<bool> {
        let (Ok(told), true) = (fs::read_to_string(&place.mark), place.folder.exists()) else {
            return Ok(false);
        };
        let known = || self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if known().get(&place.folder) == Some(&told) {
            return Ok(true);
        }
        let is_whole = told == mark(&place.folder)?;
        if is_whole {
            known().insert(place.folder.clone(), told);
        }
        Ok(is_whole)
    }

    /// Removes what nobody uses and is not to be kept, by when it was last used; with `dry`, only counts it. How many, and their
    /// bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when one cannot be removed.
    pub fn sweep(&self, is_kept: &dyn Fn(SystemTime) -> bool, dry: bool) -> Result<(u64, u64)> {
        let mut swept = (0, 0);
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let claim_path = entry.path();
            if claim_path.extension().is_none_or(|extension| extension != "claim") {
                continue;
            }
            let place =
                Place { folder: claim_path.with_extension(""), mark: claim_path.with_extension("made") };
            let claim = open(&claim_path)?;
            let used = changed(&place.mark).or_else(|| changed(&claim_path));
            if claim.try_lock().is_err() || used.is_none_or(is_kept) || !place.folder.exists() {
                continue;
            }
            swept = (swept.0 + 1, swept.1 + size(&place.folder));
            if !dry {
                place.remove()?;
            }
        }
        Ok(swept)
    }
}

/// Where a folder of software and its mark are.
struct Place {
    folder: PathBuf,
    mark: PathBuf,
}

impl Place {
    fn touch(&self) {
        // Another user's mark keeps its time: who made it uses it, too.
        let _ = File::options()
            .append(true)
            .open(&self.mark)
            .and_then(|mark| mark.set_modified(SystemTime::now()));
    }

    fn remove(&self) -> Result<()> {
        // The mark goes first, so that half a folder is never taken for a whole one.
        fs::remove_file(&self.mark).or_else(crate::sweep::absent).map_err(Error::io("remove", &self.mark))?;
        let is_folder = fs::symlink_metadata(&self.folder).is_ok_and(|metadata| metadata.is_dir());
        let removed =
            if is_folder { fs::remove_dir_all(&self.folder) } else { fs::remove_file(&self.folder) };
        removed.or_else(crate::sweep::absent).map_err(Error::io("remove", &self.folder))
    }
}

/// Opens a claim, which is there from its first use on.
fn open(path: &Path) -> Result<File> {
    match create_to_append(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::options().append(true).open(path),
        made => made,
    }
    .map_err(Error::io("claim", path))
}

/// Tries to take a claim until it succeeds or is not wanted any more.
fn hold<E: From<Error>>(
    path: &Path,
    claim: impl Fn() -> std::result::Result<(), TryLockError>,
    is_wanted: &mut dyn FnMut() -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    loop {
        match claim() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("claim", path)(error).into()),
        }
        is_wanted()?;
        std::thread::sleep(LOOK);
    }
}

/// What a folder's mark says: where it is, and what it holds, by names, sizes, times of change and whether they are programs. What
/// Python compiles beside its modules is no part of it.
fn mark(folder: &Path) -> Result<String> {
    let mut hasher = Hasher::new("pipe environment, version 1");
    hasher.field(folder.as_os_str().as_encoded_bytes());
    for entry in WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.file_name() != "__pycache__")
    {
        let failed = |error: walkdir::Error| Error::io("read", folder)(error.into());
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_dir() {
            continue;
        }
        let metadata = entry.metadata().map_err(failed)?;
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        hasher
            .field(entry.path().strip_prefix(folder).unwrap_or(entry.path()).as_os_str().as_encoded_bytes());
        hasher.field(metadata.len().to_le_bytes());
        hasher.field(time.unwrap_or_default().as_nanos().to_le_bytes());
        hasher.field([u8::from(is_program(&metadata))]);
    }
    Ok(format!("pipe-environment 1 {}\n", hasher.finish()))
}

#[cfg(unix)]
fn is_program(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_program(_metadata: &fs::Metadata) -> bool {
    false
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn size(folder: &Path) -> u64 {
    let entries = WalkDir::new(folder).into_iter().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn get(environments: &Environments, made: &AtomicUsize) -> Environment {
        let mut make = |folder: &Path| -> Result<()> {
            made.fetch_add(1, Ordering::SeqCst);
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("a"), "a").unwrap();
            std::thread::sleep(Duration::from_millis(50));
            fs::write(folder.join("b"), "b").unwrap();
            Ok(())
        };
        environments.get(Digest::of(b"x"), &mut || Ok(()), &mut make).unwrap()
    }

    #[test]
    fn a_folder_is_made_once_and_again_when_it_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let environments = Environments::new(folder.path());
        let anew = || Environments::new(folder.path());
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(get(&environments, &made).path.join("b").exists()));
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        let path = get(&anew(), &made).path;
        fs::create_dir(path.join("__pycache__")).unwrap();
        fs::write(path.join("__pycache__/x.pyc"), "").unwrap();
        get(&anew(), &made);
        assert_eq!(made.load(Ordering::SeqCst), 1);
        for (count, breaks) in [
            |path: &Path| fs::remove_file(path.join("a")).unwrap(),
            |path: &Path| fs::write(path.join("a"), "other").unwrap(),
            |path: &Path| fs::write(path.join("more"), "").unwrap(),
            |path: &Path| fs::remove_dir_all(path).unwrap(),
            |path: &Path| {
                fs::remove_dir_all(path).unwrap();
                fs::write(path, "a file in its place").unwrap();
            },
            |path: &Path| {
                let program = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(path.join("a"), program).unwrap();
            },
            |path: &Path| fs::remove_file(path.with_extension("made")).unwrap(),
        ]
        .into_iter()
        .enumerate()
        {
            breaks(&path);
            let again = get(&anew(), &made);
            assert_eq!(fs::read_to_string(again.path.join("a")).unwrap(), "a");
            assert_eq!((made.load(Ordering::SeqCst), again.path.join("more").exists()), (count + 2, false));
        }
    }

    #[test]
    fn a_copy_of_a_cache_does_not_use_what_lies_in_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        get(&Environments::new(&folder.path().join("one")), &made);
        fs::rename(folder.path().join("one"), folder.path().join("other")).unwrap();
        let moved = get(&Environments::new(&folder.path().join("other")), &made);
        assert!(made.load(Ordering::SeqCst) == 2 && moved.path.join("b").exists());
    }

    #[test]
    fn what_could_not_be_made_is_not_there_and_who_waits_may_give_up() {
        let folder = tempfile::tempdir().unwrap();
        let environments = Environments::new(folder.path());
        let refused = || Error::Name { name: "x".to_owned(), problem: "refused" };
        let mut fails = |folder: &Path| -> Result<()> {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("half"), "").unwrap();
            Err(refused())
        };
        assert!(environments.get(Digest::of(b"x"), &mut || Ok(()), &mut fails).is_err());
        let made = AtomicUsize::new(0);
        let whole = get(&environments, &made);
        assert!(!whole.path.join("half").exists());
        let claim = open(&whole.path.with_extension("claim")).unwrap();
        drop(whole);
        claim.lock().unwrap();
        let waited = environments.get(Digest::of(b"x"), &mut || Err(refused()), &mut |_| Ok(()));
        assert!(matches!(waited, Err(Error::Name { .. })));
    }

    #[test]
    fn what_is_not_used_any_more_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let environments = Environments::new(folder.path());
        let used = get(&environments, &AtomicUsize::new(0));
        let nothing = |_| false;
        assert_eq!(environments.sweep(&nothing, false).unwrap(), (0, 0));
        let path = used.path.clone();
        drop(used);
        let minute_ago = SystemTime::now() - Duration::from_secs(60);
        assert_eq!(environments.sweep(&|used| used > minute_ago, false).unwrap(), (0, 0));
        assert_eq!(environments.sweep(&nothing, true).unwrap(), (1, 2));
        assert!(path.exists());
        assert_eq!(environments.sweep(&nothing, false).unwrap(), (1, 2));
        assert!(!path.exists());
    }
}
