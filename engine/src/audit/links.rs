//! Whether what an instance was made of is what the instance before it gave, as the record and the preimages tell. Where
//! inputs are bound anew, that says so, too; of a de-identified run they cannot be.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{ArtifactRef, Digest, Form, Store};

use super::Audit;
use super::finding::Finding;
use super::results::Preimages;
use crate::lineage::{Content, Source, Used, given_to};
use crate::record::InstanceRecord;

/// Compares single files, and folders of which all counts. Of tables single columns count, whose digests no output tells.
pub(super) fn check(store: &Store, instances: &[&InstanceRecord], preimages: &Preimages, audit: &mut Audit) {
    let by_label: BTreeMap<&str, &InstanceRecord> =
        instances.iter().map(|one| (one.label.as_str(), *one)).collect();
    for instance in instances {
        for used in preimages.get(&instance.label).into_iter().flat_map(|preimage| &preimage.inputs) {
            let Content::File(digest) = used.content else { continue };
            let Some(gave) = gave(instance, used, &by_label) else { continue };
            if !files_of(store, gave).is_none_or(|files| files.contains(&digest)) {
                let given = given_to(&used.name(), &instance.inputs);
                audit.findings.push(Finding::Link {
                    instance: instance.label.clone(),
                    input: used.name(),
                    given: given.iter().map(|given| given.described()).collect::<Vec<_>>().join("; "),
                });
            }
        }
    }
}

/// The output that is given to an input, where it is one output of another instance.
fn gave<'a>(
    instance: &InstanceRecord,
    used: &Used,
    by_label: &BTreeMap<&str, &'a InstanceRecord>,
) -> Option<&'a ArtifactRef> {
    let given = given_to(&used.name(), &instance.inputs);
    let mut sources = given.iter().flat_map(|given| &given.sources);
    match (sources.next()?, sources.next()) {
        (Source::Output { instance, output }, None) => by_label.get(instance.as_str())?.outputs.get(output),
        _ => None,
    }
}

/// The digests of an artifact's files; `None` where they are not known.
fn files_of(store: &Store, artifact: &ArtifactRef) -> Option<BTreeSet<Digest>> {
    match artifact.form {
        Form::File => Some(BTreeSet::from([artifact.digest])),
        Form::Tree | Form::Collection => {
            let index = store.index(artifact.digest).ok()?;
            Some(index.entries().iter().map(|entry| entry.digest).collect())
        }
    }
}
