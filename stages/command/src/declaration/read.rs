//! Reading what a stage declares: what it runs once for, and what its outputs are made of.

use pipe_cache::check_name;
use pipe_plugin::stage::Misdeclared;

use super::check::{all_templates, known, misdeclared};
use crate::params::{CommandParams, Each, EachRow};
use crate::template::Template;

/// What an output is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Folder,
    File(String),
    Collection(String),
}

/// What the stage runs once for: an input, and how its rows become items where it is a table.
pub(super) fn items(
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
pub(super) fn is_table(params: &CommandParams, input: &str) -> bool {
    let of_row = |template: &Template| template.names().any(|name| name.starts_with("row."));
    params.files.contains_key(input) || all_templates(params).iter().any(|(_, template)| of_row(template))
}

pub(super) fn outputs(
    params: &CommandParams,
    is_each: bool,
    problems: &mut Vec<Misdeclared>,
) -> Vec<(String, Form)> {
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

pub(super) fn form(written: &str) -> Result<Form, &'static str> {
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

pub(super) fn is_plain(name: &str) -> bool {
    check_name(name).is_ok() && !name.contains(['/', '*', '\\'])
}
