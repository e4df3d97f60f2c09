//! What is seen of files and of the store without reading them, as a digest: the same sight means the same bytes.

use std::fs;
use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use crate::memo::Stamp;
use crate::{Digest, Hasher, Store};

/// For so long a look at the store is believed.
const LOOK: Duration = Duration::from_millis(500);

/// Sums up what the file system says of some files.
pub struct Sighting {
    hasher: Hasher,
    now: SystemTime,
    is_settled: bool,
}

impl Sighting {
    /// Begins a sighting; what is seen for different purposes differs.
    pub fn new(purpose: &str) -> Self {
        let mut hasher = Hasher::new("pipe sighting, version 1");
        hasher.field(purpose);
        Self { hasher, now: SystemTime::now(), is_settled: true }
    }

    /// Adds a text.
    pub fn text(&mut self, text: impl AsRef<[u8]>) {
        self.hasher.field(text);
    }

    /// Adds a file by its absolute path and what the file system says of it now.
    pub fn file(&mut self, path: &Path, stamp: Stamp) {
        self.hasher.field(path.as_os_str().as_encoded_bytes()).field(stamp.to_bytes());
        self.is_settled &= !stamp.is_racy(self.now);
    }

    /// The digest; `None` when a file has been written so lately that another write might leave the same sight.
    pub fn finish(self) -> Option<Digest> {
        self.is_settled.then(|| self.hasher.finish())
    }
}

impl Store {
    /// What is seen of the store's blobs without looking at each: while it stays the same, so do they. `None` when
    /// it has just changed. It is looked at twice a second at most.
    pub fn sight(&self) -> Option<Digest> {
        let mut last = self.last_sight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((time, sight)) = *last
            && time.elapsed() < LOOK
        {
            return sight;
        }
        let sight = self.sight_anew();
        *last = Some((Instant::now(), sight));
        sight
    }

    /// [`Store::sight`], looked at now.
    pub fn sight_anew(&self) -> Option<Digest> {
        let mut sighting = Sighting::new("blobs");
        let blobs = self.root().join("blobs");
        let mut paths = vec![blobs.clone()];
        for folder in [blobs, self.root().join("packs")] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
        paths.sort_unstable();
        for path in paths {
            match fs::metadata(&path) {
                Ok(metadata) => sighting.file(&path, Stamp::of(&metadata)),
                Err(_) => sighting.text("absent"),
            }
        }
        sighting.finish()
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
    fn a_late_write_has_no_sight_and_a_change_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan");
        let see = || {
            let mut sighting = Sighting::new("test");
            sighting.file(&path, Stamp::of(&fs::metadata(&path).unwrap()));
            sighting.finish()
        };
        fs::write(&path, "one").unwrap();
        assert_eq!(see(), None);
        wait();
        let first = see().unwrap();
        assert_eq!(see(), Some(first));
        fs::write(&path, "two").unwrap();
        wait();
        assert_ne!(see().unwrap(), first);
    }

    #[test]
    fn the_sight_of_a_store_changes_with_its_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut seen = std::collections::HashSet::new();
        let (small, big) = (store.put(b"small").unwrap(), store.put(&[1; 99_999]).unwrap());
        wait();
        assert!(seen.insert(store.sight_anew().unwrap()));
        assert!(!seen.insert(store.sight_anew().unwrap()));
        store.packs().strike_out(small).unwrap();
        wait();
        assert!(seen.insert(store.sight_anew().unwrap()));
        fs::remove_file(store.verified_path(big).unwrap()).unwrap();
        wait();
        assert!(seen.insert(store.sight_anew().unwrap()));
    }
}
