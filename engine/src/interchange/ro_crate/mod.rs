//! A Workflow Run RO-Crate, profile Provenance Run Crate 0.5 on RO-Crate 1.1.
//!
//! The folder holds the manifest, small inputs, the files of the last results and the run's record. What is not in it, such as scans
//! and intermediate results, is an entity that says its digest.

mod whole;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pipe_cache::{ArtifactRef, Digest, Form, Store, check_name};
use serde_json::{Map, Value, json};

use super::graph::{Action, Graph, Used};
use super::{InterchangeError, files};
use crate::sha256::Hashing;

/// Input files of no more bytes are put in.
const SMALL: u64 = 1 << 20;
const MANIFEST: &str = "manifest.toml";
const RECORD: &str = "record.jsonl";

/// Writes a crate into a folder; gives its files.
pub(super) fn write(
    store: &Store,
    graph: &Graph,
    root: Option<&Path>,
    to: &Path,
) -> Result<Vec<String>, InterchangeError> {
    let mut writer =
        Writer { store, graph, to, entities: BTreeMap::new(), files: Vec::new(), ids: BTreeMap::new() };
    writer.manifest()?;
    writer.record()?;
    writer.inputs(root)?;
    writer.outputs()?;
    writer.actions();
    writer.workflow();
    writer.run();
    writer.root();
    let crate_file = writer.metadata();
    files::write(to, "ro-crate-metadata.json", &files::json(&crate_file))?;
    writer.files.push("ro-crate-metadata.json".to_string());
    writer.files.sort();
    Ok(writer.files)
}

struct Writer<'a> {
    store: &'a Store,
    graph: &'a Graph,
    to: &'a Path,
    /// All but the descriptor, each told once.
    entities: BTreeMap<String, Value>,
    files: Vec<String>,
    /// What was used, by the names of its entities.
    ids: BTreeMap<Used, String>,
}

/// A reference to an entity.
fn at(id: &str) -> Value {
    json!({ "@id": id })
}

