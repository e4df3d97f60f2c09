//! What a run would do, and why: the same binding and the same preimages as a run, nothing computed.

use std::sync::Arc;

use pipe_cache::Digest;

use crate::assess::Verdict;
use crate::bind::{Binder, Bound, Done};
use crate::history::{Former, History};
use crate::manifest::{Instance, Pipeline};
use crate::naming::is_among;
use crate::preimage::{Change, Preimage};
use crate::record::InstanceStatus;
use crate::session::Session;
use crate::stage::StageError;

/// What would become of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its result is known.
    Cached {
        /// The run that computed it.
        from_run: String,
    },
    /// It would run.
    Run {
        /// Why, one reason a line.
        reasons: Vec<String>,
        /// Its items and how many of them would be computed.
        items: Option<(usize, usize)>,
    },
    /// It runs if what it needs gives other bytes than before.
    Depends {
        /// The instances that would run before it.
        on: Vec<String>,
        /// What has changed besides.
        reasons: Vec<String>,
    },
}

/// One line of a plan.
#[derive(Clone, Debug)]
pub struct PlannedInstance {
    /// The instance.
    pub label: String,
    /// What would become of it.
    pub fate: Fate,
}

/// Plans a run.
///
/// # Errors
/// An input that cannot be read.
pub fn plan(
    session: &Session<'_>,
    pipeline: &Pipeline,
    force: &[String],
) -> Result<Vec<PlannedInstance>, StageError> {
    let history = History::new(&session.store, &pipeline.name);
    let planner = Planner { binder: session.binder(pipeline), history, force };
    let labels = pipeline.instances.iter().map(|instance| instance.label.clone());
    Ok(labels.zip(planner.all()?).map(|(label, (fate, _))| PlannedInstance { label, fate }).collect())
}

/// The results that a manifest's instances have now; `None` for those that would have to run.
///
/// # Errors
/// An input that cannot be read.
pub fn known_results(
    session: &Session<'_>,
    pipeline: &Pipeline,
) -> Result<Vec<Option<std::collections::BTreeMap<String, pipe_cache::ArtifactRef>>>, StageError> {
    let history = History::none(&session.store);
    let planner = Planner { binder: session.binder(pipeline), history, force: &[] };
    Ok(planner.all()?.into_iter().map(|(_, done)| done.map(|done| done.outputs.clone())).collect())
}

/// What would become of an instance, and its result if it has one.
type Planned = (Fate, Option<Arc<Done>>);

struct Planner<'a> {
    binder: Binder<'a>,
    history: History<'a>,
    force: &'a [String],
}

