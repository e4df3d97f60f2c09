//! Whether the bytes of results have the digests that records tell: each blob once, on all processors.

use std::collections::BTreeMap;

use pipe_cache::{ArtifactRef, Condition, Digest, Form, Store};
use rayon::prelude::*;

use super::Audit;
use super::finding::{Finding, Note};
use crate::record::InstanceRecord;

/// Looks at every blob that the instances' results are made of, and at the listings of their items. A pack need not have all.
pub(super) fn check(store: &Store, instances: &[&InstanceRecord], is_pack: bool, audit: &mut Audit) {
    let mut names: BTreeMap<Digest, String> = BTreeMap::new();
    let mut indexes: BTreeMap<Digest, (String, ArtifactRef)> = BTreeMap::new();
    for instance in instances {
        if let Some(listing) = instance.items {
            names.entry(listing).or_insert_with(|| format!("the listing of the items of {}", instance.label));
        }
        for (output, artifact) in &instance.outputs {
            let name = format!("{}.{output}", instance.label);
            if artifact.form != Form::File {
                indexes.entry(artifact.digest).or_insert_with(|| (name.clone(), artifact.clone()));
            }
            names.entry(artifact.digest).or_insert(name);
        }
    }
    let mut left_out = 0;
    let mut sizes = look(store, names, audit, is_pack.then_some(&mut left_out));
    let mut files: BTreeMap<Digest, String> = BTreeMap::new();
    let mut told: Vec<(String, Vec<(Digest, u64)>)> = Vec::new();
    for (digest, (name, artifact)) in indexes {
        let Some(index) = sizes.get(&digest).and_then(|_| store.index(digest).ok()) else { continue };
        let bytes: u64 = index.entries().iter().map(|entry| entry.size).sum();
        if (index.entries().len() as u64, bytes) != (artifact.files, artifact.bytes) {
            audit.findings.push(Finding::Size { output: name.clone() });
        }
        for entry in index.entries() {
            files.entry(entry.digest).or_insert_with(|| format!("{} of {name}", entry.name));
        }
        told.push((name, index.entries().iter().map(|entry| (entry.digest, entry.size)).collect()));
    }
    files.retain(|digest, _| !sizes.contains_key(digest));
    sizes.extend(look(store, files, audit, is_pack.then_some(&mut left_out)));
    if left_out > 0 {
        audit.notes.push(Note::LeftOut { blobs: left_out });
    }
    for (output, entries) in told {
        if entries.iter().any(|(digest, size)| sizes.get(digest).is_some_and(|found| found != size)) {
            audit.findings.push(Finding::Size { output });
        }
    }
    audit.checked.blobs = sizes.len();
    audit.checked.bytes = sizes.values().sum();
}

/// The sizes of those that are whole; the others are found, or counted where they may be missing.
fn look(
    store: &Store,
    names: BTreeMap<Digest, String>,
    audit: &mut Audit,
    mut left_out: Option<&mut usize>,
) -> BTreeMap<Digest, u64> {
    let names: Vec<(Digest, String)> = names.into_iter().collect();
    let looked: Vec<_> = names.par_iter().map(|(digest, _)| store.condition(*digest)).collect();
    let mut sizes = BTreeMap::new();
    for ((digest, file), condition) in names.into_iter().zip(looked) {
        let condition = match condition {
            Ok(Condition::Whole(size)) => {
                sizes.insert(digest, size);
                continue;
            }
            Ok(Condition::Damaged) => "damaged".to_string(),
            Ok(Condition::Missing) => match &mut left_out {
                Some(count) => {
                    **count += 1;
                    continue;
                }
                None => "no longer in the cache".to_string(),
            },
            Err(error) => format!("not to be read: {error}"),
        };
        audit.findings.push(Finding::Blob { file, digest, condition });
    }
    sizes
}
