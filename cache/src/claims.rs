//! Claims: of several processes that want the same thing, one computes it.
//!
//! A claim is a file that only one process can make, with its owner in it from the beginning. Its owner touches it as long as it lives; a claim whose owner has
//! ended, or has not touched it for a minute, is taken over. Claims save work and protect nothing: should two
//! processes own one after all (a host that slept), both compute the same bytes and nothing is lost.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::atomic::{Durability, create_folder, create_to_append, write_new};
use crate::error::{Error, Result};
use crate::io::{before_read, write_all};
use crate::owner::Owner;
use crate::{Digest, Store};

const HEADER: &str = "pipe-claim 1\n";

/// How often an owner touches its claims.
const BEAT: Duration = Duration::from_secs(10);

/// A claim that has not been touched for so long has no owner any more.
const SILENCE: Duration = Duration::from_secs(60);

/// What became of the wish to own something.
#[derive(Debug)]
pub enum Claimed {
    /// It is this process's own until the claim is dropped.
    Mine(Claim),
    /// Another process has it; this one.
    Busy(String),
}

/// Something that this process alone computes.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    content: String,
    held: Arc<Held>,
}

/// The claims of a store's user, and the thread that touches them.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Arc<Held>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Held {
    /// The claims, and whether the thread is to end.
    state: Mutex<(BTreeSet<PathBuf>, bool)>,
    changed: Condvar,
}

/// Tells the claims of one process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// Asks to be the one that computes what the key stands for.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn claim(&self, key: Digest) -> Result<Claimed> {
        let folder = self.root().join("claims");
        create_folder(&folder)?;
        self.claim_file(folder.join(key.to_string()))
    }

    /// Asks to be the one that has a claim of that name, in whatever folder; it is gone when the claim is dropped.
    ///
    /// # Errors
    /// When the file cannot be written or read.
    pub fn claim_file(&self, path: PathBuf) -> Result<Claimed> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let content = format!("{HEADER}{}\n{number}\n", Owner::this_process());
        // What is taken over may be lost to another process at once.
        for _ in 0..3 {
            // With its content from the beginning, so that an owner that dies here is known.
            if write_new(&path, content.as_bytes(), Durability::Soon)? {
                self.claims().hold(&path);
                let held = Arc::clone(&self.claims().held);
                return Ok(Claimed::Mine(Claim { path, content, held }));
            }
            if let Some(owner) = living_owner(&path)? {
                return Ok(Claimed::Busy(owner));
            }
        }
        Ok(Claimed::Busy("another process".to_owned()))
    }
}

/// A file that is touched every few seconds until this is dropped, so that other hosts see that its writer lives.
#[derive(Debug)]
pub struct Touched {
    path: PathBuf,
    held: Arc<Held>,
}

impl Store {
    /// Touches a file now and then, as long as the value lives.
    pub fn keep_touched(&self, path: &Path) -> Touched {
        self.claims().hold(path);
        Touched { path: path.to_path_buf(), held: Arc::clone(&self.claims().held) }
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        self.held.state.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&self.path);
    }
}

/// What can be known of the process that writes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// It runs, or it has touched the file lately.
    Lives,
    /// It has ended, or has not touched the file for a minute.
    Gone,
}

impl Writer {
    /// What has become of the process with that mark (see [`process_mark`]), which keeps a file touched. `None` for what
    /// is no mark.
    pub fn of(path: &Path, mark: &str) -> Option<Self> {
        let owner: Owner = mark.parse().ok()?;
        let is_gone = owner.has_ended() || (!owner.is_here() && is_silent(path));
        Some(if is_gone { Self::Gone } else { Self::Lives })
    }
}