impl Planner<'_> {
    /// The fates of all instances, and the results of those that have one. Each file and folder is looked at once.
    fn all(&self) -> Result<Vec<Planned>, StageError> {
        self.binder.stats.hold();
        let outcome = self.each();
        self.binder.stats.release();
        // What was hashed is remembered if it can be: looking must not need the right to write.
        let _ = self.binder.memo.save();
        outcome
    }

    fn each(&self) -> Result<Vec<Planned>, StageError> {
        let mut planned: Vec<Planned> = Vec::new();
        for instance in &self.binder.pipeline.instances {
            planned.push(self.instance(instance, &planned)?);
        }
        Ok(planned)
    }

    fn instance(&self, instance: &Instance, planned: &[Planned]) -> Result<Planned, StageError> {
        let instances = &self.binder.pipeline.instances;
        let result = |index: usize| planned.get(index)?.1.clone();
        let unknown: Vec<String> = instance
            .upstream()
            .into_iter()
            .filter(|maker| result(*maker).is_none())
            .filter_map(|maker| instances.get(maker).map(|instance| instance.label.clone()))
            .collect();
        if !unknown.is_empty() {
            let reasons = self.parameter_reasons(instance);
            return Ok((Fate::Depends { on: unknown, reasons }, None));
        }
        let is_forced = is_among(self.force, &instance.stage, &instance.label);
        match self.binder.assess(instance, &result, is_forced) {
            Ok(Verdict::UpToDate(known)) => {
                Ok((Fate::Cached { from_run: known.done.run.clone() }, Some(known.done)))
            }
            Ok(Verdict::Stale(stale)) => {
                let reasons = match is_forced {
                    true => vec!["--force".to_string()],
                    false => self.reasons(instance, &stale.bound),
                };
                let items = self.count_items(&stale.bound, is_forced)?;
                Ok((Fate::Run { reasons, items }, None))
            }
            // An input's index is gone from the store: what made it runs again, then this.
            Err(error) if error.lost_blob().is_some() => {
                let reasons = vec!["an input is missing from the cache and is computed again".to_string()];
                Ok((Fate::Run { reasons, items: None }, None))
            }
            Err(error) => Err(error),
        }
    }

    fn count_items(&self, bound: &Bound, forced: bool) -> Result<Option<(usize, usize)>, StageError> {
        let Some(items) = &bound.items else { return Ok(None) };
        let journal = self.binder.store.items(items.scope)?;
        let known = |key| journal.get(key, self.binder.store).is_some();
        let missing = items.list.iter().filter(|one| forced || !known(one.key)).count();
        Ok(Some((items.list.len(), missing)))
    }

    fn reasons(&self, instance: &Instance, bound: &Bound) -> Vec<String> {
        let Some(Former { run, record, preimage: before }) = self.history.last(&instance.label) else {
            return vec!["it has not run yet".to_string()];
        };
        let mut reasons: Vec<String> = bound
            .preimage
            .changes_since(&before)
            .iter()
            .filter(|change| change.name != "items")
            .map(|change| change_text(instance, change))
            .collect();
        // With another scope every item is another one; naming them would add nothing.
        if let Some(items) = bound.items.as_ref().filter(|_| reasons.is_empty()) {
            let listing = items.listing();
            reasons.extend(self.item_reasons(record.items, &listing));
        }
        if reasons.is_empty() {
            reasons.push(match record.status {
                InstanceStatus::Failed => format!("it failed in run {run}"),
                InstanceStatus::Skipped => "it was not reached in the last run".to_string(),
                _ => "its result is no longer in the cache".to_string(),
            });
        }
        reasons
    }

    /// The changed parameters of an instance whose inputs are not known yet.
    fn parameter_reasons(&self, instance: &Instance) -> Vec<String> {
        let Some(Former { preimage: before, .. }) = self.history.last(&instance.label) else {
            return Vec::new();
        };
        let mut now = Preimage::default();
        if let serde_json::Value::Object(params) = &instance.params {
            for (name, value) in params {
                now.add_json(&format!("param.{name}"), value, &instance.origin(name));
            }
        }
        // What an input gives is not known yet.
        let is_filled = instance.inputs.iter().any(|binding| binding.spec.fills);
        let is_known = |change: &&Change| !is_filled || change.origin != "default";
        let changes = now.changes_since(&before);
        changes
            .iter()
            .filter(|change| change.name.starts_with("param."))
            .filter(is_known)
            .map(|c| change_text(instance, c))
            .collect()
    }

    /// Which items are new or changed since an earlier listing, the first few by name.
    fn item_reasons(&self, before: Option<Digest>, now: &[u8]) -> Option<String> {
        let before = self.binder.store.read(before?).ok()?;
        let parse = |bytes: &[u8]| -> std::collections::BTreeMap<String, serde_json::Value> {
            String::from_utf8_lossy(bytes)
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter_map(|line| Some((line.get("item")?.as_str()?.to_string(), line)))
                .collect()
        };
        let (before, now) = (parse(&before), parse(now));
        let mut texts = Vec::new();
        for (name, line) in &now {
            match before.get(name) {
                None => texts.push(format!("{name} is new")),
                Some(old) if old.get("key") != line.get("key") => {
                    let parts = ["values", "files"]
                        .iter()
                        .flat_map(|part| changed_fields(old.get(part), line.get(part)));
                    let parts: Vec<String> = parts.collect();
                    texts.push(if parts.is_empty() {
                        name.clone()
                    } else {
                        format!("{name}: {}", parts.join(", "))
                    });
                }
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|name| !now.contains_key(*name)).count();
        if gone > 0 {
            texts.push(format!("{gone} items are gone"));
        }
        if texts.is_empty() {
            return None;
        }
        let more = texts.len().saturating_sub(3);
        texts.truncate(3);
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        Some(format!("items changed ({})", texts.join("; ")))
    }
}

fn changed_fields(before: Option<&serde_json::Value>, after: Option<&serde_json::Value>) -> Vec<String> {
    let (Some(serde_json::Value::Object(before)), Some(serde_json::Value::Object(after))) = (before, after)
    else {
        return Vec::new();
    };
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| format!("{name} changed"))
        .collect()
}

/// A change as a reason: `train.lr 1e-4 → 3e-5 (pipelines/phantom.toml:41)`.
fn change_text(instance: &Instance, change: &Change) -> String {
    let Change { name, before, after, origin } = change;
    if let Some(param) = name.strip_prefix("param.") {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not set)".to_string());
        return format!("{}.{param} {} → {} ({origin})", instance.stage, side(before), side(after));
    }
    if let Some(input) = name.strip_prefix("input.") {
        let (input, column) = match input.split_once(".column.") {
            Some((input, column)) => (input, Some(column)),
            None => (input, None),
        };
        return match (column, before.is_some(), after.is_some()) {
            (Some(column), true, true) => format!("column {column} of input {input} changed ({origin})"),
            (Some(column), false, _) => format!("column {column} of input {input} is new ({origin})"),
            (Some(column), _, false) => format!("column {column} of input {input} is gone"),
            (None, true, true) => format!("input {input} changed ({origin})"),
            (None, false, _) => format!("input {input} is new ({origin})"),
            (None, _, false) => format!("input {input} is gone"),
        };
    }
    match name.as_str() {
        "code" => format!("the code of kind {} changed", instance.kind.about().name),
        "kind" => "the stage has another kind".to_string(),
        other => {
            let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_string());
            format!("{other} {} → {} ({origin})", side(before), side(after))
        }
    }
}
