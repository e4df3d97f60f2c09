//! `pipe stages`

use std::process::ExitCode;

use pipe_engine::registry::Registry;
use pipe_engine::stage::{
    Column, Described, InputForm, InputSpec, ItemSource, Kind, OutputForm, OutputSpec, Work,
};
use pipe_engine::view::VERSION;
use pipe_plugin::canonical_text;
use serde_json::{Value, json};

use crate::arguments::StagesArguments;
use crate::error::CliError;
use crate::{Running, render};

/// Words for a column by its header.
type Describe = fn(&str) -> Option<Described>;

pub(crate) fn stages(arguments: &StagesArguments, running: &Running) -> Result<ExitCode, CliError> {
    let registry = running.registry();
    if arguments.output.json {
        let is_asked = |kind: &&Kind| arguments.kind.as_ref().is_none_or(|name| name == kind.about().name);
        let kinds: Vec<Value> = registry.kinds().iter().filter(is_asked).map(as_json).collect();
        if !kinds.is_empty() {
            render::json(&json!({ "version": VERSION, "kinds": kinds }));
            return Ok(ExitCode::SUCCESS);
        }
    }
    match &arguments.kind {
        None => render::out_fitted(&list(registry)),
        Some(name) => match registry.get(name) {
            Some(kind) => render::out_fitted(&explain(kind, running)),
            None => {
                let known: Vec<&str> = registry.names().collect();
                let message = format!("there is no kind `{name}`");
                return Err(CliError::refused(message, format!("kinds: {}", known.join(", "))));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(kind: &Kind) -> Value {
    let about = kind.about();
    let input = |spec: &InputSpec| {
        json!({
            "name": spec.name, "summary": spec.summary, "form": spec.form.to_string(), "optional": spec.optional,
            "many": spec.many, "keywords": spec.keywords,
        })
    };
    let output = |spec: &OutputSpec| json!({ "name": spec.name, "summary": spec.summary });
    json!({
        "name": about.name,
        "summary": about.summary,
        "inputs": about.inputs.iter().map(input).collect::<Vec<Value>>(),
        "outputs": about.outputs.iter().map(output).collect::<Vec<Value>>(),
        "parameters": kind.schema(),
    })
}

fn list(registry: &Registry) -> String {
    let width = registry.names().map(str::len).max().unwrap_or(0);
    let lines: Vec<String> = registry
        .kinds()
        .iter()
        .map(|kind| format!("{:width$}  {}", kind.about().name, kind.about().summary))
        .collect();
    lines.join("\n")
}

fn explain(kind: Kind, running: &Running) -> String {
    let about = kind.about();
    let mut lines = vec![format!("{}: {}", about.name, about.summary)];
    if !about.inputs.is_empty() {
        lines.push("\ninputs".to_string());
        lines.extend(about.inputs.iter().map(input_line));
    }
    for input in about.inputs.iter().filter(|input| input.form == InputForm::Table) {
        let columns = column_lines(kind, input, running.program.describe_column);
        if !columns.is_empty() {
            lines.push(format!("\ncolumns of {}", input.name));
            lines.extend(columns);
        }
    }
    lines.push("\noutputs".to_string());
    for output in about.outputs {
        let form = match output.form {
            OutputForm::File(name) => format!("file {name}"),
            OutputForm::Table(name) => format!("table {name}"),
            OutputForm::Tree => "tree".to_string(),
            OutputForm::Collection(extension) => format!("collection of .{extension}"),
        };
        lines.push(format!("  {} ({form})\n      {}", output.name, output.summary));
    }
    let schema = kind.schema();
    let parameters = parameter_lines(&schema, &schema, kind, "");
    if !parameters.is_empty() {
        lines.push("\nparameters".to_string());
        lines.extend(parameters);
    }
    let forms: Vec<String> = running
        .program
        .exports
        .iter()
        .filter(|export| export.kind == about.name)
        .map(|export| format!("  {}\n      {}", export.name, export.summary))
        .collect();
    if !forms.is_empty() {
        lines.push("\nforms, for `pipe get --format`".to_string());
        lines.extend(forms);
    }
    lines.join("\n")
}

fn input_line(input: &InputSpec) -> String {
    let mut notes = vec![match input.extension {
        Some(extension) => format!("{} of .{extension}", input.form),
        None => input.form.to_string(),
    }];
    if input.optional {
        notes.push("optional".to_string());
    }
    if input.many {
        notes.push("all instances".to_string());
    }
    notes.extend(input.keywords.iter().map(|word| format!("or the word \"{word}\"")));
    if input.parameter {
        notes.push("also under params".to_string());
    }
    format!("  {} ({})\n      {}", input.name, notes.join(", "), input.summary)
}

/// The columns that a kind reads of a table with default parameters, and those that a choice of one adds.
fn column_lines(kind: Kind, input: &InputSpec, describe: Describe) -> Vec<String> {
    let mut known: Vec<Column> = Vec::new();
    let mut lines = Vec::new();
    let schema = kind.schema();
    let properties = schema.get("properties").and_then(Value::as_object);
    let choices = properties.into_iter().flatten().flat_map(|(name, property)| {
        let choice = move |value: &str| (format!(" with {name} = {value:?}"), json!({ name: value }));
        choice_names(resolve(property, &schema)).into_iter().map(choice).collect::<Vec<_>>()
    });
    for (condition, params) in [(String::new(), json!({}))].into_iter().chain(choices) {
        let Ok(params) = kind.canonical(params) else { continue };
        for column in columns(kind, &params, input.name) {
            if known.iter().all(|other| other.name != column.name) {
                lines.push(column_line(&column, &condition, describe));
                known.push(column);
            }
        }
    }
    lines
}

fn columns(kind: Kind, params: &Value, input: &str) -> Vec<Column> {
    let Work::Items(stage) = kind.work() else { return kind.columns(params, input) };
    match stage.items(params, &|_| false) {
        Ok(ItemSource::Rows(rows)) if rows.input == input => {
            let files =
                rows.files.iter().map(|file| Column { name: file.name.into(), required: !file.optional });
            rows.name.into_iter().chain(files.collect::<Vec<_>>()).chain(rows.columns).collect()
        }
        _ => Vec::new(),
    }
}

fn column_line(column: &Column, condition: &str, describe: Describe) -> String {
    let need = if column.required { "required" } else { "optional" };
    let mut line = format!("  {} ({need}{condition})", column.name);
    if let Some(Described { meaning, values, .. }) = describe(&column.name) {
        line += &format!("\n      {meaning}");
        if !values.is_empty() {
            line += &format!(": {}", values.join(", "));
        }
    }
    line
}

fn parameter_lines(schema: &Value, root: &Value, kind: Kind, prefix: &str) -> Vec<String> {
    let defaults = kind.canonical(Value::Object(serde_json::Map::new())).unwrap_or(Value::Null);
    let mut lines = Vec::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let full = format!("{prefix}{name}");
        let target = resolve(property, root);
        if target.get("properties").is_some() {
            lines.push(format!("  {full} (table)\n      {}", description(property, target)));
            lines.extend(parameter_lines(target, root, kind, &format!("{full}.")));
            continue;
        }
        let pointer = format!("/{}", full.replace('.', "/"));
        let default =
            defaults.pointer(&pointer).map_or(String::new(), |value| format!(" = {}", canonical_text(value)));
        lines.push(format!("  {full}{default}\n      {}{}", description(property, target), choices(target)));
    }
    lines
}

fn description(property: &Value, target: &Value) -> String {
    let text = property.get("description").or_else(|| target.get("description")).and_then(Value::as_str);
    text.unwrap_or("").replace('\n', " ")
}

fn choice_names(schema: &Value) -> Vec<&str> {
    let listed = schema.get("enum").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    listed
        .into_iter()
        .flatten()
        .filter_map(|choice| choice.as_str().or_else(|| choice.get("const")?.as_str()))
        .collect()
}

fn choices(schema: &Value) -> String {
    let names = choice_names(schema);
    if names.is_empty() { String::new() } else { format!(" One of: {}.", names.join(", ")) }
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}
