//! From the value tree to stage instances: kinds looked up, parameters typed, `foreach` expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::document::document_schema;
use super::hub::HubFile;
use super::layers::{self, Overrides};
use super::node::{Content, Node, Origin};
use super::problem::{ManifestError, Problem, Problems, did_you_mean};
use super::references;
use super::resources::Resources;
use super::schema_check;
use crate::graph;
use crate::input::Selector;
use crate::preimage::canonical_text;
use crate::registry::Registry;
use crate::stage::{AnyStage, InputSpec};

/// The seed of a manifest that states none.
const DEFAULT_SEED: u64 = 42;

/// A pipeline that is ready to be planned.
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The manifest as it was given.
    pub manifest: PathBuf,
    /// The folder that paths are read against.
    pub root: PathBuf,
    /// The seed.
    pub seed: u64,
    /// Where the seed comes from.
    pub seed_origin: Origin,
    /// The overrides that were applied.
    pub overrides: Overrides,
    /// All stage instances; an instance's inputs come from instances before it.
    pub instances: Vec<Instance>,
    /// Folders to copy a stage's outputs to, by stage.
    pub publish: Vec<(String, PathBuf)>,
    /// The merged manifest with variables replaced.
    pub resolved: Value,
}

impl Pipeline {
    /// The files on the hub that have no place yet, each once.
    pub fn hub_files(&self) -> BTreeSet<HubFile> {
        let bindings = self.instances.iter().flat_map(|instance| &instance.inputs);
        let file = |source: &InputSource| match source {
            InputSource::Hub(file) => Some(file.clone()),
            _ => None,
        };
        bindings.flat_map(|binding| &binding.sources).filter_map(file).collect()
    }

    /// Puts a local copy in the place of a file on the hub. What was written is told with the commit.
    pub fn place_hub_file(&mut self, file: &HubFile, path: &Path, commit: &str) {
        let placed = HubFile { revision: commit.to_owned(), ..file.clone() };
        for binding in self.instances.iter_mut().flat_map(|instance| &mut instance.inputs) {
            for source in &mut binding.sources {
                if matches!(source, InputSource::Hub(known) if known == file) {
                    *source = InputSource::Path(path.to_path_buf());
                    binding.given = placed.to_string();
                }
            }
        }
    }
}

/// One instance of a stage.
pub struct Instance {
    /// The stage's name.
    pub stage: String,
    /// The name with the foreach values, such as `train[fold=0]`.
    pub label: String,
    /// The foreach values.
    pub selector: Selector,
    /// Its kind.
    pub kind: &'static dyn AnyStage,
    /// The parameters with defaults filled in.
    pub params: Value,
    /// Where each parameter comes from; a parameter not listed is a default.
    pub origins: BTreeMap<String, Origin>,
    /// Its inputs by name, in the kind's order.
    pub inputs: Vec<InputBinding>,
    /// What it needs while it runs.
    pub resources: Resources,
    /// Whether nothing builds on it.
    pub is_last: bool,
}

impl Instance {
    /// Where a parameter comes from.
    pub fn origin(&self, param: &str) -> Origin {
        self.origins.get(param).cloned().unwrap_or(Origin::Default)
    }

    /// The files and folders outside the store that the manifest gives it.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let sources = self.inputs.iter().flat_map(|binding| &binding.sources);
        sources.filter_map(|source| match source {
            InputSource::Path(path) => Some(path),
            _ => None,
        })
    }

    /// The positions of the instances that it takes inputs from.
    pub fn upstream(&self) -> BTreeSet<usize> {
        let sources = self.inputs.iter().flat_map(|binding| &binding.sources);
        sources
            .filter_map(|source| match source {
                InputSource::Output { instance, .. } => Some(*instance),
                _ => None,
            })
            .collect()
    }
}

/// What an instance's input is bound to.
#[derive(Clone)]
pub struct InputBinding {
    /// The kind's description of the input.
    pub spec: &'static InputSpec,
    /// The name among several artifacts of the input, where they were given by name.
    pub name: Option<String>,
    /// Where it was written.
    pub origin: Origin,
    /// The variable that gave it.
    pub variable: Option<String>,
    /// What was written.
    pub given: String,
    /// The artifacts, in the order of their foreach values.
    pub sources: Vec<InputSource>,
}

/// One artifact that an input is bound to.
#[derive(Clone, Debug)]
pub enum InputSource {
    /// A word of the kind.
    Keyword(String),
    /// A file or folder outside the store.
    Path(PathBuf),
    /// A file on the hub of which there is no local copy yet.
    Hub(HubFile),
    /// An output of another instance.
    Output {
        /// The instance's position in [`Pipeline::instances`].
        instance: usize,
        /// The output's name.
        output: &'static str,
    },
}

