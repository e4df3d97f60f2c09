//! `pipe cache`

use std::process::ExitCode;

use pipe_cache::{Digest, Store};
use pipe_engine::record::{read_head, run_ids};
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{CacheCommand, CacheCommandArguments, OutputArguments};
use crate::error::{CliError, exit};
use crate::{render, session};

pub(crate) fn cache(arguments: &CacheCommandArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    match &arguments.command {
        CacheCommand::Stats => stats(&store, arguments.output)?,
        CacheCommand::Verify => return verify(&store, arguments.output),
        CacheCommand::Pin { name } => {
            let name = pinned_name(&store, name)?;
            store.pin(&name)?;
            tell(arguments.output, "pinned", &name, &format!("pinned {name}"));
        }
        CacheCommand::Unpin { name } => {
            let name = if store.pins()?.contains(name) { name.clone() } else { pinned_name(&store, name)? };
            if !store.unpin(&name)? {
                let pins = store.pins()?.into_iter().collect::<Vec<_>>().join(", ");
                let help =
                    if pins.is_empty() { "there are no pins".to_owned() } else { format!("pins: {pins}") };
                return Err(CliError::refused(format!("{name} is not pinned"), help));
            }
            tell(arguments.output, "unpinned", &name, &format!("{name} is no longer pinned"));
        }
        CacheCommand::Share => {
            store.share()?;
            let folder = store.root().display().to_string();
            tell(
                arguments.output,
                "shared",
                &folder,
                &format!("the group of {folder} may read and write it"),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was done.
fn tell(output: OutputArguments, done: &str, name: &str, text: &str) {
    match output.json {
        true => render::json(&json!({ "version": VERSION, done: name })),
        false => render::out(text),
    }
}

/// What a pin's name stands for: a digest that is there, or a run.
fn pinned_name(store: &Store, name: &str) -> Result<String, CliError> {
    if let Ok(digest) = name.parse::<Digest>() {
        return match store.contains(digest) {
            true => Ok(name.to_owned()),
            false => Err(CliError::refused(
                format!("there is no artifact {name} in the cache"),
                "`pipe show RUN` tells the digests of a run's outputs",
            )),
        };
    }
    let folder = read_head(store, name)?.folder;
    Ok(folder.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn stats(store: &Store, output: OutputArguments) -> Result<(), CliError> {
    let contents = store.contents()?;
    if output.json {
        let blobs = |(count, bytes): (u64, u64)| json!({ "count": count, "bytes": bytes });
        render::json(&json!({
            "version": VERSION, "folder": store.root(), "packed": blobs(contents.packed),
            "files": blobs(contents.files), "results": contents.results, "runs": run_ids(store)?.len(),
            "resume_points": contents.resume_points, "pins": contents.pins, "claims": contents.claims,
            "set_aside": contents.damaged,
        }));
        return Ok(());
    }
    let blobs = |(count, bytes): (u64, u64)| format!("{count:>9}  {}", render::size(bytes));
    render::out(&format!(
        "{}\nblobs in packs  {}\nblobs as files  {}\nresults         {:>9}\nruns            {:>9}\n\
         unfinished      {:>9}\npins            {:>9}\nclaims          {:>9}\nset aside       {:>9}",
        store.root().display(),
        blobs(contents.packed),
        blobs(contents.files),
        contents.results,
        run_ids(store)?.len(),
        contents.resume_points,
        contents.pins,
        contents.claims,
        contents.damaged,
    ));
    Ok(())
}

fn verify(store: &Store, output: OutputArguments) -> Result<ExitCode, CliError> {
    let blobs = store.blobs()?;
    let mut bytes = 0;
    let mut lost = Vec::new();
    for digest in blobs.keys() {
        match store.verify(*digest) {
            Ok(size) => bytes += size,
            Err(error) if error.lost_blob().is_some() => {
                lost.push(digest.to_string());
                render::line(&format!("damaged: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let damaged = lost.len();
    let code = if damaged > 0 { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS };
    if output.json {
        let blobs = blobs.len();
        render::json(&json!({ "version": VERSION, "blobs": blobs, "whole_bytes": bytes, "damaged": lost }));
        return Ok(code);
    }
    render::out(&format!(
        "{} of {} blobs are whole, {}",
        blobs.len() - damaged,
        blobs.len(),
        render::size(bytes)
    ));
    if damaged > 0 {
        render::line("  help: what needs a damaged blob computes it again in its next run");
    }
    Ok(code)
}
