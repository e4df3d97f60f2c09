//! Reading a `[stage.…]` table: its kind, its inputs, its resources. What its references lead to is not known here.

use super::declared;
use super::node::{Content, Node, Origin};
use super::problem::{Problem, Problems, did_you_mean};
use super::resources::Resources;
use super::variants::{Variant, read_foreach, read_variants};
use crate::registry::Registry;
use crate::stage::{InputSpec, Kind};

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
    pub(crate) kind: Kind,
    pub(crate) inputs: Vec<GivenInput>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) foreach: Vec<String>,
    pub(crate) resources: Resources,
    /// The seed of its own, if it is given one.
    pub(crate) seed: Option<Seed>,
}

/// A seed and where it is written.
#[derive(Clone)]
pub(crate) struct Seed {
    pub(crate) value: u64,
    pub(crate) origin: Origin,
}

impl Seed {
    /// The seed in a table; one that is no whole number is refused elsewhere.
    pub(super) fn read(table: Option<&Node>) -> Option<Self> {
        let node = table?.get("seed")?;
        let Content::Integer(value) = node.content else { return None };
        Some(Self { value: u64::try_from(value).ok()?, origin: node.origin.clone() })
    }
}

/// Reads all stages.
pub(super) fn read_stages(tree: &Node, registry: &Registry, problems: &mut Problems) -> Vec<StageSpec> {
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
    // A sweep adds the digest by which versions of a stage are told apart.
    let (own, digest) = name.split_once('@').unwrap_or((name, "0"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if own.is_empty() || !own.chars().all(is_plain) || !digest.chars().all(|c| c.is_ascii_hexdigit()) {
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
    let declared = declared::params(name, node, kind, problems);
    let kind = declared::kind(name, node, &declared, kind, problems)?;
    let (params, mut inputs) = split_path_params(declared, kind);
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
        seed: Seed::read(Some(node)),
    })
}

/// Parameters that are paths are inputs: they count by content, not by name.
fn split_path_params(mut params: Node, kind: Kind) -> (Node, Vec<GivenInput>) {
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
    kind: Kind,
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
