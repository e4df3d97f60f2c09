//! What differs between two runs: what was asked for, where, with which code, what each instance was made of, and what came
//! out.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{ArtifactRef, Form, Store};
use pipe_plugin::canonical_text;
use serde::Serialize;
use serde_json::Value;

use super::cause::{Cause, reason};
use crate::assess::Reason;
use crate::lineage::differences;
use crate::record::{
    InstanceRecord, InstanceStatus, RecordError, RunHeader, RunRecord, read_manifest, read_run,
};
use crate::registry::Registry;
use crate::stage::{PairedComparison, Results};

/// The difference of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDiff {
    /// Their ids.
    pub runs: [String; 2],
    /// What was asked for.
    pub asked: Vec<Difference>,
    /// Where it was run, and with which program.
    pub surroundings: Vec<Difference>,
    /// The versions of crates that kinds use.
    pub crates: Vec<Difference>,
    /// The manifest by meaning: values by their place, variables put in.
    pub manifest: Vec<Difference>,
    /// Instances that differ.
    pub instances: Vec<InstanceDiff>,
    /// How many instances have the same results in both, of the same.
    pub same: usize,
    /// How many have no result in either, for the same reason.
    pub without_result: usize,
}

/// A value that is not the same; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// What.
    pub name: String,
    /// In the first run.
    pub before: Option<Value>,
    /// In the second run.
    pub after: Option<Value>,
}

/// An instance that is not the same in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceDiff {
    /// The instance.
    pub instance: String,
    /// What became of it; `None` in a run that does not have it.
    pub status: [Option<InstanceStatus>; 2],
    /// What decides its result and differs.
    pub causes: Vec<Cause>,
    /// The outputs whose bytes differ.
    pub outputs: Vec<String>,
    /// The numbers that tell of its result and differ.
    pub scalars: Vec<ScalarDiff>,
    /// Which of both is better on the cases that both have, where its kind can tell.
    pub comparisons: Vec<PairedComparison>,
}

/// A number that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScalarDiff {
    /// Its name.
    pub name: String,
    /// In the first run.
    pub before: Option<f64>,
    /// In the second run.
    pub after: Option<f64>,
}

impl RunDiff {
    /// Whether what was asked for and what came out is the same, wherever and whenever it was run.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.manifest.is_empty() && self.instances.is_empty()
    }
}

/// The difference of two runs, each by its id, a unique beginning of it, or `latest`.
///
/// # Errors
/// When there is no such run, or its record cannot be read.
pub fn diff(store: &Store, registry: &Registry, first: &str, second: &str) -> Result<RunDiff, RecordError> {
    let runs = [read_run(store, first)?, read_run(store, second)?];
    let [before, after] = runs.each_ref().map(|run| &run.head.header);
    let manifests = [read_manifest(&runs[0].head)?, read_manifest(&runs[1].head)?];
    let [old, new] = manifests.each_ref().map(flat);
    let [old_crates, new_crates] = [before, after].map(crates);
    // Records of before they told versions have none.
    let are_told = !old_crates.is_empty() && !new_crates.is_empty();
    let mut diff = RunDiff {
        runs: [before.run.clone(), after.run.clone()],
        asked: changed(asked(before), asked(after)),
        surroundings: changed(surroundings(before), surroundings(after)),
        crates: if are_told { changed(old_crates, new_crates) } else { Vec::new() },
        manifest: changed(old, new),
        instances: Vec::new(),
        same: 0,
        without_result: 0,
    };
    let [old, new] = runs.each_ref().map(by_label);
    let labels = runs.iter().rev().flat_map(|run| run.instances.iter().map(|one| one.label.as_str()));
    let mut seen = BTreeSet::new();
    for label in labels.filter(|label| seen.insert(*label)) {
        let pair = [old.get(label).copied(), new.get(label).copied()];
        match (
            instance_diff((store, registry), label, pair, after),
            pair[1].is_some_and(InstanceRecord::has_result),
        ) {
            (Some(one), _) => diff.instances.push(one),
            (None, true) => diff.same += 1,
            (None, false) => diff.without_result += 1,
        }
    }
    Ok(diff)
}

fn by_label(run: &RunRecord) -> BTreeMap<&str, &InstanceRecord> {
    run.instances.iter().map(|one| (one.label.as_str(), one)).collect()
}

/// What was asked for.
fn asked(header: &RunHeader) -> BTreeMap<String, Value> {
    by_name([
        ("pipeline", Value::from(header.pipeline.clone())),
        ("seed", Value::from(header.seed)),
        ("set", Value::from(header.set.clone())),
        ("profiles", Value::from(header.profiles.clone())),
        ("force", Value::from(header.force.clone())),
    ])
}

