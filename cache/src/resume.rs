//! How far long work has come, so that it can go on where it was killed.
//!
//! One file for each fingerprint and device class, replaced whole and removed when the result is there. It is a
//! convenience: one that is damaged, cut short or gone means that the work begins anew.

use std::fs;
use std::path::PathBuf;

use crate::atomic::write_parts_atomically;
use crate::digest::Digest;
use crate::error::{Error, Result};
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
        let digest = Digest::of(bytes);
        write_parts_atomically(&self.path, &[MAGIC, digest.as_bytes(), bytes])
    }

    /// What is kept, if it is there and whole.
    pub fn load(&self) -> Option<Vec<u8>> {
        let mut bytes = fs::read(&self.path).ok()?;
        let start = MAGIC.len() + Digest::of(&[]).as_bytes().len();
        let header = bytes.get(..start)?.strip_prefix(MAGIC)?.to_vec();
        bytes.drain(..start);
        (Digest::of(&bytes).as_bytes()[..] == header[..]).then_some(bytes)
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
    fn what_is_kept_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let point = store.resume_point(Digest::of(b"work"), "cpu/avx2");
        assert_eq!(point.load(), None);
        point.clear().unwrap();
        point.save(b"epoch 1").unwrap();
        point.save(b"epoch 2").unwrap();
        assert_eq!(point.load().as_deref(), Some(&b"epoch 2"[..]));
        assert_eq!(store.resume_point(Digest::of(b"work"), "cpu/avx512").load(), None);
        let whole = fs::read(&point.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&point.path, &whole[..length]).unwrap();
            assert_eq!(point.load(), None, "cut to {length}");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(&point.path, damaged).unwrap();
            assert_eq!(point.load(), None, "byte {position} changed");
        }
        fs::write(&point.path, whole).unwrap();
        point.clear().unwrap();
        assert_eq!(point.load(), None);
    }
}