/// What the manifest gives to an input: a path or a reference, by name where there are several.
pub(crate) struct GivenInput {
    pub(crate) spec: &'static InputSpec,
    pub(crate) name: Option<String>,
    pub(crate) node: Node,
}

/// A stage before its references are resolved.
pub(crate) struct StageSpec {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) kind: &'static dyn AnyStage,
    pub(crate) inputs: Vec<GivenInput>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) foreach: Vec<String>,
    pub(crate) resources: Resources,
}

/// The parameters of one instance of a stage.
pub(crate) struct Variant {
    pub(crate) selector: Selector,
    pub(crate) order: Vec<Value>,
    pub(crate) params: Value,
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// Reads a manifest and resolves it against the binary's kinds.
///
/// # Errors
/// Everything that is wrong with the manifest, all at once.
pub fn load_pipeline(
    path: &Path,
    overrides: &Overrides,
    registry: &Registry,
) -> Result<Pipeline, ManifestError> {
    let mut problems = Problems::default();
    let layers = layers::load(path, overrides, &mut problems)?;
    schema_check::check(&layers.tree, &document_schema(), "", &mut problems);
    // Everything is looked at even so: a wrong key in one place must not hide an unknown stage in another.
    let stages = read_stages(&layers.tree, registry, &mut problems);
    if stages.is_empty() && problems.is_empty() {
        let problem = Problem::general("no-stages", format!("{} has no [stage.…] table", path.display()));
        problems.add(problem.help("`pipe init` writes an example"));
    }
    graph::check_cycles(&stages, &mut problems);
    if !problems.is_empty() {
        references::check(&stages, &layers.root, &mut problems);
        return Err(problems.into_error());
    }
    let instances = references::bind(stages, &layers.root, &mut problems);
    let pipeline_table = layers.tree.get("pipeline");
    let text = |key: &str| pipeline_table.and_then(|table| table.get(key)?.as_text());
    let stem = path.file_stem().map_or("pipeline".into(), |stem| stem.to_string_lossy());
    let name = text("name").unwrap_or(&stem).to_string();
    let seed_node = pipeline_table.and_then(|table| table.get("seed"));
    let seed = match seed_node.map(|node| &node.content) {
        Some(Content::Integer(seed)) => u64::try_from(*seed).unwrap_or(DEFAULT_SEED),
        _ => DEFAULT_SEED,
    };
    let seed_origin = seed_node.map_or(Origin::Default, |node| node.origin.clone());
    let publish = read_publish(&layers.tree, &layers.root, &mut problems);
    problems.or(Pipeline {
        name,
        manifest: path.to_path_buf(),
        root: layers.root,
        seed,
        seed_origin,
        overrides: overrides.clone(),
        instances,
        publish,
        resolved: layers.tree.to_json(),
    })
}

/// The folders that stages are published to: one for each, within the project or elsewhere, but never the project's
/// root or an ancestor of it, where published files could replace inputs.
fn read_publish(tree: &Node, root: &Path, problems: &mut Problems) -> Vec<(String, PathBuf)> {
    let stages = tree.get("stage").map_or(&[][..], Node::entries);
    let mut folders: Vec<(String, PathBuf)> = Vec::new();
    for (key, stage) in stages {
        let Some(node) = stage.get("publish") else { continue };
        let Some(text) = node.as_text() else { continue };
        let folder = plain_path(&root.join(text));
        let mut refuse = |message: String| {
            let help = "give each stage a folder of its own, such as \"results/evaluate\"";
            problems.add(Problem::at(node.origin.clone(), "publish", message).help(help));
        };
        if root.starts_with(&folder) {
            refuse(format!("`publish = {text:?}` would put files into the project's root or above it"));
        } else if folder.is_file() {
            refuse(format!("`publish = {text:?}` is a file, not a folder"));
        } else if let Some((other, _)) = folders.iter().find(|(_, known)| *known == folder) {
            refuse(format!("stages `{other}` and `{}` are published to the same folder", key.name));
        }
        folders.push((key.name.clone(), folder));
    }
    folders
}

/// A path without `.` and `..`, as far as its text tells.
fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn read_stages(tree: &Node, registry: &Registry, problems: &mut Problems) -> Vec<StageSpec> {
    let stages = tree.get("stage").map_or(&[][..], Node::entries);
    stages
        .iter()
        .filter_map(|(key, node)| read_stage(&key.name, &key.origin, node, registry, problems))
        .collect()
}

fn read_stage(
    name: &str,
    origin: &Origin,
    node: &Node,
    registry: &Registry,
    problems: &mut Problems,
) -> Option<StageSpec> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        let message = format!("`{name}` cannot be a stage's name: use letters, digits, `-` and `_`");
        problems.add(Problem::at(origin.clone(), "stage-name", message));
    }
    let uses = node.get("uses");
    let kind_name = uses.and_then(Node::as_text).unwrap_or(name);
    let Some(kind) = registry.get(kind_name) else {
        let place = uses.map_or(origin, |uses| &uses.origin).clone();
        let help = did_you_mean(kind_name, registry.names())
            .unwrap_or_else(|| format!("kinds: {}", registry.names().collect::<Vec<_>>().join(", ")));
        problems.add(Problem::at(place, "unknown-kind", format!("unknown kind `{kind_name}`")).help(help));
        return None;
    };
    let (params, mut inputs) = split_path_params(node, kind);
    read_inputs(name, origin, node, kind, &mut inputs, problems);
    let foreach = read_foreach(node, problems);
    let variants = read_variants(name, origin, &params, &foreach, (kind, &inputs), problems);
    let foreach = foreach.into_iter().map(|(key, _)| key).collect();
    let resources = Resources::read(node, kind, problems);
    Some(StageSpec {
        name: name.to_string(),
        origin: origin.clone(),
        kind,
        inputs,
        variants,
        foreach,
        resources,
    })
}

