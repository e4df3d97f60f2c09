//! Which fingerprint gave which artifacts.
//!
//! A stage instance's result is one small JSON file for each fine device class (`cpu-avx512`,
//! `cuda-sm_90`, or `any` where the bytes do not depend on it). The first result of a class stays; a later
//! one with other bytes is written beside it as a conflict, never over it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic::{Durability, write_atomically, write_new};
use crate::error::{Error, Result};
use crate::{Digest, Form, Hasher, Store};

/// What takes fewer seconds is computed again after a power failure rather than waited for at the disk.
const LITTLE: f64 = 0.1;

/// A stored artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRef {
    /// What it is made of.
    pub form: Form,
    /// Digest of the file, or of the index.
    pub digest: Digest,
    /// How many files it has.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
}

/// The outputs that one fingerprint gave, and the run that computed them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRecord {
    /// The fine device class on which it was computed.
    pub class: String,
    /// The artifacts by output name.
    pub outputs: BTreeMap<String, ArtifactRef>,
    /// The run that computed it.
    pub run: String,
    /// How long that took.
    pub seconds: f64,
    /// What whoever uses the outputs should know of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Numbers that tell of the result in brief, such as an AUROC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scalars: BTreeMap<String, f64>,
}

/// What became of a result that was handed in.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordOutcome {
    /// It is the first of its class.
    Stored,
    /// The same outputs were there already.
    Known,
    /// Other outputs were there; they stay, and the new ones are kept beside them.
    Conflict(Box<ResultRecord>),
}

impl Store {
    /// The result of a fingerprint: of the preferred class when there is one, else of the first other
    /// class in the order of their names.
    ///
    /// A record that cannot be read counts as absent: computing it again is always safe.
    pub fn result(&self, fingerprint: Digest, class: &str) -> Option<ResultRecord> {
        let folder = self.result_folder(fingerprint);
        let read = |path: PathBuf| from_json(fingerprint, &crate::io::read(&path).ok()?);
        if let Some(record) = read(folder.join(file_name(class))) {
            return Some(record);
        }
        self.result_files(fingerprint).into_iter().find_map(read)
    }

    /// Hands in a result.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn record_result(&self, fingerprint: Digest, record: &ResultRecord) -> Result<RecordOutcome> {
        let durability = if record.seconds < LITTLE { Durability::Soon } else { Durability::Now };
        if durability == Durability::Now {
            // A result must not outlive what it tells of.
            self.sync()?;
        }
        let folder = self.result_folder(fingerprint);
        let path = folder.join(file_name(&record.class));
        let bytes = to_json(fingerprint, record)?;
        if write_new(&path, &bytes, durability)? {
            return Ok(RecordOutcome::Stored);
        }
        let existing = crate::io::read(&path).map_err(Error::io("read", &path))?;
        match from_json(fingerprint, &existing) {
            Some(existing) if existing.outputs == record.outputs => Ok(RecordOutcome::Known),
            Some(existing) => {
                let suffix = Digest::of(&bytes).short();
                write_new(
                    &folder.join(format!("{}.conflict-{suffix}", record.class.replace('/', "-"))),
                    &bytes,
                    durability,
                )?;
                Ok(RecordOutcome::Conflict(Box::new(existing)))
            }
            None => {
                write_atomically(&path, &bytes)?;
                Ok(RecordOutcome::Stored)
            }
        }
    }

    /// Puts a result in the place of one of its class that has been lost.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn replace_result(&self, fingerprint: Digest, record: &ResultRecord) -> Result<()> {
        self.sync()?;
        write_atomically(
            &self.result_folder(fingerprint).join(file_name(&record.class)),
            &to_json(fingerprint, record)?,
        )
    }

    /// The files that hold results of a fingerprint.
    fn result_files(&self, fingerprint: Digest) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.result_folder(fingerprint)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| is_result(path)).collect();
        files.sort();
        files
    }

    /// Keeps the preimage of a fingerprint: the JSON text that says what went into it.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn record_preimage(&self, fingerprint: Digest, preimage: &[u8]) -> Result<()> {
        // It explains a result and is not needed for it.
        write_new(&self.result_folder(fingerprint).join("preimage"), preimage, Durability::Soon).map(|_| ())
    }

    /// The stored preimage of a fingerprint.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there and cannot be read.
    pub fn preimage(&self, fingerprint: Digest) -> Result<Option<Vec<u8>>> {
        let path = self.result_folder(fingerprint).join("preimage");
        match crate::io::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    fn result_folder(&self, fingerprint: Digest) -> PathBuf {
        let name = fingerprint.to_string();
        self.root().join("results").join(&name[..2]).join(&name[2..])
    }
}

fn file_name(class: &str) -> String {
    format!("{}.json", class.replace('/', "-"))
}

