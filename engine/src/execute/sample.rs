//! Computing some items of an instance, whatever is known of them, without its output.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{Digest, ItemOutcome};

use super::reporter::Reporter;
use super::{LOGS, Worker, file_label};
use crate::items::gathers;
use crate::job::{Failure, Job};
use crate::requests::Turns;
use crate::stage::Work;

/// Some items of an instance.
pub(crate) struct Sampled {
    /// How many items there are.
    pub(crate) total: usize,
    /// The names of all of them.
    pub(crate) names: BTreeSet<String>,
    /// The result of each item that was computed, by name.
    pub(crate) items: BTreeMap<String, ItemOutcome>,
}

impl Worker<'_> {
    /// Computes the items of a job's instance whose keys `choose` gives, out of all; `None` for a kind that has no items, or makes one
    /// output of all of them.
    pub(crate) fn compute_some(
        &self,
        job: &Job,
        choose: &dyn Fn(&[Digest]) -> BTreeSet<Digest>,
    ) -> Result<Option<Sampled>, Failure> {
        let instance = self.instance(job.position)?;
        let Work::Items(stage) = instance.kind.work() else { return Ok(None) };
        if gathers(instance) {
            return Ok(None);
        }
        let bound = self.binder.bind(instance, &|position| job.upstream.get(&position).cloned())?;
        let Some(mut items) = bound.items else { return Ok(None) };
        let keys: Vec<Digest> = items.list.iter().map(|one| one.key).collect();
        let names: BTreeSet<String> = items.list.iter().map(|one| one.item.name.clone()).collect();
        let (total, chosen) = (keys.len(), choose(&keys));
        items.list.retain(|one| chosen.contains(&one.key));
        let log = self.run_folder.join(LOGS).join(format!("{}.log", file_label(&instance.label)));
        let reporter = Reporter::new(&instance.label, log, self.observer);
        let turns = Turns::new(instance.resources.requests);
        let scratch = self.binder.store.staging()?;
        let machine = self.machine(instance, scratch.path());
        let context = self.item_context(instance, &bound.inputs, &reporter, &turns, (job.device, machine));
        let (outcomes, _) = self.outcomes((instance, &bound.params), stage, &items, &context, true)?;
        let items = outcomes.into_iter().map(|(name, outcome)| (name.to_string(), outcome)).collect();
        Ok(Some(Sampled { total, names, items }))
    }
}
