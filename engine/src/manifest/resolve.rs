//! From a manifest file, or from what a record keeps of one, to a pipeline.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::document::document_schema;
use super::layers::{self, Layers, Overrides};
use super::node::{Node, Origin};
use super::pipeline::{InputSource, Instance, Pipeline};
use super::problem::{ManifestError, Problem, Problems};
use super::stage_table::Seed;
use super::sweep::Point;
use super::{instances, references, schema_check, stage_table, sweep};
use crate::bind::shown_path;
use crate::graph;
use crate::publish::{plain_path, publisher_of, refuse_conflicts};
use crate::record::RunHeader;
use crate::registry::Registry;

/// The seed of a manifest that states none.
const DEFAULT_SEED: u64 = 42;

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
    sweep::check(&layers.unresolved, registry, &mut problems);
    let (pipeline, problems) = resolve(layers, (path, overrides), registry, problems)?;
    problems.or(pipeline)
}

/// Reads a manifest and resolves all points of its `[sweep]` as one pipeline, in which what points share is there once. A value in
/// `overrides` that is a list, or has several separated by commas, is a key of the sweep; one that is not takes the place of
/// the sweep's values.
///
/// # Errors
/// Everything that is wrong with the manifest, and with the first point that is wrong.
pub fn load_sweep(
    path: &Path,
    overrides: &Overrides,
    registry: &Registry,
) -> Result<(Pipeline, Vec<Point>), ManifestError> {
    let mut problems = Problems::default();
    let (plain, swept) = sweep::split_overrides(overrides);
    let layers = layers::load(path, &plain, &mut problems)?;
    let points = sweep::points(layers.unresolved.get("sweep"), &swept, &mut problems);
    let (tree, points) = sweep::union((&layers.tree, &layers.unresolved), &points, registry, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_error());
    }
    let layers = Layers { tree, ..layers };
    let (pipeline, problems) = resolve(layers, (path, overrides), registry, problems)?;
    Ok((problems.or(pipeline)?, points))
}

/// The pipeline of a run that is over, out of what its record keeps of the manifest: with variables and overrides put in,
/// and without the places where values were written. Inputs that are gone stay in it; they are missed when they are read.
/// Paths are read against `root`.
///
/// # Errors
/// What this program's kinds do not understand.
pub fn recorded_pipeline(
    header: &RunHeader,
    manifest: &serde_json::Value,
    root: &Path,
    registry: &Registry,
) -> Result<Pipeline, ManifestError> {
    let tree = Node::from_json(manifest);
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
    let layers = Layers { unresolved: tree.clone(), tree, root, unused_variables: Vec::new() };
    let overrides = Overrides { set: header.set.clone(), profiles: header.profiles.clone() };
    let about = (header.manifest.as_path(), &overrides);
    let (pipeline, problems) = resolve(layers, about, registry, Problems::default())?;
    problems.but_for(NOT_NOW).or(Pipeline { resolved: manifest.clone(), ..pipeline })
}

/// What is told of inputs that are not there, and of folders that could not be published to now.
const NOT_NOW: [&str; 4] = ["missing-file", "unreadable", "publish", "published-input"];

/// The pipeline of a value tree, and all that is wrong with it.
fn resolve(
    layers: Layers,
    (path, overrides): (&Path, &Overrides),
    registry: &Registry,
    mut problems: Problems,
) -> Result<(Pipeline, Problems), ManifestError> {
    schema_check::check(&layers.tree, &document_schema(), "", &mut problems);
    // Everything is looked at even so: a wrong key in one place must not hide an unknown stage in another.
    let stages = stage_table::read_stages(&layers.tree, registry, &mut problems);
    if stages.is_empty() && problems.is_empty() {
        let problem = Problem::general("no-stages", format!("{} has no [stage.…] table", path.display()));
        problems.add(problem.help("`pipe init` writes an example"));
    }
    graph::check_cycles(&stages, &mut problems);
    if !problems.is_empty() {
        references::check(&stages, &layers.root, &mut problems);
        return Err(problems.into_error());
    }
    let pipeline_table = layers.tree.get("pipeline");
    let seed = Seed::read(pipeline_table);
    let seed = seed.unwrap_or(Seed { value: DEFAULT_SEED, origin: Origin::Default });
    let instances = instances::bind(&stages, &seed, &layers.root, &mut problems);
    let text = |key: &str| pipeline_table.and_then(|table| table.get(key)?.as_text());
    let stem = path.file_stem().map_or("pipeline".into(), |stem| stem.to_string_lossy());
    let name = text("name").unwrap_or(&stem).to_string();
    let publish = read_publish(&layers.tree, &layers.root, &instances, &mut problems);
    let pipeline = Pipeline {
        name,
        manifest: path.to_path_buf(),
        root: layers.root,
        seed: seed.value,
        seed_origin: seed.origin,
        overrides: overrides.clone(),
        instances,
        publish,
        resolved: layers.tree.to_json(),
        unused_variables: layers.unused_variables,
    };
    Ok((pipeline, problems))
}

/// The folders that stages are published to: one for each, within the project or elsewhere, but never the project's
/// root, an ancestor of it or an input's folder, where published files could replace inputs.
fn read_publish(
    tree: &Node,
    root: &Path,
    instances: &[Instance],
    problems: &mut Problems,
) -> Vec<(String, PathBuf)> {
    let inputs: BTreeSet<&PathBuf> = instances.iter().flat_map(Instance::paths).collect();
    let inputs: Vec<&PathBuf> = inputs.into_iter().collect();
    let stages = tree.get("stage").map_or(&[][..], Node::entries);
    let mut folders: Vec<(String, PathBuf)> = Vec::new();
    for (key, stage) in stages {
        let Some(node) = stage.get("publish") else { continue };
        let Some(text) = node.as_text() else { continue };
        let folder = plain_path(&root.join(text));
        if let Err((message, help)) = refuse_conflicts(text, (&folder, root), &inputs, &folders) {
            problems.add(Problem::at(node.origin.clone(), "publish", message).help(help));
        }
        folders.push((key.name.clone(), folder));
    }
    refuse_published_inputs(instances, root, &folders, problems);
    folders
}

/// Refuses paths of inputs that lead to what a stage of the same manifest publishes: they would be read before they are
/// written, or written over.
fn refuse_published_inputs(
    instances: &[Instance],
    root: &Path,
    folders: &[(String, PathBuf)],
    problems: &mut Problems,
) {
    let mut publishers: HashMap<&Path, Option<&str>> = HashMap::new();
    for binding in instances.iter().flat_map(|instance| instance.inputs.iter()) {
        for source in binding.sources.iter() {
            let InputSource::Path(path) = source else { continue };
            let publisher = publishers.entry(path).or_insert_with(|| publisher_of(folders, path));
            let Some(stage) = publisher else { continue };
            let shown = shown_path(root, path);
            let message = format!("`{}`: {shown} lies in what stage `{stage}` publishes", binding.spec.name);
            let help = format!("give \"@{stage}\" to use what this run makes, or publish to another folder");
            problems.add(Problem::at(binding.origin.clone(), "published-input", message).help(help));
        }
    }
}
