//! Results of before there was a journal of them: a folder for each fingerprint, with a file for each result.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{CONFLICT, FIRST, ResultRecord};
use crate::error::{Error, Result};
use crate::listing::{all_entries, is_gone};
use crate::sweep::absent;
use crate::{Digest, Hasher, Store};

impl Store {
    /// Takes over the results that lie in folders of former versions, and removes these. What is damaged counts as absent.
    /// Where the store cannot be written, they stay, and are not known until it can.
    ///
    /// # Errors
    /// [`Error::Io`] when something cannot be read or written; nothing is lost then.
    pub(crate) fn take_over_results(&self) -> Result<()> {
        match self.take_over_all() {
            Err(Error::Io { source, .. }) if cannot_be_written(&source) => Ok(()),
            outcome => outcome,
        }
    }

    fn take_over_all(&self) -> Result<()> {
        let starts: Vec<PathBuf> =
            all_entries(&self.root().join("results"))?.into_iter().filter(|path| path.is_dir()).collect();
        if starts.is_empty() {
            return Ok(());
        }
        let mut taken = Vec::new();
        for start in &starts {
            for folder in all_entries(start)? {
                if let Some(fingerprint) = fingerprint_of(&folder) {
                    taken.extend(self.take_over(fingerprint, &folder)?);
                }
            }
        }
        self.sync()?;
        for file in &taken {
            fs::remove_file(file).or_else(absent).map_err(Error::io("remove", file))?;
        }
        // What a program of before writes meanwhile is taken over at the next opening.
        for start in starts {
            all_entries(&start)?.iter().for_each(|folder| drop(fs::remove_dir(folder)));
            let _ = fs::remove_dir(&start);
        }
        Ok(())
    }

    /// Takes over the results of a fingerprint; gives the files that are needed no more.
    fn take_over(&self, fingerprint: Digest, folder: &Path) -> Result<Vec<PathBuf>> {
        let files = all_entries(folder)?;
        for file in &files {
            let bytes = match crate::io::read(file) {
                Ok(bytes) => bytes,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(Error::io("read", file)(error)),
            };
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name == "preimage" {
                self.record_preimage(fingerprint, &bytes)?;
            } else if let Some(record) = from_json(fingerprint, &bytes) {
                let rank = if name.ends_with(".json") { FIRST } else { CONFLICT };
                self.append_result(fingerprint, &record, rank)?;
            }
        }
        Ok(files)
    }
}

fn cannot_be_written(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// The fingerprint that a folder is named by, after two digits in the name of the folder around it.
fn fingerprint_of(folder: &Path) -> Option<Digest> {
    let start = folder.parent()?.file_name()?.to_str()?;
    format!("{start}{}", folder.file_name()?.to_str()?).parse().ok()
}

/// A digest of the fingerprint and of the record without its check, keys sorted and without spaces.
fn check(fingerprint: Digest, record: &Value) -> Value {
    let mut hasher = Hasher::new("pipe result record, version 1");
    hasher.field(fingerprint.to_string());
    hasher.field(record.to_string());
    Value::String(hasher.finish().to_string())
}

/// The record in a file, unless the file is damaged or belongs to another fingerprint.
fn from_json(fingerprint: Digest, bytes: &[u8]) -> Option<ResultRecord> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let found = value.as_object_mut()?.remove("check")?;
    if found != check(fingerprint, &value) {
        return None;
    }
    serde_json::from_value(value).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::listing::entries;
    use crate::results::tests::record;

    fn write_former(store: &Store, fingerprint: Digest, (name, of): (&str, Digest), record: &ResultRecord) {
        let mut value = serde_json::to_value(record).unwrap();
        let check = check(of, &value);
        value.as_object_mut().unwrap().insert("check".to_string(), check);
        let digits = fingerprint.to_string();
        let folder = store.root().join("results").join(&digits[..2]).join(&digits[2..]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        fs::write(folder.join("preimage"), b"{}").unwrap();
    }

    #[test]
    fn former_results_are_taken_over_and_damaged_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let [key, moved] = [&b"key"[..], b"moved"].map(Digest::of);
        write_former(&store, key, ("cpu-avx2.json", key), &record("cpu/avx2", b"one"));
        write_former(&store, key, ("cpu-avx2.conflict-0123", key), &record("cpu/avx2", b"two"));
        // Written for another fingerprint.
        write_former(&store, moved, ("any.json", key), &record("any", b"one"));
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.result(key, "cpu/avx2"), Some(record("cpu/avx2", b"one")));
        assert_eq!(store.result(moved, "any"), None);
        assert_eq!(store.preimage(key).unwrap().as_deref(), Some(&b"{}"[..]));
        assert!(entries(&store.root().join("results")).iter().all(|path| path.is_file()));
    }
}
