//! `pipe show`

use std::collections::HashMap;
use std::process::ExitCode;

use pipe_engine::record::{InstanceRecord, InstanceStatus, Usage, read_run};
use pipe_engine::view::RunView;

use crate::arguments::ShowArguments;
use crate::error::CliError;
use crate::{render, session, timing};

pub(crate) fn show(arguments: &ShowArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let run = RunView::from(read_run(&store, &arguments.run)?);
    match arguments.output.json {
        true => render::json(&run),
        false => render::out_fitted(&text(&run)),
    }
    Ok(ExitCode::SUCCESS)
}

fn text(run: &RunView) -> String {
    let header = &run.asked;
    let mut lines = vec![
        format!("run       {}", header.run),
        format!("status    {}", run.state),
        format!("pipeline  {} ({})", header.pipeline, header.manifest.display()),
        format!("started   {}", timing::second(&header.started)),
        format!("program   {}, code {}", header.surroundings.program, header.code.short()),
        format!(
            "host      {}, {} jobs, device {}",
            header.surroundings.host, header.jobs, header.device_class
        ),
        format!("seed      {}", header.seed),
    ];
    if let Some(git) = &header.surroundings.git {
        let modified = if git.modified { ", with changes" } else { "" };
        lines.push(format!("commit    {}{modified}", git.commit));
    }
    for profile in &header.profiles {
        lines.push(format!("profile   {profile}"));
    }
    for set in &header.set {
        lines.push(format!("set       {set}"));
    }
    for input in &header.elsewhere {
        let (given, leads_to) = (input.given.display(), input.leads_to.display());
        lines.push(if input.given == input.leads_to {
            format!("outside   {given}")
        } else {
            format!("outside   {given}, which is {leads_to}")
        });
    }
    lines.push(format!("record    {}", run.folder.display()));
    lines.push(String::new());
    lines.extend(tree(&run.instances, &header.run));
    lines.join("\n")
}

/// A line for each instance, those of a stage with several below a line of their own.
fn tree(instances: &[InstanceRecord], run: &str) -> Vec<String> {
    let mut stages: Vec<(&str, Vec<&InstanceRecord>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for record in instances {
        let place = *places.entry(&record.stage).or_insert(stages.len());
        match stages.get_mut(place) {
            Some((_, of_stage)) => of_stage.push(record),
            None => stages.push((&record.stage, vec![record])),
        }
    }
    let is_alone = |of_stage: &[&InstanceRecord]| matches!(of_stage, [one] if one.label == one.stage);
    let widths = stages.iter().flat_map(|(stage, of_stage)| {
        let indent = if is_alone(of_stage) { 0 } else { 2 };
        of_stage.iter().map(move |one| one.label.len() + indent).chain([stage.len()])
    });
    let width = widths.max().unwrap_or(0);
    let mut lines = Vec::new();
    for (stage, of_stage) in &stages {
        if is_alone(of_stage) {
            lines.extend(of_stage.iter().map(|record| instance_line(record, "", width, run)));
        } else {
            lines.push(format!("{stage:width$}  {}", together(of_stage)));
            lines.extend(of_stage.iter().map(|record| instance_line(record, "  ", width, run)));
        }
    }
    lines
}

/// What became of the instances of a stage, and what they took together.
fn together(instances: &[&InstanceRecord]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for word in instances.iter().map(|record| word(record.status)) {
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let counts: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    let seconds: f64 = instances.iter().map(|record| record.seconds).sum();
    format!("{}, {seconds:.2} s", counts.join(", "))
}

fn word(status: InstanceStatus) -> &'static str {
    match status {
        InstanceStatus::Executed => "executed",
        InstanceStatus::Cached => "known",
        InstanceStatus::Failed => "failed",
        InstanceStatus::Skipped => "not run",
    }
}

fn instance_line(record: &InstanceRecord, indent: &str, width: usize, run: &str) -> String {
    let width = width - indent.len();
    let mut line =
        format!("{indent}{:width$}  {:8}  {:8.2} s", record.label, word(record.status), record.seconds);
    line.push_str(&taken(&record.usage));
    if record.items_executed + record.items_cached > 0 {
        line.push_str(&format!("  {} items executed, {} known", record.items_executed, record.items_cached));
    }
    if let Some(from) = record.from_run.as_deref().filter(|from| *from != run) {
        line.push_str(&format!("  from run {from}"));
    }
    let mut below = |text: String| line.push_str(&format!("\n{indent}    {text}"));
    for (name, artifact) in &record.outputs {
        below(format!("{name}: {} {} ({} files)", artifact.form, artifact.digest, artifact.files));
    }
    if !record.scalars.is_empty() {
        let scalars = record.scalars.iter().map(|(name, value)| format!("{name} {}", number(*value)));
        below(scalars.collect::<Vec<String>>().join(", "));
    }
    record.warnings.iter().for_each(|warning| below(format!("warning: {warning}")));
    record.error.iter().for_each(|error| below(error.clone()));
    line
}

/// What an instance took of the machine, as far as it is known.
fn taken(usage: &Usage) -> String {
    let parts = [
        usage.cpu_seconds.map(|seconds| format!("cpu {seconds:.2} s")),
        usage.peak_memory_bytes.map(|bytes| format!("memory {}", render::size(bytes))),
        usage.read_bytes.map(|bytes| format!("read {}", render::size(bytes))),
        usage.written_bytes.map(|bytes| format!("wrote {}", render::size(bytes))),
    ];
    let told: Vec<String> = parts.into_iter().flatten().collect();
    if told.is_empty() { String::new() } else { format!("  {}", told.join(", ")) }
}

/// A scalar as people read it: counts whole, others to four places.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 { format!("{value:.0}") } else { format!("{value:.4}") }
}
