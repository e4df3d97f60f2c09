//! From what a stage says to a kind of its own, with inputs and outputs of its own; and all that is wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use pipe_cache::{Digest, Hasher, check_name};
use pipe_plugin::stage::{
    About, Declaration, FileColumn, InputForm, InputSpec, LeadsTo, Misdeclared, OutputForm, OutputSpec,
};

use pipe_plugin::table::nearest;

use crate::container::IMAGE;
use crate::params::{CommandParams, Each, EachRow};
use crate::shell::{self, Misplaced};
use crate::template::Template;

/// What a stage declares. It lives as long as the process, like kinds do.
#[derive(Debug)]
pub struct Declared {
    /// What the kind is.
    pub about: &'static About,
    /// The columns of input tables whose cells lead to files, by input.
    pub files: BTreeMap<&'static str, Vec<FileColumn>>,
    /// What it runs once for.
    pub items: Option<Items>,
    /// Whether its program runs in a container.
    pub is_contained: bool,
}

/// What a stage runs once for.
#[derive(Debug)]
pub enum Items {
    /// Rows of a table.
    Rows {
        /// The input.
        input: &'static str,
        /// How rows become items.
        rows: EachRow,
    },
    /// Files of a collection.
    Files {
        /// The input.
        input: &'static str,
    },
}

/// What a stage declares, the same for the same declaration.
///
/// # Errors
/// All that is wrong with it.
pub fn declared(base: &About, declaration: &Declaration<'_>) -> Result<&'static Declared, Vec<Misdeclared>> {
    let params: CommandParams = serde_json::from_value(declaration.params.clone()).map_err(|error| {
        vec![misdeclared("run", error.to_string(), "`pipe stages command` explains the parameters")]
    })?;
    let mut problems = Vec::new();
    let items = items(&params, declaration.inputs, &mut problems);
    let outputs = outputs(&params, items.is_some(), &mut problems);
    check_files(&params, declaration.inputs, &outputs, &mut problems);
    let used = check_templates(&params, declaration.inputs, items.as_ref(), &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut inputs = declaration.inputs.to_vec();
    if params.container.is_some() && !inputs.iter().any(|input| input == IMAGE) {
        inputs.push(IMAGE.to_string());
    }
    // The same however it was given.
    inputs.sort();
    let draft = Draft { base, params: &params, inputs: &inputs, items, outputs, used };
    Ok(draft.kept())
}

/// Placeholders that are no inputs.
const OWN: [&str; 4] = ["params", "seed", "threads", "item"];

/// The parameters that are not a program's own.
const PARAMETERS: [&str; 14] = [
    "container",
    "run",
    "shell",
    "outputs",
    "each",
    "files",
    "env",
    "tools",
    "software",
    "network",
    "gpu",
    "deterministic",
    "strict",
    "retry",
];

/// A declaration without faults.
struct Draft<'a> {
    base: &'a About,
    params: &'a CommandParams,
    inputs: &'a [String],
    items: Option<(String, Option<EachRow>)>,
    outputs: Vec<(String, Form)>,
    used: BTreeSet<String>,
}

/// What an output is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Folder,
    File(String),
    Collection(String),
}

