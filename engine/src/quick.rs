//! Knowing an instance's fingerprint without reading its inputs.
//!
//! What is looked at is cruder than what a fingerprint holds: the results of other instances by digest, files and
//! folders by what the file system says of them. While all of that is as it was, so is the fingerprint, which was
//! then noted as a fact. When anything differs, or has been written too lately to tell, the instance is bound in
//! full.

use std::path::Path;

use pipe_cache::{Digest, Hasher};

use crate::bind::{Binder, Bound, Done};
use crate::looks::Look;
use crate::manifest::{InputBinding, InputSource, Instance};
use crate::preimage::Preimage;
use crate::stage::{InputForm, ItemSource};

/// Changes with the code that makes fingerprints.
pub(crate) const ENGINE: &str = env!("PIPE_ENGINE_CODE");

/// What is known of an instance without its inputs.
pub(crate) struct Known {
    pub(crate) fingerprint: Digest,
    /// How many items it has, and the listing of their keys.
    pub(crate) items: Option<(usize, Digest)>,
}

impl Binder<'_> {
    /// A digest of all that an instance's fingerprint follows from, as far as it can be seen without reading files;
    /// `None` when that is not far enough. `own` is what the instance itself adds.
    pub(crate) fn sight(
        &self,
        instance: &Instance,
        own: &Preimage,
        upstream: &dyn Fn(usize) -> Option<Done>,
    ) -> Option<Digest> {
        self.take_sight(self.begin("instance", own), instance, upstream)
    }

    /// [`Binder::sight`], looked at now.
    pub(crate) fn sight_anew(
        &self,
        instance: &Instance,
        own: &Preimage,
        upstream: &dyn Fn(usize) -> Option<Done>,
    ) -> Option<Digest> {
        self.take_sight(self.begin("instance", own).anew(), instance, upstream)
    }

    fn take_sight(
        &self,
        mut look: Look<'_>,
        instance: &Instance,
        upstream: &dyn Fn(usize) -> Option<Done>,
    ) -> Option<Digest> {
        let mut see_all = || {
            for binding in &instance.inputs {
                look.text(binding.spec.name);
                for source in &binding.sources {
                    self.see_source(binding, source, upstream, &mut look)?;
                }
                self.see_rows(instance, binding, upstream, &mut look)?;
            }
            Some(())
        };
        let is_seen = see_all();
        let sight = is_seen.and_then(|()| look.finish());
        if sight.is_none() {
            self.looked.spoil();
        }
        sight
    }

    /// A digest of a table that lies outside the store and of the files that its rows name, for a kind and its
    /// parameters.
    pub(crate) fn sight_of_table(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        path: &Path,
    ) -> Option<Digest> {
        let mut look = self.begin("table", &self.own_preimage(instance));
        look.text(binding.spec.name);
        for (_, folder) in &self.pipeline.publish {
            look.text(folder.as_os_str().as_encoded_bytes());
        }
        look.files(vec![path.to_path_buf()])?;
        self.see_rows(instance, binding, &|_| None, &mut look)?;
        look.finish()
    }

    fn begin(&self, purpose: &str, own: &Preimage) -> Look<'_> {
        let mut look = Look::new(purpose, &self.looked);
        look.text(ENGINE);
        look.text(own.fingerprint().as_bytes());
        look.text(self.pipeline.root.as_os_str().as_encoded_bytes());
        look
    }

    /// Looks at the files that the rows of a table name, if the table is where an instance's items come from.
    fn see_rows(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        upstream: &dyn Fn(usize) -> Option<Done>,
        look: &mut Look<'_>,
    ) -> Option<()> {
        match self.item_source(instance).ok()? {
            Some(ItemSource::Rows(rows)) if rows.input == binding.spec.name && !rows.files.is_empty() => {
                let table = self.open_table(binding.sources.first()?, upstream).ok()?;
                look.row_files(&table, &rows)
            }
            _ => Some(()),
        }
    }

    fn see_source(
        &self,
        binding: &InputBinding,
        source: &InputSource,
        upstream: &dyn Fn(usize) -> Option<Done>,
        look: &mut Look<'_>,
    ) -> Option<()> {
        look.text(binding.name.as_deref().unwrap_or_default());
        for (key, value) in self.selector(source) {
            look.text(key);
            look.text(&value);
        }
        match source {
            InputSource::Keyword(word) => look.text(word),
            InputSource::Hub(_) => return None,
            InputSource::Output { instance, output } => {
                let artifact = upstream(*instance)?.outputs.get(*output)?.clone();
                look.text(artifact.form.to_string());
                look.text(artifact.digest.as_bytes());
            }
            InputSource::Path(path) => match binding.spec.form {
                InputForm::Table | InputForm::File => look.files(vec![path.clone()])?,
                InputForm::Tree | InputForm::Collection => look.folder(path)?,
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
