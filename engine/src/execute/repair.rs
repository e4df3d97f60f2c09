//! Finding out what the store has lost of the results that an instance builds on.

use pipe_cache::{ArtifactRef, Form};

use super::Worker;
use crate::bind::Done;
use crate::event::Event;
use crate::job::Job;

impl Worker<'_> {
    /// The instances whose results a job uses and which are damaged or have files missing. All of their bytes are
    /// read; damaged files are set aside.
    pub(super) fn damaged_inputs(&self, job: &Job) -> Vec<usize> {
        let damaged = job.upstream.iter().filter(|(_, done)| !self.is_whole(done));
        damaged.map(|(position, _)| *position).collect()
    }

    /// Whether all files of a result are there and undamaged.
    pub(crate) fn is_whole(&self, done: &Done) -> bool {
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
