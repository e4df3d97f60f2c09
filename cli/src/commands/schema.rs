//! `pipe schema`

use std::process::ExitCode;

use pipe_engine::manifest::document::document_schema;
use pipe_engine::registry::Registry;
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::render;

pub(crate) fn schema(registry: &Registry) -> Result<ExitCode, CliError> {
    render::out(&serde_json::to_string_pretty(&manifest_schema(registry)).unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

/// The schema of manifests, with each kind's parameters where `uses` names the kind.
pub(crate) fn manifest_schema(registry: &Registry) -> Value {
    let mut schema = document_schema();
    let mut definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut rules = Vec::new();
    for kind in registry.kinds() {
        let name = kind.about().name;
        let mut parameters = kind.schema();
        lift_definitions(&mut parameters, name, &mut definitions);
        definitions.insert(format!("params of {name}"), parameters);
        rules.push(json!({
            "if": {"properties": {"uses": {"const": name}}, "required": ["uses"]},
            "then": {"properties": {"params": {"$ref": format!("#/$defs/params of {name}")}}}
        }));
    }
    if let Some(stage) = definitions.get_mut("StageTable").and_then(Value::as_object_mut) {
        stage.insert("allOf".to_string(), Value::Array(rules));
    }
    if let Some(object) = schema.as_object_mut() {
        object.insert("$defs".to_string(), Value::Object(definitions));
    }
    allow_variables(&mut schema);
    schema
}

/// `"${name}"` may stand for a value of any type.
fn allow_variables(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let only = fields.get("type").and_then(Value::as_str);
            if let Some(only) = only.filter(|only| ["integer", "number", "boolean", "array"].contains(only)) {
                let types = json!([only, "string"]);
                fields.insert("type".to_string(), types);
                fields.insert("pattern".to_string(), json!("^\\$\\{[A-Za-z0-9_-]+\\}$"));
            }
            fields.values_mut().for_each(allow_variables);
        }
        Value::Array(values) => values.iter_mut().for_each(allow_variables),
        _ => {}
    }
}

/// Moves a kind's own definitions to the top, under names that cannot meet another kind's.
fn lift_definitions(schema: &mut Value, kind: &str, definitions: &mut Map<String, Value>) {
    let own = schema.as_object_mut().and_then(|object| object.remove("$defs"));
    rename_references(schema, kind);
    if let Some(Value::Object(own)) = own {
        for (name, mut definition) in own {
            rename_references(&mut definition, kind);
            definitions.insert(format!("{name} of {kind}"), definition);
        }
    }
}

fn rename_references(value: &mut Value, kind: &str) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                reference.push_str(&format!(" of {kind}"));
            }
            fields.values_mut().for_each(|value| rename_references(value, kind));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename_references(value, kind)),
        _ => {}
    }
}
