//! `provenance.json`: what a published folder says of itself, and by which the next run knows what is its own.
//!
//! No clock and no path of the machine is in it: the same results, asked for in the same way, give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use pipe_cache::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bind::{Binder, Done};
use crate::manifest::Instance;

/// The file's name, at the top of a published folder. Files of that name are no part of what a folder holds as an input.
pub(crate) use crate::input::PROVENANCE as FILE;
/// The version of the file's form.
const VERSION: u32 = 1;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provenance {
    /// The version of this form.
    pub(crate) pipe_provenance: u32,
    /// The last of the runs that computed the files.
    pub(crate) run: String,
    /// The pipeline's name.
    pub(crate) pipeline: String,
    /// The manifest as it was given to the run that published.
    pub(crate) manifest: String,
    /// A digest of the manifest with all that it extends, overrides and variables put in.
    pub(crate) manifest_blake3: Digest,
    /// `--set` texts.
    pub(crate) set: Vec<String>,
    /// `--profile` names.
    pub(crate) profiles: Vec<String>,
    /// The pipeline's seed.
    pub(crate) seed: u64,
    /// The stage.
    pub(crate) stage: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its instances.
    pub(crate) instances: Vec<PublishedInstance>,
    /// The files, sorted by name.
    pub(crate) files: Vec<PublishedFile>,
}

/// An instance whose outputs are among the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedInstance {
    /// Its name with the foreach values.
    pub(crate) instance: String,
    /// Its fingerprint.
    pub(crate) fingerprint: Digest,
    /// The run that computed it.
    pub(crate) run: String,
}

/// A published file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedFile {
    /// Its path within the folder, with `/` between parts.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// BLAKE3 of its content.
    pub(crate) blake3: Digest,
    /// SHA-256 of its content, as hexadecimal digits.
    pub(crate) sha256: String,
}

impl Provenance {
    /// What is to be said of a stage's outputs.
    pub(super) fn new(
        Binder { pipeline, .. }: &Binder<'_>,
        stage: &str,
        done: &[(&Instance, Arc<Done>)],
        files: Vec<PublishedFile>,
    ) -> Self {
        let instance = |(instance, done): &(&Instance, Arc<Done>)| PublishedInstance {
            instance: instance.label.clone(),
            fingerprint: done.fingerprint,
            run: done.run.clone(),
        };
        let runs = done.iter().map(|(_, done)| done.run.clone());
        Self {
            pipe_provenance: VERSION,
            run: runs.max().unwrap_or_default(),
            pipeline: pipeline.name.clone(),
            manifest: pipeline.manifest.display().to_string(),
            manifest_blake3: digest_of(&pipeline.resolved),
            set: pipeline.overrides.set.clone(),
            profiles: pipeline.overrides.profiles.clone(),
            seed: pipeline.seed,
            stage: stage.to_string(),
            kind: done.first().map_or_else(String::new, |(one, _)| one.kind.about().name.to_string()),
            instances: done.iter().map(instance).collect(),
            files,
        }
    }

    /// What a folder says of itself; `None` where it says nothing that is understood.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let read: Self = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
        (read.pipe_provenance == VERSION).then_some(read)
    }

    /// The file's bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Digests of the files by name.
    pub(super) fn digests(&self) -> BTreeMap<&str, Digest> {
        self.files.iter().map(|file| (file.name.as_str(), file.blake3)).collect()
    }

    /// Whether another account is of the same results of the same instances.
    pub(super) fn is_of_same_results(&self, other: &Self) -> bool {
        self.is_of_instances(other) && self.digests() == other.digests()
    }

    /// Whether another account is of the same fingerprints of the same instances.
    pub(super) fn is_of_instances(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            one.instances.iter().map(|one| (one.instance.clone(), one.fingerprint)).collect::<Vec<_>>()
        };
        self.stage == other.stage && of(self) == of(other)
    }

    /// Whether it was written by a run of that manifest, with all that it extends, overrides and variables put in.
    pub(crate) fn is_of_manifest(&self, resolved: &Value) -> bool {
        self.manifest_blake3 == digest_of(resolved)
    }
}

fn digest_of(resolved: &Value) -> Digest {
    Digest::of(resolved.to_string().as_bytes())
}