/// Parameters that are paths are inputs: they count by content, not by name.
fn split_path_params(node: &Node, kind: &'static dyn AnyStage) -> (Node, Vec<GivenInput>) {
    let mut params = node.get("params").cloned().unwrap_or_else(|| Node::empty_table(node.origin.clone()));
    let mut inputs = Vec::new();
    params.entries_mut().retain(|(key, value)| {
        let spec = kind.about().inputs.iter().find(|spec| spec.parameter && spec.name == key.name);
        inputs.extend(spec.map(|spec| GivenInput { spec, name: None, node: value.clone() }));
        spec.is_none()
    });
    (params, inputs)
}

fn read_inputs(
    stage: &str,
    origin: &Origin,
    node: &Node,
    kind: &'static dyn AnyStage,
    inputs: &mut Vec<GivenInput>,
    problems: &mut Problems,
) {
    let about = kind.about();
    for (key, value) in node.get("inputs").map_or(&[][..], Node::entries) {
        match about.inputs.iter().find(|spec| spec.name == key.name) {
            Some(spec) if inputs.iter().any(|known| known.spec.name == spec.name) => {
                let message = format!("`{}` is given both as an input and as a parameter", key.name);
                problems.add(Problem::at(key.origin.clone(), "given-twice", message));
            }
            Some(spec) => read_given(spec, value, inputs, problems),
            None => {
                let known: Vec<&str> = about.inputs.iter().map(|spec| spec.name).collect();
                let help = did_you_mean(&key.name, known.iter().copied())
                    .unwrap_or_else(|| format!("inputs of {}: {}", about.name, known.join(", ")));
                let message = format!("kind {} has no input `{}`", about.name, key.name);
                problems.add(Problem::at(key.origin.clone(), "unknown-input", message).help(help));
            }
        }
    }
    for spec in about.inputs.iter().filter(|spec| !spec.optional) {
        if !inputs.iter().any(|known| known.spec.name == spec.name) {
            let message = format!("stage `{stage}` needs the input `{}`: {}", spec.name, spec.summary);
            let help = format!("add it under inputs, as a path or as \"@stage\" (a {})", spec.form);
            problems.add(Problem::at(origin.clone(), "missing-input", message).help(help));
        }
    }
    let position = |name: &str| about.inputs.iter().position(|spec| spec.name == name);
    inputs.sort_by_key(|given| position(given.spec.name));
}

/// One artifact, or a table of several by name, for an input that takes several.
fn read_given(spec: &'static InputSpec, value: &Node, inputs: &mut Vec<GivenInput>, problems: &mut Problems) {
    if value.as_text().is_some() {
        return inputs.push(GivenInput { spec, name: None, node: value.clone() });
    }
    let entries = value.entries();
    if entries.is_empty() || !spec.many {
        let (message, help) = match spec.many {
            true => (format!("`{}` is an empty table", spec.name), "name at least one artifact"),
            false => (format!("`{}` takes one artifact", spec.name), "give a path or \"@stage\""),
        };
        problems.add(Problem::at(value.origin.clone(), "wrong-type", message).help(help));
    }
    for (key, node) in entries {
        inputs.push(GivenInput { spec, name: Some(key.name.clone()), node: node.clone() });
    }
}

fn read_foreach(node: &Node, problems: &mut Problems) -> Vec<(String, Vec<Node>)> {
    let mut keys = Vec::new();
    for (key, values) in node.get("foreach").map_or(&[][..], Node::entries) {
        let Content::Array(values) = &values.content else { continue };
        if values.is_empty() {
            let message = format!("`foreach.{}` has no values", key.name);
            problems.add(Problem::at(key.origin.clone(), "empty-foreach", message));
        }
        let texts: Vec<String> = values.iter().map(selector_text).collect();
        for (position, value) in values.iter().enumerate() {
            if texts[..position].contains(&texts[position]) {
                let message = format!("`foreach.{}` has the value {} twice", key.name, texts[position]);
                problems.add(Problem::at(value.origin.clone(), "duplicate-value", message));
            }
        }
        keys.push((key.name.clone(), values.clone()));
    }
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    keys
}

