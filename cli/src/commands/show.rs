//! `pipe show`

use std::process::ExitCode;

use pipe_engine::record::{InstanceRecord, InstanceStatus, read_run};
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
    let width = run.instances.iter().map(|record| record.label.len()).max().unwrap_or(0);
    lines.extend(run.instances.iter().map(|record| instance_line(record, width, &header.run)));
    lines.join("\n")
}

fn instance_line(record: &InstanceRecord, width: usize, run: &str) -> String {
    let status = match record.status {
        InstanceStatus::Executed => "executed",
        InstanceStatus::Cached => "known",
        InstanceStatus::Failed => "failed",
        InstanceStatus::Skipped => "not run",
    };
    let mut line = format!("{:width$}  {status:8}  {:8.2} s", record.label, record.seconds);
    if record.items_executed + record.items_cached > 0 {
        line.push_str(&format!("  {} items executed, {} known", record.items_executed, record.items_cached));
    }
    if let Some(from) = record.from_run.as_deref().filter(|from| *from != run) {
        line.push_str(&format!("  from run {from}"));
    }
    for (name, artifact) in &record.outputs {
        line.push_str(&format!(
            "\n    {name}: {} {} ({} files)",
            artifact.form, artifact.digest, artifact.files
        ));
    }
    if !record.scalars.is_empty() {
        let scalars = record.scalars.iter().map(|(name, value)| format!("{name} {}", number(*value)));
        line.push_str(&format!("\n    {}", scalars.collect::<Vec<String>>().join(", ")));
    }
    for warning in &record.warnings {
        line.push_str(&format!("\n    warning: {warning}"));
    }
    if let Some(error) = &record.error {
        line.push_str(&format!("\n    {error}"));
    }
    line
}

/// A scalar as people read it: counts whole, others to four places.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 { format!("{value:.0}") } else { format!("{value:.4}") }
}
