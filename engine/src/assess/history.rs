//! What earlier runs of a pipeline did, read as far back as somebody asks.

use pipe_cache::Store;

use crate::lineage::Preimage;
use crate::record::{InstanceRecord, Runs};

/// The runs of a pipeline; none where reasons do not matter or no run can be listed.
pub(crate) struct History<'a> {
    store: &'a Store,
    pipeline: &'a str,
    runs: Option<Runs<'a>>,
}

/// What an instance was when it last had a preimage.
pub(crate) struct Former {
    pub(crate) run: String,
    pub(crate) record: InstanceRecord,
    pub(crate) preimage: Preimage,
}

impl<'a> History<'a> {
    pub(crate) fn new(store: &'a Store, pipeline: &'a str, is_asked: bool) -> Self {
        let runs = if is_asked { Runs::of(store).ok() } else { None };
        Self { store, pipeline, runs }
    }

    /// The last record of an instance that has a stored preimage.
    pub(crate) fn last(&self, label: &str) -> Option<Former> {
        self.runs.as_ref()?.former(self.pipeline, None, label).find_map(|(run, record)| {
            let preimage = record.preimage(self.store)?;
            Some(Former { run: run.header().run.clone(), record, preimage })
        })
    }
}
