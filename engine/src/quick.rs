//! Knowing an instance's fingerprint without reading its inputs.
//!
//! What is looked at is cruder than what a fingerprint holds: the results of other instances by digest, files and
//! folders by what the file system says of them. While all of that is as it was, so is the fingerprint, which was
//! then noted as a fact. When anything differs, or has been written too lately to tell, the instance is bound in
//! full.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use pipe_cache::{Digest, Hasher, Sighting, Stamp};
use rayon::prelude::*;

use crate::bind::{Binder, Bound, Done, TableSource};
use crate::input::list_folder;
use crate::items::row_files::{Found, RowFiles};
use crate::manifest::{InputBinding, InputSource, Instance};
use crate::stage::{InputForm, ItemSource, RowItems};

/// Changes with the code that makes fingerprints.
const ENGINE: &str = env!("PIPE_ENGINE_CODE");

/// What is known of an instance without its inputs.
pub(crate) struct Known {
    pub(crate) fingerprint: Digest,
    /// How many items it has, and the listing of their keys.
    pub(crate) items: Option<(usize, Digest)>,
}

impl Binder<'_> {
    /// A digest of all that an instance's fingerprint follows from, as far as it can be seen without reading files;
    /// `None` when that is not far enough.
    pub(crate) fn sight(
        &self,
        instance: &Instance,
        upstream: &dyn Fn(usize) -> Option<Done>,
    ) -> Option<Digest> {
        let mut sighting = Sighting::new("instance");
        sighting.text(ENGINE);
        sighting.text(self.own_preimage(instance).fingerprint().as_bytes());
        sighting.text(self.pipeline.root.as_os_str().as_encoded_bytes());
        let items = self.item_source(instance).ok()?;
        for binding in &instance.inputs {
            sighting.text(binding.spec.name);
            for source in &binding.sources {
                self.see_source(binding, source, upstream, &mut sighting)?;
            }
            if let Some(ItemSource::Rows(rows)) = &items
                && rows.input == binding.spec.name
                && !rows.files.is_empty()
            {
                let table = self.open_table(binding.sources.first()?, upstream).ok()?;
                see_row_files(&table, rows, &mut sighting)?;
            }
        }
        sighting.finish()
    }

    /// A digest of a table that lies outside the store and of the files that its rows name, for a kind and its
    /// parameters.
    pub(crate) fn sight_of_table(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        path: &Path,
    ) -> Option<Digest> {
        let mut sighting = Sighting::new("table");
        sighting.text(ENGINE);
        sighting.text(self.own_preimage(instance).fingerprint().as_bytes());
        sighting.text(self.pipeline.root.as_os_str().as_encoded_bytes());
        sighting.text(binding.spec.name);
        see_files(&[path.to_path_buf()], &mut sighting)?;
        if let Some(ItemSource::Rows(rows)) = self.item_source(instance).ok()?
            && rows.input == binding.spec.name
            && !rows.files.is_empty()
        {
            let table = self.open_table(binding.sources.first()?, &|_| None).ok()?;
            see_row_files(&table, &rows, &mut sighting)?;
        }
        sighting.finish()
    }

    fn see_source(
        &self,
        binding: &InputBinding,
        source: &InputSource,
        upstream: &dyn Fn(usize) -> Option<Done>,
        sighting: &mut Sighting,
    ) -> Option<()> {
        sighting.text(binding.name.as_deref().unwrap_or_default());
        for (key, value) in self.selector(source) {
            sighting.text(key);
            sighting.text(&value);
        }
        match source {
            InputSource::Keyword(word) => sighting.text(word),
            InputSource::Hub(_) => return None,
            InputSource::Output { instance, output } => {
                let artifact = upstream(*instance)?.outputs.get(*output)?.clone();
                sighting.text(artifact.form.to_string());
                sighting.text(artifact.digest.as_bytes());
            }
            InputSource::Path(path) => match binding.spec.form {
                InputForm::Table | InputForm::File => see_files(std::slice::from_ref(path), sighting)?,
                InputForm::Tree | InputForm::Collection => see_folder(path, sighting)?,
            },
        }
        Some(())
    }

    /// What was noted for a sight.
    pub(crate) fn known(&self, sight: Digest) -> Option<Known> {
        let (fingerprint, count) = self.memo.fact(cause("fingerprint", sight))?;
        let items = match count.checked_sub(1) {
            None => None,
            Some(count) => Some((usize::try_from(count).ok()?, self.memo.fact(cause("items", sight))?.0)),
        };
        Some(Known { fingerprint, items })
    }

    /// Notes what a sight leads to.
    pub(crate) fn note(&self, sight: Digest, bound: &Bound, listing: Option<Digest>) {
        let count = bound.items.as_ref().map_or(0, |items| items.list.len() as u64 + 1);
        self.memo.keep_fact(cause("fingerprint", sight), bound.fingerprint, count);
        if let Some(listing) = listing {
            self.memo.keep_fact(cause("items", sight), listing, 0);
        }
    }

    /// Whether nothing was wrong with a table when it was last seen like this.
    pub(crate) fn is_known_good(&self, sight: Digest) -> bool {
        self.memo.fact(cause("good table", sight)).is_some()
    }

    /// Notes that nothing is wrong with a table.
    pub(crate) fn note_good(&self, sight: Digest) {
        self.memo.keep_fact(cause("good table", sight), sight, 0);
    }

    /// Whether all files of an artifact of many are in the store.
    pub(crate) fn is_complete(&self, index: Digest) -> bool {
        let sight = self.store.sight();
        let cause = sight.map(|sight| {
            let mut hasher = Hasher::new("pipe fact, version 1");
            hasher.field("complete").field(sight.as_bytes()).field(index.as_bytes());
            hasher.finish()
        });
        if cause.is_some_and(|cause| self.memo.fact(cause).is_some()) {
            return true;
        }
        let found = self.store.index(index);
        let is_complete = found
            .and_then(|index| self.store.contains_all(index.entries().iter().map(|entry| entry.digest)))
            .unwrap_or(false);
        if let Some(cause) = cause.filter(|_| is_complete) {
            self.memo.keep_fact(cause, index, 0);
        }
        is_complete
    }
}

