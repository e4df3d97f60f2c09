//! References between stages: `"@stage"`, `"@stage.output"`, paths and keywords.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::hub::HubFile;
use super::node::Node;
use super::problem::{Problem, Problems, did_you_mean};
use super::resolve::{GivenInput, InputBinding, InputSource, Instance, StageSpec, label};
use crate::bind::shown_path;
use crate::graph;
use crate::stage::{InputForm, InputSpec, OutputForm, OutputSpec};

/// What an input's text means.
pub(crate) enum Reference<'a> {
    /// A word of the kind.
    Keyword,
    /// A file or folder.
    Path(PathBuf),
    /// A file on the hub, or what is wrong with its address.
    Hub(Result<HubFile, String>),
    /// Another stage's output.
    Stage { stage: &'a str, output: Option<&'a str> },
}

/// Reads an input's text.
pub(crate) fn parse<'a>(text: &'a str, spec: &InputSpec, root: &Path) -> Reference<'a> {
    if spec.keywords.contains(&text) {
        return Reference::Keyword;
    }
    if let Some(file) = HubFile::parse(text) {
        return Reference::Hub(file);
    }
    match text.strip_prefix('@') {
        Some(reference) => match reference.split_once('.') {
            Some((stage, output)) => Reference::Stage { stage, output: Some(output) },
            None => Reference::Stage { stage: reference, output: None },
        },
        None => Reference::Path(root.join(text)),
    }
}

/// Adds a problem for every reference that leads nowhere and every path that is not there.
pub(super) fn check(stages: &[StageSpec], root: &Path, problems: &mut Problems) {
    for stage in stages {
        for GivenInput { spec, node, .. } in &stage.inputs {
            check_reference(spec, node, stages, root, problems);
        }
    }
}

/// Checks one reference and, where it names a stage, finds that stage and its output.
fn check_reference<'a>(
    spec: &'static InputSpec,
    node: &Node,
    stages: &'a [StageSpec],
    root: &Path,
    problems: &mut Problems,
) -> Option<(&'a StageSpec, &'static OutputSpec)> {
    let text = node.as_text()?;
    match parse(text, spec, root) {
        Reference::Keyword => None,
        Reference::Path(path) => {
            check_path(spec, node, root, &path, problems);
            None
        }
        Reference::Hub(file) => {
            check_hub(spec, node, file, problems);
            None
        }
        Reference::Stage { stage, output } => {
            let Some(found) = stages.iter().find(|known| known.name == stage) else {
                let names = stages.iter().map(|known| known.name.as_str());
                let help = did_you_mean(stage, names.clone())
                    .unwrap_or_else(|| format!("stages: {}", names.collect::<Vec<_>>().join(", ")));
                let message = format!("`{}` refers to the unknown stage `{stage}`", spec.name);
                problems.add(Problem::at(node.origin.clone(), "unknown-stage", message).help(help));
                return None;
            };
            find_output(spec, node, found, output, problems).map(|output| (found, output))
        }
    }
}

fn find_output(
    spec: &InputSpec,
    node: &Node,
    stage: &StageSpec,
    output: Option<&str>,
    problems: &mut Problems,
) -> Option<&'static OutputSpec> {
    let outputs = stage.kind.about().outputs;
    let found = match output {
        None => outputs.first(),
        Some(name) => outputs.iter().find(|known| known.name == name),
    };
    let Some(found) = found else {
        let known: Vec<&str> = outputs.iter().map(|output| output.name).collect();
        let name = output.unwrap_or_default();
        let help = did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("outputs of `{}`: {}", stage.name, known.join(", ")));
        let message = format!("stage `{}` has no output `{name}`", stage.name);
        problems.add(Problem::at(node.origin.clone(), "unknown-output", message).help(help));
        return None;
    };
    let fits = match (spec.form, found.form) {
        (InputForm::File, form) => matches!(form, OutputForm::File(_)),
        (InputForm::Table, form) => !matches!(form, OutputForm::Collection(_)),
        (InputForm::Tree | InputForm::Collection, form) => {
            matches!(form, OutputForm::Tree | OutputForm::Collection(_))
        }
    };
    if !fits {
        let message =
            format!("`{}` needs a {}, which `{}.{}` is not", spec.name, spec.form, stage.name, found.name);
        let help = format!("it is {}: {}", form_words(found.form), found.summary);
        problems.add(Problem::at(node.origin.clone(), "wrong-form", message).help(help));
    }
    Some(found)
}

fn check_hub(spec: &InputSpec, node: &Node, file: Result<HubFile, String>, problems: &mut Problems) {
    let problem = match file {
        Err(what) => Problem::at(node.origin.clone(), "hub-address", format!("`{}`: {what}", spec.name))
            .help("such as hf://openai/clip-vit-base-patch32"),
        Ok(file) if spec.form != InputForm::File => {
            let message = format!("`{}` needs a {}, but {file} is a file", spec.name, noun(spec.form));
            Problem::at(node.origin.clone(), "wrong-form", message).help("give a path")
        }
        Ok(_) => return,
    };
    problems.add(problem);
}

