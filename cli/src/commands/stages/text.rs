//! A kind for a terminal.

use super::account::{Account, Entry, Parameter};

pub(super) fn kind(account: &Account) -> String {
    let mut lines = vec![format!("{}: {}", account.name, account.summary)];
    section(&mut lines, "inputs", &account.inputs);
    for (input, columns) in &account.columns {
        section(&mut lines, &format!("columns of {input}"), columns);
    }
    match account.is_declared {
        true => lines.push("\ninputs and outputs are those that the stage declares".to_string()),
        false => section(&mut lines, "outputs", &account.outputs),
    }
    if !account.parameters.is_empty() {
        lines.push("\nparameters".to_string());
        lines.extend(account.parameters.iter().map(parameter));
    }
    section(&mut lines, "forms, for `pipe get --format`", &account.forms);
    lines.join("\n")
}

fn section(lines: &mut Vec<String>, head: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    lines.push(format!("\n{head}"));
    for Entry { name, notes, text } in entries {
        let notes = if notes.is_empty() { String::new() } else { format!(" ({notes})") };
        let text = if text.is_empty() { String::new() } else { format!("\n      {text}") };
        lines.push(format!("  {name}{notes}{text}"));
    }
}

fn parameter(Parameter { name, default, text }: &Parameter) -> String {
    match default.as_deref() {
        None => format!("  {name} (table)\n      {text}"),
        Some("") => format!("  {name}\n      {text}"),
        Some(default) => format!("  {name} = {default}\n      {text}"),
    }
}
