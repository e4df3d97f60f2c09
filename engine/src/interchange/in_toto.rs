//! An in-toto statement: the last results of a run, and by what they were built, with SLSA's provenance as the predicate. The
//! envelope around it is DSSE.
//!
//! Readers may take any one digest that they know: both of a file are of the same bytes, which were read for them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipe_cache::{Digest, Form, Store};
use serde_json::{Value, json};

use super::InterchangeError;
use super::graph::{Action, Graph};
use crate::record::SigningKey;
use crate::sha256::sha256_of;

/// What the payload of an envelope is.
const PAYLOAD: &str = "application/vnd.in-toto+json";

/// The statement of a run.
///
/// # Errors
/// Bytes that are lost.
pub(super) fn statement(store: &Store, graph: &Graph) -> Result<Value, InterchangeError> {
    let mut subjects = Vec::new();
    for action in graph.actions.iter().filter(|action| action.is_last) {
        add_subjects((store, graph), action, &mut subjects)?;
    }
    if subjects.is_empty() {
        return Err(InterchangeError::NoSubject { run: graph.header.run.clone() });
    }
    let header = &graph.header;
    let inputs = graph.inputs.iter().map(|(name, input)| match input.digest {
        Some(digest) => match graph.digest_name(store, digest) {
            "blake3" => json!({ "name": name, "digest": { "blake3": digest } }),
            other => json!({ "name": name, "annotations": { other: digest } }),
        },
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
fn add_subjects(
    (store, graph): (&Store, &Graph),
    action: &Action,
    subjects: &mut Vec<Value>,
) -> Result<(), InterchangeError> {
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
            if graph.digest_name(store, digest) != "blake3" {
                continue;
            }
            let bytes = store.open_blob(digest)?;
            let sha256 = sha256_of(bytes).map_err(pipe_cache::Error::io("read", store.root()))?;
            subjects.push(json!({ "name": name, "digest": { "sha256": sha256, "blake3": digest } }));
        }
    }
    Ok(())
}

/// A statement in an envelope that is signed; `None` for a key that does not sign.
pub(super) fn envelope(statement: &Value, key: &SigningKey) -> Option<Value> {
    let body = serde_json::to_vec(statement).ok()?;
    let start = format!("DSSEv1 {} {PAYLOAD} {} ", PAYLOAD.len(), body.len());
    let signature = key.sign_bytes(&[start.as_bytes(), &body].concat())?;
    Some(json!({
        "payloadType": PAYLOAD,
        "payload": STANDARD.encode(&body),
        "signatures": [{ "keyid": key.name(), "sig": STANDARD.encode(signature) }],
    }))
}
