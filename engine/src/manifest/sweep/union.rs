//! One manifest for all points. A stage that is the same in several points is there once; where points differ in it, or in what it
//! builds on, it is there once for each difference, as `STAGE@DIGEST`.
//!
//! What comes out is a manifest like any other, so that a run of it is recorded, audited and compared as any run is.

use std::collections::{BTreeMap, HashMap, HashSet};

use pipe_cache::Hasher;
use pipe_plugin::canonical_text;

use super::super::node::{Content, Key, Node, Origin};
use super::super::problem::Problems;
use super::super::stage_table::{StageSpec, read_stages};
use super::points::{DIGITS, Point, applied, name, of_point, values};
use super::space::Assignment;
use crate::graph;
use crate::registry::Registry;
use crate::stage::Kind;

/// A stage of the union.
struct Version {
    stage: String,
    digest: String,
    kind: Kind,
    key: Key,
    node: Node,
}

/// The union of all points' manifests, and what each point's stages are called in it. `base` is the manifest by itself, `tree` the same
/// before its variables are put in.
pub(in super::super) fn union(
    (base, tree): (&Node, &Node),
    points: &[Assignment],
    registry: &Registry,
    problems: &mut Problems,
) -> (Node, Vec<Point>) {
    let mut versions: Vec<Version> = Vec::new();
    let mut known: HashSet<(String, String)> = HashSet::new();
    let mut chosen: Vec<BTreeMap<String, String>> = Vec::new();
    for point in points {
        let mut found = Problems::default();
        let applied = applied(tree, point, &mut found);
        let stages = read_stages(&applied, registry, &mut found);
        graph::check_cycles(&stages, &mut found);
        if let Err(error) = found.or(()) {
            error.problems.into_iter().for_each(|problem| problems.add(of_point(point, problem)));
            break;
        }
        let seed = point.iter().rev().find(|assigned| assigned.key == "pipeline.seed");
        let mut digests = BTreeMap::new();
        for position in graph::order(&stages) {
            let version = version(&applied, &stages[position], seed.map(|seed| &seed.value), &digests);
            let Some(version) = version else { continue };
            digests.insert(version.stage.clone(), version.digest.clone());
            if known.insert((version.stage.clone(), version.digest.clone())) {
                versions.push(version);
            }
        }
        chosen.push(digests);
    }
    let names = Names::of(&versions);
    let told = points.iter().zip(&chosen).map(|(point, digests)| Point {
        name: name(point),
        values: values(point),
        stages: digests.iter().map(|(stage, digest)| (stage.clone(), names.name(stage, digest))).collect(),
    });
    let points: Vec<Point> = told.collect();
    (assembled(base, versions, &names, &points), points)
}

/// A stage of a point as it is in the union: what it builds on is named with its digest.
fn version(
    tree: &Node,
    stage: &StageSpec,
    seed: Option<&Node>,
    digests: &BTreeMap<String, String>,
) -> Option<Version> {
    let (key, node) = tree.get("stage")?.entries().iter().find(|(key, _)| key.name == stage.name)?;
    let mut node = node.clone();
    if node.get("uses").is_none() {
        let uses = Content::Text(stage.name.clone());
        node.set(&["uses"], Node::new(uses, key.origin.clone()));
    }
    if let Some(seed) = seed.filter(|_| stage.kind.about().random && stage.seed.is_none()) {
        node.set(&["seed"], seed.clone());
    }
    for_references(&mut node, stage.kind, &mut |text| {
        let (name, output) = split(text);
        digests.get(name).map(|digest| format!("@{name}@{digest}{output}"))
    });
    let mut hasher = Hasher::new("pipe sweep stage, version 1");
    hasher.field(canonical_text(&super::canonical(&node)));
    let digest = hasher.finish().to_string()[..DIGITS].to_string();
    Some(Version { stage: stage.name.clone(), digest, kind: stage.kind, key: key.clone(), node })
}

/// Calls a function for each text that leads to another stage, which may give another text in its place.
fn for_references(node: &mut Node, kind: Kind, change: &mut dyn FnMut(&str) -> Option<String>) {
    let is_path = |name: &str| kind.about().inputs.iter().any(|spec| spec.parameter && spec.name == name);
    let mut visit = |node: &mut Node| {
        if let Some(text) = node.as_text().and_then(|text| text.strip_prefix('@')).and_then(&mut *change) {
            node.content = Content::Text(text);
        }
    };
    for (key, table) in node.entries_mut() {
        match (key.name.as_str(), &mut table.content) {
            ("inputs", Content::Table(inputs)) => {
                for (_, given) in inputs {
                    match &mut given.content {
                        Content::Table(several) => several.iter_mut().for_each(|(_, node)| visit(node)),
                        _ => visit(given),
                    }
                }
            }
            ("params", Content::Table(params)) => {
                params.iter_mut().filter(|(key, _)| is_path(&key.name)).for_each(|(_, node)| visit(node));
            }
            // Beside parameters stand those of a stage that declares its own inputs.
            (name, Content::Text(_)) if is_path(name) => visit(table),
            _ => {}
        }
    }
}

/// A stage's name, and what stands behind it.
fn split(reference: &str) -> (&str, &str) {
    reference.split_at(reference.find('.').unwrap_or(reference.len()))
}

/// What versions are called: by the stage's name alone where there is one.
struct Names(HashMap<String, usize>);

impl Names {
    fn of(versions: &[Version]) -> Self {
        let mut counts = HashMap::new();
        for version in versions {
            *counts.entry(version.stage.clone()).or_insert(0) += 1;
        }
        Self(counts)
    }

    fn name(&self, stage: &str, digest: &str) -> String {
        match self.0.get(stage) {
            Some(2..) => format!("{stage}@{digest}"),
            _ => stage.to_string(),
        }
    }
}

/// The manifest that has all versions, and the points in place of `[sweep]`.
fn assembled(base: &Node, versions: Vec<Version>, names: &Names, points: &[Point]) -> Node {
    let mut stages = Node::empty_table(Origin::Default);
    for Version { stage, digest, kind, key, mut node } in versions {
        let name = names.name(&stage, &digest);
        for_references(&mut node, kind, &mut |text| {
            let (stage, rest) = text.split_once('@')?;
            let (digest, output) = split(rest);
            Some(format!("@{}{output}", names.name(stage, digest)))
        });
        if let (false, Some(folder)) = (name == stage, node.get("publish").and_then(Node::as_text)) {
            // Beside the folder, never in it: a run that is no sweep publishes there.
            let folder = Content::Text(format!("{}@{digest}", folder.trim_end_matches('/')));
            let origin = node.get("publish").map_or(Origin::Default, |node| node.origin.clone());
            node.set(&["publish"], Node::new(folder, origin));
        }
        stages.entries_mut().push((Key { name, origin: key.origin }, node));
    }
    let mut union = base.clone();
    union.set(&["stage"], stages);
    let points = serde_json::to_value(points).unwrap_or_default();
    union.set(&["sweep"], Node::from_json(&serde_json::json!({ "points": points })));
    union
}
