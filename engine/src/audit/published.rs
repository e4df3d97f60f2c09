//! Whether published folders hold what the run gave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::Store;

use super::Audit;
use super::finding::{Finding, Note};
use super::inputs::{ByLabel, done_of};
use crate::bind::{Binder, Done};
use crate::manifest::Instance;
use crate::publish::{Found, Provenance, PublishedProblem, look_at_published};
use crate::record::{read_head, read_manifest, read_run, run_ids};

/// The folders to look at.
pub(super) struct Folders<'a> {
    /// A folder that somebody named, and of which stage it is; none for those that the manifest names.
    pub(super) named: Option<(&'a str, &'a Path)>,
    /// The only file in it that matters.
    pub(super) file: Option<&'a Path>,
}

/// Looks at what the instances in `scope` were published to.
pub(super) fn check(
    binder: &Binder<'_>,
    records: &ByLabel<'_>,
    scope: &BTreeSet<&str>,
    folders: &Folders<'_>,
    audit: &mut Audit,
) {
    let publish: Vec<(&str, &Path)> = match folders.named {
        Some(named) => vec![named],
        None => {
            binder.pipeline.publish.iter().map(|(stage, folder)| (stage.as_str(), folder.as_path())).collect()
        }
    };
    for (stage, folder) in publish {
        let instances: Vec<&Instance> =
            binder.pipeline.instances.iter().filter(|one| one.stage == stage).collect();
        if !instances.iter().any(|one| scope.contains(one.label.as_str())) {
            continue;
        }
        let done: Option<Vec<(&Instance, Arc<Done>)>> = instances
            .into_iter()
            .map(|one| Some((one, Arc::new(done_of(records.get(one.label.as_str())?)?))))
            .collect();
        // Nothing is published of a stage that has no result.
        let Some(done) = done else { continue };
        let is_told = |account: &Provenance| was_asked_so(binder.store, account);
        match look_at_published(binder, (stage, folder), &done, &is_told) {
            Ok(Found { of_other: Some(run), .. }) if run_of(binder.store, &run).is_some() => {
                audit.notes.push(Note::Replaced { path: folder.to_path_buf(), run });
            }
            Ok(found) => {
                audit.checked.published += found.files;
                let matters =
                    |path: &PathBuf| folders.file.is_none_or(|file| file == path) || is_account(path);
                let problems = found.problems.into_iter().filter(|(path, _)| matters(path));
                let finding = |(path, problem)| Finding::Published { path, problem };
                audit.findings.extend(problems.map(finding));
            }
            Err(error) => {
                let problem = PublishedProblem::Unreadable(error.to_string());
                audit.findings.push(Finding::Published { path: folder.to_path_buf(), problem });
            }
        }
    }
}

fn is_account(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == crate::publish::provenance::FILE)
}

fn run_of(store: &Store, run: &str) -> Option<()> {
    read_head(store, run).ok().map(drop)
}

/// Whether some run was asked for as an account says: the first that published these results wrote it.
fn was_asked_so(store: &Store, account: &Provenance) -> bool {
    let ids = run_ids(store).unwrap_or_default();
    ids.iter().filter_map(|id| read_head(store, id).ok()).any(|run| {
        let header = &run.header;
        header.pipeline == account.pipeline
            && header.set == account.set
            && header.profiles == account.profiles
            && header.manifest.display().to_string() == account.manifest
            && read_manifest(&run).is_ok_and(|manifest| account.is_of_manifest(&manifest))
    })
}

/// The last run in which a published stage's instances had the results that an account tells of, and else the run that it
/// names.
pub(super) fn run_with(store: &Store, account: &Provenance) -> Option<String> {
    let ids = run_ids(store).unwrap_or_default();
    let has_all = |id: &&String| {
        let Ok(run) = read_run(store, id) else { return false };
        account.instances.iter().all(|told| {
            let mut instances = run.instances.iter();
            instances.any(|one| one.label == told.instance && one.fingerprint == Some(told.fingerprint))
        })
    };
    let with_results = ids.iter().find(has_all).cloned();
    with_results.or_else(|| read_head(store, &account.run).ok().map(|run| run.header.run))
}
