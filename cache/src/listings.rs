//! Long lists that many runs have in common, such as the results that were up to date: kept once, by content.
//!
//! What is in them is not known here. They are small beside results, and are kept as long as the records of runs.

use std::path::PathBuf;

use crate::atomic::{Durability, write_parts_atomically};
use crate::error::Result;
use crate::io::{open, read};
use crate::{Digest, Store};

impl Store {
    /// Keeps a listing, whose bytes are given in parts; its digest. One that is there already, and whole, is left as it is.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be written.
    pub fn keep_listing(&self, parts: &[impl AsRef<[u8]>]) -> Result<Digest> {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let digest = Digest::of_parts(&parts);
        let path = self.listing_path(digest);
        let found = open(&path).and_then(Digest::of_reader);
        if found.is_ok_and(|(found, _)| found == digest) {
            return Ok(digest);
        }
        write_parts_atomically(&path, &parts, Durability::Soon)?;
        Ok(digest)
    }

    /// A listing's bytes; `None` unless it is there and whole.
    pub fn listing(&self, digest: Digest) -> Option<Vec<u8>> {
        read(&self.listing_path(digest)).ok().filter(|bytes| Digest::of(bytes) == digest)
    }

    fn listing_path(&self, digest: Digest) -> PathBuf {
        self.root().join("listings").join(digest.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_listing_is_kept_once_and_mended_by_who_keeps_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let digest = store.keep_listing(&["one\n", "two\n"]).unwrap();
        assert_eq!(store.listing(digest).as_deref(), Some(&b"one\ntwo\n"[..]));
        assert_eq!(store.listing(Digest::of(b"other")), None);
        fs::write(store.listing_path(digest), b"one\ntwO\n").unwrap();
        assert_eq!(store.listing(digest), None);
        assert_eq!(store.keep_listing(&["one\n", "two\n"]).unwrap(), digest);
        assert!(store.listing(digest).is_some());
    }
}
