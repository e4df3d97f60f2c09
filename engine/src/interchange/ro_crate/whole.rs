//! The crate as a whole: the workflow, its run, and the document that holds all entities.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{MANIFEST, Writer, at, control_id, kind_id, step_id};
use crate::interchange::graph::Used;

const PROFILES: [(&str, &str); 3] = [
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate"),
    ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate"),
];
const CRATE: &str = "https://w3id.org/ro/crate/1.1";
const WORKFLOW_CRATE: &str = "https://w3id.org/workflowhub/workflow-ro-crate/1.0";

impl Writer<'_> {
    pub(super) fn workflow(&mut self) {
        let graph = self.graph;
        for (kind, code) in graph.kinds() {
            let about = json!({ "name": kind, "softwareVersion": code.map(|code| format!("code {code}")) });
            self.tell(&kind_id(kind), json!("SoftwareApplication"), about);
        }
        for (position, (stage, kind)) in graph.stages().into_iter().enumerate() {
            let about =
                json!({ "name": stage, "position": position.to_string(), "workExample": at(&kind_id(kind)) });
            self.tell(&step_id(stage), json!("HowToStep"), about);
        }
        let language =
            json!({ "name": "pipe manifest", "description": "stages, their parameters and inputs, in TOML" });
        self.tell("#pipe-manifest", json!("ComputerLanguage"), language);
        let of = |way: &str, entities: &BTreeMap<String, Value>| -> Vec<Value> {
            let start = format!("#{way}-parameter-");
            entities.keys().filter(|id| id.starts_with(&start)).map(|id| at(id)).collect()
        };
        let (inputs, outputs) = (of("input", &self.entities), of("output", &self.entities));
        let steps: Vec<Value> = graph.stages().iter().map(|(stage, _)| at(&step_id(stage))).collect();
        let kinds: Vec<Value> = graph.kinds().keys().map(|kind| at(&kind_id(kind))).collect();
        if let Some(Value::Object(manifest)) = self.entities.get_mut(MANIFEST) {
            let kinds_of = json!(["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]);
            manifest.insert("@type".to_string(), kinds_of);
            manifest.insert("name".to_string(), json!(graph.header.pipeline));
            manifest.insert("programmingLanguage".to_string(), at("#pipe-manifest"));
            for (name, value) in [("hasPart", kinds), ("step", steps), ("input", inputs), ("output", outputs)]
            {
                manifest.insert(name.to_string(), json!(value));
            }
        }
    }

    pub(super) fn run(&mut self) {
        let graph = self.graph;
        let header = &graph.header;
        let program = json!({
            "name": header.surroundings.program,
            "softwareVersion": format!("code {}", header.code),
            "url": "https://crates.io/crates/pipe",
        });
        self.tell("#pipe", json!("SoftwareApplication"), program);
        let objects: Vec<Value> = graph
            .inputs
            .keys()
            .filter_map(|name| self.ids.get(&Used::Input(name.clone())))
            .map(|id| at(id))
            .collect();
        let last = graph.actions.iter().filter(|action| action.is_last);
        let outputs = last.flat_map(|action| {
            let used =
                |output: &String| Used::Output { instance: action.instance.clone(), output: output.clone() };
            action.gives.keys().map(used)
        });
        let results: Vec<Value> = outputs.filter_map(|used| self.ids.get(&used)).map(|id| at(id)).collect();
        let run = json!({
            "name": format!("run {} of {}", header.run, header.pipeline),
            "instrument": at(MANIFEST), "object": objects, "result": results,
            "startTime": header.started, "endTime": graph.ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        });
        self.tell("#run", json!("CreateAction"), run);
        let controls: Vec<Value> = graph.actions.iter().map(|action| at(&control_id(action))).collect();
        let organize = json!({
            "name": format!("orchestrate run {}", header.run),
            "instrument": at("#pipe"), "object": controls, "result": at("#run"),
            "startTime": header.started, "endTime": graph.ended,
        });
        self.tell("#organize", json!("OrganizeAction"), organize);
    }

    pub(super) fn root(&mut self) {
        let header = &self.graph.header;
        let is_part = |entity: &&Value| match &entity["@type"] {
            Value::Array(kinds) => kinds.iter().any(|kind| kind == "File"),
            kind => kind == "File" || kind == "Dataset",
        };
        let parts: Vec<Value> =
            self.entities.values().filter(is_part).map(|entity| entity["@id"].clone()).collect();
        let parts: Vec<Value> = parts.into_iter().map(|id| json!({ "@id": id })).collect();
        let mentions: Vec<Value> = self
            .entities
            .iter()
            .filter(|(_, entity)| entity["@type"].as_str().is_some_and(|kind| kind.ends_with("Action")))
            .map(|(id, _)| at(id))
            .collect();
        let profiles: Vec<Value> =
            PROFILES.iter().map(|(id, _)| *id).chain([WORKFLOW_CRATE]).map(at).collect();
        let de_identified = match header.de_identified {
            true => "; words and digests that could tell whose data it is are hashes with a secret key",
            false => "",
        };
        let root = json!({
            "name": format!("run {} of {}", header.run, header.pipeline),
            "description": format!("what the pipeline {} was given and gave, and by which steps{de_identified}", header.pipeline),
            "datePublished": self.graph.ended.as_ref().unwrap_or(&header.started),
            "license": "not stated",
            "conformsTo": profiles, "hasPart": parts, "mainEntity": at(MANIFEST), "mentions": mentions,
        });
        self.tell("./", json!("Dataset"), root);
        for (id, name) in PROFILES {
            self.tell(id, json!("CreativeWork"), json!({ "name": name, "version": "0.5" }));
        }
        self.tell(
            WORKFLOW_CRATE,
            json!("CreativeWork"),
            json!({ "name": "Workflow RO-Crate", "version": "1.0" }),
        );
    }

    pub(super) fn metadata(&self) -> Value {
        let descriptor = json!({
            "@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": at("./"),
            "conformsTo": [at(CRATE), at(WORKFLOW_CRATE)],
        });
        let graph: Vec<Value> = [descriptor].into_iter().chain(self.entities.values().cloned()).collect();
        json!({
            "@context": [format!("{CRATE}/context"), {
                "resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage",
                "sha256": "https://w3id.org/ro/terms/workflow-run#sha256",
                "blake3": "urn:pipe:blake3",
                "keyed-digest": "urn:pipe:keyed-digest",
            }],
            "@graph": graph,
        })
    }
}
