//! What it means when an instance that was computed again gives something else.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{ArtifactRef, Digest, Form, Store};

use super::super::compare::{self, Difference};
use super::Outcome;
use super::again::{Items, Replayer, failed};
use crate::execute::Sampled;
use crate::manifest::Instance;
use crate::record::{InstanceRecord, read_head};
use crate::stage::OutputForm;

impl Replayer<'_> {
    /// Compares items with the files of the recorded collection, and the names of all items with those of all files.
    pub(super) fn judge_items(
        &self,
        instance: &Instance,
        record: &InstanceRecord,
        store: &Store,
        sampled: &Sampled,
    ) -> Result<(Outcome, Items), pipe_cache::Error> {
        let count = (sampled.items.len(), sampled.total);
        let output = instance.kind.about().outputs.first();
        let recorded = output.and_then(|output| record.outputs.get(output.name));
        let (Some(OutputForm::Collection(extension)), Some(artifact)) =
            (output.map(|output| output.form), recorded)
        else {
            return Ok((failed("the record does not tell of its items"), Some(count)));
        };
        let index = self.store.index(artifact.digest)?;
        let file = |item: &String| format!("{item}.{extension}");
        let then: BTreeSet<String> = index.entries().iter().map(|entry| entry.name.clone()).collect();
        let now: BTreeSet<String> = sampled.names.iter().map(file).collect();
        let mut differences = Vec::new();
        if let Some(name) = then.symmetric_difference(&now).next() {
            let when =
                if then.contains(name) { "is given by no item" } else { "is not in the recorded output" };
            differences.push(Difference {
                output: output.map_or_else(String::new, |output| output.name.to_string()),
                file: Some(name.clone()),
                place: format!("it {when}"),
                largest: None,
                files: then.symmetric_difference(&now).count(),
            });
        }
        for (item, now) in &sampled.items {
            let Some(entry) = index.get(&file(item)) else { continue };
            let named = |digest: Digest, bytes: u64| {
                BTreeMap::from([(
                    format!("item {item}"),
                    ArtifactRef { form: Form::File, digest, files: 1, bytes },
                )])
            };
            let sides = (named(entry.digest, entry.size), named(now.digest, now.size));
            differences.extend(compare::outputs((self.store, &sides.0), (store, &sides.1))?);
        }
        Ok((self.judge(instance, record, differences), Some(count)))
    }

    /// What differences mean: between classes of devices a kind may allow some, and one that does not promise the same bytes
    /// may allow any.
    pub(super) fn judge(
        &self,
        instance: &Instance,
        record: &InstanceRecord,
        differences: Vec<Difference>,
    ) -> Outcome {
        let about = instance.kind.about();
        if differences.is_empty() {
            return Outcome::Identical;
        }
        let largest = differences.iter().try_fold(0.0_f64, |most, one| Some(most.max(one.largest?)));
        let is_of_other_class = about.device && self.is_of_other_class(record);
        match largest {
            Some(largest) if is_of_other_class && largest <= about.tolerance => {
                Outcome::WithinTolerance { largest, tolerance: about.tolerance }
            }
            _ if !about.deterministic => Outcome::NotPromised { differences },
            _ => Outcome::Different { differences },
        }
    }

    /// Whether this host's device is of another class than the one that gave a recorded result, as the sealed record of the
    /// run tells that computed it. Where nobody tells, bytes have to be the same.
    fn is_of_other_class(&self, record: &InstanceRecord) -> bool {
        let maker = record.from_run.as_deref().and_then(|run| read_head(self.original, run).ok());
        maker.is_some_and(|maker| maker.header.device_class != self.how.devices.any().class())
    }
}
