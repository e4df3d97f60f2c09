//! Kinds as pages in Markdown.

use pipe_engine::registry::Registry;

use super::account::{Account, Entry, Parameter};

/// What stands at the top of pages that a command has written.
pub(super) const GENERATED: &str =
    "<!-- Written by `pipe stages --markdown`; CI compares it with what the program says. -->\n\n";

/// The page of a kind.
pub(super) fn page(account: &Account) -> String {
    let mut text =
        format!("{GENERATED}# `{}`\n\nThe kind {} {}.\n", account.name, account.name, account.summary);
    section(&mut text, "Inputs", "input", &account.inputs);
    for (input, columns) in &account.columns {
        section(&mut text, &format!("Columns of `{input}`"), "column", columns);
    }
    match account.is_declared {
        true => {
            text += "\n## Inputs and outputs\n\nThose that the stage declares: [your own program as a stage](../programs.md).\n"
        }
        false => section(&mut text, "Outputs", "output", &account.outputs),
    }
    text += &parameters("Parameters", &account.parameters);
    section(&mut text, "Forms of `pipe get --format`", "form", &account.forms);
    text
}

/// The list of all pages.
pub(super) fn index(registry: &Registry) -> String {
    let mut text = format!(
        "{GENERATED}# Reference\n\n[How a manifest is written](manifest.md), and the kinds of stages:\n\n| kind | what it does |\n|---|---|\n"
    );
    for kind in registry.kinds() {
        let about = kind.about();
        text += &format!("| [`{}`]({}.md) | {} |\n", about.name, about.name, cell(about.summary));
    }
    text
}

/// A table of parameters, if there are any.
pub(super) fn parameters(head: &str, parameters: &[Parameter]) -> String {
    if parameters.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## {head}\n\n| parameter | default | |\n|---|---|---|\n");
    for Parameter { name, default, text: told } in parameters {
        let default = match default.as_deref() {
            None => "table".to_string(),
            Some("" | "null") => String::new(),
            Some(default) => format!("`{}`", cell(default)),
        };
        text += &format!("| `{}` | {default} | {} |\n", cell(name), cell(told));
    }
    text
}

fn section(text: &mut String, head: &str, what: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    *text += &format!("\n## {head}\n\n| {what} | | |\n|---|---|---|\n");
    for Entry { name, notes, text: told } in entries {
        *text += &format!("| `{}` | {} | {} |\n", cell(name), cell(notes), cell(told));
    }
}

/// A text within a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