/// A name as a part of an address.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/=,".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Writer<'_> {
    /// Tells an entity; fields without a value are left out.
    fn tell(&mut self, id: &str, kind: Value, fields: Value) {
        let mut entity = Map::new();
        entity.insert("@id".to_string(), json!(id));
        entity.insert("@type".to_string(), kind);
        if let Value::Object(fields) = fields {
            entity.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
        }
        self.entities.insert(id.to_string(), Value::Object(entity));
    }

    /// Puts a file into the crate and tells it.
    fn put(&mut self, name: &str, bytes: &[u8], fields: Value) -> Result<String, InterchangeError> {
        files::write(self.to, name, bytes)?;
        Ok(self.tell_file(name, (bytes.len() as u64, Digest::of(bytes)), fields))
    }

    /// Tells a file that is in the crate, by its size and digest.
    fn tell_file(&mut self, name: &str, (size, digest): (u64, Digest), fields: Value) -> String {
        let id = escaped(name);
        let mut about = json!({ "name": name, "contentSize": size.to_string(), "blake3": digest });
        if let (Some(about), Value::Object(fields)) = (about.as_object_mut(), fields) {
            about.extend(fields);
        }
        self.tell(&id, json!("File"), about);
        self.files.push(name.to_string());
        id
    }

    fn manifest(&mut self) -> Result<(), InterchangeError> {
        let text = toml::to_string(&self.graph.manifest).unwrap_or_default();
        self.put(MANIFEST, text.as_bytes(), json!({})).map(drop)
    }

    fn record(&mut self) -> Result<(), InterchangeError> {
        let path = self.store.runs().join(&self.graph.header.run).join(RECORD);
        let bytes = fs::read(&path).map_err(pipe_cache::Error::io("read", &path))?;
        let about =
            json!({ "encodingFormat": "application/jsonl", "description": "the run's sealed record" });
        self.put(RECORD, &bytes, about).map(drop)
    }

    /// What was given from outside: small files that still are what was used are put in.
    fn inputs(&mut self, root: Option<&Path>) -> Result<(), InterchangeError> {
        let graph = self.graph;
        for (name, input) in &graph.inputs {
            let path = root.map(|root| root.join(name));
            let path = path.filter(|_| input.is_unchanged && check_name(name).is_ok());
            let small = path.filter(|path| {
                fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= SMALL)
            });
            let bytes = small.and_then(|path| fs::read(path).ok());
            let is_same = |bytes: &Vec<u8>| input.digest.is_none_or(|digest| digest == Digest::of(bytes));
            let id = match bytes.filter(is_same) {
                Some(bytes) => self.put(&format!("inputs/{name}"), &bytes, json!({}))?,
                None => {
                    let id = format!("#input-{}", escaped(name));
                    let mut about = json!({ "name": name });
                    if let Some(digest) = input.digest {
                        about[graph.digest_name(self.store, digest)] = json!(digest);
                    }
                    self.tell(&id, json!("CreativeWork"), about);
                    id
                }
            };
            self.parameter("input", name, &id);
            self.ids.insert(Used::Input(name.clone()), id);
        }
        Ok(())
    }

    /// Says which parameter of the workflow a thing is the value of.
    fn parameter(&mut self, way: &str, name: &str, value: &str) {
        let id = format!("#{way}-parameter-{}", escaped(name));
        // The profile knows parameters only of what is in the crate.
        let kind = match self.entities.get(value).and_then(|value| value["@type"].as_str()) {
            Some(kind @ ("File" | "Dataset")) => kind.to_string(),
            _ => return,
        };
        let about = json!({
            "name": name, "additionalType": kind, "workExample": at(value),
            "conformsTo": at("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
        });
        self.tell(&id, json!("FormalParameter"), about);
        if let Some(Value::Object(value)) = self.entities.get_mut(value) {
            value.insert("exampleOfWork".to_string(), at(&id));
        }
    }

    fn outputs(&mut self) -> Result<(), InterchangeError> {
        let graph = self.graph;
        for action in &graph.actions {
            for (output, artifact) in &action.gives {
                let name = format!("{}.{output}", action.instance);
                let folder = format!("results/{name}");
                let put = match (action.is_last, artifact.form) {
                    (false, _) => None,
                    (true, Form::File) => self.put_blob(&folder, artifact.digest)?,
                    (true, _) => self.put_folder(&name, artifact.digest)?,
                };
                let id = put.unwrap_or_else(|| self.tell_outside(&name, artifact));
                if action.is_last {
                    self.parameter("output", &name, &id);
                }
                let used = Used::Output { instance: action.instance.clone(), output: output.clone() };
                self.ids.insert(used, id);
            }
        }
        Ok(())
    }

    /// Tells an output that is not in the crate.
    fn tell_outside(&mut self, name: &str, artifact: &ArtifactRef) -> String {
        let id = format!("#output-{}", escaped(name));
        let digest = self.graph.digest_name(self.store, artifact.digest);
        let about = json!({
            "name": name, digest: artifact.digest, "contentSize": artifact.bytes.to_string(),
        });
        self.tell(&id, json!("CreativeWork"), about);
        id
    }

    /// Puts a file of a result into the crate, unless a de-identified run has left it out.
    fn put_blob(&mut self, name: &str, digest: Digest) -> Result<Option<String>, InterchangeError> {
        if self.graph.digest_name(self.store, digest) != "blake3" {
            return Ok(None);
        }
        let mut bytes = Hashing::new(self.store.open_blob(digest)?);
        let size = files::copy(self.to, name, &mut bytes)?;
        Ok(Some(self.tell_file(name, (size, digest), json!({ "sha256": bytes.finish() }))))
    }

    fn put_folder(&mut self, name: &str, digest: Digest) -> Result<Option<String>, InterchangeError> {
        let mut parts = Vec::new();
        for entry in self.store.index(digest)?.entries() {
            parts.extend(
                self.put_blob(&format!("results/{name}/{}", entry.name), entry.digest)?.map(|id| at(&id)),
            );
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let id = format!("results/{}/", escaped(name));
        self.tell(&id, json!("Dataset"), json!({ "name": name, "blake3": digest, "hasPart": parts }));
        Ok(Some(id))
    }

    fn actions(&mut self) {
        let graph = self.graph;
        for action in &graph.actions {
            let id = action_id(action);
            let usage = self.usage(action);
            let objects: Vec<Value> =
                action.uses.iter().filter_map(|used| self.ids.get(used)).map(|id| at(id)).collect();
            let mut results = Vec::new();
            for output in action.gives.keys() {
                let used = Used::Output { instance: action.instance.clone(), output: output.clone() };
                results.extend(self.ids.get(&used).map(|id| at(id)));
            }
            let params: Vec<Value> = action
                .params
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| self.property(action, name, value))
                .collect();
            let objects = [objects, params].concat();
            let about = json!({
                "name": action.instance,
                "description": format!("computed in run {}", action.run),
                "instrument": at(&kind_id(&action.kind)),
                "object": objects,
                "result": results,
                "startTime": action.began,
                "endTime": action.ended,
                "actionStatus": "http://schema.org/CompletedActionStatus",
                "resourceUsage": usage,
                "identifier": action.fingerprint.map(|fingerprint| format!("blake3:{fingerprint}")),
            });
            self.tell(&id, json!("CreateAction"), about);
            let control = json!({
                "name": format!("orchestrate {}", action.instance),
                "instrument": at(&step_id(&action.stage)),
                "object": at(&id),
            });
            self.tell(&control_id(action), json!("ControlAction"), control);
        }
    }

    /// A parameter's value.
    fn property(&mut self, action: &Action, name: &str, value: &Value) -> Value {
        let id = format!("#parameter-{}-{}", escaped(&action.instance), escaped(name));
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.tell(&id, json!("PropertyValue"), json!({ "name": name, "value": value }));
        at(&id)
    }

    /// What an action took of the machine.
    fn usage(&mut self, action: &Action) -> Vec<Value> {
        let usage = &action.usage;
        let known = [
            ("cpu-time", "SEC", usage.cpu_seconds.map(|seconds| format!("{seconds:.3}"))),
            ("peak-memory", "AD", usage.peak_memory_bytes.map(|bytes| bytes.to_string())),
            ("bytes-read", "AD", usage.read_bytes.map(|bytes| bytes.to_string())),
            ("bytes-written", "AD", usage.written_bytes.map(|bytes| bytes.to_string())),
        ];
        let mut told = Vec::new();
        for (name, unit, value) in known {
            let Some(value) = value else { continue };
            let id = format!("#usage-{}-{name}", escaped(&action.instance));
            let about = json!({
                "name": name, "propertyID": format!("urn:pipe:usage:{name}"), "unitCode": unit, "value": value,
            });
            self.tell(&id, json!("PropertyValue"), about);
            told.push(at(&id));
        }
        told
    }
}

fn action_id(action: &Action) -> String {
    format!("#instance-{}", escaped(&action.instance))
}

fn control_id(action: &Action) -> String {
    format!("#control-{}", escaped(&action.instance))
}

fn kind_id(kind: &str) -> String {
    format!("#kind-{}", escaped(kind))
}

fn step_id(stage: &str) -> String {
    format!("{MANIFEST}#{}", escaped(stage))
}
