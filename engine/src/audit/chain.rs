//! Whether records are as they were written: their seals, what later runs saw of them, and the files beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use pipe_cache::{Digest, Store};

use super::finding::{Finding, Note};
use super::{Asked, Audit, RecordFacts};
use crate::record::{
    AllowedSigners, InstanceRecord, RecordError, RunHead, Sealed, Signed, SignedState, read_head, read_seals,
    run_ids, signatures,
};

/// Since this version records have seals.
pub(super) const SEALED: u32 = 3;

/// What later runs saw, by run.
type Seen = BTreeMap<String, Vec<(Digest, String)>>;

/// Looks at the records of a run and of those that computed results of it.
pub(super) fn check(
    store: &Store,
    (run, makers): (&RunHead, &BTreeSet<String>),
    asked: &Asked,
    audit: &mut Audit,
) -> Result<(), RecordError> {
    let seen = seen(store)?;
    let sealed = check_one(run, &seen, audit)?;
    for maker in makers {
        if let Ok(head) = read_head(store, maker) {
            check_one(&head, &seen, audit)?;
        }
    }
    for before in &run.header.after {
        if !asked.is_pack && !store.runs().join(&before.run).is_dir() {
            let (gone, seen_by) = (before.run.clone(), run.header.run.clone());
            audit.findings.push(Finding::RunGone { run: gone, seen_by });
        }
    }
    check_signatures(run, &sealed, asked.signers.as_ref(), audit);
    if let Some(head) = asked.head.filter(|head| !sealed.seals.contains(head))
        && !is_known(store, head)?
    {
        audit.findings.push(Finding::HeadUnknown { head });
    }
    let later = seen.get(&run.header.run).map_or(0, Vec::len);
    audit.record = RecordFacts { lines: sealed.seals.len(), head: sealed.head(), seen_by: later };
    Ok(())
}

/// Looks at who has signed a record.
fn check_signatures(run: &RunHead, sealed: &Sealed, signers: Option<&AllowedSigners>, audit: &mut Audit) {
    let none = AllowedSigners::default();
    let mut unknown = Vec::new();
    for Signed { path, key, state } in signatures(run, sealed, signers.unwrap_or(&none)) {
        match state {
            SignedState::By(who) => audit.signed_by.push(who),
            SignedState::ByUnknown => unknown.extend(key),
            SignedState::OfLines(lines) => {
                audit.findings.push(Finding::Signature { path, lines: Some(lines) })
            }
            SignedState::OfOther => audit.findings.push(Finding::Signature { path, lines: None }),
        }
    }
    match signers {
        Some(_) if audit.signed_by.is_empty() => audit.findings.push(Finding::NotSigned { keys: unknown }),
        _ => audit.notes.extend(unknown.into_iter().map(|key| Note::SignedByUnknown { key })),
    }
}

/// What each run saw of the others when it began.
fn seen(store: &Store) -> Result<Seen, RecordError> {
    let mut seen = Seen::new();
    for id in run_ids(store)? {
        let Ok(head) = read_head(store, &id) else { continue };
        for before in head.header.after {
            seen.entry(before.run).or_default().push((before.head, id.clone()));
        }
    }
    Ok(seen)
}

fn check_one(run: &RunHead, seen: &Seen, audit: &mut Audit) -> Result<Sealed, RecordError> {
    let sealed = read_seals(run)?;
    let path = || run.path();
    let seen = seen.get(&run.header.run);
    if run.header.version < SEALED && seen.is_none() {
        audit.notes.push(Note::Unsealed { run: run.header.run.clone() });
        return Ok(Sealed::default());
    }
    if let Some(line) = sealed.broken {
        audit.findings.push(Finding::Line { path: path(), line });
    }
    if sealed.cut {
        audit.findings.push(Finding::CutShort { path: path() });
    }
    let is_gone = |(head, _): &&(Digest, String)| !sealed.seals.contains(head);
    if let Some((_, seen_by)) = seen.into_iter().flatten().find(is_gone)
        && sealed.broken.is_none()
    {
        audit.findings.push(Finding::CutOff { path: path(), seen_by: seen_by.clone() });
    }
    Ok(sealed)
}

/// Whether a head is in any record.
fn is_known(store: &Store, head: Digest) -> Result<bool, RecordError> {
    for id in run_ids(store)? {
        let Ok(run) = read_head(store, &id) else { continue };
        if read_seals(&run)?.seals.contains(&head) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compares the logs and side files of the instances that ran in a run.
pub(super) fn check_files(run: &RunHead, instances: &[&InstanceRecord], audit: &mut Audit) {
    for instance in instances {
        for (name, told) in &instance.files {
            let path = run.folder.join(name);
            let found = File::open(&path).and_then(Digest::of_reader);
            if found.map_or(true, |(found, _)| found != *told) {
                audit.findings.push(Finding::SideFile { instance: instance.label.clone(), path });
            }
        }
    }
}
