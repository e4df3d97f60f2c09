//! Opening what a command works on: the manifest and the cache that belongs to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::Store;
use pipe_engine::context::Devices;
use pipe_engine::deidentify::{DeIdentified, DeidentifyError, Key, deidentify};
use pipe_engine::manifest::{Overrides, Pipeline, load_pipeline};
use pipe_engine::record::{SigningKey, read_head};
use pipe_engine::registry::Registry;
use pipe_engine::requests::Secrets;
use pipe_engine::stage::StageError;

use crate::arguments::{CacheArguments, DeviceArgument, InPlaceOfRun, LeavingRun, ManifestArguments};
use crate::error::CliError;
use crate::{Running, hub};

/// The name of the cache folder in a project.
const CACHE_FOLDER: &str = ".pipe";

/// The name of the key in a cache with which its runs are de-identified.
const DE_IDENTIFIED_KEY: &str = "de-identified.key";

/// A manifest's pipeline.
pub(crate) fn pipeline(arguments: &ManifestArguments, registry: &Registry) -> Result<Pipeline, CliError> {
    pipeline_at(&arguments.manifest, &arguments.changes.overrides(), registry)
}

/// Refuses what changes a manifest where a run is named, which cannot be changed any more.
pub(crate) fn refuse_changes_of_run(run: &str, given: &InPlaceOfRun) -> Result<(), CliError> {
    let InPlaceOfRun { changes, device } = given;
    let what = match changes.set.first().or(changes.profile.first()) {
        Some(change) => format!("`{change}` changes a manifest"),
        None if device.is_some() => "--device is of a manifest".to_string(),
        None => return Ok(()),
    };
    let message = format!("{what}, but {run} names a run");
    Err(CliError::refused(message, "give the manifest's path instead of a run"))
}

/// A pipeline by path and overrides.
pub fn pipeline_at(path: &Path, overrides: &Overrides, registry: &Registry) -> Result<Pipeline, CliError> {
    let mut pipeline = load_pipeline(path, overrides, registry)?;
    hub::place_known(&mut pipeline)?;
    Ok(pipeline)
}

/// The cache of a pipeline, made when there is none.
pub fn store(pipeline: &Pipeline, arguments: &CacheArguments) -> Result<Arc<Store>, CliError> {
    Ok(Arc::new(Store::open(&cache_folder(pipeline, arguments))?))
}

/// A store for a command that must leave no trace: the pipeline's own when there is one, else an empty one
/// in a temporary folder, which lives as long as the second value.
pub(crate) fn store_to_look_at(
    pipeline: &Pipeline,
    arguments: &CacheArguments,
) -> Result<(Arc<Store>, Option<tempfile::TempDir>), CliError> {
    if let Some(store) = Store::open_existing(&cache_folder(pipeline, arguments))? {
        return Ok((Arc::new(store), None));
    }
    let folder = tempfile::tempdir().map_err(|error| {
        CliError::refused(format!("cannot make a temporary folder: {error}"), "make TMPDIR a writable folder")
    })?;
    Ok((Arc::new(Store::open(folder.path())?), Some(folder)))
}

/// The cache for a command without a manifest: as given, or the nearest one at or above this folder.
pub(crate) fn nearest_store(arguments: &CacheArguments) -> Result<Arc<Store>, CliError> {
    let here = std::env::current_dir().unwrap_or_default();
    let candidates: Vec<PathBuf> = match arguments.folder() {
        Some(folder) => vec![folder.clone()],
        None => here.ancestors().map(|folder| folder.join(CACHE_FOLDER)).collect(),
    };
    for folder in &candidates {
        if let Some(store) = Store::open_existing(folder)? {
            return Ok(Arc::new(store));
        }
    }
    let looked = match arguments.folder() {
        Some(folder) => format!("{} is not a cache", folder.display()),
        None => format!("there is no cache in {} or above it", here.display()),
    };
    Err(CliError::refused(looked, "run a pipeline first, or name the cache with --cache"))
}

/// The store and the run that leave it: the run as it is, or a store of its own with the run de-identified.
pub(crate) enum Leaving {
    AsItIs(Arc<Store>, String),
    DeIdentified(DeIdentified),
}

impl Leaving {
    pub(crate) fn of(leaving: &LeavingRun, running: &Running) -> Result<Self, CliError> {
        let store = nearest_store(&leaving.cache)?;
        if !leaving.de_identified {
            return Ok(Self::AsItIs(store, leaving.run.clone()));
        }
        // Before a key is made for it.
        let head = read_head(&store, &leaving.run)?;
        if head.header.de_identified {
            return Err(DeidentifyError::Already { run: head.header.run }.into());
        }
        let key = match &leaving.key {
            Some(path) => Key::read(path)?,
            None => Key::read_or_make(&store.root().join(DE_IDENTIFIED_KEY))?,
        };
        Ok(Self::DeIdentified(deidentify(&store, &leaving.run, &key, running.registry())?))
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        match self {
            Self::AsItIs(store, _) => store,
            Self::DeIdentified(run) => &run.store,
        }
    }

    pub(crate) fn run(&self) -> &str {
        match self {
            Self::AsItIs(_, run) => run,
            Self::DeIdentified(run) => &run.run,
        }
    }
}

/// Refuses to publish where the cache is, or would be: files would be put among its own.
pub(crate) fn refuse_publishing_into(cache: &Path, pipeline: &Pipeline) -> Result<(), CliError> {
    let is_there = |folder: &Path| folder.starts_with(cache) || cache.starts_with(folder);
    match pipeline.publish.iter().find(|(_, folder)| is_there(folder)) {
        None => Ok(()),
        Some((stage, folder)) => Err(CliError::refused(
            format!("stage `{stage}` is published to {}, where the cache is", folder.display()),
            "give `publish` another folder",
        )),
    }
}

pub(crate) fn cache_folder(pipeline: &Pipeline, arguments: &CacheArguments) -> PathBuf {
    arguments.folder().cloned().unwrap_or_else(|| pipeline.root.join(CACHE_FOLDER))
}

/// Keys of services, from the environment.
pub fn secrets() -> Secrets {
    Secrets::new(|name| std::env::var(name).ok())
}

/// The key to sign records with.
pub(crate) fn signing_key(path: Option<&PathBuf>) -> Result<Option<SigningKey>, CliError> {
    let passphrase = std::env::var("PIPE_SIGN_PASSPHRASE").ok();
    let read = |path: &PathBuf| SigningKey::read(path, passphrase.as_deref());
    Ok(path.map(read).transpose()?)
}

/// The devices of a run. One that cannot be used is refused; another one is never taken instead.
pub fn devices(argument: DeviceArgument, running: &Running) -> Result<Devices, CliError> {
    let DeviceArgument::Cuda(wanted) = argument else { return Ok(Devices::Cpu) };
    let refuse = |error: StageError| {
        CliError::refused(
            error.to_string(),
            error.advice.unwrap_or_else(|| "run with --device cpu".to_string()),
        )
    };
    let known = (running.program.cuda_devices)().map_err(refuse)?;
    match wanted {
        None => Ok(Devices::Cuda(known)),
        Some(number) if known.contains(&number) => Ok(Devices::Cuda(vec![number])),
        Some(number) => {
            let message = format!("there is no CUDA device {number}; this host has {}", known.len());
            Err(CliError::refused(message, "numbers begin with 0; nvidia-smi lists them"))
        }
    }
}
