//! Whether each instance's result is the one of its fingerprint: the preimage gives the fingerprint, the cache has that
//! result, and so does the record of the run that computed it.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{Error, Store};
use rayon::prelude::*;

use super::Audit;
use super::finding::{Finding, Note};
use crate::lineage::{Preimage, differences};
use crate::record::{InstanceRecord, RecordError, Runs};

/// The preimages that are as they have to be, by label.
pub(super) type Preimages = BTreeMap<String, Preimage>;

/// Looks at instances that have results.
pub(super) fn check(
    store: &Store,
    instances: &[&InstanceRecord],
    audit: &mut Audit,
) -> Result<Preimages, Error> {
    let looked = instances.par_iter().map(|instance| check_one(store, instance));
    let looked: Vec<(Vec<Finding>, Option<Preimage>)> = looked.collect::<Result<_, Error>>()?;
    let mut preimages = Preimages::new();
    for (instance, (findings, preimage)) in instances.iter().zip(looked) {
        audit.findings.extend(findings);
        preimages.extend(preimage.map(|preimage| (instance.label.clone(), preimage)));
    }
    audit.checked.instances = instances.len();
    Ok(preimages)
}

fn check_one(store: &Store, instance: &InstanceRecord) -> Result<(Vec<Finding>, Option<Preimage>), Error> {
    let mut findings = Vec::new();
    let label = || instance.label.clone();
    let Some(fingerprint) = instance.fingerprint else { return Ok((findings, None)) };
    let stored = match store.preimage(fingerprint) {
        Err(error) if error.lost_blob().is_none() => return Err(error),
        stored => stored.unwrap_or_default(),
    };
    let preimage = stored.as_deref().and_then(Preimage::from_json);
    let gives = preimage.as_ref().map(Preimage::fingerprint);
    if stored.is_none() {
        findings.push(Finding::NoPreimage { instance: label(), fingerprint });
    } else if gives != Some(fingerprint) {
        findings.push(Finding::Preimage { instance: label(), fingerprint, gives });
    }
    let results = store.results(fingerprint)?;
    if !results.iter().any(|result| result.outputs == instance.outputs) {
        findings.push(match results.first() {
            None => Finding::NoResult { instance: label(), fingerprint },
            Some(result) => {
                let other = differences(result.outputs.clone(), instance.outputs.clone());
                let outputs = other.into_iter().map(|(name, ..)| name).collect();
                Finding::Result { instance: label(), outputs }
            }
        });
    }
    Ok((findings, preimage.filter(|_| gives == Some(fingerprint))))
}

/// Looks at the records of the runs that computed the results: the ids of those that are there.
pub(super) fn check_makers(
    store: &Store,
    run: &str,
    instances: &[&InstanceRecord],
    audit: &mut Audit,
) -> Result<BTreeSet<String>, Error> {
    let mut makers: BTreeMap<&str, Vec<&InstanceRecord>> = BTreeMap::new();
    for instance in instances {
        if let Some(maker) = instance.from_run.as_deref().filter(|maker| *maker != run) {
            makers.entry(maker).or_default().push(instance);
        }
    }
    let (mut there, mut gone) = (BTreeSet::new(), Vec::new());
    let runs = Runs::of(store)?;
    for (maker, made) in makers {
        let record = match runs.find(maker) {
            Ok(record) => record,
            Err(RecordError::Unknown { .. }) => {
                gone.push(maker.to_string());
                continue;
            }
            Err(error) => {
                audit.findings.push(Finding::Unreadable { problem: error.to_string() });
                continue;
            }
        };
        there.insert(maker.to_string());
        let mut untold = Vec::new();
        for one in made {
            match one.fingerprint.and_then(|fingerprint| record.computed(fingerprint)) {
                Some(told) if told.outputs == one.outputs => {
                    super::chain::check_files(&record.head, &[told], audit);
                }
                // It is written after the result, so a run may be killed between.
                None if record.head.summary.is_none() => untold.push(one.label.clone()),
                _ => {
                    let (instance, run) = (one.label.clone(), maker.to_string());
                    audit.findings.push(Finding::Maker { instance, run });
                }
            }
        }
        if !untold.is_empty() {
            audit.notes.push(Note::MakerKilled { run: maker.to_string(), instances: untold });
        }
    }
    if !gone.is_empty() {
        audit.notes.push(Note::MakersGone { runs: gone });
    }
    Ok(there)
}
