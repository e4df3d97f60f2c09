//! Which files of a folder are the items of a collection: one rule for every kind that takes one.
//!
//! An item's file lies in the folder itself and has the extension that the kind expects. Two files for one item are
//! refused, whichever of them was meant: an editor's backup, a copy, another extension. What is left out is told.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::list_folder;
use crate::stage::StageError;

/// How many names are told.
const TOLD: usize = 3;

/// The items of a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Each item's file, by the item's name.
    pub items: BTreeMap<String, PathBuf>,
    /// The names of other files, sorted.
    pub left_out: Vec<String>,
}

/// The items of a folder outside the store, as files with an extension; messages call the folder `shown`.
///
/// # Errors
/// Two files for one item; a folder that cannot be read.
pub fn list_items(folder: &Path, shown: &str, extension: &str) -> Result<Listing, StageError> {
    let mut files = Vec::new();
    list_folder(folder, "", 0, &mut files)?;
    files.sort_unstable();
    let mut listing = Listing::default();
    let mut doubled: Vec<[String; 2]> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for (name, path) in files {
        match item_of(&name, extension) {
            None => others.push(name),
            Some(item) => {
                let first = listing.items.insert(item.to_string(), path);
                doubled.extend(first.map(|first| [file_name(&first), name.clone()]));
            }
        }
    }
    for name in &others {
        let meant = meant_by(name, &listing.items);
        doubled.extend(meant.map(|path| [file_name(path), name.clone()]));
    }
    for (item, path) in &listing.items {
        let original = copied_name(item).and_then(|original| listing.items.get(original));
        doubled.extend(original.map(|original| [file_name(original), file_name(path)]));
    }
    if !doubled.is_empty() {
        return Err(two_files(shown, extension, &doubled));
    }
    listing.left_out = others;
    Ok(listing)
}

/// Listings of folders, each made once for all that look at it before any work. Whoever binds a folder lists it anew.
#[derive(Debug, Default)]
pub struct ListingCache {
    listings: Mutex<HashMap<(PathBuf, &'static str), Arc<Listing>>>,
}

impl ListingCache {
    /// [`list_items`], or what it gave before.
    ///
    /// # Errors
    /// As [`list_items`].
    pub fn items(
        &self,
        folder: &Path,
        shown: &str,
        extension: &'static str,
    ) -> Result<Arc<Listing>, StageError> {
        let key = (folder.to_path_buf(), extension);
        let lock = || self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let listing = Arc::new(list_items(folder, shown, extension)?);
        lock().insert(key, Arc::clone(&listing));
        Ok(listing)
    }
}

/// The item of a file in the folder itself, by its extension in any capitals.
fn item_of<'a>(name: &'a str, extension: &str) -> Option<&'a str> {
    let (item, found) = name.rsplit_once('.')?;
    (!item.contains('/') && !item.is_empty() && found.eq_ignore_ascii_case(extension)).then_some(item)
}

/// The item that a file is another version of: `X.txt~`, `X.bak`, `X.txt.orig`, `#X.txt#`.
fn meant_by<'a>(name: &str, items: &'a BTreeMap<String, PathBuf>) -> Option<&'a PathBuf> {
    let mut rest = name.trim_matches(['#', '~', '$']);
    loop {
        let original = copied_name(rest).unwrap_or(rest);
        if let Some(found) = items.get(rest).or_else(|| items.get(original)) {
            return Some(found);
        }
        rest = rest.rsplit_once('.')?.0;
    }
}

/// The name that a file manager has made another of: `X (1)`, `X - Copy`, `X copy`, `Copy of X`.
fn copied_name(name: &str) -> Option<&str> {
    let numbered = || {
        let (original, number) = name.strip_suffix(')')?.rsplit_once(" (")?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(original)
    };
    let ends = [" - Copy", " - copy", " copy", " (copy)"];
    numbered()
        .or_else(|| ends.iter().find_map(|end| name.strip_suffix(end)))
        .or_else(|| name.strip_prefix("Copy of "))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn two_files(shown: &str, extension: &str, doubled: &[[String; 2]]) -> StageError {
    let pairs: Vec<String> =
        doubled.iter().take(TOLD).map(|[first, second]| format!("{first} and {second}")).collect();
    let message = match doubled.len() {
        1 => format!("{shown}: one item has two files, {}", pairs.join("")),
        count if count <= TOLD => format!("{shown}: {count} items have two files: {}", pairs.join("; ")),
        count => format!("{shown}: {count} items have two files: {}; …", pairs.join("; ")),
    };
    StageError::message(message)
        .advise(format!("keep one NAME.{extension} for each item, and move the others away"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    fn listed(names: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let listing = list_items(folder.path(), "mine", "txt").map_err(|error| error.to_string())?;
        Ok((listing.items.into_keys().collect(), listing.left_out))
    }

    #[test]
    fn items_are_files_with_the_extension() {
        let (items, left_out) = listed(&[
            "P1_1.txt",
            "1.2.840_1.txt",
            "P2_1.TXT",
            "P3 (1).txt",
            "README.md",
            "old/P1_1.txt",
            "LICENSE",
            ".P1_1.txt.swp",
            "._P1_1.txt",
            "Thumbs.db",
            "desktop.ini",
        ])
        .unwrap();
        assert_eq!(items, ["1.2.840_1", "P1_1", "P2_1", "P3 (1)"]);
        assert_eq!(left_out, ["LICENSE", "README.md", "old/P1_1.txt"]);
    }

    #[test]
    fn two_files_for_one_item_are_refused() {
        for other in [
            "P1_1.txt~",
            "P1_1.TXT",
            "P1_1.bak",
            "P1_1.txt.bak",
            "P1_1.txt.orig",
            "P1_1.docx",
            "P1_1~",
            "P1_1",
            "#P1_1.txt#",
            "~$P1_1.docx",
            "P1_1 (1).txt",
            "P1_1 (2).bak",
            "P1_1 - Copy.txt",
            "P1_1 copy.txt",
            "Copy of P1_1.txt",
        ] {
            let error = listed(&["P1_1.txt", other, "P2_1.txt"]).unwrap_err();
            assert!(error.starts_with("mine: one item has two files, "), "{other}: {error}");
            assert!(error.contains("P1_1.txt") && error.contains(other), "{other}: {error}");
        }
        let many: Vec<String> = (1..=5).flat_map(|n| [format!("P{n}.txt"), format!("P{n}.txt~")]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let error = listed(&many).unwrap_err();
        assert_eq!(
            error,
            "mine: 5 items have two files: P1.txt and P1.txt~; P2.txt and P2.txt~; P3.txt and P3.txt~; …"
        );
    }
}
