//! Notes: what a program wants to know again about something, found by a digest of what that is.
//!
//! As a fact, a note saves work and decides nothing. One that is damaged counts as absent, and of many the ones that
//! were written last are kept. What is in them is not known here.

use std::fs;
use std::path::PathBuf;

use crate::atomic::Durability;
use crate::error::Result;
use crate::listing::entries;
use crate::{Digest, Store, sealed};

const MAGIC: &[u8] = b"pipe-note 1\n";

/// So many notes are kept.
const MOST: usize = 256;

impl Store {
    /// Writes a note in the place of an earlier one.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be written.
    pub fn write_note(&self, about: Digest, bytes: &[u8]) -> Result<()> {
        sealed::write(&self.note_path(about), MAGIC, bytes, Durability::Soon)?;
        let mut notes = entries(&self.notes());
        if let Some(surplus) = notes.len().checked_sub(MOST) {
            notes.sort_by_cached_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
            for path in notes.iter().take(surplus) {
                // One that stays is tried again with the next.
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// What was noted, if it is there and whole.
    pub fn read_note(&self, about: Digest) -> Option<Vec<u8>> {
        sealed::read(&self.note_path(about), MAGIC)
    }

    pub(crate) fn forget_notes(&self) {
        for path in entries(&self.notes()) {
            let _ = fs::remove_file(path);
        }
    }

    fn notes(&self) -> PathBuf {
        self.root().join("notes")
    }

    fn note_path(&self, about: Digest) -> PathBuf {
        self.notes().join(about.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn notes_are_replaced_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let about = |number: usize| Digest::of(&number.to_le_bytes());
        assert_eq!(store.read_note(about(0)), None);
        store.write_note(about(0), b"one").unwrap();
        store.write_note(about(0), b"two").unwrap();
        assert_eq!(store.read_note(about(0)).as_deref(), Some(&b"two"[..]));
        std::thread::sleep(std::time::Duration::from_millis(20));
        for number in 1..=MOST {
            store.write_note(about(number), b"more").unwrap();
        }
        assert_eq!(store.read_note(about(0)), None);
        assert!((1..=MOST).all(|number| store.read_note(about(number)).is_some()));
        store.forget_notes();
        assert_eq!(entries(&store.notes()), Vec::<PathBuf>::new());
    }
}