impl Draft<'_> {
    /// Declarations are kept as long as the process lives: there are as many as stages differ.
    fn kept(self) -> &'static Declared {
        static KEPT: OnceLock<Mutex<HashMap<Digest, &'static Declared>>> = OnceLock::new();
        let name = self.digest();
        let mut kept = KEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(name).or_insert_with(|| Box::leak(Box::new(self.declared())))
    }

    /// A digest of all that decides the kind.
    fn digest(&self) -> Digest {
        let (random, params) = (self.used.contains("seed"), self.params);
        let what = format!(
            "{:?}",
            (
                self.inputs,
                &self.items,
                &self.outputs,
                &params.files,
                params.gpu,
                params.deterministic,
                random
            )
        );
        let mut hasher = Hasher::new("pipe declaration of a command, version 1");
        hasher.field(what);
        hasher.finish()
    }

    fn declared(&self) -> Declared {
        let inputs: Vec<InputSpec> = self.inputs.iter().map(|name| self.input(name)).collect();
        let outputs: Vec<OutputSpec> = self.outputs.iter().map(|(name, form)| output(name, form)).collect();
        let columns = |names: &Vec<String>| {
            names.iter().map(|name| FileColumn::new(text(name), LeadsTo::FileOrFolder).optional()).collect()
        };
        let base = self.base;
        let about = About {
            inputs: Vec::leak(inputs),
            outputs: Vec::leak(outputs),
            random: self.used.contains("seed"),
            device: self.params.gpu,
            deterministic: self.params.deterministic,
            ..About::new(base.name, base.summary, base.code)
        };
        Declared {
            about: Box::leak(Box::new(about)),
            files: self.params.files.iter().map(|(input, names)| (text(input), columns(names))).collect(),
            is_contained: self.inputs.iter().any(|input| input == IMAGE),
            items: self.items.as_ref().map(|(input, rows)| match rows {
                Some(rows) => Items::Rows { input: text(input), rows: rows.clone() },
                None => Items::Files { input: text(input) },
            }),
        }
    }

    fn input(&self, name: &str) -> InputSpec {
        if name == IMAGE {
            let summary = "an image for Apptainer or Singularity";
            return InputSpec::new(IMAGE, InputForm::File, summary).also_parameter();
        }
        let of_items = self.items.as_ref().filter(|(input, _)| input == name).map(|(_, rows)| rows.is_some());
        let form = match (of_items, self.params.files.contains_key(name)) {
            (Some(true), _) | (None, true) => InputForm::Table,
            (Some(false), _) => InputForm::Collection,
            (None, false) => InputForm::Any,
        };
        let spec = InputSpec::new(text(name), form, "what the stage gives its program");
        if form == InputForm::Any { spec.many() } else { spec }
    }
}

fn output(name: &str, form: &Form) -> OutputSpec {
    let form = match form {
        Form::Table => OutputForm::Table(text(&format!("{name}.csv"))),
        Form::Folder => OutputForm::Tree,
        Form::File(file) => OutputForm::File(text(file)),
        Form::Collection(extension) => OutputForm::Collection(text(extension)),
    };
    OutputSpec { name: text(name), summary: "what the program makes", form }
}

fn text(text: &str) -> &'static str {
    String::leak(text.to_string())
}

fn misdeclared(name: &str, problem: impl Into<String>, advice: &str) -> Misdeclared {
    Misdeclared { name: name.to_string(), problem: problem.into(), advice: Some(advice.to_string()) }
}

/// What the stage runs once for: an input, and how its rows become items where it is a table.
fn items(
    params: &CommandParams,
    inputs: &[String],
    problems: &mut Vec<Misdeclared>,
) -> Option<(String, Option<EachRow>)> {
    let (mut rows, is_table) = match params.each.as_ref()? {
        Each::Of(word) if word == "row" => (EachRow { batch: 1, ..EachRow::default() }, true),
        Each::Of(input) => (EachRow::of(input), is_table(params, input)),
        Each::Rows(rows) => (EachRow { batch: rows.batch.max(1), ..rows.clone() }, true),
    };
    let tables: Vec<&String> = params.files.keys().collect();
    let input = match (rows.rows.take(), &*tables, inputs) {
        (Some(input), ..) => input,
        (None, [table], _) => (*table).clone(),
        (None, _, [only]) => only.clone(),
        _ => {
            let problem = "`each` does not say of which input";
            problems.push(misdeclared(
                "each",
                problem,
                "name it: each = \"INPUT\", or each = { rows = \"INPUT\" }",
            ));
            return None;
        }
    };
    if !inputs.contains(&input) {
        let problem = format!("`each` names the input `{input}`, which the stage does not have");
        problems.push(misdeclared("each", problem, &known("inputs", inputs)));
        return None;
    }
    Some((input, is_table.then_some(rows)))
}

/// Whether an input that `each` names by itself is a table: its columns are spoken of.
fn is_table(params: &CommandParams, input: &str) -> bool {
    let of_row = |template: &Template| template.names().any(|name| name.starts_with("row."));
    params.files.contains_key(input) || all_templates(params).iter().any(|(_, template)| of_row(template))
}

