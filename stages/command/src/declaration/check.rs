//! What is wrong with what a stage declares: names that lead nowhere, placeholders that stand for nothing.

use std::collections::BTreeSet;

use pipe_plugin::stage::Misdeclared;
use pipe_plugin::table::nearest;

use super::read::Form;
use super::special;
use crate::params::{CommandParams, EachRow};
use crate::shell::{self, Misplaced};
use crate::template::Template;

/// What stands beside parameters in a stage's table: a parameter of that name is a slip.
const BESIDE: [&str; 7] = ["uses", "inputs", "params", "foreach", "publish", "resources", "remove"];

/// Placeholders that are no inputs.
const OWN: [&str; 4] = ["params", "seed", "threads", "item"];

/// The parameters that are not a program's own.
const PARAMETERS: [&str; 16] = [
    "container",
    "venv",
    "conda",
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

pub(super) fn misdeclared(name: &str, problem: impl Into<String>, advice: &str) -> Misdeclared {
    Misdeclared { name: name.to_string(), problem: problem.into(), advice: Some(advice.to_string()) }
}

pub(super) fn known(what: &str, names: &[String]) -> String {
    match names.is_empty() {
        true => format!("it has no {what}"),
        false => format!("{what}: {}", names.join(", ")),
    }
}

pub(super) fn check_files(
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

/// Where the program's software comes from: the machine, or one of an image and two kinds of locks.
fn check_software(params: &CommandParams, problems: &mut Vec<Misdeclared>) {
    let named: Vec<&str> = special(params).map(|(name, _)| name).collect();
    let [first, more @ ..] = &*named else { return };
    for other in more {
        let problem = format!("the stage has its software by `{first}` and by `{other}`");
        problems.push(misdeclared(other, problem, "leave one of them out"));
    }
    if !params.tools.is_empty() {
        let problem =
            format!("`tools` are asked on the machine, but the program's software is that of `{first}`");
        let advice = format!("leave `tools` out: what `{first}` names counts by its content");
        problems.push(misdeclared("tools", problem, &advice));
    }
}

/// Checks the texts with placeholders, and gives the names of these.
pub(super) fn check_templates(
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
    check_software(params, problems);
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
        if BESIDE.contains(&name.as_str()) {
            let advice = "write it in the stage's table, beside `params`";
            problems.push(misdeclared(name, format!("`{name}` is no parameter"), advice));
            continue;
        }
        // The program may find it in its file of parameters; unless it is a slip of the pen.
        let spoken_of = used.iter().filter_map(|name| name.strip_prefix("params."));
        if let Some(known) = nearest(name, PARAMETERS.into_iter().chain(spoken_of)) {
            let problem = format!("the parameter `{name}` stands in no argument");
            problems.push(misdeclared(name, problem, &format!("did you mean `{known}`?")));
        }
    }
    problems.dedup();
    used
}

pub(super) fn check_placeholder(
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
