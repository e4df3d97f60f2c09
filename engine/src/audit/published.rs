//! Whether published folders hold what the run gave.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::{Digest, Store};

use super::Audit;
use super::finding::{Finding, Note};
use super::inputs::{ByLabel, done_of};
use crate::bind::{Binder, Done};
use crate::manifest::Instance;
use crate::publish::{CopyError, Found, Provenance, PublishedProblem, Told, look_at_published};
use crate::record::{RunRecord, read_head, read_manifest, read_run, run_ids};

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
        let looked = look(binder, (stage, folder), &done).and_then(|found| match &found.of_other {
            // What another run published there since is compared with that run.
            Some(account) => match run_that_gave(binder.store, account) {
                Some(other) => {
                    audit.notes.push(Note::Replaced {
                        path: folder.to_path_buf(),
                        run: other.head.header.run.clone(),
                    });
                    look(binder, (stage, folder), &done_in(&other, &done))
                }
                None => Ok(found),
            },
            None => Ok(found),
        });
        match looked {
            Ok(found) => {
                audit.checked.published += found.files;
                let run = found.account_of_other_cache;
                audit.notes.extend(run.map(|run| Note::AccountOfOther { path: folder.to_path_buf(), run }));
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

/// Results of instances of a stage.
type DoneInstances<'a> = Vec<(&'a Instance, Arc<Done>)>;

fn look(
    binder: &Binder<'_>,
    (stage, folder): (&str, &Path),
    done: &DoneInstances<'_>,
) -> Result<Found, CopyError> {
    look_at_published(binder, (stage, folder), done, &|account| told(binder.store, account))
}

/// The results that the same instances had in another run.
fn done_in<'a>(run: &RunRecord, done: &DoneInstances<'a>) -> DoneInstances<'a> {
    let records: ByLabel<'_> = run.instances.iter().map(|one| (one.label.as_str(), one)).collect();
    let of = |(instance, done): &(&'a Instance, Arc<Done>)| {
        let other = records.get(instance.label.as_str()).and_then(|record| done_of(record));
        (*instance, other.map_or_else(|| Arc::clone(done), Arc::new))
    };
    done.iter().map(of).collect()
}

/// Whether the runs of this cache tell what an account says of them. The first run that gave published results wrote it.
fn told(store: &Store, account: &Provenance) -> Told {
    let makers: BTreeSet<&str> = account.instances.iter().map(|one| one.run.as_str()).collect();
    if makers.last() != Some(&account.run.as_str()) {
        return Told::No;
    }
    let mut are_here = false;
    for maker in &makers {
        let Ok(run) = read_run(store, maker) else { continue };
        are_here = true;
        let mut of_it = account.instances.iter().filter(|one| one.run == *maker);
        let has = |fingerprint| run.instances.iter().any(|one| one.fingerprint == Some(fingerprint));
        // A run that was killed may have computed what it does not tell.
        if run.head.summary.is_some() && !of_it.all(|one| has(one.fingerprint)) {
            return Told::No;
        }
    }
    match (are_here, was_asked_so(store, account)) {
        (true, true) => Told::Yes,
        (true, false) => Told::No,
        (false, _) => Told::OfOtherCache,
    }
}

fn is_account(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == crate::publish::provenance::FILE)
}

/// Whether some run was asked for as an account says: the first that published these results wrote it.
fn was_asked_so(store: &Store, account: &Provenance) -> bool {
    let ids = run_ids(store).unwrap_or_default();
    ids.iter().filter_map(|id| read_head(store, id).ok()).any(|run| {
        let header = &run.header;
        header.pipeline == account.pipeline
            && header.seed == account.seed
            && header.set == account.set
            && header.profiles == account.profiles
            && header.manifest.display().to_string() == account.manifest
            && read_manifest(&run).is_ok_and(|manifest| account.is_of_manifest(&manifest))
    })
}

/// The last run in which a published stage's instances had the results that an account tells of.
fn run_that_gave(store: &Store, account: &Provenance) -> Option<RunRecord> {
    let has_all = |run: &RunRecord| {
        let known: BTreeSet<(&str, Option<Digest>)> =
            run.instances.iter().map(|one| (one.label.as_str(), one.fingerprint)).collect();
        account.instances.iter().all(|told| known.contains(&(told.instance.as_str(), Some(told.fingerprint))))
    };
    let ids = run_ids(store).unwrap_or_default();
    ids.iter().filter_map(|id| read_run(store, id).ok()).find(has_all)
}

/// The run to audit for a published folder, and else the run that its account names.
pub(super) fn run_with(store: &Store, account: &Provenance) -> Option<String> {
    let gave = run_that_gave(store, account).map(|run| run.head.header.run);
    gave.or_else(|| read_head(store, &account.run).ok().map(|run| run.header.run))
}
