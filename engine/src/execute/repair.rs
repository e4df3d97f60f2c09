//! Finding out what the store has lost of the results that instances build on.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use pipe_cache::{ArtifactRef, Form};

use super::{Executor, Failure};
use crate::bind::Done;
use crate::event::Event;
use crate::requests::sleep_until;
use crate::stage::StageError;

/// How often a result is computed again while damage is found below it.
const ATTEMPTS: usize = 8;

/// How long to wait before asking again for what another process computes.
const PATIENCE: Duration = Duration::from_millis(200);

impl Executor<'_> {
    /// The instances whose results an instance uses and which are damaged or have files missing. All of their
    /// bytes are read; damaged files are set aside.
    pub(crate) fn damaged_inputs(&self, position: usize) -> Vec<usize> {
        let Some(instance) = self.binder.pipeline.instances.get(position) else { return Vec::new() };
        let damaged = |maker: &usize| self.result(*maker).is_some_and(|done| !self.is_whole(&done));
        instance.upstream().into_iter().filter(damaged).collect()
    }

    /// Computes again those instances of a stage whose results are damaged, and what these need; nothing else may
    /// run meanwhile.
    pub(crate) fn restore(&self, stage: &str) -> Result<(), Failure> {
        for (position, instance) in self.binder.pipeline.instances.iter().enumerate() {
            let Some(done) = self.result(position).filter(|_| instance.stage == stage) else { continue };
            if !self.is_whole(&done) {
                self.rebuild(position)?;
            }
        }
        Ok(())
    }

    fn rebuild(&self, position: usize) -> Result<(), Failure> {
        let mut attempts = 0;
        loop {
            for maker in self.damaged_inputs(position) {
                self.rebuild(maker)?;
            }
            match self.execute(position, true, self.devices.any()) {
                // Another process computes it: its result will do.
                Err(failure) if failure.error.busy_owner().is_some() => {
                    sleep_until(Instant::now() + PATIENCE, self.cancel).map_err(StageError::from)?;
                }
                // What a damaged list lists is looked at only when the list is there again.
                Err(failure) if failure.error.lost_blob().is_some() && attempts < ATTEMPTS => attempts += 1,
                outcome => {
                    self.keep(position, &outcome?.done);
                    return Ok(());
                }
            }
        }
    }

    /// Makes a result known to the instances downstream.
    pub(crate) fn keep(&self, position: usize, done: &Arc<Done>) {
        let mut results = self.results.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = results.get_mut(position) {
            *slot = Some(Arc::clone(done));
        }
    }

    /// Whether all files of a result are there and undamaged.
    fn is_whole(&self, done: &Done) -> bool {
        // Every file is looked at, so that all damage is found in one go.
        let lost = done.outputs.values().filter(|artifact| !self.is_whole_artifact(artifact)).count();
        for repair in self.binder.store.take_repairs() {
            let (digest, aside) = (repair.digest.to_string(), repair.aside);
            self.observer.event(&Event::Repaired { digest, aside });
        }
        lost == 0
    }

    /// Whether all files of an artifact are in the store; their bytes are not read.
    pub(super) fn is_there(&self, artifact: &ArtifactRef) -> bool {
        let store = self.binder.store;
        match artifact.form {
            Form::File => store.contains(artifact.digest),
            Form::Tree | Form::Collection => store.index(artifact.digest).is_ok_and(|index| {
                let files = index.entries().iter().map(|entry| entry.digest);
                store.contains_all(files).unwrap_or(false)
            }),
        }
    }

    fn is_whole_artifact(&self, artifact: &ArtifactRef) -> bool {
        let store = self.binder.store;
        match artifact.form {
            Form::File => store.verify(artifact.digest).is_ok(),
            Form::Tree | Form::Collection => store.index(artifact.digest).is_ok_and(|index| {
                let lost = index.entries().iter().filter(|entry| store.verify(entry.digest).is_err());
                lost.count() == 0
            }),
        }
    }
}
