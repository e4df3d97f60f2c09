//! An in-toto statement: the last results of a run, and by what they were built, with SLSA's provenance as the predicate. The
//! envelope around it is DSSE.
//!
//! Readers may take any one digest that they know: both of a file are of the same bytes, which were read for them.

use std::fs::File;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipe_cache::{Digest, Form, Store};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::InterchangeError;
use super::graph::{Action, Graph};
use crate::publish::hex;
use crate::record::SigningKey;

/// What the payload of an envelope is.
const PAYLOAD: &str = "application/vnd.in-toto+json";

/// The statement of a run.
///
/// # Errors
/// A run that cannot be read, or bytes that are lost.
pub fn statement(store: &Store, run: &str) -> Result<Value, InterchangeError> {
    let graph = Graph::of(store, run)?;
    let mut subjects = Vec::new();
    for action in graph.actions.iter().filter(|action| action.is_last) {
        add_subjects(store, action, &mut subjects)?;
    }
    let header = &graph.header;
    let inputs = graph.inputs.iter().map(|(name, input)| match input.digest {
        Some(digest) => json!({ "name": name, "digest": { "blake3": digest } }),
        None => json!({ "name": name }),
    });
    let fingerprints: serde_json::Map<String, Value> =
        graph.actions.iter().map(|action| (action.instance.clone(), json!(action.fingerprint))).collect();
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:pipe:run:v1",
                "externalParameters": {
                    "pipeline": header.pipeline,
                    "manifest": graph.manifest,
                    "set": header.set,
                    "profiles": header.profiles,
                    "seed": header.seed,
                },
                "internalParameters": {
                    "device": header.device,
                    "deviceClass": header.device_class,
                    "code": header.code,
                    "crates": header.crates,
                    "fingerprints": fingerprints,
                },
                "resolvedDependencies": inputs.collect::<Vec<Value>>(),
            },
            "runDetails": {
                "builder": {
                    "id": format!("urn:pipe:program:{}", header.surroundings.program.replace(' ', ":")),
                    "version": { "pipe": header.surroundings.program },
                },
                "metadata": {
                    "invocationId": header.run,
                    "startedOn": header.started,
                    "finishedOn": graph.ended,
                },
            },
        },
    }))
}

/// The files of an action's outputs.
fn add_subjects(store: &Store, action: &Action, subjects: &mut Vec<Value>) -> Result<(), InterchangeError> {
    for (output, artifact) in &action.gives {
        let name = format!("{}.{output}", action.instance);
        let files: Vec<(String, Digest)> = match artifact.form {
            Form::File => vec![(name, artifact.digest)],
            Form::Tree | Form::Collection => {
                let index = store.index(artifact.digest)?;
                let entries = index.entries().iter();
                entries.map(|entry| (format!("{name}/{}", entry.name), entry.digest)).collect()
            }
        };
        for (name, digest) in files {
            let sha256 = sha256_of(store, digest)?;
            subjects.push(json!({ "name": name, "digest": { "sha256": sha256, "blake3": digest } }));
        }
    }
    Ok(())
}

/// The SHA-256 of a blob, hexadecimal.
pub(super) fn sha256_of(store: &Store, digest: Digest) -> Result<String, InterchangeError> {
    let path = store.verified_path(digest)?;
    let mut hasher = Sha256::new();
    File::open(&path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .map_err(pipe_cache::Error::io("read", &path))?;
    Ok(hex(&hasher.finalize()))
}

/// A statement in an envelope that is signed; `None` for a key that does not sign.
pub fn envelope(statement: &Value, key: &SigningKey) -> Option<Value> {
    let body = serde_json::to_vec(statement).ok()?;
    let start = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), body.len());
    let signature = key.sign_bytes(&[start.as_bytes(), &body].concat())?;
    Some(json!({
        "payloadType": PAYLOAD,
        "payload": STANDARD.encode(&body),
        "signatures": [{ "keyid": key.name(), "sig": STANDARD.encode(signature) }],
    }))
}
