//! Whether each instance still follows from what it is given: its inputs are bound once more, hashed anew, with what the
//! record says of the instances upstream, and the preimage that this gives is compared with the one that is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use super::Audit;
use super::finding::{Finding, Note};
use super::results::Preimages;
use crate::bind::{Binder, Bound, Done, Environments};
use crate::execute::guard::guarded;
use crate::lineage::{Change, Given, ItemChanges, Preimage, differences, given_to};
use crate::manifest::Instance;
use crate::record::InstanceRecord;

/// Instances of a record, by label.
pub(super) type ByLabel<'a> = HashMap<&'a str, &'a InstanceRecord>;

/// The result that a record tells of an instance.
pub(super) fn done_of(record: &InstanceRecord) -> Option<Done> {
    let (fingerprint, run) = (record.fingerprint?, record.from_run.clone()?);
    Some(Done { outputs: record.outputs.clone(), run, fingerprint })
}

/// Compares what instances are given now with what they were made of. `records` are those of the whole run.
pub(super) fn check(
    binder: &Binder<'_>,
    records: &ByLabel<'_>,
    preimages: &Preimages,
    is_pack: bool,
    audit: &mut Audit,
) {
    let all = &binder.pipeline.instances;
    let upstream = |position: usize| -> Option<Arc<Done>> {
        done_of(records.get(all.get(position)?.label.as_str())?).map(Arc::new)
    };
    let wanted: Vec<(&Instance, &InstanceRecord, &Preimage)> = all
        .iter()
        .filter_map(|one| Some((one, *records.get(one.label.as_str())?, preimages.get(&one.label)?)))
        .collect();
    // Nothing is started to look at a record: what its programs and tools were is compared apart, and not at all for a pack.
    let recorded: Environments =
        wanted.iter().map(|(one, _, before)| (one.label.clone(), before.environment.clone())).collect();
    let here = *binder;
    let binder = &Binder { recorded: Some(&recorded), ..*binder };
    binder.look_once();
    let bound: Vec<_> =
        wanted.par_iter().map(|(instance, ..)| guarded(|| binder.bind(instance, &upstream))).collect();
    binder.look_again();
    let mut kinds = BTreeSet::new();
    for ((instance, record, before), bound) in wanted.iter().zip(bound) {
        match bound {
            Ok(bound) => {
                audit.checked.bound += 1;
                if bound.preimage.code != before.code {
                    kinds.insert(before.kind.clone());
                }
                if !is_pack {
                    audit.notes.extend(elsewhere(&here, instance, &bound, before));
                }
                let found = drift(binder, record, before, &bound);
                if !found.is_empty() {
                    audit.drifted.insert(instance.label.clone());
                }
                audit.findings.extend(found);
            }
            // A pack need not have all inputs and results.
            Err(error) if is_pack || error.lost_blob().is_some() => {
                if !is_pack {
                    audit.drifted.insert(instance.label.clone());
                }
                let what = format!("the inputs of {}: {error}", instance.label);
                audit.notes.push(Note::NotLookedAt { what });
            }
            Err(error) => {
                audit.drifted.insert(instance.label.clone());
                let (instance, problem) = (instance.label.clone(), error.to_string());
                audit.findings.push(Finding::Input { instance, problem });
            }
        }
    }
    audit.other_code = kinds;
    let missing: Vec<&str> = preimages
        .keys()
        .map(String::as_str)
        .filter(|label| !all.iter().any(|one| one.label == *label))
        .collect();
    if !missing.is_empty() {
        let problem = format!("it does not give {}", missing.join(", "));
        audit.findings.push(Finding::Manifest { problem });
    }
}

/// What the result followed from on the machine that gave it, and is not so on this one. That says nothing of the record.
fn elsewhere(here: &Binder<'_>, instance: &Instance, bound: &Bound, before: &Preimage) -> Option<Note> {
    if before.environment.is_empty() {
        return None;
    }
    let what = match here.environment(instance, &bound.params) {
        Err(error) => error.to_string(),
        Ok(now) => {
            let changes = differences(before.environment.clone(), now).into_iter();
            let told: Vec<String> = changes
                .map(|(name, before, after)| Change::Environment { name, before, after }.to_string())
                .collect();
            told.join("; ")
        }
    };
    (!what.is_empty()).then(|| Note::OtherMachine { instance: instance.label.clone(), what })
}

/// What differs from what an instance was made of.
pub(super) fn drift(
    binder: &Binder<'_>,
    record: &InstanceRecord,
    before: &Preimage,
    now: &Bound,
) -> Vec<Finding> {
    let is_same_code = now.preimage.code == before.code;
    if is_same_code && now.fingerprint == before.fingerprint() {
        return Vec::new();
    }
    // Other code may use other parts of inputs, and know other parameters.
    let is_comparable = |change: &Change| match change {
        Change::Code { .. } => false,
        Change::Input { before, after, .. } => is_same_code || (before.is_some() && after.is_some()),
        _ => is_same_code,
    };
    let mut changes: Vec<Change> = now.preimage.changes_since(before);
    changes.retain(is_comparable);
    changes.extend(item_changes(binder, record, now).map(Change::Items));
    if changes.is_empty() && is_same_code {
        let problem = "the keys of its items are others than those it was made of".to_string();
        return vec![Finding::Input { instance: record.label.clone(), problem }];
    }
    let finding = |change: Change| {
        let given = given(&change, record, before);
        Finding::Drift {
            instance: record.label.clone(),
            given: told(&change, &given),
            within: matches!(change, Change::Input { .. })
                && !given.is_empty()
                && given.iter().all(|given| given.is_within()),
            change,
        }
    };
    changes.into_iter().map(finding).collect()
}

/// Items that are made of something else. Where only the code, a parameter or another input is not the same, all keys are
/// others, which says nothing of the items.
fn item_changes(binder: &Binder<'_>, record: &InstanceRecord, now: &Bound) -> Option<ItemChanges> {
    let listing = now.items.as_ref()?.listing();
    let mut changes = ItemChanges::between(&binder.store.read(record.items?).ok()?, &listing);
    changes.changed.retain(|item| !item.parts.is_empty());
    (!changes.is_empty()).then_some(changes)
}

fn given<'a>(change: &Change, record: &'a InstanceRecord, before: &Preimage) -> Vec<&'a Given> {
    match change {
        Change::Input { input, .. } => given_to(input, &record.inputs),
        Change::Items(_) => {
            let made_of = before.items.iter().flat_map(|items| &items.made_of);
            made_of.flat_map(|input| given_to(input, &record.inputs)).collect()
        }
        _ => Vec::new(),
    }
}

fn told(change: &Change, given: &[&Given]) -> Option<String> {
    let of_manifest = "by the manifest that the record keeps";
    match change {
        Change::Input { .. } | Change::Items(_) => {
            let given: Vec<String> = given.iter().map(|given| given.described()).collect();
            (!given.is_empty()).then(|| given.join("; "))
        }
        _ => Some(of_manifest.to_string()),
    }
}
