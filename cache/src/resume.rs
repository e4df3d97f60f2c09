//! How far long work has come, so that it can go on where it was killed.
//!
//! One file for each fingerprint and device class, replaced whole and removed when the result is there. It is a
//! convenience: one that is damaged, cut short or gone means that the work begins anew.

use std::fs;
use std::path::PathBuf;

use crate::atomic::Durability;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::sealed;
use crate::store::Store;

const MAGIC: &[u8] = b"pipe-resume 1\n";

/// The place of one piece of long work.
#[derive(Clone, Debug)]
pub struct ResumePoint {
    path: PathBuf,
}

impl Store {
    /// Where the work of a fingerprint keeps how far it has come, on a fine device class.
    pub fn resume_point(&self, fingerprint: Digest, class: &str) -> ResumePoint {
        let class = class.replace('/', "-");
        ResumePoint { path: self.root().join("resume").join(format!("{fingerprint}-{class}")) }
    }
}

impl ResumePoint {
    /// Replaces what is kept; a reader, also after a crash, sees the old bytes or the new ones.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn save(&self, bytes: &[u8]) -> Result<()> {
        sealed::write(&self.path, MAGIC, bytes, Durability::Now)
    }

    /// What is kept, if it is there and whole.
    pub fn load(&self) -> Option<Vec<u8>> {
        sealed::read(&self.path, MAGIC)
    }

    /// Forgets what is kept.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there and cannot be removed.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let point = store.resume_point(Digest::of(b"work"), "cpu/avx2");
        assert_eq!(point.load(), None);
        point.clear().unwrap();
        point.save(b"epoch 1").unwrap();
        point.save(b"epoch 2").unwrap();
        assert_eq!(point.load().as_deref(), Some(&b"epoch 2"[..]));
        assert_eq!(store.resume_point(Digest::of(b"work"), "cpu/avx512").load(), None);
        point.clear().unwrap();
        assert_eq!(point.load(), None);
    }
}
