//! The causes of an instance's result in a run: what has changed since the run before, followed upstream to where it
//! was written.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use pipe_cache::{ArtifactRef, Store};
use serde::Serialize;

use crate::assess::Reason;
use crate::lineage::{Change, Given, Preimage, differences, given_to, outputs_given_to};
use crate::naming::Named;
use crate::record::{InstanceRecord, InstanceStatus, RecordError, Run, RunHeader, Runs};

/// Why an instance has the result that it has in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    /// The instance.
    pub instance: String,
    /// The run; none of one that has not begun.
    pub run: Option<String>,
    /// What became of it there.
    #[serde(flatten)]
    pub fate: Fate,
    /// The run that it is compared with: the last one before that knew the instance.
    pub since: Option<String>,
    /// What has changed since; empty when nothing has.
    pub causes: Vec<Cause>,
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// It was computed.
    Computed,
    /// Its result was known.
    Known {
        /// The run that had computed it.
        from_run: String,
        /// Why it was computed there; none when that run's record is gone.
        computed: Option<Box<Why>>,
    },
    /// It failed.
    Failed {
        /// With what.
        error: String,
    },
    /// It would be computed.
    Expected,
    /// It would be computed if what it needs gives other bytes than before.
    Waiting,
    /// The run did not come to it.
    NotReached {
        /// For what reason.
        reason: String,
    },
}

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// What.
    pub reason: Reason,
    /// The same in English.
    pub text: String,
    /// Why the instances upstream gave other bytes, where they did.
    pub upstream: Vec<Why>,
}

/// Why the instances that a name stands for have the results that they have in a run: one for each instance.
///
/// # Errors
/// When there is no such run or its record cannot be read.
pub fn why(store: &Store, run: &str, target: &str) -> Result<Vec<Why>, RecordError> {
    let explainer = Explainer { store, runs: Runs::of(store)?, known: RefCell::default() };
    let run = explainer.runs.find(run)?;
    let named = Named::read(target);
    let instances = run.instances().filter(|one| named.means(&one.stage, &one.label));
    Ok(instances.map(|one| explainer.explain(&run, one, None)).collect())
}

struct Explainer<'a> {
    store: &'a Store,
    runs: Runs<'a>,
    /// What has been found out, by instance and the run that it is compared with.
    known: RefCell<HashMap<Asked, Option<Why>>>,
}

/// An instance of a run, and the run that it is compared with; none for the last one before that knew the instance.
type Asked = (String, String, Option<String>);

/// What an instance was in an earlier run.
struct Before {
    run: Rc<Run>,
    record: InstanceRecord,
}

impl Explainer<'_> {
    /// Why an instance has its result, compared with a run or else with the last one before that knew it. Upstream it is
    /// compared with the same run: what matters there is what is other for whoever asks.
    fn explain(&self, run: &Rc<Run>, record: &InstanceRecord, since: Option<&Rc<Run>>) -> Why {
        let id = run.header().run.clone();
        let compared = since.map(|since| since.header().run.clone());
        let asked = (id.clone(), record.label.clone(), compared);
        if let Some(known) = self.known.borrow().get(&asked) {
            // What refers to itself ends.
            return known.clone().unwrap_or_else(|| Why::without_causes(record, &id));
        }
        self.known.borrow_mut().insert(asked.clone(), None);
        let before = match since {
            Some(since) => {
                let record = since.instance(&record.label).filter(|one| one.fingerprint.is_some());
                record.map(|record| Before { run: Rc::clone(since), record: record.clone() })
            }
            None => self.before(run, &record.label),
        };
        let mut why = Why::without_causes(record, &id);
        why.causes = self.causes(run, record, before.as_ref());
        why.since = before.map(|before| before.run.header().run.clone());
        if let (Fate::Known { from_run, computed }, true) = (&mut why.fate, why.causes.is_empty()) {
            *computed = self.computed(from_run, record).map(Box::new);
        }
        self.known.borrow_mut().insert(asked, Some(why.clone()));
        why
    }

    /// Why a known result was computed, in the run that did.
    fn computed(&self, run: &str, known: &InstanceRecord) -> Option<Why> {
        let run = self.runs.get(run)?;
        Some(self.explain(&run, run.computed(known.fingerprint?)?, None))
    }

    /// The instance in the last run of the pipeline before this one that came so far as to know its inputs.
    fn before(&self, run: &Run, label: &str) -> Option<Before> {
        let RunHeader { run: id, pipeline, .. } = run.header();
        let (run, record) = self.runs.former(pipeline, Some(id), label).next()?;
        Some(Before { run, record })
    }

    fn causes(&self, run: &Rc<Run>, record: &InstanceRecord, before: Option<&Before>) -> Vec<Cause> {
        let is_known = record.status == InstanceStatus::Cached;
        let Some(before) = before else {
            let new = Cause { text: "it had not run before".to_string(), ..Cause::of(Reason::New) };
            return if is_known || record.fingerprint.is_none() { Vec::new() } else { vec![new] };
        };
        if record.fingerprint != before.record.fingerprint && record.fingerprint.is_some() {
            return self.differences(run, record, before);
        }
        if is_known || record.fingerprint.is_none() {
            return Vec::new();
        }
        let header = run.header();
        let is_meant = |name: &String| Named::read(name).means(&record.stage, &record.label);
        let [then, now] = [before.run.header(), header].map(|header| header.device_class.clone());
        vec![if header.force.iter().any(is_meant) {
            Cause::of(Reason::Forced)
        } else if then != now && record.device.is_some() {
            Cause::of(Reason::OtherClass { before: then, after: now })
        } else {
            Cause::of(Reason::of_status(before.record.status, before.run.header().run.clone()))
        }]
    }

    /// What decides an instance's result and is other than it was.
    fn differences(&self, run: &Rc<Run>, record: &InstanceRecord, before: &Before) -> Vec<Cause> {
        let changes = record.changes_since(&before.record, self.store);
        let (Some(changes), Some(now)) = (changes, record.preimage(self.store)) else {
            return vec![Cause::of(Reason::NotKept)];
        };
        let cause = |change: Change| {
            let makers = makers_behind(&change, record, &now);
            let upstream = self.upstream(run, &makers, &before.run);
            let reason = with_crates(reason(change, record, run.header()), before.run.header(), run.header());
            Cause { text: reason.to_string(), reason, upstream }
        };
        changes.into_iter().map(cause).collect()
    }

    /// Why instances gave other bytes than in an earlier run, those that did.
    fn upstream(&self, run: &Rc<Run>, makers: &BTreeSet<&String>, before: &Rc<Run>) -> Vec<Why> {
        let outputs = |run: &Run, label: &str| -> BTreeMap<String, ArtifactRef> {
            run.instance(label).map(|one| one.outputs.clone()).unwrap_or_default()
        };
        let is_other = |label: &&&String| outputs(run, label) != outputs(before, label);
        let makers = makers.iter().filter(is_other).filter_map(|label| run.instance(label));
        makers.map(|maker| self.explain(run, maker, Some(before))).collect()
    }
}

