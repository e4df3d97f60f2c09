//! Noting what a run has found, for the next one. Nothing is noted when the next one could not tell whether it would find
//! the same; then it finds it with more work.

use std::path::PathBuf;
use std::time::Duration;

use pipe_cache::Digest;

use super::{Asked, KnownInstance, Note};
use crate::bind::{Binder, Done};
use crate::execute::Executor;
use crate::lookup::is_there;
use crate::manifest::Instance;
use crate::options::RunOptions;
use crate::publish::CopiedOut;

/// A run of so many instances and items is worth waiting for what it has written to be old enough.
const MANY: usize = 1000;

/// What has been written is believed by what the file system says of it when it is older.
const GRAIN: Duration = Duration::from_millis(60);

/// So many published bytes are read again to be sure of them.
const MOST_BYTES: u64 = 64 << 20;

/// What a run has found of an instance.
#[derive(Clone, Default)]
pub(crate) struct KnownResult {
    pub(crate) items: usize,
    pub(crate) fingerprint: Option<Digest>,
    /// What its result carries.
    pub(crate) warnings: Vec<String>,
}

/// What a run that has ended well has found, besides the results.
pub(crate) struct Finding {
    /// The sight of the store's blobs when the run began.
    pub(crate) blobs: Option<Digest>,
    pub(crate) known: Vec<KnownResult>,
    pub(crate) published: CopiedOut,
    pub(crate) headlines: Vec<(String, String)>,
    /// What came out, in a line.
    pub(crate) headline: Option<String>,
}

/// Notes a finding. `compare` looks at published files once more.
pub(crate) fn note(
    executor: &Executor<'_>,
    options: &RunOptions,
    finding: Finding,
    compare: &dyn Fn() -> Option<CopiedOut>,
) -> Option<()> {
    let Binder { pipeline, registry, store, looked, memo, .. } = &executor.binder;
    let mut seen = looked.take()?;
    let is_big = finding.known.iter().map(|known| 1 + known.items).sum::<usize>() >= MANY;
    let (blobs, published) = match store.sight_anew() {
        // While the run looked, nothing has come or gone.
        Some(now) if finding.blobs == Some(now) && !finding.published.unsettled => {
            (now, finding.published.known)
        }
        _ if is_big && finding.published.bytes <= MOST_BYTES => {
            std::thread::sleep(GRAIN);
            let blobs = store.sight_anew()?;
            let published = compare().filter(|copied| !copied.unsettled)?.known;
            // What was hashed for this is not hashed again; without that the next run only takes longer.
            let _ = memo.save();
            let results = pipeline.instances.iter().enumerate();
            let mut results = results.map(|(position, instance)| (instance, executor.result(position)));
            let has_all = results.all(|(instance, done)| {
                done.is_some_and(|done| is_there(&executor.binder, instance, &done.outputs))
            });
            (has_all && store.sight_anew() == Some(blobs)).then_some((blobs, published))?
        }
        _ => return None,
    };
    seen.add_files(published)?;
    seen.look_at(pipeline.hub_references.clone())?;
    let fingerprints = finding.known.iter().map(|known| known.fingerprint);
    let fingerprints: Vec<Digest> = fingerprints.collect::<Option<_>>()?;
    seen.look_at(fingerprints.into_iter().flat_map(|one| store.result_files(one)).collect())?;
    let absolute = |path: &PathBuf| std::path::absolute(path).ok();
    let manifests = pipeline.read_from.files.iter().map(|(path, digest)| Some((absolute(path)?, *digest)));
    let mut inputs: Vec<PathBuf> = pipeline.instances.iter().flat_map(Instance::paths).cloned().collect();
    inputs.sort_unstable();
    inputs.dedup();
    let known = pipeline.instances.iter().zip(finding.known).enumerate();
    let instances = known.map(|(position, (instance, KnownResult { items, warnings, .. }))| {
        let Done { run: from_run, .. } = executor.result(position)?;
        Some(KnownInstance { label: instance.label.clone(), items, warnings, from_run })
    });
    let note = Note {
        run: executor.run.clone(),
        pipeline: pipeline.name.clone(),
        manifests: manifests.collect::<Option<_>>()?,
        stated_root: absolute(&pipeline.read_from.root)?,
        root: pipeline.root.clone(),
        seen: seen.digest()?,
        files: seen.files.into_keys().collect(),
        folders: seen.folders.into_keys().collect(),
        blobs,
        inputs,
        instances: instances.collect::<Option<_>>()?,
        published: pipeline.publish.clone(),
        headlines: finding.headlines,
        headline: finding.headline,
    };
    let asked = Asked {
        manifest: &pipeline.manifest,
        overrides: &pipeline.overrides,
        devices: &options.devices,
        registry,
        hub: &options.hub,
    };
    store.write_note(asked.about()?, &serde_json::to_vec(&note).ok()?).ok()
}
