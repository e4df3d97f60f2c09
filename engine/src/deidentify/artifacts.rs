//! Artifacts without what could identify anybody: of most of them only keyed digests are left. Of files that the kind says to be of
//! all cases together the numbers stay.

use std::collections::{BTreeMap, HashMap};

use pipe_cache::{ArtifactRef, Digest, Entry, Form, IndexBuilder, Store};
use pipe_plugin::stage::OfAllCases;
use serde_json::json;

use super::DeidentifyError;
use super::key::Key;
use super::results;
use super::words::Words;
use crate::items;
use crate::lineage::{ListedItem, listed_items};

/// Files of more bytes are told by their digest only.
const LARGEST: u64 = 1 << 24;

/// Puts artifacts of a store into another one, de-identified.
pub(super) struct Artifacts<'a> {
    pub(super) from: &'a Store,
    pub(super) to: &'a Store,
    pub(super) key: &'a Key,
    pub(super) words: &'a Words<'a>,
    /// What stands for digests, where it is no keyed hash.
    digests: HashMap<Digest, Digest>,
    artifacts: HashMap<Digest, ArtifactRef>,
    /// The sizes of files that are put in, by the digests of what they stand for.
    sizes: HashMap<Digest, u64>,
}

impl<'a> Artifacts<'a> {
    pub(super) fn new((from, to): (&'a Store, &'a Store), key: &'a Key, words: &'a Words<'a>) -> Self {
        Self {
            from,
            to,
            key,
            words,
            digests: HashMap::new(),
            artifacts: HashMap::new(),
            sizes: HashMap::new(),
        }
    }

    /// What stands for a digest.
    pub(super) fn digest(&self, digest: Digest) -> Digest {
        self.digests.get(&digest).copied().unwrap_or_else(|| self.key.hash("digest", &[digest.as_bytes()]))
    }

    /// What stands for an artifact that was put in.
    pub(super) fn known(&self, digest: Digest) -> Option<ArtifactRef> {
        self.artifacts.get(&digest).cloned()
    }

    /// Puts in what stands for an artifact; `of_all` says which of its files are of all cases together.
    pub(super) fn artifact(
        &mut self,
        artifact: &ArtifactRef,
        of_all: Option<&OfAllCases>,
    ) -> Result<(), DeidentifyError> {
        if self.artifacts.contains_key(&artifact.digest) {
            return Ok(());
        }
        let made = match artifact.form {
            Form::File => {
                let bytes = self.bytes((artifact.digest, artifact.bytes), None)?;
                ArtifactRef { digest: self.digest(artifact.digest), bytes, ..artifact.clone() }
            }
            Form::Tree | Form::Collection => self.index(artifact, of_all)?,
        };
        self.digests.insert(artifact.digest, made.digest);
        self.artifacts.insert(artifact.digest, made);
        Ok(())
    }

    fn index(
        &mut self,
        artifact: &ArtifactRef,
        of_all: Option<&OfAllCases>,
    ) -> Result<ArtifactRef, DeidentifyError> {
        let index = self.from.index(artifact.digest)?;
        let (mut builder, mut bytes) = (IndexBuilder::new(index.form()), 0);
        for Entry { name, digest, size } in index.entries() {
            let stays = of_all.is_some_and(|results| results.files.contains(&name.as_str()));
            let told = match (stays, index.form()) {
                (true, _) => name.clone(),
                (false, Form::Collection) => self.words.item_file(name),
                (false, _) => self.words.name(name),
            };
            let size = self.bytes((*digest, *size), stays.then_some(name.as_str()))?;
            builder.add(&told, self.digest(*digest), size)?;
            bytes += size;
        }
        let digest = self.to.put(&builder.finish()?.to_bytes())?;
        Ok(ArtifactRef { digest, bytes, ..artifact.clone() })
    }

    /// The size that is told of a file. Of one that stays, by its name, the bytes are put in, with other words.
    fn bytes(&mut self, (digest, size): (Digest, u64), stays: Option<&str>) -> Result<u64, DeidentifyError> {
        if let Some(size) = self.sizes.get(&digest) {
            return Ok(*size);
        }
        let Some(name) = stays.filter(|_| size <= LARGEST) else { return Ok(rounded(size)) };
        match results::with_other_words(self.words, name, &self.from.read(digest)?) {
            None => Ok(rounded(size)),
            Some(bytes) => {
                self.digests.insert(digest, self.to.put(&bytes)?);
                self.sizes.insert(digest, bytes.len() as u64);
                Ok(bytes.len() as u64)
            }
        }
    }

    /// Puts in what stands for a listing of items: the digest of its names and keys.
    pub(super) fn listing(&mut self, digest: Digest) -> Result<Digest, DeidentifyError> {
        let listed = listed_items(&self.from.read(digest)?).ok_or(DeidentifyError::Listing { digest })?;
        let lines: BTreeMap<String, ListedItem> =
            listed.into_iter().map(|item| self.item(item)).map(|item| (item.item.clone(), item)).collect();
        let keys = lines.values().filter_map(|one| Some((one.item.as_str(), one.key?)));
        let of_items = items::digest_of(keys.collect());
        let text: String = lines.values().map(|item| json!(item).to_string() + "\n").collect();
        let made = self.to.put(text.as_bytes())?;
        self.digests.insert(digest, made);
        Ok(of_items)
    }

    /// What stands for an item in a listing.
    fn item(&self, ListedItem { item, key, values, files }: ListedItem) -> ListedItem {
        let cell = |(column, cell): (String, String)| {
            let made = if cell.is_empty() { cell } else { self.words.cell(&item, &column, &cell) };
            (self.words.text(&column), made)
        };
        ListedItem {
            key: key.map(|key| self.digest(key)),
            values: values.into_iter().map(cell).collect(),
            files: files
                .into_iter()
                .map(|(input, file)| (self.words.text(&input), self.digest(file)))
                .collect(),
            item: self.words.pseudonym(&item),
        }
    }
}

/// A size that tells no file from others: the next power of two.
pub(super) fn rounded(size: u64) -> u64 {
    if size == 0 { 0 } else { size.checked_next_power_of_two().unwrap_or(u64::MAX) }
}
