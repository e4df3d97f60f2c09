//! Computing again what the store has lost: damaged and missing results of the stages that one builds on.

use std::sync::PoisonError;

use pipe_cache::{ArtifactRef, Form};

use super::{Executed, Executor, Failure};
use crate::event::Event;

impl Executor<'_> {
    /// Compares everything that an instance uses with its digest and computes again what is not as it should
    /// be; says whether that was anything.
    pub(super) fn repair_inputs(&self, position: usize) -> Result<bool, Failure> {
        let mut repaired = false;
        for maker in self.instance(position)?.upstream() {
            let lock = self.repairing.get(maker);
            let _one_at_a_time = lock.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
            let whole =
                self.result(maker).is_none_or(|done| done.outputs.values().all(|one| self.is_whole(one)));
            self.tell_repairs();
            if !whole {
                self.replace_result(maker, self.execute(maker, true)?);
                repaired = true;
            }
        }
        Ok(repaired)
    }

    /// Computes again those instances of a stage whose results have damaged or missing files.
    pub(crate) fn restore(&self, stage: &str) -> Result<(), Failure> {
        for (position, instance) in self.binder.pipeline.instances.iter().enumerate() {
            let Some(done) = self.result(position).filter(|_| instance.stage == stage) else { continue };
            let whole = done.outputs.values().all(|artifact| self.is_whole(artifact));
            self.tell_repairs();
            if !whole {
                self.replace_result(position, self.execute(position, true)?);
            }
        }
        Ok(())
    }

    fn replace_result(&self, position: usize, executed: Executed) {
        let mut results = self.results.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = results.get_mut(position) {
            *slot = Some(executed.done);
        }
    }

    fn tell_repairs(&self) {
        for repair in self.binder.store.take_repairs() {
            let (digest, aside) = (repair.digest.to_string(), repair.aside);
            self.observer.event(&Event::Repaired { digest, aside });
        }
    }

    /// Whether all blobs of an artifact are there and undamaged; damaged ones are set aside.
    fn is_whole(&self, artifact: &ArtifactRef) -> bool {
        let store = self.binder.store;
        match artifact.form {
            Form::File => store.verified_path(artifact.digest).is_ok(),
            Form::Tree | Form::Collection => store.index(artifact.digest).is_ok_and(|index| {
                // Every entry is looked at, so that all damage is found in one go.
                let lost = index.entries().iter().filter(|entry| store.verified_path(entry.digest).is_err());
                lost.count() == 0
            }),
        }
    }
}
