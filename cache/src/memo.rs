//! The memo of input files: digests of files outside the store, kept by what the file system says of them.
//!
//! The memo saves hashing and never decides identity: with it or without it the digests are the same. A
//! file that changed so recently that its clock could hide another change is not remembered.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::atomic::write_atomically;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::io::{open, read};
use crate::{Digest, Store};

const HEADER: &str = "pipe-memo 1 ";

/// What the file system says of a file. Equal stamps mean that the bytes have not been written to, except through a
/// mapping of the file into memory that was there before and is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    modified: i128,
    changed: i128,
    inode: u64,
}

impl Stamp {
    /// The stamp of a file's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let nanoseconds =
                |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            Self {
                size: metadata.len(),
                modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
                changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
                inode: metadata.ino(),
            }
        }
        #[cfg(not(unix))]
        {
            let modified = metadata.modified().map(nanoseconds_since_epoch).unwrap_or_default();
            Self { size: metadata.len(), modified, changed: modified, inode: 0 }
        }
    }

    /// Its parts as bytes.
    pub(crate) fn to_bytes(self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.modified.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.changed.to_le_bytes());
        bytes[40..].copy_from_slice(&self.inode.to_le_bytes());
        bytes
    }

    /// Whether the file was written long enough ago that another write would leave another stamp.
    pub fn is_settled(&self) -> bool {
        !self.is_racy(SystemTime::now())
    }

    /// Whether the file was written so shortly before `now` that a second write could leave the same
    /// stamp. A time without a fraction comes from a file system with a grain of up to two seconds.
    pub(crate) fn is_racy(&self, now: SystemTime) -> bool {
        let newest = self.modified.max(self.changed);
        let grain =
            if newest % 1_000_000_000 == 0 { Duration::from_secs(2) } else { Duration::from_millis(50) };
        newest + grain.as_nanos() as i128 > nanoseconds_since_epoch(now)
    }
}

fn nanoseconds_since_epoch(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// What a file's bytes were when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Their digest.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What the file system said of the file.
    pub stamp: Stamp,
    /// Whether another write could not have left the stamp as it is: only then does the same stamp mean the same
    /// bytes.
    pub settled: bool,
}

/// Hashes a file. Bytes that change under the reader have no digest.
fn hash(path: &Path) -> Result<Hashed> {
    let started = SystemTime::now();
    let file = open(path).map_err(Error::io("read", path))?;
    let stamp = || Ok(Stamp::of(&file.metadata().map_err(Error::io("read", path))?));
    let before = stamp()?;
    let (digest, size) = Digest::of_reader(&file).map_err(Error::io("read", path))?;
    let after = stamp()?;
    if before != after || size != after.size {
        return Err(Error::Changing { path: path.to_path_buf() });
    }
    Ok(Hashed { digest, size, stamp: after, settled: !after.is_racy(started) })
}

/// Remembered digests of input files; may be shared by threads.
#[derive(Debug)]
pub struct InputMemo {
    path: PathBuf,
    trust: bool,
    entries: Mutex<Entries>,
    facts: Mutex<Facts>,
}

/// How often what was hashed is saved while hashing goes on.
const OFTEN: Duration = Duration::from_secs(60);

type Known = BTreeMap<PathBuf, (Stamp, Digest)>;

#[derive(Debug)]
struct Entries {
    /// Whether the file has been read, which is done when the first digest is asked for.
    is_loaded: bool,
    known: Known,
    dirty: bool,
    saved: Instant,
}

impl Default for Entries {
    fn default() -> Self {
        Self { is_loaded: false, known: Known::new(), dirty: false, saved: Instant::now() }
    }
}

impl Entries {
    fn save(&mut self, path: &Path) -> Result<()> {
        self.saved = Instant::now();
        if !self.dirty {
            return Ok(());
        }
        // Other processes may have written since.
        for (path, entry) in read_memo(path)? {
            self.known.entry(path).or_insert(entry);
        }
        let mut body = String::new();
        for (path, (stamp, digest)) in &self.known {
            // A path that a line of text cannot hold is hashed anew each time.
            if let Some(path) = path.to_str().filter(|path| !path.contains('\n')) {
                let Stamp { size, modified, changed, inode } = stamp;
                body.push_str(&format!("{digest} {size} {modified} {changed} {inode} {path}\n"));
            }
        }
        let text = format!("{HEADER}{}\n{body}", Digest::of(body.as_bytes()));
        write_atomically(path, text.as_bytes())?;
        self.dirty = false;
        Ok(())
    }
}

