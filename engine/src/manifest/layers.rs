//! From files and command line to one value tree: `extends`, profiles, `--set`, variables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::inherit;
use super::node::{Content, Node, Origin, parse_file, parse_value};
use super::problem::{ManifestError, Problem, Problems, did_you_mean};
use super::variables::{Variables, used_names};

/// What the user asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `KEY=VALUE` texts of `--set`, in order.
    pub set: Vec<String>,
    /// Names of `--profile`, in order.
    pub profiles: Vec<String>,
}

/// The merged value tree of a manifest.
pub struct Layers {
    /// All tables with variables replaced.
    pub tree: Node,
    /// The same before variables are replaced.
    pub unresolved: Node,
    /// The folder that paths are read against.
    pub root: PathBuf,
    /// Variables that are given and used nowhere, with the places that give them.
    pub unused_variables: Vec<(String, Origin)>,
}

/// Reads a manifest and everything it extends, and applies profiles and overrides. Unknown profiles,
/// overrides and variables are added to the problems; reading goes on without them.
///
/// # Errors
/// Files that cannot be read or parsed: nothing sensible can be said of the rest then.
pub fn load(path: &Path, overrides: &Overrides, problems: &mut Problems) -> Result<Layers, ManifestError> {
    let mut unreadable = Problems::default();
    let mut tree = read_chain(path, &mut Vec::new(), &mut unreadable);
    unreadable.or(())?;
    apply_profiles(&mut tree, &overrides.profiles, problems);
    for text in &overrides.set {
        apply_set(&mut tree, text, problems);
    }
    let unused_variables = unused_variables(&tree, path);
    let unresolved = tree.clone();
    put_in_variables(&mut tree, problems);
    let stated_root = stated_root(&tree, path);
    let root = fs::canonicalize(&stated_root).unwrap_or_else(|_| stated_root.clone());
    if let (false, Some(stated)) =
        (root.is_dir(), tree.get("pipeline").and_then(|pipeline| pipeline.get("root")))
    {
        let message = format!("`root` is {}, which is not a folder", root.display());
        let help = "give a folder relative to this file's, or leave `root` out";
        problems.add(Problem::at(stated.origin.clone(), "no-root", message).help(help));
    }
    Ok(Layers { tree, unresolved, root, unused_variables })
}

/// Replaces variables by their values, wherever they may stand.
pub(super) fn put_in_variables(tree: &mut Node, problems: &mut Problems) {
    let variables = Variables::resolve(tree.get("vars"), problems);
    for (key, node) in tree.entries_mut() {
        if matches!(key.name.as_str(), "pipeline" | "stage") {
            variables.substitute(node, problems);
        }
    }
}

/// Variables that nothing uses, with the places that give them: those of this manifest, profiles and overrides. A manifest
/// that extends another need not use all of the other's.
fn unused_variables(tree: &Node, path: &Path) -> Vec<(String, Origin)> {
    let used: BTreeSet<String> = tree.entries().iter().flat_map(|(_, node)| used_names(node)).collect();
    let is_own = |origin: &Origin| match origin {
        Origin::Manifest(location) => location.source.path == path,
        _ => true,
    };
    let variables = tree.get("vars").map_or(&[][..], Node::entries).iter();
    variables
        .filter(|(key, node)| !used.contains(&key.name) && is_own(&node.origin))
        .map(|(key, node)| (key.name.clone(), node.origin.clone()))
        .collect()
}

/// A manifest laid over the one that it extends. `chain` holds the files so far, links followed.
fn read_chain(path: &Path, chain: &mut Vec<PathBuf>, problems: &mut Problems) -> Node {
    let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if chain.contains(&identity) {
        let names: Vec<String> =
            chain.iter().chain([&identity]).map(|path| path.display().to_string()).collect();
        problems.add(Problem::general(
            "extends-cycle",
            format!("manifests extend each other: {}", names.join(" -> ")),
        ));
        return Node::empty_table(Origin::Default);
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read the manifest {}: {error}", path.display());
            problems
                .add(Problem::general("unreadable", message).help("give the path of a pipeline's TOML file"));
            return Node::empty_table(Origin::Default);
        }
    };
    chain.push(identity);
    let mut tree = parse_file(path, text, problems);
    anchor_root(&mut tree, path);
    let Some(base) = tree.get("extends").and_then(Node::as_text) else {
        inherit::refuse_removals(&tree, problems);
        return tree;
    };
    let base = path.parent().unwrap_or(Path::new("")).join(base);
    if let (false, Some(stated)) = (base.is_file(), tree.get("extends")) {
        let message = format!("there is no manifest {} to extend", base.display());
        let help = "`extends` is a path relative to this file's folder";
        problems.add(Problem::at(stated.origin.clone(), "unreadable", message).help(help));
        return tree;
    }
    let mut merged = read_chain(&base, chain, problems);
    tree.entries_mut().retain(|(key, _)| key.name != "extends");
    inherit::extend(&mut merged, tree, problems);
    merged
}

