//! Compares a manifest value with the JSON schema of the Rust type that it is read into, so that every
//! unknown key and wrong type is reported with its place, and all of them at once.
//!
//! Knows the part of JSON Schema that `schemars` produces for plain structs, enums and maps.

use serde_json::Value;

use super::node::{Content, Key, Node, Origin};
use super::problem::{Problem, Problems, did_you_mean};

/// Adds a problem for everything in `node` that `schema` does not allow. `name` says what the node is.
pub fn check(node: &Node, schema: &Value, name: &str, problems: &mut Problems) {
    Checker { root: schema, problems }.value(node, schema, name);
}

struct Checker<'a> {
    root: &'a Value,
    problems: &'a mut Problems,
}

impl<'a> Checker<'a> {
    fn value(&mut self, node: &Node, schema: &'a Value, name: &str) {
        let schema = self.resolve(schema);
        if let Some(choices) = alternatives(schema) {
            return self.any_of(node, &choices, name);
        }
        let expected = types(schema);
        if !expected.is_empty() && !expected.iter().any(|expected| fits(node, expected)) {
            let wanted: Vec<&str> = expected.iter().filter_map(|expected| type_words(expected)).collect();
            let message = format!("`{name}` must be {}, but is {}", wanted.join(" or "), node.type_name());
            self.add(node.origin.clone(), "wrong-type", message, None);
            return;
        }
        self.constants(node, schema, name);
        match &node.content {
            Content::Table(entries) => self.table(entries, schema, name),
            Content::Array(nodes) => {
                if let Some(items) = schema.get("items") {
                    nodes.iter().for_each(|node| self.value(node, items, name));
                }
            }
            Content::Integer(number) => self.range(node, *number as f64, schema, name),
            Content::Float(number) => self.range(node, *number, schema, name),
            _ => {}
        }
    }

    fn table(&mut self, entries: &[(Key, Node)], schema: &'a Value, name: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for (key, node) in entries {
            let inner = if name.is_empty() { key.name.clone() } else { format!("{name}.{}", key.name) };
            if let Some(schema) = properties.and_then(|properties| properties.get(&key.name)) {
                self.value(node, schema, &inner);
            } else {
                match schema.get("additionalProperties") {
                    Some(Value::Bool(false)) => {
                        let known = properties.into_iter().flat_map(|properties| properties.keys());
                        let known: Vec<&str> = known.map(String::as_str).collect();
                        self.unknown_key(key, name, &known);
                    }
                    Some(schema) => self.value(node, schema, &inner),
                    None => {}
                }
            }
        }
        for missing in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let missing = missing.as_str().unwrap_or_default();
            if !entries.iter().any(|(key, _)| key.name == missing) {
                let origin = entries.first().map_or(Origin::Default, |(key, _)| key.origin.clone());
                let place = if name.is_empty() { "the manifest".to_string() } else { format!("`{name}`") };
                let message = format!("{place} needs the key `{missing}`");
                self.add(origin, "missing-key", message, None);
            }
        }
    }

    fn unknown_key(&mut self, key: &Key, name: &str, known: &[&str]) {
        let place = if name.is_empty() { String::new() } else { format!(" in `{name}`") };
        let help = did_you_mean(&key.name, known.iter().copied())
            .unwrap_or_else(|| format!("known keys: {}", known.join(", ")));
        self.add(key.origin.clone(), "unknown-key", format!("unknown key `{}`{place}", key.name), Some(help));
    }

    fn any_of(&mut self, node: &Node, choices: &[&'a Value], name: &str) {
        let choices: Vec<&Value> = choices.iter().map(|choice| self.resolve(choice)).collect();
        let texts: Vec<&str> = choices.iter().filter_map(|choice| choice.get("const")?.as_str()).collect();
        if !texts.is_empty() && texts.len() == choices.len() {
            return self.one_of_texts(node, &texts, name);
        }
        let fitting: Vec<&&Value> = choices
            .iter()
            .filter(|choice| types(choice).is_empty() || types(choice).iter().any(|kind| fits(node, kind)))
            .collect();
        if let Some(choice) = fitting.first() {
            self.value(node, choice, name);
        } else if let Some(choice) = choices.iter().find(|choice| types(choice) != ["null"]) {
            self.value(node, choice, name);
        }
    }

    fn constants(&mut self, node: &Node, schema: &Value, name: &str) {
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            self.one_of_texts(node, &texts, name);
        }
    }

    fn one_of_texts(&mut self, node: &Node, texts: &[&str], name: &str) {
        let given = node.as_text();
        if given.is_some_and(|given| texts.contains(&given)) {
            return;
        }
        let listed: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        let message = format!("`{name}` must be one of {}", listed.join(", "));
        let help = given.and_then(|given| did_you_mean(given, texts.iter().copied()));
        self.add(node.origin.clone(), "wrong-value", message, help);
    }

    fn range(&mut self, node: &Node, number: f64, schema: &Value, name: &str) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let message = if !number.is_finite() {
            Some("be a finite number".to_string())
        } else if let Some(low) = bound("minimum").filter(|low| number < *low) {
            Some(format!("be at least {low}"))
        } else if let Some(high) = bound("maximum").filter(|high| number > *high) {
            Some(format!("be at most {high}"))
        } else if let Some(low) = bound("exclusiveMinimum").filter(|low| number <= *low) {
            Some(format!("be greater than {low}"))
        } else {
            bound("exclusiveMaximum")
                .filter(|high| number >= *high)
                .map(|high| format!("be less than {high}"))
        };
        if let Some(message) = message {
            let message = format!("`{name}` must {message}, but is {number}");
            self.add(node.origin.clone(), "out-of-range", message, None);
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // Definitions never nest deeply; the bound keeps a reference to itself from looping.
        for _ in 0..16 {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    fn add(&mut self, origin: Origin, code: &'static str, message: String, help: Option<String>) {
        self.problems.add(Problem::at(origin, code, message).maybe_help(help));
    }
}

fn alternatives(schema: &Value) -> Option<Vec<&Value>> {
    let choices = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    Some(choices.iter().collect())
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn fits(node: &Node, expected: &str) -> bool {
    match node.content {
        Content::Text(_) => expected == "string",
        Content::Integer(_) => matches!(expected, "integer" | "number"),
        Content::Float(_) => expected == "number",
        Content::Boolean(_) => expected == "boolean",
        Content::Array(_) => expected == "array",
        Content::Table(_) => expected == "object",
    }
}

fn type_words(expected: &str) -> Option<&'static str> {
    Some(match expected {
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "a boolean",
        "array" => "a list",
        "object" => "a table",
        _ => return None,
    })
}
