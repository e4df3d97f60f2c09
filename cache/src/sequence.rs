//! Numbers in the order in which they were asked for, none of them given twice.
//!
//! Clocks of hosts differ, so the order of runs cannot come from them. A number is an empty file that only one process can
//! make, in a folder of its own; the next one is one more than the largest that is there. Only the latest are kept. Whoever
//! looked at the folder long ago may make one anew that has been removed, and sees then that much larger ones are there.
//! What is numbered is not known here.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::Store;
use crate::atomic::{create_folder, create_to_append};
use crate::error::{Error, Result};
use crate::listing::entries;

/// So many numbers are kept.
const KEPT: u64 = 64;

impl Store {
    /// The next number. `known` gives the largest one that is in use, for a store whose numbers were lost.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn next_in_sequence(&self, known: impl FnOnce() -> u64) -> Result<u64> {
        let folder = self.sequence();
        create_folder(&folder)?;
        let mut wanted = match self.numbers().into_iter().max() {
            Some(largest) => largest + 1,
            None => known() + 1,
        };
        loop {
            let is_mine = match create_to_append(&folder.join(wanted.to_string())) {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) => return Err(Error::io("write in", &folder)(error)),
            };
            let numbers = self.numbers();
            let largest = numbers.iter().copied().max().unwrap_or(wanted).max(wanted);
            if is_mine && largest - wanted < KEPT {
                for old in numbers.into_iter().filter(|number| number + KEPT <= largest) {
                    // One that stays is tried again with the next.
                    let _ = fs::remove_file(folder.join(old.to_string()));
                }
                return Ok(wanted);
            }
            wanted = largest + 1;
        }
    }

    fn sequence(&self) -> PathBuf {
        self.root().join("sequence")
    }

    fn numbers(&self) -> Vec<u64> {
        let name = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
        entries(&self.sequence()).into_iter().filter_map(name).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_given_once_however_many_ask_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap();
        let ask = || {
            // Each with a view of its own, as processes have.
            let store = Store::open(folder.path()).unwrap();
            (0..20).map(|_| store.next_in_sequence(|| 0).unwrap()).collect::<Vec<u64>>()
        };
        let given: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..32).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let distinct: BTreeSet<u64> = given.iter().flatten().copied().collect();
        assert_eq!(distinct.len(), 640);
        assert!(given.iter().all(|numbers| numbers.is_sorted()), "later is larger");
        let store = Store::open(folder.path()).unwrap();
        assert!(store.numbers().len() as u64 <= 2 * KEPT, "{}", store.numbers().len());
        assert!(store.next_in_sequence(|| 0).unwrap() > *distinct.last().unwrap());
    }

    #[test]
    fn one_that_looked_long_ago_gets_no_number_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let stale = || {
            // The folder was empty when it looked; meanwhile others have come and gone.
            (0..200).for_each(|_| assert!(store.next_in_sequence(|| 0).is_ok()));
            0
        };
        assert_eq!(store.next_in_sequence(stale).unwrap(), 201);
    }

    #[test]
    fn a_store_whose_numbers_were_lost_goes_on_behind_those_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.next_in_sequence(|| 41).unwrap(), 42);
        assert_eq!(store.next_in_sequence(|| 0).unwrap(), 43);
    }
}