/// Where it was run, and with which program.
fn surroundings(header: &RunHeader) -> BTreeMap<String, Value> {
    let git = header.surroundings.git.as_ref();
    by_name([
        ("program", Value::from(header.surroundings.program.clone())),
        ("code", Value::from(header.code.to_string())),
        ("host", Value::from(header.surroundings.host.clone())),
        ("device class", Value::from(header.device_class.clone())),
        ("commit", git.map(|git| git.commit.clone()).into()),
        ("changes beside the commit", git.map(|git| git.modified).into()),
    ])
}

fn crates(header: &RunHeader) -> BTreeMap<String, Value> {
    header.crates.iter().map(|(name, version)| (name.clone(), Value::from(version.clone()))).collect()
}

fn by_name<const N: usize>(values: [(&str, Value); N]) -> BTreeMap<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// Values by their place, dotted.
fn flat(value: &Value) -> BTreeMap<String, Value> {
    fn add(place: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                    add(&place, value, found);
                }
            }
            other => drop(found.insert(place.to_string(), other.clone())),
        }
    }
    let mut found = BTreeMap::new();
    add("", value, &mut found);
    found
}

/// Values that are not the same. They are one when their texts are: 1 and 1.0.
fn changed(before: BTreeMap<String, Value>, after: BTreeMap<String, Value>) -> Vec<Difference> {
    let text = |value: &Option<Value>| value.as_ref().map(canonical_text);
    let sides = differences(before, after).into_iter();
    let sides = sides.map(|(name, before, after)| Difference { name, before, after });
    sides.filter(|one| text(&one.before) != text(&one.after)).collect()
}

fn instance_diff(
    (store, registry): (&Store, &Registry),
    label: &str,
    pair: [Option<&InstanceRecord>; 2],
    header: &RunHeader,
) -> Option<InstanceDiff> {
    let status = pair.map(|one| one.map(|one| one.status));
    let mut diff = InstanceDiff {
        instance: label.to_string(),
        status,
        causes: Vec::new(),
        outputs: Vec::new(),
        scalars: Vec::new(),
        comparisons: Vec::new(),
    };
    // Computed or known is one: it has its result.
    let fate = |one: Option<&InstanceRecord>| one.map(|one| (one.has_result(), one.error.clone()));
    let is_same_fate = fate(pair[0]) == fate(pair[1]);
    if let [Some(before), Some(after)] = pair {
        diff.causes = causes(store, before, after, header);
        diff.outputs = differing(&before.outputs, &after.outputs);
        diff.scalars = scalars(before, after);
        if !diff.outputs.is_empty() && before.kind == after.kind {
            diff.comparisons = comparisons(store, registry, before, after);
        }
    }
    let is_same =
        is_same_fate && diff.causes.is_empty() && diff.outputs.is_empty() && diff.scalars.is_empty();
    (!is_same).then_some(diff)
}

/// What decides the results of two instances and differs.
fn causes(store: &Store, before: &InstanceRecord, after: &InstanceRecord, header: &RunHeader) -> Vec<Cause> {
    // Who did not come so far as to know its inputs has none.
    if before.fingerprint == after.fingerprint || before.fingerprint.is_none() || after.fingerprint.is_none()
    {
        return Vec::new();
    }
    let Some(changes) = after.changes_since(before, store) else {
        return vec![Cause::of(Reason::NotKept)];
    };
    changes.into_iter().map(|change| Cause::of(reason(change, after, header))).collect()
}

/// What a kind says of two of its results. What it cannot read it says nothing of.
fn comparisons(
    store: &Store,
    registry: &Registry,
    before: &InstanceRecord,
    after: &InstanceRecord,
) -> Vec<PairedComparison> {
    let Some(kind) = registry.get(&after.kind) else { return Vec::new() };
    let read = |record: &InstanceRecord, output: &str, file: &str| {
        let artifact = record.outputs.get(output)?;
        let digest = match artifact.form {
            Form::File => artifact.digest,
            Form::Tree | Form::Collection => store.index(artifact.digest).ok()?.get(file)?.digest,
        };
        store.read(digest).ok()
    };
    let sides = (
        Results { read: &|output, file| read(before, output, file) },
        Results { read: &|output, file| read(after, output, file) },
    );
    kind.compare(&sides.0, &sides.1).unwrap_or_default()
}

fn differing(before: &BTreeMap<String, ArtifactRef>, after: &BTreeMap<String, ArtifactRef>) -> Vec<String> {
    differences(before.clone(), after.clone()).into_iter().map(|(name, ..)| name).collect()
}

fn scalars(before: &InstanceRecord, after: &InstanceRecord) -> Vec<ScalarDiff> {
    let bits = |record: &InstanceRecord| -> BTreeMap<String, u64> {
        record.scalars.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
    };
    let side = |bits: Option<u64>| bits.map(f64::from_bits);
    let found = differences(bits(before), bits(after)).into_iter();
    found.map(|(name, before, after)| ScalarDiff { name, before: side(before), after: side(after) }).collect()
}
