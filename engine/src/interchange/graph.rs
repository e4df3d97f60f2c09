//! What a run consists of, as every form tells it: actions, and what they used and gave.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{ArtifactRef, Digest, Store};
use serde_json::Value;

use super::InterchangeError;
use crate::audit::Recorded;
use crate::lineage::{Content, Preimage, Source};
use crate::record::{InstanceRecord, RunHeader, Runs, Usage};

/// A run.
pub(super) struct Graph {
    pub(super) header: RunHeader,
    /// When it ended, if it has told of it.
    pub(super) ended: Option<String>,
    /// The manifest with all that it extends, overrides and variables put in.
    pub(super) manifest: Value,
    pub(super) actions: Vec<Action>,
    /// What was given from outside, by its name.
    pub(super) inputs: BTreeMap<String, Input>,
}

/// An instance that has its result, as the run tells it that computed it.
pub(super) struct Action {
    pub(super) instance: String,
    pub(super) stage: String,
    pub(super) kind: String,
    /// The run that computed it.
    pub(super) run: String,
    /// The host on which that run was.
    pub(super) host: Option<String>,
    pub(super) began: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) usage: Usage,
    pub(super) fingerprint: Option<Digest>,
    pub(super) code: Option<String>,
    pub(super) params: BTreeMap<String, Value>,
    /// The names of the inputs that it was given.
    pub(super) inputs: BTreeSet<String>,
    /// Those of them that do not come from other stages.
    pub(super) outside: BTreeSet<String>,
    /// The seed, of a kind that draws random numbers.
    pub(super) seed: Option<u64>,
    /// What computed it.
    pub(super) program: Option<Program>,
    /// How many items it has, if its kind works item by item.
    pub(super) items: Option<usize>,
    pub(super) uses: Vec<Used>,
    pub(super) gives: BTreeMap<String, ArtifactRef>,
    /// Whether nothing in the run builds on it.
    pub(super) is_last: bool,
}

/// What computed an action.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Program {
    /// The program and its version.
    pub(super) name: String,
    /// The fingerprint of all its code.
    pub(super) code: Digest,
    /// The class of device.
    pub(super) class: String,
}

/// What an action used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Used {
    /// Something from outside, by its name.
    Input(String),
    /// An output of an instance.
    Output { instance: String, output: String },
}

/// Something from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    /// The digest of all of it, where all of it counts: of a file, or of the index of a folder.
    pub(super) digest: Option<Digest>,
    /// Whether what an instance was given still is what it was made of.
    pub(super) is_unchanged: bool,
}

impl Graph {
    /// The graph of a run. `unchanged` are the instances whose inputs are known to be what they were.
    pub(super) fn of(
        store: &Store,
        recorded: &Recorded,
        unchanged: &BTreeSet<String>,
    ) -> Result<Self, InterchangeError> {
        let Recorded { run, manifest } = recorded;
        let runs = Runs::of(store)?;
        let used: BTreeSet<&str> = run.instances.iter().flat_map(InstanceRecord::upstream).collect();
        let mut inputs: BTreeMap<String, Input> = BTreeMap::new();
        let mut actions = Vec::new();
        for instance in run.instances.iter().filter(|one| one.has_result()) {
            let preimage = preimage(store, instance)?;
            let is_unchanged = unchanged.contains(&instance.label);
            add_inputs(instance, (preimage.as_ref(), is_unchanged), &mut inputs);
            let mut action = action(instance, preimage, &run.head.header.run);
            action.is_last = !used.contains(instance.label.as_str());
            let maker = instance.from_run.as_deref().and_then(|maker| runs.get(maker));
            if let (Some(maker), Some(fingerprint)) = (maker, instance.fingerprint)
                && let Some(made) = maker.computed(fingerprint)
            {
                let header = maker.header();
                action.host = Some(header.surroundings.host.clone());
                action.program = Some(Program {
                    name: header.surroundings.program.clone(),
                    code: header.code,
                    class: header.device_class.clone(),
                });
                (action.began, action.ended) = (made.began.clone(), made.ended.clone());
                action.usage = made.usage;
            }
            actions.push(action);
        }
        let ended = run.instances.iter().filter_map(|one| one.ended.clone()).max();
        let is_over = run.head.summary.is_some();
        let ended = ended.or_else(|| is_over.then(|| run.head.header.started.clone()));
        Ok(Self { header: run.head.header.clone(), ended, manifest: manifest.clone(), actions, inputs })
    }