fn known(what: &str, names: &[String]) -> String {
    match names.is_empty() {
        true => format!("it has no {what}"),
        false => format!("{what}: {}", names.join(", ")),
    }
}

fn outputs(params: &CommandParams, is_each: bool, problems: &mut Vec<Misdeclared>) -> Vec<(String, Form)> {
    let mut outputs = Vec::new();
    for (name, written) in &params.outputs {
        match (form(written), check_name(name)) {
            (Ok(form), Ok(())) if !name.contains('/') => outputs.push((name.clone(), form)),
            (Err(problem), _) => problems.push(misdeclared(
                "outputs",
                format!("the output `{name}` {problem}"),
                "write \"table\", \"folder\", a file's name such as \"roc.png\", or \"*.nii.gz\" for a collection",
            )),
            _ => problems.push(misdeclared(
                "outputs",
                format!("{name:?} cannot name an output"),
                "use letters, digits, `-` and `_`",
            )),
        }
    }
    if params.outputs.is_empty() {
        let advice = "declare what the program makes, such as outputs = { points = \"table\" }";
        problems.push(misdeclared("outputs", "a stage that runs a program needs `outputs`", advice));
    }
    let fits = |form: &Form| matches!(form, Form::Table | Form::Collection(_));
    if is_each && (outputs.len() != 1 || !outputs.iter().all(|(_, form)| fits(form))) {
        let problem = "a stage with `each` has one output, a collection or a table";
        let advice = "write the rest in another stage, or run once for all rows, without `each`";
        problems.push(misdeclared("outputs", problem, advice));
    }
    outputs
}

fn form(written: &str) -> Result<Form, &'static str> {
    match written {
        "table" => Ok(Form::Table),
        "folder" => Ok(Form::Folder),
        "file" | "collection" => Err("needs a name, to tell its extension"),
        _ => match written.strip_prefix("*.") {
            Some(extension) if is_plain(extension) => Ok(Form::Collection(extension.to_string())),
            None if written.contains('.') && is_plain(written) => Ok(Form::File(written.to_string())),
            _ => Err("is of no known form"),
        },
    }
}

fn is_plain(name: &str) -> bool {
    check_name(name).is_ok() && !name.contains(['/', '*', '\\'])
}

fn check_files(
    params: &CommandParams,
    inputs: &[String],
    outputs: &[(String, Form)],
    problems: &mut Vec<Misdeclared>,
) {
    for input in params.files.keys().filter(|input| !inputs.contains(input)) {
        let problem = format!("`files` names the input `{input}`, which the stage does not have");
        problems.push(misdeclared("files", problem, &known("inputs", inputs)));
    }
    if params.files.len() > 1 && outputs.iter().any(|(_, form)| *form == Form::Table) {
        let problem = "a table cannot be made of two tables that both lead to files";
        problems.push(misdeclared("files", problem, "leave one of them to a stage of its own"));
    }
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    for input in inputs.iter().filter(|input| OWN.contains(&input.as_str()) || !is_plain(input)) {
        let problem = format!("{input:?} cannot name an input");
        let advice = format!("use letters, digits, `-` and `_`, and none of {}", OWN.join(", "));
        problems.push(misdeclared(input, problem, &advice));
    }
    let is_folder = |folder: &str| folder.starts_with('/') && !folder.trim_matches('/').is_empty();
    for folder in params.software.iter().filter(|folder| !is_folder(folder)) {
        let problem = format!("`software` has {folder:?}, which is no absolute path of a folder of software");
        problems.push(misdeclared(
            "software",
            problem,
            "software is installed at the same place for all; files of the project are inputs",
        ));
    }
}

/// All texts with placeholders, with the parameter that each is of.
pub fn all_templates(params: &CommandParams) -> Vec<(&'static str, Template)> {
    let run = params.run.iter().map(|text| ("run", Template::parse(text)));
    let shell = (!params.shell.is_empty()).then(|| ("shell", Template::parse(&params.shell)));
    run.chain(shell).collect()
}

