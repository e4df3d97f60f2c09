//! W3C PROV as JSON: instances are activities, what they used and gave are entities, the program is an agent.
//!
//! Names are numbers, since names of entities may hold few characters; what things are called stands in their labels.

use std::collections::BTreeMap;

use pipe_cache::Store;
use serde_json::{Map, Value, json};

use super::graph::{Graph, Used};

/// The document of a run.
pub(super) fn document(store: &Store, graph: &Graph) -> Value {
    let mut document = Document::default();
    document.agents(graph);
    for (number, (name, input)) in graph.inputs.iter().enumerate() {
        let id = format!("pipe:input-{number}");
        let mut about = json!({ "prov:label": name, "prov:type": "pipe:Input" });
        if let (Some(digest), Some(about)) = (input.digest, about.as_object_mut()) {
            about.insert(format!("pipe:{}", graph.digest_name(store, digest)), json!(digest));
        }
        document.add("entity", &id, about);
        document.ids.insert(Used::Input(name.clone()), id);
    }
    // Each before those that use it, or else a name would stand for nothing.
    for (number, action) in graph.actions.iter().enumerate() {
        for (output, artifact) in &action.gives {
            let id = format!("pipe:output-{number}-{output}");
            let digest = format!("pipe:{}", graph.digest_name(store, artifact.digest));
            let about = json!({
                "prov:label": format!("{}.{output}", action.instance), "prov:type": "pipe:Output",
                digest: artifact.digest, "pipe:files": artifact.files, "pipe:bytes": artifact.bytes,
            });
            document.add("entity", &id, about);
            let used = Used::Output { instance: action.instance.clone(), output: output.clone() };
            document.ids.insert(used, id);
        }
    }
    for (number, action) in graph.actions.iter().enumerate() {
        let id = format!("pipe:instance-{number}");
        let mut about = Map::new();
        about.insert("prov:label".to_string(), json!(action.instance));
        about.insert("prov:type".to_string(), json!(format!("pipe:{}", action.kind)));
        about.insert("pipe:run".to_string(), json!(action.run));
        let known = [
            ("prov:startTime", action.began.clone()),
            ("prov:endTime", action.ended.clone()),
            ("pipe:fingerprint", action.fingerprint.map(|digest| digest.to_string())),
            ("pipe:code", action.code.clone()),
        ];
        about.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_string(), json!(value?)))));
        document.add("activity", &id, Value::Object(about));
        document.relate("wasAssociatedWith", json!({ "prov:activity": id, "prov:agent": "pipe:program" }));
        for used in &action.uses {
            if let Some(entity) = document.ids.get(used).cloned() {
                document.relate("used", json!({ "prov:activity": id, "prov:entity": entity }));
            }
        }
        for output in action.gives.keys() {
            let entity = format!("pipe:output-{number}-{output}");
            document.relate("wasGeneratedBy", json!({ "prov:entity": entity, "prov:activity": id }));
        }
    }
    document.into_json()
}

#[derive(Default)]
struct Document {
    parts: BTreeMap<&'static str, Map<String, Value>>,
    ids: BTreeMap<Used, String>,
    relations: usize,
}

impl Document {
    fn add(&mut self, part: &'static str, id: &str, about: Value) {
        self.parts.entry(part).or_default().insert(id.to_string(), about);
    }

    fn relate(&mut self, part: &'static str, about: Value) {
        self.relations += 1;
        let id = format!("_:r{}", self.relations);
        self.add(part, &id, about);
    }

    fn agents(&mut self, graph: &Graph) {
        let header = &graph.header;
        let about = json!({
            "prov:label": header.surroundings.program, "prov:type": "prov:SoftwareAgent",
            "pipe:code": header.code, "pipe:deviceClass": header.device_class,
        });
        self.add("agent", "pipe:program", about);
    }

    fn into_json(self) -> Value {
        let mut all = Map::new();
        all.insert("prefix".to_string(), json!({ "pipe": "urn:pipe:" }));
        all.extend(self.parts.into_iter().map(|(part, things)| (part.to_string(), Value::Object(things))));
        Value::Object(all)
    }
}