    /// What a digest is called. In a de-identified run those of bytes that left no copy are keyed hashes.
    pub(super) fn digest_name(&self, store: &Store, digest: Digest) -> &'static str {
        if self.header.de_identified && !store.contains(digest) { "keyed-digest" } else { "blake3" }
    }

    /// The stages in the order of their first instances, each with its kind.
    pub(super) fn stages(&self) -> Vec<(&str, &str)> {
        let mut seen = BTreeSet::new();
        let stages = self.actions.iter().map(|action| (action.stage.as_str(), action.kind.as_str()));
        stages.filter(|(stage, _)| seen.insert(*stage)).collect()
    }

    /// The kinds, each with the fingerprint of its code.
    pub(super) fn kinds(&self) -> BTreeMap<&str, Option<&str>> {
        self.actions.iter().map(|action| (action.kind.as_str(), action.code.as_deref())).collect()
    }
}

fn preimage(store: &Store, instance: &InstanceRecord) -> Result<Option<Preimage>, InterchangeError> {
    let Some(fingerprint) = instance.fingerprint else { return Ok(None) };
    Ok(store.preimage(fingerprint)?.as_deref().and_then(Preimage::from_json))
}

fn action(instance: &InstanceRecord, preimage: Option<Preimage>, run: &str) -> Action {
    let mut uses: Vec<Used> = Vec::new();
    for given in &instance.inputs {
        for source in &given.sources {
            uses.extend(match source {
                Source::Word(_) => None,
                Source::Output { instance, output } => {
                    Some(Used::Output { instance: instance.clone(), output: output.clone() })
                }
                outside => name_of(outside).map(Used::Input),
            });
        }
    }
    uses.sort();
    uses.dedup();
    let items = preimage.as_ref().and_then(|one| one.items.as_ref()).map(|items| items.count);
    let seed = preimage.as_ref().and_then(|one| one.seed);
    let (code, params) = preimage.map(|one| (one.code, one.params)).unzip();
    Action {
        instance: instance.label.clone(),
        stage: instance.stage.clone(),
        kind: instance.kind.clone(),
        run: instance.from_run.clone().unwrap_or_else(|| run.to_string()),
        host: None,
        began: None,
        ended: None,
        usage: Usage::default(),
        fingerprint: instance.fingerprint,
        code,
        params: params.unwrap_or_default(),
        inputs: instance.inputs.iter().map(|given| given.input.clone()).collect(),
        outside: instance.inputs.iter().filter(|one| !one.is_within()).map(|one| one.input.clone()).collect(),
        seed,
        program: None,
        items,
        uses,
        gives: instance.outputs.clone(),
        is_last: false,
    }
}

/// What something from outside is called.
fn name_of(source: &Source) -> Option<String> {
    match source {
        Source::Path(path) => Some(path.display().to_string()),
        Source::Hub(file) => Some(file.clone()),
        Source::Word(_) | Source::Output { .. } => None,
    }
}

fn add_inputs(
    instance: &InstanceRecord,
    (preimage, is_unchanged): (Option<&Preimage>, bool),
    inputs: &mut BTreeMap<String, Input>,
) {
    for given in &instance.inputs {
        let used = preimage.into_iter().flat_map(|preimage| &preimage.inputs);
        let mut whole = used.filter(|used| used.input == given.input).filter_map(|used| match used.content {
            Content::File(digest) | Content::Files(digest) => Some(digest),
            _ => None,
        });
        // Of several that are given to one input it is not told which has which digest.
        let digest = whole.next().filter(|_| given.sources.len() == 1 && whole.next().is_none());
        for name in given.sources.iter().filter_map(name_of) {
            let input = inputs.entry(name).or_default();
            input.digest = input.digest.or(digest);
            input.is_unchanged |= is_unchanged;
        }
    }
}
