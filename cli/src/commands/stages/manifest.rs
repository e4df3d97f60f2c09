//! How a manifest is written, from the schema of its own types.

use pipe_engine::manifest::document::document_schema;
use pipe_engine::registry::Registry;
use serde_json::Value;

use super::account::{description, resolve};
use super::markdown::GENERATED;

/// The tables of a manifest, and what they are called in the schema.
const TABLES: [(&str, &str); 4] = [
    ("The manifest", ""),
    ("`[pipeline]`", "PipelineTable"),
    ("`[stage.NAME]`", "StageTable"),
    ("`resources` of a stage", "ResourcesTable"),
];

const EXAMPLE: &str = "```toml
extends = \"nlst.toml\"                    # start from another manifest; tables are merged key by key

[pipeline]
name = \"mine\"
root = \"..\"                              # paths are read against it

[vars]
dataset = \"data/nodules.csv\"             # ${dataset} below; --set dataset=… on the command line

[stage.crop]
uses   = \"crop\"                          # the kind; without it the stage's name
inputs = { dataset = \"${dataset}\" }      # a path, \"@stage\" or \"@stage.output\"
params = { size_mm = 80 }

[stage.train]
foreach = { fold = [0, 1, 2, 3, 4] }     # one instance for each value, which is the parameter of that name

[stage.report]
remove = true                            # takes an inherited stage away; a list of keys takes these

[profile.quick]                          # --profile quick: the same keys as --set
\"train.epochs\" = 2
```
";

/// The page.
pub(super) fn page(registry: &Registry) -> String {
    let schema = document_schema();
    let mut text = format!(
        "{GENERATED}# How a manifest is written\n\nA manifest is a TOML file that describes a pipeline. `pipe check FILE` finds what is wrong with one; `pipe schema` \
         prints a JSON schema for editors: `#:schema ./pipeline.schema.json` in the first line lets those that know it complete and check.\n\n{EXAMPLE}\n\
         Which inputs and parameters a stage takes depends on its kind: [the kinds](README.md). A stage that is given another kind than the \
         inherited one of its name is another stage, of which nothing is inherited.\n\n\
         One syntax changes values, in `--set` and in profiles: `VAR`, `STAGE.PARAM`, `STAGE.inputs.NAME`, `STAGE.foreach.KEY`, `pipeline.seed`. A \
         value is TOML, or else a text.\n"
    );
    for (head, definition) in TABLES {
        let table = match definition {
            "" => Some(&schema),
            name => schema.pointer(&format!("/$defs/{name}")),
        };
        let Some(table) = table else { continue };
        text += &format!("\n## {head}\n\n| key | type | |\n|---|---|---|\n");
        for (name, property) in table.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let target = resolve(property, &schema);
            let told = description(property, target).replace('|', "\\|");
            text += &format!("| `{name}` | {} | {told} |\n", types(target, &schema));
        }
    }
    let names: Vec<&str> = registry.names().collect();
    text + &format!("\nThe kinds of this program: {}.\n", names.join(", "))
}

/// The types that a value may have, in words.
fn types(schema: &Value, root: &Value) -> String {
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let words: Vec<String> = choices.iter().map(|choice| types(resolve(choice, root), root)).collect();
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        return words.join(" or ");
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "any".to_string(),
    };
    let word = |name: &&str| match *name {
        "string" => "text",
        "integer" => "whole number",
        "number" => "number",
        "boolean" => "true or false",
        "array" => "list",
        "object" => "table",
        _ => "",
    };
    let words: Vec<&str> = names.iter().map(word).filter(|word| !word.is_empty()).collect();
    words.join(" or ")
}
