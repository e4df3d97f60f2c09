//! `pipe plan`

use std::process::ExitCode;

use pipe_engine::assess::{ItemCount, Policy, Reason, Verdict, assess};
use pipe_engine::preflight::check_tables;
use pipe_engine::run::check_stages;
use pipe_engine::session::Session;

use crate::arguments::PlanArguments;
use crate::error::CliError;
use crate::{Program, findings, render, session};

/// An instance's label with what is to become of it.
type Planned<'a> = (&'a str, Verdict);

pub(crate) fn plan(arguments: &PlanArguments, program: &Program) -> Result<ExitCode, CliError> {
    let devices = session::devices(arguments.device, program)?;
    let pipeline = session::pipeline(&arguments.manifest, program.registry())?;
    check_stages(&pipeline, &arguments.force)?;
    let (store, _temporary) = session::store_to_look_at(&pipeline, &arguments.manifest.cache)?;
    let session = Session::new(program.registry(), &store, devices, true);
    check_tables(&session, &pipeline)?;
    findings::refuse_errors(&session, &pipeline)?;
    let verdicts = assess(&session, &pipeline, Policy { force: &arguments.force, with_reasons: true });
    let mut planned: Vec<Planned<'_>> = Vec::new();
    for (instance, verdict) in pipeline.instances.iter().zip(verdicts) {
        match verdict {
            Verdict::Wrong(error) => return Err(CliError::Input(error)),
            verdict => planned.push((&instance.label, verdict)),
        }
    }
    render::out_fitted(&text(&planned, arguments.all));
    Ok(ExitCode::SUCCESS)
}

fn text(planned: &[Planned<'_>], all: bool) -> String {
    let width = planned.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let line = |(label, verdict): &Planned<'_>| {
        let (word, rest) = in_words(verdict);
        format!("  {label:width$}  {word:8} {rest}")
    };
    let is_told = |(_, verdict): &&Planned<'_>| all || !matches!(verdict, Verdict::UpToDate { .. });
    let mut lines: Vec<String> = planned.iter().filter(is_told).map(line).collect();
    lines.push(total(planned));
    lines.join("\n")
}

fn in_words(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::UpToDate { from_run, .. } => ("known", format!("from run {from_run}")),
        Verdict::Stale { reasons, items } => {
            let of_items = |ItemCount { total, missing }: &ItemCount| format!("{missing} of {total} items; ");
            ("runs", items.as_ref().map_or_else(String::new, of_items) + &texts(reasons).join("; "))
        }
        Verdict::Waiting { on, reasons } => {
            let mut first = on.clone();
            first.truncate(3);
            let more = on.len() - first.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let mut texts = texts(reasons);
            texts.push(format!("after {}{more}", first.join(", ")));
            ("follows", texts.join("; "))
        }
        Verdict::Wrong(error) => ("cannot", error.to_string()),
    }
}

fn texts(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

fn total(planned: &[Planned<'_>]) -> String {
    let count = |is_it: fn(&Verdict) -> bool| planned.iter().filter(|(_, verdict)| is_it(verdict)).count();
    let known = count(|verdict| matches!(verdict, Verdict::UpToDate { .. }));
    let running = count(|verdict| matches!(verdict, Verdict::Stale { .. }));
    let following = count(|verdict| matches!(verdict, Verdict::Waiting { .. }));
    match (running, following) {
        (0, 0) => format!("nothing to do: {known} instances have their results"),
        (_, 0) => format!("{running} instances run, {known} have their results"),
        _ => format!(
            "{running} instances run, {following} follow if their inputs change, {known} have their results"
        ),
    }
}
