//! Methods and results of a run in sentences, for whoever writes the paper.
//!
//! Kinds say what their stages did ([`pipe_plugin::stage::Describe`]); of programs, devices and records the engine knows. Sentences
//! are ordered by topic, each topic with the items of checklists that it answers, and the items that no sentence answers are listed, so that
//! nobody takes them for answered.

mod checklist;
mod markdown;

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{ArtifactRef, Digest, Form, Store};
use pipe_plugin::stage::{InstanceAccount, Results, Sentence, StageAccount, Topic};
use serde_json::{Value, json};

use self::checklist::{CHECKLISTS, Checklist, is_result, title};
use super::InterchangeError;
use super::graph::{Action, Graph, Program};
use crate::registry::Registry;

/// What is said of a run, by topic.
pub(super) struct Account<'a> {
    graph: &'a Graph,
    head: Option<Digest>,
    topics: BTreeMap<Topic, Vec<Told>>,
}

/// A sentence and the stages that it is about; none for one about the whole run.
struct Told {
    stages: Vec<String>,
    text: String,
}

impl<'a> Account<'a> {
    /// What is said of a run whose record ends with the seal `head`.
    ///
    /// # Errors
    /// Results that cannot be read.
    pub(super) fn of(
        (store, registry): (&Store, &Registry),
        graph: &'a Graph,
        head: Option<Digest>,
    ) -> Result<Self, InterchangeError> {
        let mut account = Self { graph, head, topics: BTreeMap::new() };
        for (stage, kind) in graph.stages() {
            let Some(kind) = registry.get(kind) else { continue };
            let actions: Vec<&Action> = graph.actions.iter().filter(|action| action.stage == stage).collect();
            let readers: Vec<_> = actions
                .iter()
                .map(|action| |output: &str, name: &str| file(store, action, (output, name)))
                .collect();
            let instances = actions.iter().zip(&readers).map(|(action, read)| InstanceAccount {
                params: &action.params,
                inputs: action.inputs.iter().map(String::as_str).collect(),
                outside: action.outside.iter().map(String::as_str).collect(),
                items: action.items,
                results: Results { read },
            });
            let told = kind.describe(&StageAccount { instances: instances.collect() });
            let stage = stage.to_string();
            let told = told.map_err(|error| InterchangeError::Stage {
                stage: stage.clone(),
                problem: error.to_string(),
            })?;
            told.into_iter().for_each(|sentence| account.add(Some(&stage), sentence));
        }
        software(graph).into_iter().for_each(|sentence| account.add(None, sentence));
        account.add(None, record(graph, head));
        Ok(account)
    }

    /// Adds a sentence. What is said of two stages in the same words is said once.
    fn add(&mut self, stage: Option<&str>, sentence: Sentence) {
        let told = self.topics.entry(sentence.topic).or_default();
        let known = told.iter_mut().find(|told| told.text == sentence.text);
        match known {
            Some(known) => known.stages.extend(
                stage.filter(|stage| !known.stages.iter().any(|one| one == stage)).map(str::to_string),
            ),
            None => told
                .push(Told { stages: stage.map(str::to_string).into_iter().collect(), text: sentence.text }),
        }
    }

    /// The items of a checklist that no sentence answers.
    fn unanswered<'c>(&self, checklist: &'c Checklist) -> impl Iterator<Item = &'c checklist::Item> {
        let told: BTreeSet<Topic> = self.topics.keys().copied().collect();
        checklist.items.iter().filter(move |item| !item.topics.iter().any(|topic| told.contains(topic)))
    }

    /// As text.
    pub(super) fn to_markdown(&self) -> String {
        markdown::document(self)
    }

    /// As values.
    pub(super) fn to_json(&self) -> Value {
        let section = |(topic, told): (&Topic, &Vec<Told>)| {
            let sentences = told.iter().map(|told| json!({ "stages": told.stages, "text": told.text }));
            let items: serde_json::Map<String, Value> =
                CHECKLISTS.iter().map(|list| (list.name.to_string(), json!(list.numbers(*topic)))).collect();
            json!({
                "topic": topic, "title": title(*topic), "results": is_result(*topic), "items": items,
                "sentences": sentences.collect::<Vec<_>>(),
            })
        };
        let unanswered = |list: &Checklist| {
            let items = self.unanswered(list).map(|item| json!({ "item": item.number, "title": item.title }));
            (list.name.to_string(), Value::Array(items.collect()))
        };
        let header = &self.graph.header;
        json!({
            "version": 1, "run": header.run, "pipeline": header.pipeline, "head": self.head,
            "sections": self.topics.iter().map(section).collect::<Vec<_>>(),
            "unanswered": CHECKLISTS.iter().map(unanswered).collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// A file of an output; of a tree by its name, of an output of one file without one.
fn file(store: &Store, action: &Action, (output, name): (&str, &str)) -> Option<Vec<u8>> {
    let artifact: &ArtifactRef = action.gives.get(output)?;
    let digest = match (artifact.form, name.is_empty()) {
        (Form::File, true) => artifact.digest,
        (Form::Tree | Form::Collection, false) => store.index(artifact.digest).ok()?.get(name)?.digest,
        _ => return None,
    };
    store.read(digest).ok()
}

fn software(graph: &Graph) -> Vec<Sentence> {
    let header = &graph.header;
    let programs: BTreeSet<&Program> =
        graph.actions.iter().filter_map(|action| action.program.as_ref()).collect();
    let programs: Vec<String> = programs
        .into_iter()
        .map(|Program { name, code, class }| format!("{name} (code {}, device class {class})", code.short()))
        .collect();
    let crates: Vec<String> =
        header.crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut told = Vec::new();
    if !programs.is_empty() {
        told.push(format!("Stages were computed by {}.", programs.join("; ")));
    }
    if !crates.is_empty() {
        told.push(format!("The run's program has these crates: {}.", crates.join(", ")));
    }
    let mut seeds: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for action in &graph.actions {
        if let Some(seed) = action.seed {
            seeds.entry(seed).or_default().insert(&action.stage);
        }
    }
    told.extend(seeds.into_iter().map(|(seed, stages)| {
        let stages: Vec<&str> = stages.into_iter().collect();
        format!("Random numbers of {} follow from the seed {seed}.", stages.join(", "))
    }));
    told.into_iter().map(|text| Sentence::new(Topic::Software, text)).collect()
}

fn record(graph: &Graph, head: Option<Digest>) -> Sentence {
    let header = &graph.header;
    let runs: BTreeSet<&str> = graph.actions.iter().map(|action| action.run.as_str()).collect();
    let runs = match runs.iter().any(|run| *run != header.run) {
        true => format!(" Its results were computed in {}.", runs.into_iter().collect::<Vec<_>>().join(", ")),
        false => String::new(),
    };
    let seal = head
        .map(|head| format!(" Its record ends with the seal {head}, by which pipe audit --head knows it."))
        .unwrap_or_default();
    let code = match &header.surroundings.git {
        Some(git) if git.modified => {
            format!(" The project was at commit {}, with changes that are in no commit.", git.commit)
        }
        Some(git) => format!(" The project was at commit {}.", git.commit),
        None => String::new(),
    };
    Sentence::new(
        Topic::Record,
        format!(
            "This is run {} of the pipeline “{}”, begun {}.{runs}{seal}{code} Files and folders that it was given from outside: {}; the record tells their digests. pipe pack puts the run into one file, which pipe audit checks anywhere, and computes again where the inputs are.",
            header.run,
            header.pipeline,
            header.started,
            graph.inputs.len(),
        ),
    )
}
