//! `pipe stages`: the kinds in brief, one kind in full, or a page for each.

mod account;
mod manifest;
mod markdown;
mod text;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use pipe_engine::registry::Registry;
use pipe_engine::stage::{InputSpec, Kind, OutputSpec};
use pipe_engine::view::VERSION;
use serde_json::{Value, json};

use self::account::Account;
use crate::arguments::StagesArguments;
use crate::error::CliError;
use crate::{Running, render};

pub(crate) fn stages(arguments: &StagesArguments, running: &Running) -> Result<ExitCode, CliError> {
    let registry = running.registry();
    if let Some(folder) = &arguments.markdown {
        return write_pages(folder, running).map(|()| ExitCode::SUCCESS);
    }
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
            Some(kind) => render::out_fitted(&text::kind(&Account::of(kind, &running.program))),
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

/// Writes a page on manifests and one for each kind into a folder. Pages of the same name are replaced.
fn write_pages(folder: &Path, running: &Running) -> Result<(), CliError> {
    let registry = running.registry();
    let mut pages = vec![("manifest.md".to_string(), manifest::page(registry))];
    for kind in registry.kinds() {
        let account = Account::of(*kind, &running.program);
        pages.push((format!("{}.md", kind.about().name), markdown::page(&account)));
    }
    pages.push(("README.md".to_string(), markdown::index(registry)));
    let refuse = |error: std::io::Error| {
        CliError::refused(
            format!("cannot write to {}: {error}", folder.display()),
            "give a folder that can be written to",
        )
    };
    fs::create_dir_all(folder).map_err(refuse)?;
    for (name, text) in &pages {
        fs::write(folder.join(name), text).map_err(refuse)?;
    }
    render::line(&format!("{} pages written to {}", pages.len(), folder.display()));
    Ok(())
}
