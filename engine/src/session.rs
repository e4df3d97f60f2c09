//! What all that a command does has in common: the kinds, the store, the devices, and what was read on the way.

use std::sync::Arc;

use pipe_cache::{InputMemo, Store};

use crate::bind::Binder;
use crate::context::Devices;
use crate::input::ListingCache;
use crate::manifest::Pipeline;
use crate::registry::Registry;
use crate::stats::StatCache;
use crate::table::TableCache;

/// A command's hold on a store. Each table is read once in it, and each input hashed once.
pub struct Session<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) store: Arc<Store>,
    /// What the kinds that compute on devices may use.
    pub(crate) devices: Devices,
    pub(crate) memo: InputMemo,
    pub(crate) stats: StatCache,
    pub(crate) tables: TableCache,
    /// Folders that were listed before any work.
    pub(crate) listings: ListingCache,
}

impl<'a> Session<'a> {
    /// A session. Without `trust`, what is remembered of input files is not believed, and each is hashed anew.
    pub fn new(registry: &'a Registry, store: &Arc<Store>, devices: Devices, trust: bool) -> Self {
        Self {
            registry,
            store: Arc::clone(store),
            devices,
            memo: InputMemo::open(store, trust),
            stats: StatCache::default(),
            tables: TableCache::default(),
            listings: ListingCache::default(),
        }
    }

    /// From now on each file and folder is looked at once, until a run begins to compute or verdicts are given. For what
    /// comes together: checks before a run, and the run.
    pub fn look_once(&self) {
        self.look_again();
        self.stats.hold();
        self.tables.hold(true);
    }

    /// From now on files are looked at anew.
    pub(crate) fn look_again(&self) {
        self.stats.release();
        self.tables.hold(false);
    }

    /// What decides identities in a pipeline.
    pub(crate) fn binder<'b>(&'b self, pipeline: &'b Pipeline) -> Binder<'b> {
        Binder {
            pipeline,
            registry: self.registry,
            store: &self.store,
            memo: &self.memo,
            device: self.devices.any(),
            stats: &self.stats,
            tables: &self.tables,
            recorded: None,
        }
    }
}
