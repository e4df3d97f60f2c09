//! What earlier runs of a pipeline did, read as far back as somebody asks.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pipe_cache::Store;

use crate::lineage::Preimage;
use crate::record::{InstanceRecord, RunHead, Shared, read_head, read_own, read_shared, run_ids};

/// How many runs of the pipeline are looked at for the reason of a change.
const RUNS_LOOKED_AT: usize = 50;

/// The runs of a pipeline, the one that began last first.
pub(crate) struct History<'a> {
    store: &'a Store,
    runs: Vec<FormerRun>,
    /// Instances that several runs refer to.
    shared: RefCell<HashMap<Shared, ByLabel>>,
}

/// Instances by label.
type ByLabel = Rc<HashMap<String, InstanceRecord>>;

/// A run, whose instances are read when one of them is asked for.
struct FormerRun {
    head: RunHead,
    /// Its own, and then those that it shares.
    instances: OnceCell<Vec<ByLabel>>,
}

/// What an instance was when it last had a preimage.
pub(crate) struct Former {
    pub(crate) run: String,
    pub(crate) record: InstanceRecord,
    pub(crate) preimage: Preimage,
}

impl<'a> History<'a> {
    /// The latest runs of a pipeline.
    pub(crate) fn new(store: &'a Store, pipeline: &str) -> Self {
        let heads =
            run_ids(store).unwrap_or_default().into_iter().filter_map(|id| read_head(store, &id).ok());
        let runs = heads.filter(|head| head.header.pipeline == pipeline).take(RUNS_LOOKED_AT);
        let runs = runs.map(|head| FormerRun { head, instances: OnceCell::new() }).collect();
        Self { store, runs, shared: RefCell::default() }
    }

    /// No history, for whom reasons do not matter.
    pub(crate) fn none(store: &'a Store) -> Self {
        Self { store, runs: Vec::new(), shared: RefCell::default() }
    }

    /// The last record of an instance that has a stored preimage.
    pub(crate) fn last(&self, label: &str) -> Option<Former> {
        self.runs.iter().find_map(|run| {
            let record = self.instances(run).iter().find_map(|instances| instances.get(label))?.clone();
            let preimage = self.store.preimage(record.fingerprint?).ok()??;
            let run = run.head.header.run.clone();
            Some(Former { run, record, preimage: Preimage::from_json(&preimage)? })
        })
    }

    /// A run's instances, as far as they can be read.
    fn instances<'b>(&self, run: &'b FormerRun) -> &'b [ByLabel] {
        run.instances.get_or_init(|| {
            let Ok(own) = read_own(self.store, &run.head.header.run) else { return Vec::new() };
            let shared = own.shared.iter().map(|shared| self.shared(&run.head, shared));
            let shared: Vec<ByLabel> = shared.collect();
            [by_label(own.instances)].into_iter().chain(shared).collect()
        })
    }

    fn shared(&self, head: &RunHead, shared: &Shared) -> ByLabel {
        let mut known = self.shared.borrow_mut();
        let read = || by_label(read_shared(self.store, head, shared).unwrap_or_default());
        Rc::clone(known.entry(shared.clone()).or_insert_with(read))
    }
}

fn by_label(instances: Vec<InstanceRecord>) -> ByLabel {
    Rc::new(instances.into_iter().map(|record| (record.label.clone(), record)).collect())
}
