//! Running a kind item by item: what is known already is taken, the rest is computed in groups, side by side,
//! and each item is committed as soon as it is there. Processes that want the same items share the work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use pipe_cache::{ArtifactRef, Digest, Hasher, ItemJournal, ItemOutcome, ItemWriter};
use rayon::prelude::*;

use super::feed::{Feed, Group, Rest, group_items};
use super::guard::guarded;
use super::reporter::Reporter;
use super::{SIDE, Worker, file_label};
use crate::context::{Device, ItemContext, ItemContextParts, Machine};
use crate::event::{Event, FailedItem};
use crate::input::Input;
use crate::items::{BoundItem, BoundItems};
use crate::job::{Failure, ItemCounts};
use crate::manifest::Instance;
use crate::requests::Turns;
use crate::stage::{AnyItems, Interrupted, Item, ItemFile, StageError};

impl Worker<'_> {
    /// What the groups of an instance have in hand.
    pub(super) fn item_context<'a>(
        &'a self,
        instance: &Instance,
        inputs: &'a BTreeMap<String, Vec<Input>>,
        reporter: &'a Reporter<'a>,
        turns: &'a Turns,
        (device, machine): (Device, Machine<'a>),
    ) -> ItemContext<'a> {
        ItemContext::new(ItemContextParts {
            inputs,
            seed: if instance.kind.about().random { instance.seed } else { 0 },
            reporter,
            cancel: &self.cancel,
            secrets: &self.secrets,
            limits: instance.resources.requests,
            turns,
            device: if instance.kind.about().device { device } else { Device::default() },
            side: self.run_folder.join(SIDE).join(file_label(&instance.label)),
            machine,
        })
    }

    /// The output of all items, and how many of these were computed.
    pub(super) fn run_items(
        &self,
        (instance, params): (&Instance, &serde_json::Value),
        stage: &dyn AnyItems,
        items: &BoundItems,
        context: &ItemContext<'_>,
        forced: bool,
    ) -> Result<(BTreeMap<String, ArtifactRef>, ItemCounts), Failure> {
        let (outcomes, counts) = self.outcomes((instance, params), stage, items, context, forced)?;
        let artifact = self.gather((instance, params), stage, items, &outcomes)?;
        let name = instance.kind.about().outputs.first().map_or("items", |output| output.name);
        Ok((BTreeMap::from([(name.to_string(), artifact)]), counts))
    }

    /// The result of each item, by name.
    pub(super) fn outcomes<'i>(
        &self,
        (instance, params): (&Instance, &serde_json::Value),
        stage: &dyn AnyItems,
        items: &'i BoundItems,
        context: &ItemContext<'_>,
        forced: bool,
    ) -> Result<(BTreeMap<&'i str, ItemOutcome>, ItemCounts), Failure> {
        let store = self.binder.store;
        let journal = store.items(items.scope)?;
        let known = |one: &BoundItem| journal.get(one.key, store).filter(|_| !forced);
        let mut outcomes: BTreeMap<&str, ItemOutcome> = BTreeMap::new();
        let mut missing: Vec<&BoundItem> = Vec::new();
        let mut warnings = Vec::new();
        for one in &items.list {
            match known(one) {
                Some(outcome) => {
                    warnings.extend(self.known_warnings(one, &journal));
                    outcomes.insert(&one.item.name, outcome);
                }
                None => missing.push(one),
            }
        }
        let mut counts = ItemCounts { executed: 0, cached: outcomes.len() };
        self.observer.event(&Event::StageStarted {
            stage: instance.label.clone(),
            items: Some(items.list.len()),
            items_cached: counts.cached,
        });
        if !missing.is_empty() {
            let writer = journal.writer()?;
            // What is forced is computed whatever others have found.
            let feed = Feed::new(store, items.scope, journal, group_items(missing), !forced);
            let computed = self.run_groups((instance, params), stage, &feed, &writer, context);
            let Rest { journal, found, busy, failure } = feed.rest();
            let (good, bad): (Vec<_>, Vec<_>) =
                computed.into_iter().partition(|(_, outcome)| outcome.is_ok());
            counts.executed = good.len();
            let by_others: BTreeSet<&str> = found.iter().map(|(name, _)| *name).collect();
            let found_items = items.list.iter().filter(|one| by_others.contains(one.item.name.as_str()));
            warnings.extend(found_items.flat_map(|one| self.known_warnings(one, &journal)));
            outcomes.extend(good.into_iter().filter_map(|(name, outcome)| Some((name, outcome.ok()?))));
            outcomes.extend(found);
            self.tell_conflicts(instance, journal.merge(writer)?);
            if let Some(failure) = items_failure(items, bad, counts) {
                return Err(failure);
            }
            let unfinished = match (failure, busy) {
                (Some(error), _) => Some(Failure::from(error)),
                (None, _) if self.cancel.is_cancelled() && outcomes.len() < items.list.len() => {
                    Some(StageError::from(Interrupted).into())
                }
                (None, Some(owner)) => Some(Failure::busy(owner)),
                (None, None) => None,
            };
            if let Some(mut failure) = unfinished {
                failure.before.items = counts;
                return Err(failure);
            }
            counts.cached += by_others.len();
        }
        // Not before all items are there: until then it may be tried again and again.
        warnings.iter().for_each(|text| context.reporter().warn(text));
        Ok((outcomes, counts))
    }

    /// Computes groups of items side by side and commits each item as soon as it is there.
    fn run_groups<'i>(
        &self,
        (instance, params): (&Instance, &serde_json::Value),
        stage: &dyn AnyItems,
        feed: &Feed<'_, 'i>,
        writer: &ItemWriter,
        context: &ItemContext<'_>,
    ) -> Vec<(&'i str, Result<ItemOutcome, StageError>)> {
        let total = feed.len() as u64;
        let finished = AtomicUsize::new(0);
        let failed = AtomicUsize::new(0);
        let is_stopped =
            || self.cancel.is_cancelled() || (!self.keep_going && failed.load(Ordering::Relaxed) > 0);
        let run_group = |group: Group<'i>| {
            let list: Vec<Item> = group.items.iter().map(|one| one.item.clone()).collect();
            let computed = self.compute_group(stage, params, &list, context);
            let outcomes: Vec<(&'i str, Result<ItemOutcome, StageError>)> = group
                .items
                .iter()
                .zip(computed)
                .map(|(one, bytes)| {
                    let outcome = bytes.and_then(|bytes| self.commit_item(one, &bytes, writer, context));
                    if let Err(error) = &outcome {
                        failed.fetch_add(1, Ordering::Relaxed);
                        context.log(&format!("item {}: {error}", one.item.name));
                    }
                    (one.item.name.as_str(), outcome)
                })
                .collect();
            let done = finished.fetch_add(outcomes.len(), Ordering::Relaxed) + outcomes.len();
            let (stage, note) = (instance.label.clone(), String::new());
            self.observer.event(&Event::Progress { stage, done: done as u64, total, note });
            outcomes
        };
        // Nothing more is handed out once something failed: those that run are waited for.
        std::iter::from_fn(|| if is_stopped() { None } else { feed.next() })
            .par_bridge()
            .flat_map_iter(run_group)
            .collect()
    }

    fn compute_group(
        &self,
        stage: &dyn AnyItems,
        params: &serde_json::Value,
        list: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let mut computed = Vec::new();
        let outcome = guarded(|| {
            computed = stage.run_group(params, list, context);
            Ok(())
        });
        let own = || list.iter().flat_map(|item| item.files.values()).try_for_each(ItemFile::check_unchanged);
        let unchanged = context.check_inputs_unchanged().and_then(|()| own());
        if let Err(error) = outcome.and_then(|()| unchanged.map_err(StageError::from)) {
            let (text, lost) = (error.to_string(), error);
            let mut first = Some(lost);
            return list
                .iter()
                .map(|_| Err(first.take().unwrap_or_else(|| StageError::message(&text))))
                .collect();
        }
        computed
            .resize_with(list.len(), || Err(StageError::message("the kind gave no result for this item")));
        computed
    }

    fn commit_item(
        &self,
        one: &BoundItem,
        bytes: &[u8],
        writer: &ItemWriter,
        context: &ItemContext<'_>,
    ) -> Result<ItemOutcome, StageError> {
        let keep = |key: Digest, bytes: &[u8]| -> Result<ItemOutcome, StageError> {
            let digest = self.binder.store.put(bytes)?;
            let outcome = ItemOutcome { digest, size: bytes.len() as u64 };
            writer.commit(key, outcome)?;
            Ok(outcome)
        };
        // First, so that no item is ever known without its warnings.
        let warnings = context.take_warnings(&one.item.name);
        if !warnings.is_empty() {
            keep(warnings_key(one), &serde_json::to_vec(&warnings)?)?;
        }
        keep(one.key, bytes)
    }

    /// What an item's known result carries. Warnings that cannot be read are lost; the result is not.
    fn known_warnings(&self, one: &BoundItem, journal: &ItemJournal) -> Vec<String> {
        let store = self.binder.store;
        let kept = journal.get(warnings_key(one), store);
        let bytes = kept.and_then(|kept| store.read(kept.digest).ok()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn tell_conflicts(&self, instance: &Instance, conflicts: usize) {
        if conflicts > 0 {
            let detail = format!(
                "{conflicts} items differ from what was computed before from the same inputs; the first results count"
            );
            self.observer.event(&Event::Conflict { stage: instance.label.clone(), detail });
        }
    }
}

/// Where a journal has what an item's result carries.
fn warnings_key(one: &BoundItem) -> Digest {
    let mut hasher = Hasher::new("pipe item warnings, version 1");
    hasher.field(one.key.as_bytes());
    hasher.finish()
}

/// The failure of a stage whose items failed: the first error that is not a consequence of another.
fn items_failure(
    items: &BoundItems,
    bad: Vec<(&str, Result<ItemOutcome, StageError>)>,
    counts: ItemCounts,
) -> Option<Failure> {
    let mut errors: Vec<(&str, StageError)> =
        bad.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?))).collect();
    if errors.is_empty() {
        return None;
    }
    let real = errors.iter().position(|(_, error)| !error.is_interrupted());
    let failed_items = errors
        .iter()
        .filter(|(_, error)| !error.is_interrupted())
        .map(|(item, error)| FailedItem { item: (*item).to_string(), error: error.to_string() })
        .collect();
    let (name, error) = errors.swap_remove(real.unwrap_or(0));
    let error = if real.is_none() {
        error
    } else {
        let item = items.list.iter().map(|one| &one.item).find(|item| item.name == name);
        // Errors of rows name their table's line already.
        let place = item.and_then(|item| item.place.as_deref());
        let is_named = place.is_some_and(|place| error.to_string().starts_with(place));
        if is_named { error } else { error.prefixed(format!("item {name}")) }
    };
    let mut failure = Failure::from(error);
    failure.before.failed_items = failed_items;
    failure.before.items = counts;
    Some(failure)
}
