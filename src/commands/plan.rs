//! `pipe plan`

use std::process::ExitCode;

use pipe_engine::plan::{Fate, PlannedInstance, plan as plan_pipeline};
use pipe_engine::preflight::check_tables;
use pipe_engine::registry::Registry;
use pipe_engine::run::check_stages;
use pipe_engine::session::Session;

use crate::cli::PlanArguments;
use crate::error::CliError;
use crate::{findings, render, session};

pub(crate) fn plan(arguments: &PlanArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let devices = session::devices(arguments.device)?;
    let pipeline = session::pipeline(&arguments.manifest, registry)?;
    check_stages(&pipeline, &arguments.force)?;
    let (store, _temporary) = session::store_to_look_at(&pipeline, &arguments.manifest.cache)?;
    let session = Session::new(registry, &store, devices, true);
    check_tables(&session, &pipeline)?;
    findings::refuse_errors(&session, &pipeline)?;
    let planned = plan_pipeline(&session, &pipeline, &arguments.force).map_err(CliError::Input)?;
    render::out_fitted(&text(&planned, arguments.all));
    Ok(ExitCode::SUCCESS)
}

fn text(planned: &[PlannedInstance], all: bool) -> String {
    let width = planned.iter().map(|one| one.label.len()).max().unwrap_or(0);
    let (mut cached, mut running, mut depending) = (0, 0, 0);
    let mut lines = Vec::new();
    for PlannedInstance { label, fate } in planned {
        match fate {
            Fate::Cached { from_run } => {
                cached += 1;
                if all {
                    lines.push(format!("  {label:width$}  known    from run {from_run}"));
                }
            }
            Fate::Run { reasons, items } => {
                running += 1;
                let items =
                    items.map_or(String::new(), |(total, missing)| format!("{missing} of {total} items; "));
                lines.push(format!("  {label:width$}  runs     {items}{}", reasons.join("; ")));
            }
            Fate::Depends { on, reasons } => {
                depending += 1;
                let mut on = on.clone();
                let more = on.len().saturating_sub(3);
                on.truncate(3);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let mut reasons = reasons.clone();
                reasons.push(format!("after {}{more}", on.join(", ")));
                lines.push(format!("  {label:width$}  follows  {}", reasons.join("; ")));
            }
        }
    }
    let total = match (running, depending) {
        (0, 0) => format!("nothing to do: {cached} instances have their results"),
        (_, 0) => format!("{running} instances run, {cached} have their results"),
        _ => format!(
            "{running} instances run, {depending} follow if their inputs change, {cached} have their results"
        ),
    };
    lines.push(total);
    lines.join("\n")
}
