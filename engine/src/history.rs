//! What earlier runs of a pipeline did, read as far back as somebody asks.

use std::cell::OnceCell;
use std::collections::HashMap;

use pipe_cache::Store;

use crate::preimage::Preimage;
use crate::record::{InstanceRecord, read_head, read_run, run_ids};

/// How many runs of the pipeline are looked at for the reason of a change.
const RUNS_LOOKED_AT: usize = 50;

/// The runs of a pipeline, the one that began last first.
pub(crate) struct History<'a> {
    store: &'a Store,
    runs: Vec<FormerRun>,
}

/// A run, whose instances are read when one of them is asked for.
struct FormerRun {
    id: String,
    instances: OnceCell<HashMap<String, InstanceRecord>>,
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
        let ids = run_ids(store).unwrap_or_default().into_iter();
        let is_of = |id: &String| read_head(store, id).is_ok_and(|head| head.header.pipeline == pipeline);
        let runs = ids.filter(is_of).take(RUNS_LOOKED_AT);
        Self { store, runs: runs.map(|id| FormerRun { id, instances: OnceCell::new() }).collect() }
    }

    /// No history, for whom reasons do not matter.
    pub(crate) fn none(store: &'a Store) -> Self {
        Self { store, runs: Vec::new() }
    }

    /// The last record of an instance that has a stored preimage.
    pub(crate) fn last(&self, label: &str) -> Option<Former> {
        self.runs.iter().find_map(|run| {
            let record = run.instances(self.store).get(label)?.clone();
            let preimage = self.store.preimage(record.fingerprint?).ok()??;
            Some(Former { run: run.id.clone(), record, preimage: Preimage::from_json(&preimage)? })
        })
    }
}

impl FormerRun {
    fn instances(&self, store: &Store) -> &HashMap<String, InstanceRecord> {
        self.instances.get_or_init(|| {
            let instances = read_run(store, &self.id).map(|run| run.instances).unwrap_or_default();
            instances.into_iter().map(|record| (record.label.clone(), record)).collect()
        })
    }
}