/// A `root` is meant against the file that states it, also when another manifest extends that file.
fn anchor_root(tree: &mut Node, path: &Path) {
    let Some(root) = tree.get("pipeline").and_then(|pipeline| pipeline.get("root")) else { return };
    let (Some(text), origin) = (root.as_text(), root.origin.clone()) else { return };
    let folder = path.parent().unwrap_or(Path::new("")).join(text);
    let anchored = Node::new(Content::Text(folder.to_string_lossy().into_owned()), origin);
    tree.set(&["pipeline", "root"], anchored);
}

fn stated_root(tree: &Node, path: &Path) -> PathBuf {
    let stated = tree.get("pipeline").and_then(|pipeline| pipeline.get("root")).and_then(Node::as_text);
    let folder = stated.map_or_else(|| path.parent().unwrap_or(Path::new("")).to_path_buf(), PathBuf::from);
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }
}

fn apply_profiles(tree: &mut Node, names: &[String], problems: &mut Problems) {
    for name in names {
        let Some(profile) = tree.get("profile").and_then(|profiles| profiles.get(name)).cloned() else {
            let known =
                tree.get("profile").map_or(&[][..], Node::entries).iter().map(|(key, _)| key.name.as_str());
            let known: Vec<&str> = known.collect();
            let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known.is_empty() {
                true => "the manifest has no [profile.…] table".to_string(),
                false => format!("known profiles: {}", known.join(", ")),
            });
            problems.add(Problem::general("unknown-profile", format!("unknown profile `{name}`")).help(help));
            continue;
        };
        for (key, mut value) in profile.entries().to_vec() {
            let origin = match (&key.origin, key.origin.location()) {
                (_, Some(location)) => Origin::Profile(name.clone(), location.clone()),
                (other, None) => other.clone(),
            };
            value.origin = origin.clone();
            apply(tree, &key.name, value, &origin, problems);
        }
    }
}

fn apply_set(tree: &mut Node, text: &str, problems: &mut Problems) {
    let origin = Origin::CommandLine(text.to_string());
    let Some((key, value)) = text.split_once('=') else {
        let problem = Problem::at(origin, "override-syntax", "an override is written KEY=VALUE");
        problems.add(problem.help("for example --set train.lr=3e-5"));
        return;
    };
    let value = parse_value(value.trim(), &origin);
    apply(tree, key.trim(), value, &origin, problems);
}

/// One override: `VAR`, `STAGE.PARAM`, `STAGE.inputs.NAME`, `STAGE.foreach.KEY` or `pipeline.seed`.
pub(super) fn apply(tree: &mut Node, key: &str, value: Node, origin: &Origin, problems: &mut Problems) {
    let parts: Vec<&str> = key.split('.').collect();
    let names = |table: &str| -> Vec<String> {
        tree.get(table).map_or(&[][..], Node::entries).iter().map(|(key, _)| key.name.clone()).collect()
    };
    let (stages, variables) = (names("stage"), names("vars"));
    let unknown = |what: &str, name: &str, known: &[String]| {
        let help = did_you_mean(name, known.iter().map(String::as_str))
            .unwrap_or_else(|| format!("known: {}", known.join(", ")));
        Problem::at(origin.clone(), "unknown-override", format!("`{key}`: there is no {what} `{name}`"))
            .help(help)
    };
    match parts.as_slice() {
        [name] if variables.iter().any(|known| known == name) => tree.set(&["vars", name], value),
        [name] => problems.add(unknown("variable", name, &variables)),
        ["pipeline", "seed"] => tree.set(&["pipeline", "seed"], value),
        [stage, ..] if !stages.iter().any(|known| known == stage) => {
            problems.add(unknown("stage", stage, &stages));
        }
        [stage, table @ ("inputs" | "foreach"), name] => tree.set(&["stage", stage, table, name], value),
        [stage, rest @ ..] => {
            let path: Vec<&str> =
                ["stage", stage, "params"].into_iter().chain(rest.iter().copied()).collect();
            tree.set(&path, value);
        }
        [] => {}
    }
}
