//! `pipe diff`

use std::process::ExitCode;

use pipe_engine::explain::{Difference, InstanceDiff, RunDiff, ScalarDiff, diff};
use pipe_engine::record::InstanceStatus;
use pipe_engine::registry::Registry;
use pipe_engine::stage::PairedComparison;
use pipe_engine::view::VERSION;
use serde_json::{Value, json};

use crate::arguments::DiffArguments;
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn compare(arguments: &DiffArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let found = diff(&store, registry, &arguments.first, &arguments.second)?;
    match arguments.output.json {
        true => render::json(&json!({ "version": VERSION, "diff": found })),
        false => render::out_fitted(&text(&found)),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(diff: &RunDiff) -> String {
    let [before, after] = &diff.runs;
    let mut lines = vec![format!("{before} → {after}")];
    for (title, differences) in [
        ("asked", &diff.asked),
        ("where", &diff.surroundings),
        ("crates", &diff.crates),
        ("manifest", &diff.manifest),
    ] {
        if !differences.is_empty() {
            lines.push(title.to_string());
            lines.extend(differences.iter().map(|one| format!("  {}", difference(one))));
        }
    }
    if !diff.instances.is_empty() {
        lines.push("instances".to_string());
        let width = diff.instances.iter().map(|one| one.instance.len()).max().unwrap_or(0);
        let line = |one: &InstanceDiff| format!("  {:width$}  {}", one.instance, instance(one));
        for one in &diff.instances {
            lines.push(line(one));
            lines.extend(
                one.comparisons.iter().map(|compared| format!("  {:width$}    {}", "", paired(compared))),
            );
        }
    }
    if diff.without_result > 0 {
        lines.push(format!("{} instances have no result in either", diff.without_result));
    }
    lines.push(match diff.is_empty() {
        true => format!("no difference: {} instances with the same results", diff.same),
        false => format!("{} instances differ, {} have the same results", diff.instances.len(), diff.same),
    });
    lines.join("\n")
}

fn difference(Difference { name, before, after }: &Difference) -> String {
    let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_string(), Value::to_string);
    format!("{name} {} → {}", text(before), text(after))
}

fn instance(one: &InstanceDiff) -> String {
    let word = |status: &Option<InstanceStatus>| match status {
        None => "not there",
        Some(InstanceStatus::Executed | InstanceStatus::Cached) => "has a result",
        Some(InstanceStatus::Failed) => "failed",
        Some(InstanceStatus::Skipped) => "not reached",
    };
    let [before, after] = one.status.each_ref().map(word);
    let mut parts = Vec::new();
    if before != after {
        parts.push(format!("{before} → {after}"));
    }
    parts.extend(one.causes.iter().map(|cause| cause.text.clone()));
    if !one.outputs.is_empty() {
        parts.push(format!("other {}", one.outputs.join(", ")));
    }
    parts.extend(one.scalars.iter().map(scalar));
    parts.join("; ")
}

fn paired(compared: &PairedComparison) -> String {
    let PairedComparison { name, n, before, after, interval: [low, high], p, test } = compared;
    let difference = after - before;
    format!(
        "{name} {before:.4} → {after:.4}: {difference:+.4} [{low:+.4} to {high:+.4}], p = {p:.3}, on {n} cases of both ({test})"
    )
}

fn scalar(ScalarDiff { name, before, after }: &ScalarDiff) -> String {
    let text =
        |value: &Option<f64>| value.map_or_else(|| "(none)".to_string(), |value| format!("{value:.4}"));
    let change = before.zip(*after).map(|(before, after)| format!(" ({:+.4})", after - before));
    format!("{name} {} → {}{}", text(before), text(after), change.unwrap_or_default())
}
