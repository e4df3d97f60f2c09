//! Tables that several instances are given, read once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pipe_cache::Stamp;

use super::{Table, TableError};

/// Tables outside the store by path and shown name. One is read again when its file is no longer what it was, or was
/// written too lately to tell.
#[derive(Debug, Default)]
pub struct TableCache {
    tables: Mutex<HashMap<Key, (Stamp, Arc<Table>)>>,
    /// Whether what was read counts without another look at its file.
    is_held: AtomicBool,
}

/// A table's path, and what messages call it.
type Key = (PathBuf, String);

impl TableCache {
    /// From now on a table that is read is taken as it was then, until this is said to be over. What was read before is
    /// forgotten, so that no table is older than the hold.
    pub fn hold(&self, is_held: bool) {
        if is_held && !self.is_held.load(Ordering::Relaxed) {
            self.tables.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.is_held.store(is_held, Ordering::Relaxed);
    }

    /// [`Table::open`], or what it gave before.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn open(&self, path: &Path, shown: &str) -> Result<Arc<Table>, TableError> {
        let unreadable = |source| TableError::Unreadable { table: shown.to_string(), source };
        let key = (path.to_path_buf(), shown.to_string());
        let lock = || self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_held.load(Ordering::Relaxed)
            && let Some((_, table)) = lock().get(&key)
        {
            return Ok(Arc::clone(table));
        }
        let stamp = Stamp::of(&std::fs::metadata(path).map_err(unreadable)?);
        if let Some((_, table)) = lock().get(&key).filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::open(path, shown)?);
        // What was read belongs to the stamp if that is the same afterwards and no later write could leave it so.
        let after = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        if after == Some(stamp) && stamp.is_settled() {
            lock().insert(key, (stamp, Arc::clone(&table)));
        }
        Ok(table)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_table_is_read_once_and_again_when_its_file_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            std::thread::sleep(Duration::from_millis(70));
        };
        let cache = TableCache::default();
        let open = || cache.open(&path, "t.csv").unwrap();
        write("pid\n1\n");
        let first = open();
        assert!(Arc::ptr_eq(&first, &open()));
        write("pid\n2\n");
        cache.hold(true);
        let second = open();
        assert_ne!(*second, *first);
        write("pid\n3\n");
        assert!(Arc::ptr_eq(&second, &open()));
        cache.hold(false);
        assert_ne!(*open(), *second);
        fs::remove_file(&path).unwrap();
        assert!(matches!(cache.open(&path, "t.csv"), Err(TableError::Unreadable { .. })));
    }

    #[test]
    fn a_table_that_was_just_written_is_read_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "pid\n1\n").unwrap();
        let cache = TableCache::default();
        let first = cache.open(&path, "t.csv").unwrap();
        fs::write(&path, "pid\n2\n").unwrap();
        assert_ne!(cache.open(&path, "t.csv").unwrap(), first);
    }
}