/// This process, as [`Writer::of`] knows it again.
pub fn process_mark() -> String {
    Owner::this_process().to_string()
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.held.state.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&self.path);
        // It may have been taken over while this process slept.
        if fs::read_to_string(&self.path).is_ok_and(|content| content == self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Claims {
    fn hold(&self, path: &Path) {
        let mut state = self.held.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.insert(path.to_path_buf());
        drop(state);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let held = Arc::clone(&self.held);
            *thread = std::thread::Builder::new().name("claims".into()).spawn(move || held.beat()).ok();
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.held.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.held.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Held {
    /// Touches all claims now and then, until it is told to end.
    fn beat(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.1 {
            let (next, wait) = self.changed.wait_timeout(state, BEAT).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if wait.timed_out() {
                let paths: Vec<PathBuf> = state.0.iter().cloned().collect();
                drop(state);
                paths.iter().for_each(|path| touch(path));
                state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn touch(path: &Path) {
    let _ = File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Who owns a claim; `None` when nobody does any more, and the claim is gone.
fn living_owner(path: &Path) -> Result<Option<String>> {
    let content = match before_read().and_then(|()| fs::read_to_string(path)) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let owner: Option<Owner> = content
        .strip_prefix(HEADER)
        .and_then(|rest| rest.lines().next())
        .and_then(|owner| owner.parse().ok());
    let has_ended = owner.as_ref().is_some_and(Owner::has_ended);
    if has_ended || is_silent(path) {
        take_away(path, &content)?;
        return Ok(None);
    }
    Ok(Some(owner.map_or_else(|| "another process".to_owned(), |owner| owner.in_words())))
}

/// Whether a claim has not been touched for long, by the clock of the file system that it is on.
fn is_silent(path: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let Ok(touched) = modified(path) else { return false };
    let older = |now: SystemTime| now.duration_since(touched).is_ok_and(|age| age > SILENCE);
    if !older(SystemTime::now()) {
        return false;
    }
    // Clocks of hosts differ: a file that is written now tells the time.
    let Some(folder) = path.parent() else { return false };
    let probe = tempfile::Builder::new().prefix(".clock-").tempfile_in(folder);
    let Ok(probe) = probe else { return false };
    write_all(probe.as_file(), b"now").is_ok() && modified(probe.path()).is_ok_and(older)
}

/// Removes the claim of an owner that has ended, and no other one: only one process at a time takes a claim away, and
/// while it is there nobody else can make one.
fn take_away(path: &Path, content: &str) -> Result<()> {
    let taking = path.with_extension("taking");
    match create_to_append(&taking) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if is_silent(&taking) {
                let _ = fs::remove_file(&taking);
            }
            return Ok(());
        }
        Err(error) => return Err(Error::io("take over", path)(error)),
    }
    let is_same = fs::read(path).is_ok_and(|found| found == content.as_bytes());
    let taken = if is_same { fs::remove_file(path) } else { Ok(()) };
    let _ = fs::remove_file(&taking);
    taken.map_err(Error::io("take over", path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    fn is_mine(claimed: &Claimed) -> bool {
        matches!(claimed, Claimed::Mine(_))
    }

    #[test]
    fn one_owner_at_a_time() {
        let (_folder, store) = store();
        let other = Store::open(store.root()).unwrap();
        let key = Digest::of(b"train");
        let mine = store.claim(key).unwrap();
        assert!(is_mine(&mine));
        assert!(is_mine(&store.claim(Digest::of(b"crop")).unwrap()));
        let Claimed::Busy(owner) = other.claim(key).unwrap() else { panic!("two owners") };
        assert!(owner.contains(&std::process::id().to_string()), "{owner}");
        drop(mine);
        assert!(is_mine(&other.claim(key).unwrap()));
        assert_eq!(store.contents().unwrap().claims, 0);
    }

    #[test]
    fn many_who_ask_at_once_give_one_owner() {
        let (_folder, store) = store();
        let key = Digest::of(b"train");
        let ended = Owner::of_ended_process();
        for round in 0..50 {
            if round % 2 == 0 {
                create_folder(&store.root().join("claims")).unwrap();
                let stale = format!("{HEADER}{ended}\n{round}\n");
                fs::write(store.root().join("claims").join(key.to_string()), stale).unwrap();
            }
            let barrier = std::sync::Barrier::new(4);
            let claims: Vec<Claimed> = std::thread::scope(|scope| {
                let ask = || {
                    barrier.wait();
                    store.claim(key).unwrap()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(claims.iter().filter(|claimed| is_mine(claimed)).count(), 1, "round {round}");
        }
        assert_eq!(store.contents().unwrap().claims, 0);
    }

    #[test]
    fn claims_of_ended_and_silent_owners_are_taken_over() {
        let (_folder, store) = store();
        let folder = store.root().join("claims");
        create_folder(&folder).unwrap();
        let old = SystemTime::now() - SILENCE - Duration::from_secs(5);
        let elsewhere = "another.host~1~1";
        for (content, is_old, is_free) in [
            (format!("{HEADER}{}\n1\n", Owner::of_ended_process()), false, true),
            (format!("{HEADER}{elsewhere}\n1\n"), false, false),
            (format!("{HEADER}{elsewhere}\n1\n"), true, true),
            // Of an older program, or damaged.
            (String::new(), false, false),
            (String::new(), true, true),
        ] {
            let path = folder.join(Digest::of(b"train").to_string());
            fs::write(&path, &content).unwrap();
            if is_old {
                File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
            }
            let claimed = store.claim(Digest::of(b"train")).unwrap();
            assert_eq!(is_mine(&claimed), is_free, "{content} {is_old}");
            let _ = fs::remove_file(path);
        }
    }
}
