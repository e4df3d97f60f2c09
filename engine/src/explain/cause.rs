//! The causes of an instance's result in a run: what has changed since the run before, followed upstream to where it
//! was written.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use pipe_cache::{ArtifactRef, Store};
use serde::Serialize;

use crate::assess::Reason;
use crate::lineage::{Change, Given, ItemChanges, Preimage, Source};
use crate::naming::Named;
use crate::record::{
    InstanceRecord, InstanceStatus, RecordError, RunHeader, RunRecord, read_head, read_run, run_ids,
};

/// How many runs of the pipeline are looked at for what an instance was before.
const RUNS_LOOKED_AT: usize = 50;

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
    let explainer = Explainer { store, runs: RefCell::default(), ids: run_ids(store)? };
    let run = explainer.read(run)?;
    let named = Named::read(target);
    let instances: Vec<&InstanceRecord> =
        run.record.instances.iter().filter(|one| named.means(&one.stage, &one.label)).collect();
    Ok(instances.into_iter().map(|one| explainer.explain(&run, one, &mut BTreeSet::new())).collect())
}

/// A run, and where its instances stand.
struct Run {
    record: RunRecord,
    places: HashMap<String, usize>,
}

impl Run {
    fn header(&self) -> &RunHeader {
        &self.record.head.header
    }

    fn instance(&self, label: &str) -> Option<&InstanceRecord> {
        self.record.instances.get(*self.places.get(label)?)
    }
}

struct Explainer<'a> {
    store: &'a Store,
    /// All runs, the last one first.
    ids: Vec<String>,
    runs: RefCell<HashMap<String, Rc<Run>>>,
}

/// What an instance was in an earlier run.
struct Before {
    run: Rc<Run>,
    record: InstanceRecord,
    preimage: Preimage,
}