fn is_result(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// The name of the field that guards the others.
const CHECK: &str = "check";

/// A digest of the fingerprint and of the record without its check, keys sorted and without spaces.
fn check(fingerprint: Digest, record: &Value) -> Value {
    let mut hasher = Hasher::new("pipe result record, version 1");
    hasher.field(fingerprint.to_string());
    hasher.field(record.to_string());
    Value::String(hasher.finish().to_string())
}

fn to_json(fingerprint: Digest, record: &ResultRecord) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::io("write", Path::new("a result record"))(error.into());
    let mut value = serde_json::to_value(record).map_err(failed)?;
    let check = check(fingerprint, &value);
    if let Some(fields) = value.as_object_mut() {
        fields.insert(CHECK.to_string(), check);
    }
    let mut bytes = serde_json::to_vec_pretty(&value).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The record in a file, unless the file is damaged or belongs to another fingerprint.
fn from_json(fingerprint: Digest, bytes: &[u8]) -> Option<ResultRecord> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let found = value.as_object_mut()?.remove(CHECK)?;
    if found != check(fingerprint, &value) {
        return None;
    }
    serde_json::from_value(value).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn record(class: &str, content: &[u8]) -> ResultRecord {
        let artifact = ArtifactRef {
            form: Form::File,
            digest: Digest::of(content),
            files: 1,
            bytes: content.len() as u64,
        };
        ResultRecord {
            class: class.to_string(),
            outputs: BTreeMap::from([("model".to_string(), artifact)]),
            run: "run".to_string(),
            seconds: 1.5,
            scalars: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn ones_own_class_first_then_any() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        assert_eq!(store.result(key, "cpu/avx512"), None);
        store.record_result(key, &record("cuda/sm_90", b"gpu")).unwrap();
        assert_eq!(store.result(key, "cpu/avx512"), Some(record("cuda/sm_90", b"gpu")));
        store.record_result(key, &record("cpu/avx512", b"cpu")).unwrap();
        assert_eq!(store.result(key, "cpu/avx512"), Some(record("cpu/avx512", b"cpu")));
    }

    #[test]
    fn a_record_with_any_bit_flipped_counts_as_absent_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        let whole = record("any", b"one");
        store.record_result(key, &whole).unwrap();
        let path = store.result_folder(key).join("any.json");
        let bytes = fs::read(&path).unwrap();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let found = store.result(key, "any");
            assert!(found.is_none() || found.as_ref() == Some(&whole), "byte {position}: {found:?}");
            let outcome = store.record_result(key, &whole).unwrap();
            assert!(matches!(outcome, RecordOutcome::Stored | RecordOutcome::Known), "byte {position}");
        }
        // Nor does a record count that was moved to another fingerprint's place.
        let other = Digest::of(b"other");
        fs::create_dir_all(store.result_folder(other)).unwrap();
        fs::write(store.result_folder(other).join("any.json"), &bytes).unwrap();
        assert_eq!(store.result(other, "any"), None);
    }

    #[test]
    fn warnings_are_kept_with_a_result_and_a_record_without_them_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let [key, old] = [&b"key"[..], b"old"].map(Digest::of);
        let warned = ResultRecord { warnings: vec!["few cases".to_string()], ..record("any", b"one") };
        store.record_result(key, &warned).unwrap();
        assert_eq!(store.result(key, "any"), Some(warned));
        // Without warnings a record has the fields that it had before there were any.
        store.record_result(old, &record("any", b"one")).unwrap();
        let bytes = fs::read(store.result_folder(old).join("any.json")).unwrap();
        assert!(!String::from_utf8(bytes).unwrap().contains("warnings"));
        assert_eq!(store.result(old, "any"), Some(record("any", b"one")));
    }

    #[test]
    fn other_bytes_are_a_conflict_and_the_first_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        assert_eq!(store.record_result(key, &record("any", b"one")).unwrap(), RecordOutcome::Stored);
        assert_eq!(store.record_result(key, &record("any", b"one")).unwrap(), RecordOutcome::Known);
        let outcome = store.record_result(key, &record("any", b"two")).unwrap();
        assert_eq!(outcome, RecordOutcome::Conflict(Box::new(record("any", b"one"))));
        assert_eq!(store.result(key, "any"), Some(record("any", b"one")));
    }

    #[test]
    fn an_unreadable_record_counts_as_absent_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        store.record_result(key, &record("any", b"one")).unwrap();
        fs::write(store.result_folder(key).join("any.json"), b"{ torn").unwrap();
        assert_eq!(store.result(key, "any"), None);
        assert_eq!(store.record_result(key, &record("any", b"two")).unwrap(), RecordOutcome::Stored);
        assert_eq!(store.result(key, "any"), Some(record("any", b"two")));
    }
}
