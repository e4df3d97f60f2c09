//! What the text of an input leads to: `"@stage"`, `"@stage.output"`, paths, files on the hub and keywords.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::hub::HubFile;
use super::node::Node;
use super::problem::{Problem, Problems, did_you_mean};
use super::stage_table::{GivenInput, StageSpec};
use crate::bind::{missing_path, shell_head, shown_path};
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
    let stages = &StagesByName::new(stages);
    for stage in stages.all {
        for GivenInput { spec, node, .. } in &stage.inputs {
            check_reference(spec, node, stages, root, problems);
        }
    }
}

/// All stages, and where each name is.
pub(crate) struct StagesByName<'a> {
    pub(crate) all: &'a [StageSpec],
    positions: HashMap<&'a str, usize>,
}

impl<'a> StagesByName<'a> {
    pub(crate) fn new(all: &'a [StageSpec]) -> Self {
        let positions = all.iter().enumerate().map(|(position, stage)| (stage.name.as_str(), position));
        Self { all, positions: positions.collect() }
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }
}

/// Checks one reference and, where it names a stage, finds that stage's position and its output.
pub(super) fn check_reference(
    spec: &'static InputSpec,
    node: &Node,
    stages: &StagesByName<'_>,
    root: &Path,
    problems: &mut Problems,
) -> Option<(usize, &'static OutputSpec)> {
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
            let Some(found) = stages.position(stage) else {
                let names = stages.all.iter().map(|known| known.name.as_str());
                let help = did_you_mean(stage, names.clone())
                    .unwrap_or_else(|| format!("stages: {}", names.collect::<Vec<_>>().join(", ")));
                let message = format!("`{}` refers to the unknown stage `{stage}`", spec.name);
                problems.add(Problem::at(node.origin.clone(), "unknown-stage", message).help(help));
                return None;
            };
            find_output(spec, node, &stages.all[found], output, problems).map(|output| (found, output))
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
        (InputForm::Any, _) => true,
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
        Ok(file) if !matches!(spec.form, InputForm::File | InputForm::Any) => {
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
            let missing = missing_path(root, path);
            ("missing-file", format!("`{}`: there is no {} {missing}", spec.name, noun(spec.form)))
        }
        Err(error) => ("unreadable", format!("`{}`: cannot read {shown}: {error}", spec.name)),
        Ok(metadata) => {
            let is_right = match spec.form {
                InputForm::Any => metadata.is_dir() || metadata.is_file(),
                InputForm::Tree | InputForm::Collection => metadata.is_dir(),
                InputForm::Table | InputForm::File => metadata.is_file(),
            };
            if is_right {
                return;
            }
            let found = match (metadata.is_dir(), metadata.is_file()) {
                (true, _) => "a folder",
                (_, true) => "a file",
                _ => "neither a file nor a folder",
            };
            ("wrong-form", format!("`{}` needs a {}, but {shown} is {found}", spec.name, noun(spec.form)))
        }
    };
    let mut help = match node.as_text().and_then(shell_head) {
        Some(head) => format!("`{head}` is put in by a shell, and not here: write the path out"),
        None => give,
    };
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
        InputForm::Any => "file or folder",
        InputForm::Tree | InputForm::Collection => "folder",
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
