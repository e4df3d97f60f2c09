//! Stat signatures: what the file system says of files, without reading them, as a digest. The same signature means the
//! same bytes.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use crate::memo::Stamp;
use crate::{Digest, Hasher, Store};

/// For so long a signature of the store is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// Sums up the stamps of some files.
pub struct SignatureHasher {
    hasher: Hasher,
    now: SystemTime,
    is_settled: bool,
}

impl SignatureHasher {
    /// Begins a signature; those for different purposes differ.
    pub fn new(purpose: &str) -> Self {
        let mut hasher = Hasher::new("pipe stat signature, version 1");
        hasher.field(purpose);
        Self { hasher, now: SystemTime::now(), is_settled: true }
    }

    /// Adds a text.
    pub fn text(&mut self, text: impl AsRef<[u8]>) {
        self.hasher.field(text);
    }

    /// Adds a file by its absolute path and its stamp now.
    pub fn file(&mut self, path: &Path, stamp: Stamp) {
        self.hasher.field(path.as_os_str().as_encoded_bytes()).field(stamp.to_bytes());
        self.is_settled &= !stamp.is_racy(self.now);
    }

    /// The digest; `None` when a file has been written so lately that another write might leave the same signature.
    pub fn finish(self) -> Option<Digest> {
        self.is_settled.then(|| self.hasher.finish())
    }
}

impl Store {
    /// The stat signature of the store's blobs, without a stat of each: while it stays the same, so do they. `None` when
    /// they have just changed. Made twice a second at most.
    pub fn stat_signature(&self) -> Option<Digest> {
        let mut last = self.last_signature.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((time, signature)) = *last
            && time.elapsed() < BELIEVED
        {
            return signature;
        }
        let signature = self.stat_signature_now();
        *last = Some((Instant::now(), signature));
        signature
    }

    /// [`Store::stat_signature`], made now.
    fn stat_signature_now(&self) -> Option<Digest> {
        let mut hasher = SignatureHasher::new("blobs");
        let blobs = self.root().join("blobs");
        let mut paths = vec![blobs.clone()];
        for folder in [blobs, self.root().join("packs")] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
        paths.sort_unstable();
        for path in paths {
            match fs::metadata(&path) {
                Ok(metadata) => hasher.file(&path, Stamp::of(&metadata)),
                Err(_) => hasher.text("absent"),
            }
        }
        hasher.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    /// As long as the guard against late writes wants.
    fn wait() {
        std::thread::sleep(Duration::from_millis(70));
    }

    #[test]
    fn a_late_write_has_no_signature_and_a_change_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan");
        let signature = || {
            let mut hasher = SignatureHasher::new("test");
            hasher.file(&path, Stamp::of(&fs::metadata(&path).unwrap()));
            hasher.finish()
        };
        fs::write(&path, "one").unwrap();
        assert_eq!(signature(), None);
        wait();
        let first = signature().unwrap();
        assert_eq!(signature(), Some(first));
        fs::write(&path, "two").unwrap();
        wait();
        assert_ne!(signature().unwrap(), first);
    }

    #[test]
    fn the_signature_of_a_store_changes_with_its_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut seen = std::collections::HashSet::new();
        let (small, big) = (store.put(b"small").unwrap(), store.put(&[1; 99_999]).unwrap());
        wait();
        assert!(seen.insert(store.stat_signature_now().unwrap()));
        assert!(!seen.insert(store.stat_signature_now().unwrap()));
        store.packs().strike_out(small).unwrap();
        wait();
        assert!(seen.insert(store.stat_signature_now().unwrap()));
        fs::remove_file(store.verified_path(big).unwrap()).unwrap();
        wait();
        assert!(seen.insert(store.stat_signature_now().unwrap()));
    }
}