/// Checks the texts with placeholders, and gives the names of these.
fn check_templates(
    params: &CommandParams,
    inputs: &[String],
    items: Option<&(String, Option<EachRow>)>,
    problems: &mut Vec<Misdeclared>,
) -> BTreeSet<String> {
    let both = "a stage runs `run`, a program with its arguments, or `shell`, a script for bash";
    match (params.run.is_empty(), params.shell.is_empty()) {
        (true, true) => problems.push(misdeclared("run", both, "give one of them under params")),
        (false, false) => problems.push(misdeclared("shell", both, "leave one of them out")),
        _ => {}
    }
    if params.container.is_some() && !params.tools.is_empty() {
        let advice = "leave `tools` out: what is in the image counts by its content";
        problems.push(misdeclared(
            "tools",
            "`tools` are asked on the host, but the program runs in a container",
            advice,
        ));
    }
    let first = params.run.first().map(|first| Template::parse(first));
    if let Some(name) = first
        .iter()
        .flat_map(Template::names)
        .find(|name| name.starts_with("row.") || name.starts_with("out.") || *name == "item")
    {
        let problem = format!("`{{{name}}}` names the program, which must be the same for all");
        problems.push(misdeclared("run", problem, "name a program, such as \"python3\""));
    }
    if params.run.first().is_some_and(|program| program.is_empty()) {
        problems.push(misdeclared("run", "the first word of `run` names no program", "such as \"python3\""));
    }
    let mut used = BTreeSet::new();
    for (parameter, template) in all_templates(params) {
        for name in template.names() {
            used.insert(name.to_string());
            if let Err((problem, advice)) = check_placeholder(name, params, inputs, items) {
                problems.push(misdeclared(parameter, problem, &advice));
            }
        }
        if parameter == "shell" {
            for Misplaced { name, place } in shell::script(&template).err().unwrap_or_default() {
                let problem = format!("`{{{name}}}` stands {place}");
                problems.push(misdeclared(
                    parameter,
                    problem,
                    "it is one word by itself or between double quotes",
                ));
            }
        }
    }
    for name in params.own.keys().filter(|name| !used.contains(&format!("params.{name}"))) {
        // The program may find it in its file of parameters; unless it is a slip of the pen.
        if let Some(known) = nearest(name, PARAMETERS) {
            let problem = format!("the parameter `{name}` stands in no argument");
            problems.push(misdeclared(name, problem, &format!("did you mean `{known}`?")));
        }
    }
    problems.dedup();
    used
}

fn check_placeholder(
    name: &str,
    params: &CommandParams,
    inputs: &[String],
    items: Option<&(String, Option<EachRow>)>,
) -> Result<(), (String, String)> {
    let unknown = |what: String, advice: String| Err((format!("`{{{name}}}`: {what}"), advice));
    let is_rows = items.is_some_and(|(_, rows)| rows.is_some());
    let is_batch = items.is_some_and(|(_, rows)| rows.as_ref().is_some_and(|rows| rows.batch > 1));
    if let Some(output) = name.strip_prefix("out.") {
        let outputs: Vec<String> = params.outputs.keys().cloned().collect();
        return match params.outputs.contains_key(output) {
            true => Ok(()),
            false => unknown("there is no such output".to_string(), known("outputs", &outputs)),
        };
    }
    if let Some(own) = name.strip_prefix("params.") {
        let own_names: Vec<String> = params.own.keys().cloned().collect();
        return match params.own.contains_key(own) {
            true => Ok(()),
            false => unknown("there is no such parameter".to_string(), known("parameters", &own_names)),
        };
    }
    if name.starts_with("row.") || name == "item" {
        return match (items.is_some(), is_rows || name == "item", is_batch) {
            (true, true, false) => Ok(()),
            (true, _, true) => unknown(
                "a batch has many rows".to_string(),
                "give the program their table, by the name of the input".to_string(),
            ),
            (true, false, _) => {
                unknown("it runs for files, not for rows".to_string(), "use {item}".to_string())
            }
            (false, ..) => unknown("it runs once for all".to_string(), "add each = \"row\"".to_string()),
        };
    }
    match name {
        "params" | "seed" | "threads" => Ok(()),
        _ if inputs.iter().any(|input| input == name) => Ok(()),
        _ => unknown(
            "there is no such input".to_string(),
            format!("{}; write {{{{{name}}}}} for the braces themselves", known("inputs", inputs)),
        ),
    }
}
