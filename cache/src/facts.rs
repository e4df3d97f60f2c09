//! Facts: what a digest of causes has been found to lead to, so that it need not be found again.
//!
//! A fact saves work and decides nothing: without it the same is found by doing the work. The file is sorted by causes, so
//! that a fact is found, and its check compared, without looking at the others: however many there are, a run pays for those
//! that it uses. A record that is damaged counts as absent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;
use crate::atomic::write_atomically;
use crate::error::{Error, Result};
use crate::io::read;
use crate::records::{RECORD, decode, decode_all, encode};

const HEADER: &[u8; 16] = b"pipe-facts 2\n\0\0\0";

/// So many facts are kept at most.
const MOST: usize = 1_000_000;

/// Facts by the digest of their causes: a digest, and a number.
#[derive(Debug)]
pub(crate) struct Facts {
    path: PathBuf,
    /// The records of the file, in the order of their causes.
    stored: Vec<u8>,
    /// Found in this process.
    found: HashMap<Digest, (Digest, u64)>,
    /// Used in this process: these are kept when there are too many.
    used: HashSet<Digest>,
}

impl Facts {
    /// Reads a file of facts. One that cannot be read is taken as empty.
    pub(crate) fn open(path: PathBuf) -> Self {
        let stored = read_facts(&path).unwrap_or_default();
        Self { path, stored, found: HashMap::new(), used: HashSet::new() }
    }

    pub(crate) fn get(&mut self, cause: Digest) -> Option<(Digest, u64)> {
        let fact = self.found.get(&cause).copied().or_else(|| find(&self.stored, cause))?;
        self.used.insert(cause);
        Some(fact)
    }

    pub(crate) fn put(&mut self, cause: Digest, digest: Digest, number: u64) {
        self.used.insert(cause);
        if find(&self.stored, cause) != Some((digest, number)) {
            self.found.insert(cause, (digest, number));
        }
    }

    /// Writes the facts when there are new ones.
    pub(crate) fn save(&mut self) -> Result<()> {
        if self.found.is_empty() {
            return Ok(());
        }
        // Other processes may have written since.
        let stored = read_facts(&self.path)?;
        let mut all: BTreeMap<Digest, (Digest, u64)> =
            decode_all(&stored).map(|(cause, digest, number)| (cause, (digest, number))).collect();
        all.extend(self.found.drain());
        let mut others = MOST.saturating_sub(self.used.len());
        all.retain(|cause, _| {
            let is_kept = others > 0 || self.used.contains(cause);
            others = others.saturating_sub(usize::from(!self.used.contains(cause)));
            is_kept
        });
        let mut records = Vec::with_capacity(all.len() * RECORD);
        for (cause, (digest, number)) in all {
            records.extend_from_slice(&encode(cause, digest, number));
        }
        write_atomically(&self.path, &[&HEADER[..], &records].concat())?;
        self.stored = records;
        Ok(())
    }
}

/// The records in a file; none when it is not there or is of another version.
fn read_facts(path: &Path) -> Result<Vec<u8>> {
    match read(path) {
        Ok(bytes) => Ok(bytes.strip_prefix(HEADER).unwrap_or_default().to_vec()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// A whole record among sorted ones. Where damage has put them out of order, it may not be found.
fn find(records: &[u8], cause: Digest) -> Option<(Digest, u64)> {
    let (records, _) = records.as_chunks::<RECORD>();
    let place = records.binary_search_by(|record| record[..32].cmp(cause.as_bytes())).ok()?;
    decode(records.get(place)?).map(|(_, digest, number)| (digest, number))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn other_processes_facts_are_taken_along_and_each_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts");
        let digest = |number: u64| Digest::of(&number.to_le_bytes());
        let mut one = Facts::open(path.clone());
        let mut other = Facts::open(path.clone());
        (0..500).for_each(|number| one.put(digest(number), digest(number + 1), number));
        (500..700).for_each(|number| other.put(digest(number), digest(number + 1), number));
        one.save().unwrap();
        other.save().unwrap();
        let mut all = Facts::open(path);
        assert!((0..700).all(|number| all.get(digest(number)) == Some((digest(number + 1), number))));
        assert_eq!(all.get(digest(700)), None);
        let before = all.stored.clone();
        all.put(digest(3), digest(4), 3);
        all.save().unwrap();
        assert_eq!(all.stored, before);
    }

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
