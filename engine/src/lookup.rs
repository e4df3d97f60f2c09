//! Whether an instance's result is known, and still there.
//!
//! Bytes are compared when they are read; here only names are looked at. What others build on may lack files, which
//! are missed and computed again when they are needed. What nothing builds on is what people take away, so every
//! file of it has to be there.

use std::collections::BTreeMap;

use pipe_cache::{ArtifactRef, Digest, Form, ResultRecord};

use crate::bind::Binder;
use crate::manifest::Instance;

/// The class that an instance's results are stored under: `any` for kinds that give the same bytes anywhere.
pub(crate) fn class_of(instance: &Instance, binder: &Binder<'_>) -> String {
    if instance.kind.about().device { binder.device.class() } else { "any".to_string() }
}

/// The known result of a fingerprint.
pub(crate) fn look_up(binder: &Binder<'_>, instance: &Instance, fingerprint: Digest) -> Option<ResultRecord> {
    let record = binder.store.result(fingerprint, &class_of(instance, binder))?;
    is_there(binder, instance, &record.outputs).then_some(record)
}

/// Whether the outputs of an instance are still there, as far as it matters.
pub(crate) fn is_there(
    binder: &Binder<'_>,
    instance: &Instance,
    outputs: &BTreeMap<String, ArtifactRef>,
) -> bool {
    outputs.values().all(|artifact| match artifact.form {
        Form::Tree | Form::Collection if instance.is_last => binder.is_complete(artifact.digest),
        _ => binder.store.contains(artifact.digest),
    })
}
