//! Whether records are as they were written: their seals, what later runs saw of them, and the files beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use pipe_cache::{Digest, Store, check_name};

use super::finding::{Finding, Note};
use super::{Asked, Audit, RecordFacts};
use crate::record::{
    AllowedSigners, FILE, InstanceRecord, RecordError, RunHead, Sealed, Signed, SignedState, read_head,
    read_seals, run_ids, signatures,
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
    if !asked.is_pack {
        add_gone(store, &seen, audit);
    }
    check_signatures(run, &sealed, asked.signers.as_ref(), audit);
    if let Some(head) = asked.head.filter(|head| sealed.head() != Some(*head)) {
        audit.findings.extend(head_elsewhere(store, head, (run, &sealed))?);
    }
    let later = seen.get(&run.id()).map_or(0, Vec::len);
    audit.record = RecordFacts { lines: sealed.seals.len(), head: sealed.head(), seen_by: later };
    Ok(())
}

/// Finds runs that others saw when they began, and that are no longer there.
fn add_gone(store: &Store, seen: &Seen, audit: &mut Audit) {
    for (run, by) in seen {
        let is_there = store.runs().join(run).join(FILE).is_file();
        if let (false, Some((_, seen_by))) = (is_there, by.first()) {
            audit.findings.push(Finding::RunGone { run: run.clone(), seen_by: seen_by.clone() });
        }
    }
}

/// What is wrong with a head that was noted and is not the end of the record: it has to be that of another whole record.
fn head_elsewhere(
    store: &Store,
    head: Digest,
    (run, sealed): (&RunHead, &Sealed),
) -> Result<Option<Finding>, RecordError> {
    if let Some(line) = sealed.seals.iter().position(|seal| *seal == head) {
        return Ok(Some(Finding::HeadBefore { path: run.path(), line: line + 1 }));
    }
    for id in run_ids(store)? {
        let Ok(other) = read_head(store, &id) else { continue };
        let sealed = read_seals(&other)?;
        if sealed.head() == Some(head) && sealed.broken.is_none() && !sealed.cut && other.header.run == id {
            return Ok(None);
        }
    }
    Ok(Some(Finding::HeadUnknown { head }))
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
    let seen = seen.get(&run.id());
    if run.header.run != run.id() {
        audit.findings.push(Finding::OtherRun { path: path(), run: run.header.run.clone() });
    }
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

/// Compares the logs and side files of the instances that ran in a run.
pub(super) fn check_files(run: &RunHead, instances: &[&InstanceRecord], audit: &mut Audit) {
    for instance in instances {
        for (name, told) in &instance.files {
            let path = run.folder.join(name);
            // A name that leads elsewhere is none that was written.
            let is_plain = check_name(name).is_ok() && path.is_file();
            let found = is_plain.then(|| File::open(&path).and_then(Digest::of_reader));
            if !matches!(found, Some(Ok((found, _))) if found == *told) {
                audit.findings.push(Finding::SideFile { instance: instance.label.clone(), path });
            }
        }
    }
}