impl Why {
    fn without_causes(record: &InstanceRecord, run: &str) -> Self {
        let told = || record.error.clone().unwrap_or_default();
        let fate = match record.status {
            InstanceStatus::Executed => Fate::Computed,
            InstanceStatus::Failed => Fate::Failed { error: told() },
            InstanceStatus::Skipped => Fate::NotReached { reason: told() },
            InstanceStatus::Cached => {
                Fate::Known { from_run: record.from_run.clone().unwrap_or_default(), computed: None }
            }
        };
        let (instance, run) = (record.label.clone(), Some(run.to_string()));
        Self { instance, run, fate, since: None, causes: Vec::new() }
    }
}

/// The instances whose outputs a change may come from.
fn makers_behind<'a>(change: &Change, record: &'a InstanceRecord, now: &Preimage) -> BTreeSet<&'a String> {
    let outputs: Vec<(&String, &String)> = match change {
        Change::Input { input, .. } => outputs_given_to(input, &record.inputs),
        Change::Items(_) => {
            let made_of = now.items.iter().flat_map(|items| &items.made_of);
            made_of.flat_map(|input| outputs_given_to(input, &record.inputs)).collect()
        }
        // A parameter that nobody wrote may be filled in by an input.
        Change::Parameter { name, .. } if written(name, record).is_none() => {
            record.inputs.iter().filter(|given| given.fills).flat_map(Given::outputs).collect()
        }
        _ => Vec::new(),
    };
    outputs.into_iter().map(|(instance, _)| instance).collect()
}

/// Where a parameter, or the table that it is a field of, is written.
fn written<'a>(name: &str, record: &'a InstanceRecord) -> Option<&'a String> {
    record.origins.get(&format!("param.{}", name.split('.').next().unwrap_or(name)))
}

impl Cause {
    /// A cause without others upstream.
    pub(super) fn of(reason: Reason) -> Self {
        Self { text: reason.to_string(), reason, upstream: Vec::new() }
    }
}

/// Of changed code, which crates had other versions: if none had, it is the kind's own source.
fn with_crates(reason: Reason, before: &RunHeader, after: &RunHeader) -> Reason {
    let Reason::Changed { change: change @ Change::Code { .. }, stage, .. } = reason else { return reason };
    let crates = differences(before.crates.clone(), after.crates.clone());
    let told = |version: Option<String>| version.unwrap_or_else(|| "none".to_string());
    let crates: Vec<String> = crates
        .into_iter()
        .map(|(name, before, after)| format!("{name} {} → {}", told(before), told(after)))
        .collect();
    let origin = match (before.crates.is_empty() || after.crates.is_empty(), crates.is_empty()) {
        (true, _) => None,
        (false, true) => Some("its source; all crates are the same".to_string()),
        (false, false) => Some(format!("crates: {}", crates.join(", "))),
    };
    Reason::Changed { change, stage, origin }
}

/// A change with where the value of that run was written, as its record tells.
pub(super) fn reason(change: Change, record: &InstanceRecord, header: &RunHeader) -> Reason {
    let origin = match &change {
        // Records of attempts that failed did not always tell where parameters are written.
        Change::Parameter { .. } if record.inputs.is_empty() && record.origins.is_empty() => None,
        Change::Parameter { name, .. } => {
            let fills = || record.inputs.iter().any(|given| given.fills);
            let unwritten = || if fills() { "default, or filled in by an input" } else { "default" };
            written(name, record).cloned().or_else(|| Some(unwritten().to_string()))
        }
        Change::Input { input, after: Some(_), .. } => {
            let given = given_to(input, &record.inputs).into_iter().next();
            given.map(Given::described)
        }
        Change::Seed { .. } => header.seed_origin.clone(),
        Change::Device { .. } => Some("command line".to_string()),
        _ => None,
    };
    Reason::Changed { change, stage: record.stage.clone(), origin }
}
