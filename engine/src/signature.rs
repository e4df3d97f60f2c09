//! Knowing an instance's fingerprint without reading its inputs.
//!
//! A stat signature is cruder than a fingerprint: it holds the results of other instances by digest, files and folders
//! by what the file system says of them. While it is as it was, so is the fingerprint, which was then remembered under
//! it. When anything differs, or has been written too lately to tell, the instance is bound in full.

use std::path::Path;

use pipe_cache::{Digest, Hasher};

use crate::bind::{Binder, Bound, Upstream};
use crate::manifest::{InputBinding, InputSource, Instance};
use crate::stage::InputForm;
use crate::stats::{SignatureBuilder, StatCache};

/// Changes with the code that makes fingerprints.
const ENGINE: &str = env!("PIPE_ENGINE_CODE");

/// What is known of an instance without its inputs.
pub(crate) struct Known {
    pub(crate) fingerprint: Digest,
    /// How many items it has, and the listing of their keys.
    pub(crate) items: Option<(usize, Digest)>,
}

impl Binder<'_> {
    /// A digest of all that an instance's fingerprint follows from, as far as it can be told without reading files;
    /// `None` when that is not far enough. Stats that are held are taken from there.
    pub(crate) fn stat_signature(&self, instance: &Instance, upstream: Upstream<'_>) -> Option<Digest> {
        self.instance_signature(Some(self.stats), instance, upstream)
    }

    /// [`Binder::stat_signature`] by the stats of now.
    pub(crate) fn stat_signature_now(&self, instance: &Instance, upstream: Upstream<'_>) -> Option<Digest> {
        self.instance_signature(None, instance, upstream)
    }

    fn instance_signature(
        &self,
        stats: Option<&StatCache>,
        instance: &Instance,
        upstream: Upstream<'_>,
    ) -> Option<Digest> {
        let mut signature = self.begin_signature("instance", stats, instance);
        for (name, value) in self.environment(instance, &instance.params).ok()? {
            signature.text(name);
            signature.text(value);
        }
        for binding in instance.inputs.iter() {
            signature.text(binding.spec.name);
            for source in binding.sources.iter() {
                self.add_source(binding, source, upstream, &mut signature)?;
            }
            self.add_row_files(instance, binding, upstream, &mut signature)?;
        }
        signature.finish()
    }

    /// A digest of a table that lies outside the store and of the files that its rows name, for a kind and its
    /// parameters.
    pub(crate) fn table_signature(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        path: &Path,
    ) -> Option<Digest> {
        let mut signature = self.begin_signature("table", Some(self.stats), instance);
        signature.text(binding.spec.name);
        for (_, folder) in &self.pipeline.publish {
            signature.text(folder.as_os_str().as_encoded_bytes());
        }
        signature.files(&[path.to_path_buf()])?;
        self.add_row_files(instance, binding, &|_| None, &mut signature)?;
        signature.finish()
    }

    fn begin_signature<'a>(
        &self,
        purpose: &str,
        stats: Option<&'a StatCache>,
        instance: &Instance,
    ) -> SignatureBuilder<'a> {
        let mut signature = SignatureBuilder::new(purpose, stats);
        signature.text(ENGINE);
        // What the fingerprint holds besides inputs, in a form that is made faster than a preimage.
        let about = instance.kind.about();
        signature.text(about.name);
        signature.text(self.registry.code(about.name).as_bytes());
        signature.text(instance.params.to_string());
        signature.text(if about.random { instance.seed.to_string() } else { String::new() });
        signature.text(if about.device { self.device.kind() } else { "" });
        signature.text(self.pipeline.root.as_os_str().as_encoded_bytes());
        signature
    }

    /// Adds the files that the rows of a table name, if the instance uses them.
    fn add_row_files(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        upstream: Upstream<'_>,
        signature: &mut SignatureBuilder<'_>,
    ) -> Option<()> {
        let columns = self.file_columns(instance, binding.spec.name).ok()?;
        if columns.is_empty() {
            return Some(());
        }
        let table = self.open_table(binding.sources.first()?, upstream).ok()?;
        signature.row_files(&table, &columns)
    }

    fn add_source(
        &self,
        binding: &InputBinding,
        source: &InputSource,
        upstream: Upstream<'_>,
        signature: &mut SignatureBuilder<'_>,
    ) -> Option<()> {
        signature.text(binding.name.as_deref().unwrap_or_default());
        for (key, value) in self.selector(source) {
            signature.text(key);
            signature.text(&value);
        }
        if binding.spec.form == InputForm::Any {
            signature.text(self.extension_of(source));
        }
        match source {
            InputSource::Keyword(word) => signature.text(word),
            InputSource::Hub(_) => return None,
            InputSource::Output { instance, output } => {
                let artifact = upstream(*instance)?.outputs.get(*output)?.clone();
                signature.text(artifact.form.to_string());
                signature.text(artifact.digest.as_bytes());
            }
            InputSource::Path(path) => match binding.spec.form {
                InputForm::Table | InputForm::File => signature.files(std::slice::from_ref(path))?,
                InputForm::Any if path.is_dir() => signature.folder(path)?,
                InputForm::Any => signature.files(std::slice::from_ref(path))?,
                InputForm::Tree | InputForm::Collection => signature.folder(path)?,
            },
        }
        Some(())
    }

    /// What is remembered under a stat signature.
    pub(crate) fn known(&self, signature: Digest) -> Option<Known> {
        let (fingerprint, count) = self.memo.fact(cause("fingerprint", signature))?;
        let items = match count.checked_sub(1) {
            None => None,
            Some(count) => Some((usize::try_from(count).ok()?, self.memo.fact(cause("items", signature))?.0)),
        };
        Some(Known { fingerprint, items })
    }

    /// Remembers what a stat signature leads to.
    pub(crate) fn remember(&self, signature: Digest, bound: &Bound, listing: Option<Digest>) {
        let count = bound.items.as_ref().map_or(0, |items| items.list.len() as u64 + 1);
        self.memo.keep_fact(cause("fingerprint", signature), bound.fingerprint, count);
        if let Some(listing) = listing {
            self.memo.keep_fact(cause("items", signature), listing, 0);
        }
    }

    /// Whether nothing was wrong with a table when it last had this signature.
    pub(crate) fn is_known_good(&self, signature: Digest) -> bool {
        self.memo.fact(cause("good table", signature)).is_some()
    }

    /// Remembers that nothing is wrong with a table.
    pub(crate) fn remember_good(&self, signature: Digest) {
        self.memo.keep_fact(cause("good table", signature), signature, 0);
    }

    /// Whether all files of an artifact of many are in the store.
    pub(crate) fn is_complete(&self, index: Digest) -> bool {
        let cause = self.store.stat_signature().map(|signature| {
            let mut hasher = Hasher::new("pipe fact, version 1");
            hasher.field("complete").field(signature.as_bytes()).field(index.as_bytes());
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

fn cause(what: &str, signature: Digest) -> Digest {
    let mut hasher = Hasher::new("pipe fact, version 1");
    hasher.field(what).field(signature.as_bytes());
    hasher.finish()
}
