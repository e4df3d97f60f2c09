//! Facts: what a digest of causes has been found to lead to, so that it need not be found again.
//!
//! A fact saves work and decides nothing: without it the same is found by doing the work. A record that is damaged
//! counts as absent. Of many facts those that were used last are kept.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;
use crate::atomic::write_atomically;
use crate::error::{Error, Result};
use crate::io::read;
use crate::records::{RECORD, decode_all, encode};

const HEADER: &[u8; 16] = b"pipe-facts 1\n\0\0\0";

/// So many facts are kept at most.
const MOST: usize = 1_000_000;

/// Facts by the digest of their causes: a digest, and a number.
#[derive(Debug)]
pub(crate) struct Facts {
    path: PathBuf,
    known: HashMap<Digest, (Digest, u64)>,
    /// Used or found in this process, in that order.
    used: Vec<Digest>,
    is_dirty: bool,
}

impl Facts {
    /// Reads a file of facts. One that cannot be read is taken as empty.
    pub(crate) fn open(path: PathBuf) -> Self {
        let known = read_facts(&path).unwrap_or_default();
        Self { path, known, used: Vec::new(), is_dirty: false }
    }

    pub(crate) fn get(&mut self, cause: Digest) -> Option<(Digest, u64)> {
        let found = *self.known.get(&cause)?;
        self.used.push(cause);
        Some(found)
    }

    pub(crate) fn put(&mut self, cause: Digest, digest: Digest, number: u64) {
        let fact = (digest, number);
        self.is_dirty |= self.known.insert(cause, fact) != Some(fact);
        self.used.push(cause);
    }

    /// Writes the facts when there are new ones.
    pub(crate) fn save(&mut self) -> Result<()> {
        if !self.is_dirty {
            return Ok(());
        }
        // Other processes may have written since.
        for (cause, fact) in read_facts(&self.path)? {
            self.known.entry(cause).or_insert(fact);
        }
        let mut order: Vec<Digest> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let others = self.known.keys();
        for cause in self.used.iter().rev().chain(others).filter(|cause| seen.insert(**cause)).take(MOST) {
            order.push(*cause);
        }
        let mut bytes = HEADER.to_vec();
        for cause in order {
            if let Some((digest, number)) = self.known.get(&cause) {
                bytes.extend_from_slice(&encode(cause, *digest, *number));
            }
        }
        write_atomically(&self.path, &bytes)?;
        self.is_dirty = false;
        Ok(())
    }
}

/// The facts in a file, as far as they are whole.
fn read_facts(path: &Path) -> Result<HashMap<Digest, (Digest, u64)>> {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let records = bytes.strip_prefix(HEADER).unwrap_or_default();
    let mut known = HashMap::with_capacity(records.len() / RECORD);
    known.extend(decode_all(records).map(|(cause, digest, number)| (cause, (digest, number))));
    Ok(known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn facts_survive_and_damaged_ones_are_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts");
        let digest = |number: u8| Digest::of(&[number]);
        let mut facts = Facts::open(path.clone());
        facts.put(digest(1), digest(2), 7);
        facts.put(digest(3), digest(4), 8);
        facts.save().unwrap();
        let mut facts = Facts::open(path.clone());
        assert_eq!(facts.get(digest(1)), Some((digest(2), 7)));
        assert_eq!(facts.get(digest(2)), None);
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 4;
            fs::write(&path, &bytes).unwrap();
            let mut facts = Facts::open(path.clone());
            let found = [(1, (digest(2), 7)), (3, (digest(4), 8))].map(|(cause, fact)| {
                let found = facts.get(digest(cause));
                assert!(found.is_none() || found == Some(fact), "byte {place}");
                usize::from(found.is_some())
            });
            assert!(found.iter().sum::<usize>() < 2, "byte {place}");
        }
    }
}