impl Explainer<'_> {
    fn read(&self, name: &str) -> Result<Rc<Run>, RecordError> {
        if let Some(run) = self.runs.borrow().get(name) {
            return Ok(Rc::clone(run));
        }
        let record = read_run(self.store, name)?;
        let places = record.instances.iter().enumerate();
        let places = places.map(|(place, one)| (one.label.clone(), place)).collect();
        let run = Rc::new(Run { record, places });
        let id = run.header().run.clone();
        self.runs.borrow_mut().extend([(id, Rc::clone(&run)), (name.to_string(), Rc::clone(&run))]);
        Ok(run)
    }

    /// `told` holds the instances on the way here: what refers to itself ends.
    fn explain(&self, run: &Rc<Run>, record: &InstanceRecord, told: &mut BTreeSet<(String, String)>) -> Why {
        let id = run.header().run.clone();
        let is_new = told.insert((id.clone(), record.label.clone()));
        let before = self.before(run, &record.label);
        let causes = if is_new { self.causes(run, record, before.as_ref(), told) } else { Vec::new() };
        let fate = match record.status {
            InstanceStatus::Executed => Fate::Computed,
            InstanceStatus::Failed => Fate::Failed { error: record.error.clone().unwrap_or_default() },
            InstanceStatus::Skipped => Fate::NotReached { reason: record.error.clone().unwrap_or_default() },
            InstanceStatus::Cached => {
                let from_run = record.from_run.clone().unwrap_or_default();
                let computed = self.computed(&from_run, record, told).filter(|_| causes.is_empty());
                Fate::Known { from_run, computed: computed.map(Box::new) }
            }
        };
        let since = before.map(|before| before.run.header().run.clone());
        Why { instance: record.label.clone(), run: Some(id), fate, since, causes }
    }

    /// Why a known result was computed, in the run that did.
    fn computed(
        &self,
        run: &str,
        known: &InstanceRecord,
        told: &mut BTreeSet<(String, String)>,
    ) -> Option<Why> {
        let run = self.read(run).ok()?;
        let is_it = |one: &&InstanceRecord| {
            one.fingerprint == known.fingerprint && one.status == InstanceStatus::Executed
        };
        let record = run.record.instances.iter().find(is_it)?;
        Some(self.explain(&run, record, told))
    }

    /// The runs of a run's pipeline before it, the last one first.
    fn earlier<'b>(&'b self, run: &Run) -> impl Iterator<Item = &'b String> {
        let RunHeader { run: id, pipeline, .. } = run.header().clone();
        let earlier = self.ids.iter().skip_while(move |known| **known != id).skip(1);
        let of_pipeline =
            move |id: &&String| read_head(self.store, id).is_ok_and(|head| head.header.pipeline == pipeline);
        earlier.filter(of_pipeline).take(RUNS_LOOKED_AT)
    }

    /// The instance in the last run of the pipeline before this one that has a preimage of it.
    fn before(&self, run: &Run, label: &str) -> Option<Before> {
        self.earlier(run).find_map(|id| {
            let run = self.read(id).ok()?;
            let record = run.instance(label)?.clone();
            let preimage = self.preimage(&record)?;
            Some(Before { run, record, preimage })
        })
    }

    fn preimage(&self, record: &InstanceRecord) -> Option<Preimage> {
        Preimage::from_json(&self.store.preimage(record.fingerprint?).ok()??)
    }

    fn causes(
        &self,
        run: &Rc<Run>,
        record: &InstanceRecord,
        before: Option<&Before>,
        told: &mut BTreeSet<(String, String)>,
    ) -> Vec<Cause> {
        let Some(now) = self.preimage(record) else { return Vec::new() };
        let Some(before) = before else { return self.causes_of_first(run, record) };
        let mut changes = now.changes_since(&before.preimage);
        let items = self.item_changes(record, &before.record).filter(|_| changes.is_empty());
        changes.extend(items.map(Change::Items));
        let mut causes = Vec::with_capacity(changes.len());
        for change in changes {
            let inputs = match &change {
                Change::Input { input, .. } => vec![input.split('[').next().unwrap_or(input).to_string()],
                Change::Items(_) => now.items.iter().flat_map(|items| items.made_of.clone()).collect(),
                _ => Vec::new(),
            };
            let reason = reason(change, record, run.header());
            let upstream = self.upstream(run, record, &inputs, &before.run, told);
            causes.push(Cause { text: reason.to_string(), reason, upstream });
        }
        if causes.is_empty() && record.status != InstanceStatus::Cached {
            let is_forced =
                run.header().force.iter().any(|name| Named::read(name).means(&record.stage, &record.label));
            let run = before.run.header().run.clone();
            causes.push(Cause::of(match is_forced {
                true => Reason::Forced,
                false => Reason::of_status(before.record.status, run),
            }));
        }
        causes
    }

    /// Why an instance was computed of which nothing before is known.
    fn causes_of_first(&self, run: &Run, record: &InstanceRecord) -> Vec<Cause> {
        if record.status == InstanceStatus::Cached {
            return Vec::new();
        }
        let is_same = |id: &String| {
            let run = self.read(id).ok()?;
            Some(run.instance(&record.label)?.fingerprint == record.fingerprint)
        };
        match self.earlier(run).find_map(is_same) {
            // What it was made of then is gone with the results.
            Some(true) => vec![Cause::of(Reason::ResultLost)],
            Some(false) | None => {
                vec![Cause { text: "it had not run before".to_string(), ..Cause::of(Reason::New) }]
            }
        }
    }

    fn item_changes(&self, now: &InstanceRecord, before: &InstanceRecord) -> Option<ItemChanges> {
        let read = |record: &InstanceRecord| self.store.read(record.items?).ok();
        let changes = ItemChanges::between(&read(before)?, &read(now)?);
        (!changes.is_empty()).then_some(changes)
    }

    /// Why the instances that give these inputs gave other bytes than before, those that did.
    fn upstream(
        &self,
        run: &Rc<Run>,
        record: &InstanceRecord,
        inputs: &[String],
        before: &Run,
        told: &mut BTreeSet<(String, String)>,
    ) -> Vec<Why> {
        let given = record.inputs.iter().filter(|given| inputs.contains(&given.input));
        let makers: BTreeSet<&String> = given.flat_map(makers_of).collect();
        let outputs = |run: &Run, label: &str| -> BTreeMap<String, ArtifactRef> {
            run.instance(label).map(|one| one.outputs.clone()).unwrap_or_default()
        };
        let is_other = |label: &&String| outputs(run, label) != outputs(before, label);
        let makers = makers.into_iter().filter(is_other).filter_map(|label| run.instance(label));
        makers.map(|maker| self.explain(run, maker, told)).collect()
    }
}

/// The instances whose outputs are given to an input.
fn makers_of(given: &Given) -> impl Iterator<Item = &String> {
    given.sources.iter().filter_map(|source| match source {
        Source::Output { instance, .. } => Some(instance),
        _ => None,
    })
}

impl Cause {
    /// A cause without others upstream.
    pub(super) fn of(reason: Reason) -> Self {
        Self { text: reason.to_string(), reason, upstream: Vec::new() }
    }
}

/// A change with where the value of that run was written, as its record tells.
fn reason(change: Change, record: &InstanceRecord, header: &RunHeader) -> Reason {
    let origin = match &change {
        Change::Parameter { name, .. } => {
            let param = name.split('.').next().unwrap_or(name);
            let written = record.origins.get(&format!("param.{param}")).cloned();
            let filled =
                || record.inputs.iter().find(|given| given.fills).and_then(|given| given.origin.clone());
            written.or_else(filled).or_else(|| Some("default".to_string()))
        }
        Change::Input { input, after: Some(_), .. } => {
            let input = input.split('[').next().unwrap_or(input);
            let given = record.inputs.iter().find(|given| given.input == input);
            given.map(|given| match &given.origin {
                Some(origin) => format!("{}, {origin}", given.written),
                None => given.written.clone(),
            })
        }
        Change::Seed { .. } => header.seed_origin.clone(),
        Change::Device { .. } => Some("command line".to_string()),
        _ => None,
    };
    Reason::Changed { change, stage: record.stage.clone(), origin }
}