fn check_path(spec: &InputSpec, node: &Node, root: &Path, path: &Path, problems: &mut Problems) {
    let shown = shown_path(root, path);
    let give = match &node.variable {
        Some(name) => format!("give it with --set {name}=PATH, or put it there"),
        None => "correct the path, or put it there".to_string(),
    };
    let (code, message) = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ("missing-file", format!("`{}`: there is no {} {}", spec.name, noun(spec.form), shown))
        }
        Err(error) => ("unreadable", format!("`{}`: cannot read {shown}: {error}", spec.name)),
        Ok(metadata) => {
            let folder_wanted = matches!(spec.form, InputForm::Tree | InputForm::Collection);
            if metadata.is_dir() == folder_wanted {
                return;
            }
            let found = if metadata.is_dir() { "a folder" } else { "a file" };
            ("wrong-form", format!("`{}` needs a {}, but {shown} is {found}", spec.name, noun(spec.form)))
        }
    };
    let mut help = give;
    if !spec.keywords.is_empty() {
        help = format!("{help}; or use the word \"{}\"", spec.keywords.join("\" or \""));
    }
    problems.add(Problem::at(node.origin.clone(), code, message).help(help));
}

fn form_words(form: OutputForm) -> &'static str {
    match form {
        OutputForm::File(_) => "one file",
        OutputForm::Table(_) => "a table",
        OutputForm::Tree => "a folder",
        OutputForm::Collection(_) => "a collection",
    }
}

fn noun(form: InputForm) -> &'static str {
    match form {
        InputForm::Table => "table (CSV file)",
        InputForm::File => "file",
        InputForm::Tree | InputForm::Collection => "folder",
    }
}

/// Makes the instances, in an order in which inputs come first.
pub(super) fn bind(stages: Vec<StageSpec>, root: &Path, problems: &mut Problems) -> Vec<Instance> {
    let order = graph::order(&stages);
    let mut positions: HashMap<(usize, usize), usize> = HashMap::new();
    let mut instances = Vec::new();
    for &stage in &order {
        for variant in 0..stages[stage].variants.len() {
            positions.insert((stage, variant), instances.len());
            let spec = &stages[stage];
            let inputs = spec
                .inputs
                .iter()
                .filter_map(|given| bind_input(given, (stage, variant), &stages, root, &positions, problems))
                .collect();
            let chosen = &spec.variants[variant];
            instances.push(Instance {
                stage: spec.name.clone(),
                label: label(&spec.name, &chosen.selector),
                selector: chosen.selector.clone(),
                kind: spec.kind,
                params: chosen.params.clone(),
                origins: chosen.origins.clone(),
                inputs,
                resources: spec.resources,
                is_last: true,
            });
        }
    }
    let used: BTreeSet<usize> = instances.iter().flat_map(Instance::upstream).collect();
    for position in used {
        instances[position].is_last = false;
    }
    instances
}

fn bind_input(
    GivenInput { spec, name, node }: &GivenInput,
    (stage, variant): (usize, usize),
    stages: &[StageSpec],
    root: &Path,
    positions: &HashMap<(usize, usize), usize>,
    problems: &mut Problems,
) -> Option<InputBinding> {
    let given = node.as_text()?.to_string();
    let mut quiet = Problems::default();
    // What is wrong with a reference is wrong for every instance; it is told for the first.
    let target = check_reference(spec, node, stages, root, if variant == 0 { problems } else { &mut quiet });
    let sources = match parse(&given, spec, root) {
        Reference::Keyword => vec![InputSource::Keyword(given.clone())],
        Reference::Path(path) => vec![InputSource::Path(path)],
        Reference::Hub(file) => vec![InputSource::Hub(file.ok()?)],
        Reference::Stage { .. } => {
            let (target, output) = target?;
            let target_position = stages.iter().position(|known| known.name == target.name)?;
            let chosen = matching(&stages[stage], variant, target);
            check_count(spec, node, &stages[stage], variant, target, &chosen, problems);
            chosen
                .into_iter()
                .filter_map(|index| positions.get(&(target_position, index)))
                .map(|instance| InputSource::Output { instance: *instance, output: output.name })
                .collect()
        }
    };
    let (origin, variable) = (node.origin.clone(), node.variable.clone());
    Some(InputBinding { spec, name: name.clone(), origin, variable, given, sources })
}

/// The instances of `target` that agree with the variant on every foreach key that both have.
fn matching(stage: &StageSpec, variant: usize, target: &StageSpec) -> Vec<usize> {
    let own = &stage.variants[variant].selector;
    let shared: Vec<&String> = stage.foreach.iter().filter(|key| target.foreach.contains(key)).collect();
    let agrees =
        |index: &usize| shared.iter().all(|key| target.variants[*index].selector.get(*key) == own.get(*key));
    (0..target.variants.len()).filter(agrees).collect()
}

fn check_count(
    spec: &InputSpec,
    node: &Node,
    stage: &StageSpec,
    variant: usize,
    target: &StageSpec,
    chosen: &[usize],
    problems: &mut Problems,
) {
    let own = label(&stage.name, &stage.variants[variant].selector);
    if chosen.is_empty() {
        let message =
            format!("`{own}` has no matching instance of `{}` for its input `{}`", target.name, spec.name);
        let problem = Problem::at(node.origin.clone(), "no-instance", message);
        problems.add(problem.help("give both stages the same foreach values"));
    } else if chosen.len() > 1 && !spec.many && variant == 0 {
        let message = format!(
            "`{}` takes one artifact, but `{}` has {} instances",
            spec.name,
            target.name,
            chosen.len()
        );
        let problem = Problem::at(node.origin.clone(), "many-instances", message);
        problems
            .add(problem.help(format!("give `{}` the same foreach key as `{}`", stage.name, target.name)));
    }
}

/// Numbers by size, everything else by text.
pub(super) fn compare_values(a: &[Value], b: &[Value]) -> Ordering {
    let compare = |(a, b): (&Value, &Value)| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.to_string().cmp(&b.to_string()),
    };
    a.iter().zip(b).map(compare).find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
}