/// The parameters of each instance. Problems that all instances share are told once.
fn read_variants(
    stage: &str,
    origin: &Origin,
    params: &Node,
    foreach: &[(String, Vec<Node>)],
    (kind, inputs): (&'static dyn AnyStage, &[GivenInput]),
    problems: &mut Problems,
) -> Vec<Variant> {
    for (key, values) in foreach {
        if let (Some(given), Some(_)) = (params.get(key), values.first()) {
            let message = format!("`{key}` is given both under params and under foreach");
            problems.add(Problem::at(given.origin.clone(), "given-twice", message));
        }
    }
    let schema = kind.schema();
    let known = |key: &String| schema.pointer("/properties").is_some_and(|fields| fields.get(key).is_some());
    let mut strange = false;
    for (key, values) in foreach.iter().filter(|(key, _)| !known(key)) {
        strange = true;
        let place = values.first().map_or(origin, |value| &value.origin).clone();
        let message =
            format!("stage `{stage}`: kind {} has no parameter `{key}` to run for each", kind.about().name);
        let help = format!("`pipe stages {}` lists its parameters", kind.about().name);
        problems.add(Problem::at(place, "unknown-parameter", message).help(help));
    }
    if strange {
        return Vec::new();
    }
    let mut variants = Vec::new();
    let mut told: Vec<String> = Vec::new();
    for choice in product(foreach) {
        let mut all = params.clone();
        let mut selector = Selector::new();
        for (key, value) in &choice {
            selector.insert((*key).to_string(), selector_text(value));
            all.set(&[key], (*value).clone());
        }
        let mut found = Problems::default();
        schema_check::check(&all, &schema, "", &mut found);
        if found.is_empty() {
            check_values(stage, origin, &all, (kind, inputs), &mut found);
        }
        if !found.is_empty() {
            for mut problem in found.into_error().problems {
                problem.message = format!(
                    "stage `{stage}`: {}",
                    problem.message.replace("unknown key", "unknown parameter")
                );
                let text = problem.to_string();
                if !told.contains(&text) {
                    told.push(text);
                    problems.add(problem);
                }
            }
            continue;
        }
        let Ok(canonical) = kind.canonical(all.to_json()) else { continue };
        let origins =
            all.entries().iter().map(|(key, value)| (key.name.clone(), value.origin.clone())).collect();
        let order = choice.iter().map(|(_, value)| value.to_json()).collect();
        variants.push(Variant { selector, order, params: canonical, origins });
    }
    variants.sort_by(|a, b| references::compare_values(&a.order, &b.order));
    variants
}

fn check_values(
    stage: &str,
    origin: &Origin,
    params: &Node,
    (kind, inputs): (&dyn AnyStage, &[GivenInput]),
    problems: &mut Problems,
) {
    let canonical = match kind.canonical(params.to_json()) {
        Ok(canonical) => canonical,
        Err(error) => {
            problems.add(Problem::at(origin.clone(), "params", error.to_string()));
            return;
        }
    };
    let help = format!("`pipe stages {}` explains the parameters of `{stage}`", kind.about().name);
    for message in kind.check(&canonical) {
        // The message begins with the parameter's name in backquotes where there is one.
        let named = message.split('`').nth(1).and_then(|name| params.get(name));
        let place = named.map_or(origin, |node| &node.origin).clone();
        problems.add(Problem::at(place, "wrong-value", message).help(help.clone()));
    }
    let given = |name: &str| inputs.iter().any(|given| given.spec.name == name);
    for error in kind.check_inputs(&canonical, &given) {
        let problem = Problem::at(origin.clone(), "missing-input", error.to_string());
        problems.add(problem.maybe_help(error.advice));
    }
}

fn product(foreach: &[(String, Vec<Node>)]) -> Vec<Vec<(&str, &Node)>> {
    foreach.iter().fold(vec![Vec::new()], |choices, (key, values)| {
        let extend = |choice: &Vec<_>, value| choice.iter().copied().chain([(key.as_str(), value)]).collect();
        choices.iter().flat_map(|choice| values.iter().map(move |value| extend(choice, value))).collect()
    })
}

fn selector_text(node: &Node) -> String {
    node.as_text().map_or_else(|| canonical_text(&node.to_json()), str::to_string)
}

/// The text of an instance's name.
pub(super) fn label(stage: &str, selector: &Selector) -> String {
    if selector.is_empty() {
        return stage.to_string();
    }
    let values: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{stage}[{}]", values.join(","))
}
