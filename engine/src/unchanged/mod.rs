//! A run that finds everything as an earlier one left it, known before the manifest is parsed.
//!
//! A run that ends well notes what it looked at: the texts of its manifests; its inputs, published files and files of
//! results by what the file system says of them; the store's blobs as a whole. While all of that is as it was, the next
//! run would come to the same end: it says so, and its record refers to the one that noted. Whatever differs, or cannot
//! be told, is left to a run that looks at each instance.

mod note;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use pipe_cache::{Digest, Hasher, Store};
use serde::{Deserialize, Serialize};

pub(crate) use self::note::{Finding, KnownResult, note};
use crate::context::Devices;
use crate::event::{Event, Observer, Status, Summary};
use crate::looks::Seen;
use crate::manifest::Overrides;
use crate::options::{RunError, RunOptions};
use crate::publish::refuse_links;
use crate::quick::ENGINE;
use crate::record::{Elsewhere, RecordWriter, RunHeader, VERSION, read_head, utc};
use crate::registry::Registry;

/// What a run is asked for, as far as it decides what there is to do.
pub struct Asked<'a> {
    /// The manifest.
    pub manifest: &'a Path,
    /// What the command line changes of it.
    pub overrides: &'a Overrides,
    /// What may be computed on.
    pub devices: &'a Devices,
    /// The kinds and their code.
    pub registry: &'a Registry,
    /// Where files of the model hub are kept.
    pub hub: &'a Path,
}

/// A run that has nothing to do.
pub struct Unchanged {
    /// When it was looked for.
    started: Instant,
    note: Note,
    /// The header of the run that noted.
    header: RunHeader,
}

/// What a run found.
#[derive(Serialize, Deserialize)]
struct Note {
    run: String,
    pipeline: String,
    /// The manifests with digests of their texts.
    manifests: Vec<(PathBuf, Digest)>,
    /// The root as the manifest tells it, and where that is.
    stated_root: PathBuf,
    root: PathBuf,
    /// All that was looked at, and what was seen.
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    seen: Digest,
    /// The sight of the store's blobs.
    blobs: Digest,
    /// Files and folders that the manifest gives.
    inputs: Vec<PathBuf>,
    instances: Vec<KnownInstance>,
    published: Vec<(String, PathBuf)>,
    headlines: Vec<(String, String)>,
    headline: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct KnownInstance {
    label: String,
    items: usize,
    /// What its result carries.
    warnings: Vec<String>,
    /// The run that computed it.
    from_run: String,
}

impl Asked<'_> {
    fn about(&self) -> Option<Digest> {
        let mut hasher = Hasher::new("pipe unchanged run, version 1");
        hasher.field(ENGINE).field(self.registry.code_of_all().as_bytes());
        hasher.field(std::path::absolute(self.manifest).ok()?.as_os_str().as_encoded_bytes());
        for (what, texts) in [("set", &self.overrides.set), ("profiles", &self.overrides.profiles)] {
            hasher.field(what).field(texts.len().to_le_bytes());
            for text in texts {
                hasher.field(text);
            }
        }
        hasher.field("devices").field(format!("{:?}", self.devices)).field(self.devices.any().class());
        hasher.field("hub").field(self.hub.as_os_str().as_encoded_bytes());
        Some(hasher.finish())
    }
}

/// Whether a run would find everything as an earlier one left it.
pub fn find(store: &Store, asked: &Asked<'_>) -> Option<Unchanged> {
    let started = Instant::now();
    let note: Note = serde_json::from_slice(&store.read_note(asked.about()?)?).ok()?;
    // What can be read once only is left to who parses it.
    let is_same = |(path, digest): &(PathBuf, Digest)| {
        path.is_file() && std::fs::read(path).is_ok_and(|text| Digest::of(&text) == *digest)
    };
    let is_unchanged = note.manifests.iter().all(is_same)
        && std::fs::canonicalize(&note.stated_root).is_ok_and(|root| root == note.root)
        && store.sight_anew() == Some(note.blobs)
        && note.published.iter().all(|(_, folder)| has_no_links(folder, &note.files))
        && Seen::look_again(&note.files, &note.folders) == Some(note.seen);
    if !is_unchanged {
        return None;
    }
    let header = read_head(store, &note.run).ok().filter(|head| head.summary.is_some())?.header;
    Some(Unchanged { started, note, header: RunHeader { manifest: asked.manifest.to_path_buf(), ..header } })
}

/// Whether published files can be reached without following links, through which nothing is published.
fn has_no_links(folder: &Path, files: &[PathBuf]) -> bool {
    let mut parents: Vec<&Path> =
        files.iter().filter(|file| file.starts_with(folder)).filter_map(|file| file.parent()).collect();
    parents.dedup();
    parents.iter().all(|parent| refuse_links(folder, &parent.join("file")).is_ok())
}

impl Unchanged {
    /// The folder that the manifest's paths are read against.
    pub fn root(&self) -> &Path {
        &self.note.root
    }

    /// Tells of the run and records it.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn run(
        self,
        store: &Store,
        options: &RunOptions,
        observer: &dyn Observer,
    ) -> Result<Summary, RunError> {
        let Self { started, note, header } = self;
        let record = RecordWriter::create(store)?;
        record.header(RunHeader {
            version: VERSION,
            started: utc(SystemTime::now()),
            jobs: options.jobs,
            surroundings: options.surroundings.clone(),
            elsewhere: Elsewhere::among(&note.root, &note.inputs),
            ..header
        })?;
        observer.event(&Event::Started {
            run: record.run.clone(),
            pipeline: note.pipeline,
            instances: note.instances.len(),
        });
        record.unchanged(&note.run)?;
        let mut summary = Summary {
            run: record.run.clone(),
            status: Status::Ok,
            executed: 0,
            cached: note.instances.len(),
            failed: 0,
            items_executed: 0,
            items_cached: note.instances.iter().map(|instance| instance.items).sum(),
            seconds: 0.0,
            warnings: note.instances.iter().map(|instance| instance.warnings.len()).sum(),
            headline: note.headline,
        };
        for KnownInstance { label, items, warnings, from_run } in note.instances {
            for text in warnings {
                observer.event(&Event::Warning { stage: Some(label.clone()), text });
            }
            observer.event(&Event::StageFinished {
                stage: label,
                executed: false,
                items_executed: 0,
                items_cached: items,
                seconds: 0.0,
                from_run,
            });
        }
        for (stage, to) in note.published {
            observer.event(&Event::Published { stage, to, files: 0, removed: 0, replaced_run: None });
        }
        summary.seconds = started.elapsed().as_secs_f64();
        record.finished(&summary)?;
        for (stage, text) in note.headlines {
            observer.event(&Event::Headline { stage, text });
        }
        observer.event(&Event::Finished(summary.clone()));
        Ok(summary)
    }
}