fn cause(what: &str, sight: Digest) -> Digest {
    let mut hasher = Hasher::new("pipe fact, version 1");
    hasher.field(what).field(sight.as_bytes());
    hasher.finish()
}

/// Looks at files. `None` when one is not there.
fn see_files(paths: &[PathBuf], sighting: &mut Sighting) -> Option<()> {
    let look = |path: &PathBuf| std::fs::metadata(path);
    let seen: Vec<io::Result<Metadata>> = paths.par_iter().with_min_len(64).map(look).collect();
    for (path, metadata) in paths.iter().zip(seen) {
        sighting.file(path, Stamp::of(&metadata.ok()?));
    }
    Some(())
}

/// Looks at all files of a folder.
fn see_folder(folder: &Path, sighting: &mut Sighting) -> Option<()> {
    let mut files = Vec::new();
    list_folder(folder, "", 0, &mut files).ok()?;
    files.sort_unstable();
    let paths: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
    see_files(&paths, sighting)
}

/// Looks at what the rows of a table name, once for each cell.
fn see_row_files(source: &TableSource, rows: &RowItems, sighting: &mut Sighting) -> Option<()> {
    let RowFiles::Root(root) = &source.files else { return Some(()) };
    for column in &rows.files {
        sighting.text(column.name);
        let mut seen: HashSet<&str> = HashSet::new();
        let mut files = Vec::new();
        for row in source.table.rows() {
            let Some(cell) = source.table.get(row, column.name).filter(|cell| seen.insert(cell)) else {
                continue;
            };
            match source.files.find(column, cell).ok()? {
                Found::One(name) => files.push(root.join(name)),
                Found::Pair(first, second) => files.extend([root.join(first), root.join(second)]),
                Found::Folder(name) => see_folder(&root.join(name), sighting)?,
            }
        }
        see_files(&files, sighting)?;
    }
    Some(())
}
