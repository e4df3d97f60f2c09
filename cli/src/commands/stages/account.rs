//! What there is to tell of a kind, for people who write manifests and tables; how it is shown is not known here.

use pipe_engine::stage::{Column, Described, InputForm, InputSpec, ItemSource, Kind, OutputForm, Work};
use pipe_plugin::canonical_text;
use serde_json::{Value, json};

use crate::Program;

/// A kind in words.
pub(super) struct Account {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) inputs: Vec<Entry>,
    /// The columns of table inputs, by input.
    pub(super) columns: Vec<(&'static str, Vec<Entry>)>,
    pub(super) outputs: Vec<Entry>,
    pub(super) parameters: Vec<Parameter>,
    /// The forms of `pipe get --format`.
    pub(super) forms: Vec<Entry>,
    /// Whether each stage declares inputs and outputs of its own.
    pub(super) is_declared: bool,
}

/// A name, what it is in brief, and a sentence.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) notes: String,
    pub(super) text: String,
}

/// A parameter, or a field of one.
pub(super) struct Parameter {
    pub(super) name: String,
    /// Its default as JSON; none for a table.
    pub(super) default: Option<String>,
    pub(super) text: String,
}

impl Account {
    /// Of a kind, with the words that a program has for columns.
    pub(super) fn of(kind: Kind, program: &Program) -> Self {
        let about = kind.about();
        let tables = about.inputs.iter().filter(|input| input.form == InputForm::Table);
        let columns = tables.map(|input| (input.name, columns_read(kind, input, program.describe_column)));
        let output = |output: &pipe_engine::stage::OutputSpec| Entry {
            name: output.name.to_string(),
            notes: match output.form {
                OutputForm::File(name) => format!("file {name}"),
                OutputForm::Table(name) => format!("table {name}"),
                OutputForm::Tree => "tree".to_string(),
                OutputForm::Collection(extension) => format!("collection of .{extension}"),
            },
            text: output.summary.to_string(),
        };
        let forms = program.exports.iter().filter(|export| export.kind == about.name).map(|export| Entry {
            name: export.name.to_string(),
            notes: String::new(),
            text: export.summary.to_string(),
        });
        let schema = kind.schema();
        Self {
            name: about.name,
            summary: about.summary,
            inputs: about.inputs.iter().map(input).collect(),
            columns: columns.filter(|(_, columns)| !columns.is_empty()).collect(),
            outputs: about.outputs.iter().map(output).collect(),
            parameters: parameters(&schema, &schema, &defaults(kind), ""),
            forms: forms.collect(),
            is_declared: kind.is_declared(),
        }
    }
}

fn input(input: &InputSpec) -> Entry {
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
    Entry { name: input.name.to_string(), notes: notes.join(", "), text: input.summary.to_string() }
}

/// The columns that a kind reads of a table with default parameters, and those that a choice of one adds.
fn columns_read(kind: Kind, input: &InputSpec, describe: fn(&str) -> Option<Described>) -> Vec<Entry> {
    let mut known: Vec<String> = Vec::new();
    let mut entries = Vec::new();
    let schema = kind.schema();
    let properties = schema.get("properties").and_then(Value::as_object);
    let choices = properties.into_iter().flatten().flat_map(|(name, property)| {
        let choice = move |value: &str| (format!(" with {name} = {value:?}"), json!({ name: value }));
        choice_names(resolve(property, &schema)).into_iter().map(choice).collect::<Vec<_>>()
    });
    for (condition, params) in [(String::new(), json!({}))].into_iter().chain(choices) {
        let Ok(params) = kind.canonical(params) else { continue };
        for column in columns(kind, &params, input.name) {
            if !known.contains(&column.name) {
                known.push(column.name.clone());
                entries.push(column_entry(&column, &condition, describe));
            }
        }
    }
    entries
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

fn column_entry(column: &Column, condition: &str, describe: fn(&str) -> Option<Described>) -> Entry {
    let need = if column.required { "required" } else { "optional" };
    let text = describe(&column.name).map_or_else(String::new, |Described { meaning, values, .. }| {
        let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
        format!("{meaning}{values}")
    });
    Entry { name: column.name.clone(), notes: format!("{need}{condition}"), text }
}

fn defaults(kind: Kind) -> Value {
    kind.canonical(Value::Object(serde_json::Map::new())).unwrap_or(Value::Null)
}

/// The parameters of a schema, the fields of tables each by itself.
pub(super) fn parameters(schema: &Value, root: &Value, defaults: &Value, prefix: &str) -> Vec<Parameter> {
    let mut found = Vec::new();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let full = format!("{prefix}{name}");
        let target = resolve(property, root);
        if target.get("properties").is_some() {
            found.push(Parameter { name: full.clone(), default: None, text: description(property, target) });
            found.extend(parameters(target, root, defaults, &format!("{full}.")));
            continue;
        }
        let pointer = format!("/{}", full.replace('.', "/"));
        let default = defaults.pointer(&pointer).map(canonical_text);
        let text = format!("{}{}", description(property, target), choices(target));
        found.push(Parameter { name: full, default: Some(default.unwrap_or_default()), text });
    }
    found
}

pub(super) fn description(property: &Value, target: &Value) -> String {
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

pub(super) fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}
