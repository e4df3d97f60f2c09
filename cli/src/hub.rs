//! Files from the model hub, in the cache that Python's `huggingface_hub` uses too.
//!
//! `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean there. A file that is
//! in the cache is taken from it without asking anybody; a downloaded one is checked against the SHA-256 that the hub
//! keeps it under, and against the one that the manifest names.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use pipe_engine::manifest::{HubFile, Pipeline};
use pipe_engine::sha256::sha256_of;

use crate::error::CliError;
use crate::render;

/// How often a download is tried again.
const RETRIES: usize = 3;

/// Gives every hub file of a pipeline that is in the cache its place there.
pub(crate) fn place_known(pipeline: &mut Pipeline) -> Result<(), CliError> {
    for file in pipeline.hub_files() {
        if let Some(path) = known(&cache(), &file) {
            place(pipeline, &file, &path)?;
        }
    }
    Ok(())
}

/// Downloads every hub file of a pipeline that is not in the cache.
pub(crate) fn place_all(pipeline: &mut Pipeline) -> Result<(), CliError> {
    place_known(pipeline)?;
    for file in pipeline.hub_files() {
        let path = download(&file)?;
        place(pipeline, &file, &path)?;
    }
    Ok(())
}

fn place(pipeline: &mut Pipeline, file: &HubFile, path: &Path) -> Result<(), CliError> {
    if let Some(expected) = &file.sha256 {
        let found = sha256(path)?;
        if *expected != found {
            let message = format!("{file} has the SHA-256 {found}, expected {expected}");
            return Err(CliError::refused(message, "name the revision that has it, or correct the digest"));
        }
    }
    let commit = commit(path).unwrap_or_else(|| file.revision.clone());
    pipeline.place_hub_file(file, path, &commit);
    Ok(())
}

/// Where a file is in the cache.
fn known(cache: &Cache, file: &HubFile) -> Option<PathBuf> {
    let repository = cache.repo(repository(file));
    // A commit is known by its snapshot, a branch or tag by a note of the commit that it was.
    let snapshot = repository.pointer_path(&file.revision).join(&file.file);
    repository.get(&file.file).or_else(|| snapshot.is_file().then_some(snapshot))
}

fn download(file: &HubFile) -> Result<PathBuf, CliError> {
    if is_set("HF_HUB_OFFLINE") {
        let message = format!("{file} is not in {}, and HF_HUB_OFFLINE is set", cache().path().display());
        return Err(CliError::refused(message, "unset HF_HUB_OFFLINE, or put the file there"));
    }
    render::line(&format!("downloading {file}"));
    let cache = cache();
    let mut builder = ApiBuilder::from_cache(cache.clone()).with_retries(RETRIES).with_progress(false);
    if let Some(endpoint) = variable("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    if let Some(token) = variable("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    let failed = |error: ApiError| {
        let message = format!("{file} cannot be downloaded: {}", with_causes(&error));
        CliError::refused(message, "look at the address and the connection, or give a file of your own")
    };
    let path = builder.build().and_then(|api| api.repo(repository(file)).get(&file.file)).map_err(failed)?;
    check_kept(file, &path)?;
    Ok(path)
}

/// Compares a downloaded file with the SHA-256 that it is kept under, and removes one that is damaged. The hub keeps
/// small files under another digest.
fn check_kept(file: &HubFile, path: &Path) -> Result<(), CliError> {
    let Ok(kept) = path.canonicalize() else { return Ok(()) };
    let name = kept.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name.len() != 64 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let found = sha256(path)?;
    if found == name {
        return Ok(());
    }
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(&kept);
    let message = format!("{file} arrived damaged: its SHA-256 is {found}, expected {name}");
    Err(CliError::refused(message, "run again: it is downloaded anew"))
}

fn sha256(path: &Path) -> Result<String, CliError> {
    std::fs::File::open(path)
        .and_then(sha256_of)
        .map_err(|error| CliError::refused(format!("{}: {error}", path.display()), "look at the file"))
}

/// The commit of a file in the cache.
fn commit(path: &Path) -> Option<String> {
    let mut parts = path.components().map(|part| part.as_os_str().to_string_lossy());
    parts.find(|part| part == "snapshots")?;
    Some(parts.next()?.into_owned())
}

fn cache() -> Cache {
    match variable("HF_HUB_CACHE") {
        Some(folder) => Cache::new(folder.into()),
        None => Cache::from_env(),
    }
}

fn repository(file: &HubFile) -> Repo {
    Repo::with_revision(file.repository.clone(), RepoType::Model, file.revision.clone())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str()))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        source = cause.source();
    }
    text
}