/// What is remembered in a file; nothing when it is not there or damaged.
fn read_memo(path: &Path) -> Result<Known> {
    match read(path) {
        Ok(bytes) => Ok(parse(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::new()),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

impl InputMemo {
    /// Opens the store's memo. One that cannot be read is taken as empty. Without `trust` every file is
    /// hashed anew.
    pub fn open(store: &Store, trust: bool) -> Self {
        let path = store.root().join("memo");
        let facts = Mutex::new(Facts::open(store.root().join("facts")));
        Self { path, trust, entries: Mutex::default(), facts }
    }

    /// What these causes have been found to lead to; nothing without trust.
    pub fn fact(&self, cause: Digest) -> Option<(Digest, u64)> {
        if self.trust { self.lock_facts().get(cause) } else { None }
    }

    /// Remembers what causes lead to. It must follow from them, whatever the time and place.
    pub fn keep_fact(&self, cause: Digest, digest: Digest, number: u64) {
        self.lock_facts().put(cause, digest, number);
    }

    fn lock_facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a file's bytes are, read now or remembered.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Changing`] when it is being written to.
    pub fn digest(&self, path: &Path) -> Result<Hashed> {
        if self.trust {
            let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
            let stamp = Stamp::of(&metadata);
            if let Some((known, digest)) = self.lock().known.get(path)
                && *known == stamp
            {
                return Ok(Hashed { digest: *digest, size: stamp.size, stamp, settled: true });
            }
        }
        let hashed = hash(path)?;
        if hashed.settled {
            let mut entries = self.lock();
            entries.known.insert(path.to_path_buf(), (hashed.stamp, hashed.digest));
            entries.dirty = true;
            if entries.saved.elapsed() > OFTEN {
                // Hours of hashing must not be lost to a kill; if it cannot be kept, the end of the run says so.
                let _ = entries.save(&self.path);
            }
        }
        Ok(hashed)
    }

    /// Writes the memo when it has changed.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn save(&self) -> Result<()> {
        self.lock_facts().save()?;
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).save(&self.path)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.is_loaded {
            entries.known = read_memo(&self.path).unwrap_or_default();
            entries.is_loaded = true;
        }
        entries
    }
}

/// Reads the memo; anything unexpected, a wrong checksum above all, gives nothing.
fn parse(bytes: &[u8]) -> Option<BTreeMap<PathBuf, (Stamp, Digest)>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (header, body) = text.split_once('\n')?;
    if header.strip_prefix(HEADER)?.parse::<Digest>().ok()? != Digest::of(body.as_bytes()) {
        return None;
    }
    body.lines()
        .map(|line| {
            let mut parts = line.splitn(6, ' ');
            let digest = parts.next()?.parse().ok()?;
            let size = parts.next()?.parse().ok()?;
            let modified = parts.next()?.parse().ok()?;
            let changed = parts.next()?.parse().ok()?;
            let inode = parts.next()?.parse().ok()?;
            Some((PathBuf::from(parts.next()?), (Stamp { size, modified, changed, inode }, digest)))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Files as old as the guard wants them.
    fn old_file(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        std::thread::sleep(Duration::from_millis(70));
    }

    #[test]
    fn a_remembered_digest_survives_reopening_and_a_rewrite_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let scan = folder.path().join("scan.nii");
        old_file(&scan, b"one");
        let memo = InputMemo::open(&store, true);
        assert_eq!(memo.digest(&scan).unwrap().digest, Digest::of(b"one"));
        memo.save().unwrap();
        let memo = InputMemo::open(&store, true);
        assert_eq!(memo.lock().known.len(), 1);
        old_file(&scan, b"two");
        assert_eq!(memo.digest(&scan).unwrap().digest, Digest::of(b"two"));
    }

    #[test]
    fn a_fresh_file_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let scan = folder.path().join("scan.nii");
        fs::write(&scan, b"one").unwrap();
        let memo = InputMemo::open(&store, true);
        memo.digest(&scan).unwrap();
        assert!(memo.lock().known.is_empty());
    }

    #[test]
    fn a_damaged_memo_is_taken_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let scan = folder.path().join("scan.nii");
        old_file(&scan, b"one");
        let memo = InputMemo::open(&store, true);
        memo.digest(&scan).unwrap();
        memo.save().unwrap();
        let mut bytes = fs::read(&memo.path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        fs::write(&memo.path, bytes).unwrap();
        assert!(InputMemo::open(&store, true).lock().known.is_empty());
    }

    #[test]
    fn what_another_process_has_remembered_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        old_file(&one, b"one");
        old_file(&two, b"two");
        let memos = [InputMemo::open(&store, true), InputMemo::open(&store, true)];
        for (memo, path) in memos.iter().zip([&one, &two]) {
            memo.digest(path).unwrap();
            memo.keep_fact(Digest::of(path.as_os_str().as_encoded_bytes()), Digest::of(b"fact"), 0);
        }
        memos.iter().for_each(|memo| memo.save().unwrap());
        let memo = InputMemo::open(&store, true);
        assert_eq!(memo.lock().known.len(), 2);
        for path in [&one, &two] {
            assert!(memo.fact(Digest::of(path.as_os_str().as_encoded_bytes())).is_some());
        }
    }
}
