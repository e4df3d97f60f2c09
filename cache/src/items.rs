//! Which item key gave which blob.
//!
//! The items of one scope (a kind, its code and its parameters) share a folder of journals. When a stage has finished,
//! its journal is merged with those before it.

use std::collections::HashSet;

use crate::error::Result;
use crate::journal::{Journal, Layout, Lead, Writer};
use crate::listing::entries;
use crate::{Digest, Store};

const LAYOUT: Layout = Layout { header: b"pipe-items 1\n\0\0\0", extension: "items" };

/// A finished item: its blob and that blob's size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemOutcome {
    /// Digest of the item's file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The finished items of one scope, as found when the journal was opened.
#[derive(Debug)]
pub struct ItemJournal(Journal);

/// One stage's journal of finished items; may be shared by its threads.
#[derive(Debug)]
pub struct ItemWriter(Writer);

impl Store {
    /// Reads the journals of a scope.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when a journal is there and cannot be read.
    pub fn items(&self, scope: Digest) -> Result<ItemJournal> {
        let name = scope.to_string();
        let folder = self.root().join("items").join(&name[..2]).join(&name[2..]);
        Journal::open(folder, LAYOUT).map(ItemJournal)
    }

    /// The blobs of all finished items, whatever stage they are of.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when a journal is there and cannot be read.
    pub fn items_of_all(&self) -> Result<HashSet<Digest>> {
        let mut found = HashSet::new();
        for start in entries(&self.root().join("items")) {
            for folder in entries(&start) {
                found.extend(Journal::open(folder, LAYOUT)?.all().map(|(_, lead)| lead.digest));
            }
        }
        Ok(found)
    }
}

impl ItemJournal {
    /// Reads what others have added since the last look.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when a journal is there and cannot be read.
    pub fn refresh(&mut self) -> Result<()> {
        self.0.refresh().map(drop)
    }

    /// The result of an item key: of several, the first whose blob is in the store.
    pub fn get(&self, key: Digest, store: &Store) -> Option<ItemOutcome> {
        let mut outcomes =
            self.0.leads(key).map(|lead| ItemOutcome { digest: lead.digest, size: lead.number });
        outcomes.find(|outcome| store.contains(outcome.digest))
    }

    /// How many items are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a journal file of one's own in the scope.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when it cannot be made.
    pub fn writer(&self) -> Result<ItemWriter> {
        self.0.writer().map(ItemWriter)
    }

    /// Merges what was read with what the given writer wrote, in one file. Gives how many item keys have got two
    /// different blobs; all of these are kept.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the writer's journal cannot be read or the merged file cannot be written; the journals
    /// then stay as they are.
    pub fn merge(self, writer: ItemWriter) -> Result<usize> {
        self.0.merge_with(writer.0)
    }
}

impl ItemWriter {
    /// Commits an item. Its blob must be in the store already.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the journal cannot be written.
    pub fn commit(&self, key: Digest, outcome: ItemOutcome) -> Result<()> {
        self.0.append(key, Lead { digest: outcome.digest, number: outcome.size })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Puts the blob of an item, too, so that it can be found.
    fn put(store: &Store, text: &str) -> ItemOutcome {
        ItemOutcome { digest: store.put(text.as_bytes()).unwrap(), size: text.len() as u64 }
    }

    #[test]
    fn the_first_of_two_results_counts_while_its_blob_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (scope, key) = (Digest::of(b"crop"), Digest::of(&[1]));
        let (one, two) = (put(&store, "one"), put(&store, "two"));
        for (outcome, conflicts) in [(one, 0), (two, 1), (two, 0)] {
            let journal = store.items(scope).unwrap();
            let writer = journal.writer().unwrap();
            writer.commit(key, outcome).unwrap();
            assert_eq!(journal.merge(writer).unwrap(), conflicts);
        }
        let journal = store.items(scope).unwrap();
        assert_eq!(journal.get(key, &store), Some(one));
        store.packs().strike_out(one.digest).unwrap();
        assert_eq!(journal.get(key, &store), Some(two));
        assert_eq!(store.items_of_all().unwrap(), HashSet::from([one.digest, two.digest]));
    }
}
