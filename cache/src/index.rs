//! An index: the sorted list of names and digests that makes many blobs one artifact.
//!
//! Stored as canonical text, so that equal contents give equal bytes and a person can read it:
//!
//! ```text
//! pipe-index 1 collection
//! 3f…e1 4000080 100012_0.safetensors
//! ```

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::error::{Error, Result};

/// What an artifact is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One file; the artifact's digest is the digest of its bytes.
    File,
    /// A folder; the artifact's digest is that of its index.
    Tree,
    /// One file for each item; the artifact's digest is that of its index.
    Collection,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::File => "file",
            Form::Tree => "tree",
            Form::Collection => "collection",
        })
    }
}

/// One line of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative name with `/` between folders.
    pub name: String,
    /// Digest of the file's bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// A sorted list of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    form: Form,
    entries: Vec<Entry>,
}

impl Index {
    /// Whether this lists a folder or a collection of items.
    pub fn form(&self) -> Form {
        self.form
    }

    /// All entries, sorted by the bytes of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(self.position(name)?)
    }

    /// The position of the entry of that name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()
    }

    /// The collection's entry for an item: the file whose name is the item's and an extension.
    pub fn item(&self, item: &str) -> Option<&Entry> {
        let start = self.entries.partition_point(|entry| entry.name.as_str() < item);
        self.entries[start..]
            .iter()
            .take_while(|entry| entry.name.starts_with(item))
            .find(|entry| item_of(&entry.name) == item)
    }

    /// The canonical bytes that are stored and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("pipe-index 1 {}\n", self.form);
        for Entry { name, digest, size } in &self.entries {
            let _ = writeln!(text, "{digest} {size} {name}");
        }
        text.into_bytes()
    }

    /// Reads what [`Index::to_bytes`] wrote, and refuses everything else.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the line.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let invalid = |line: usize, problem: &str| Error::Invalid {
            what: "artifact index".to_string(),
            line,
            problem: problem.to_string(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| invalid(1, "not UTF-8"))?;
        let mut lines = text.lines().enumerate();
        let form = match lines.next() {
            Some((_, "pipe-index 1 tree")) => Form::Tree,
            Some((_, "pipe-index 1 collection")) => Form::Collection,
            _ => return Err(invalid(1, "not the header of a version 1 index")),
        };
        let mut builder = IndexBuilder::new(form);
        for (number, line) in lines {
            let mut parts = line.splitn(3, ' ');
            let entry = (|| {
                let digest = parts.next()?.parse().ok()?;
                let size = parts.next()?.parse().ok()?;
                Some((parts.next()?, digest, size))
            })();
            let (name, digest, size) =
                entry.ok_or_else(|| invalid(number + 1, "expected digest, size, name"))?;
            builder.add(name, digest, size)?;
        }
        let index = builder.finish()?;
        if index.to_bytes() != bytes {
            return Err(invalid(1, "entries are not in canonical order"));
        }
        Ok(index)
    }
}

/// The item that a collection's file belongs to: its name up to the last dot.
fn item_of(name: &str) -> &str {
    let name = name.strip_suffix(".gz").filter(|rest| rest.contains('.')).unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(item, _)| item)
}

/// Collects entries in any order.
#[derive(Debug)]
pub struct IndexBuilder {
    form: Form,
    entries: Vec<Entry>,
}

impl IndexBuilder {
    /// An empty index of that form.
    pub fn new(form: Form) -> Self {
        Self { form, entries: Vec::new() }
    }

    /// Adds one file.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that [`check_name`] refuses.
    pub fn add(&mut self, name: &str, digest: Digest, size: u64) -> Result<()> {
        check_name(name)?;
        self.entries.push(Entry { name: name.to_string(), digest, size });
        Ok(())
    }

    /// Sorts the entries.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when a name occurs twice.
    pub fn finish(mut self) -> Result<Index> {
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Error::Duplicate { name: pair[0].name.clone() });
        }
        Ok(Index { form: self.form, entries: self.entries })
    }
}

/// Refuses names that could leave the folder they are written to, or that a line of text cannot hold.
///
/// # Errors
/// [`Error::Name`] with the reason.
pub fn check_name(name: &str) -> Result<()> {
    let refuse = |problem| Err(Error::Name { name: name.to_string(), problem });
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > 1024 {
        return refuse("it is longer than 1024 bytes");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return refuse("it has a control character or a backslash");
    }
    if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return refuse("it is not a plain relative path");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collection(names: &[&str]) -> Index {
        let mut builder = IndexBuilder::new(Form::Collection);
        for name in names {
            builder.add(name, Digest::of(name.as_bytes()), name.len() as u64).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn items_are_found_by_name_without_extension() {
        let index = collection(&["1_0.safetensors", "1_0.5.txt", "1_01.safetensors", "10_0.safetensors"]);
        assert_eq!(index.item("1_0").unwrap().name, "1_0.safetensors");
        assert_eq!(index.item("1_01").unwrap().name, "1_01.safetensors");
        assert!(index.item("1").is_none());
        assert!(index.item("9_9").is_none());
    }

    #[test]
    fn dangerous_names_are_refused() {
        for name in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\nb", "a\\b", ".", "a/."] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("fold_0/train_pid.csv").is_ok());
    }

    #[test]
    fn a_reordered_or_doubled_index_is_refused() {
        let bytes = collection(&["a.txt", "b.txt"]).to_bytes();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let swapped = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1]);
        assert!(matches!(Index::from_bytes(swapped.as_bytes()), Err(Error::Invalid { .. })));
        let doubled = format!("{}\n{}\n{}\n", lines[0], lines[1], lines[1]);
        assert!(matches!(Index::from_bytes(doubled.as_bytes()), Err(Error::Duplicate { .. })));
    }

    proptest! {
        #[test]
        fn bytes_and_back(names in proptest::collection::btree_set("[a-z0-9_]{1,8}(/[a-z]{1,4})?\\.[a-z]{1,3}", 0..20)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let index = collection(&names);
            prop_assert_eq!(Index::from_bytes(&index.to_bytes()).unwrap(), index);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Index::from_bytes(&bytes);
        }
    }
}
