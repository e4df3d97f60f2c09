//! `pipe plan`

use std::process::ExitCode;

use pipe_engine::assess::{ItemCount, Policy, Verdict, assess};
use pipe_engine::manifest::Pipeline;
use pipe_engine::preflight::check_tables;
use pipe_engine::run::check_stages;
use pipe_engine::session::Session;
use pipe_engine::view::{PlanView, PlannedInstance, PlannedState, ReasonView};

use crate::arguments::{DeviceArgument, ManifestArguments, PlanArguments};
use crate::error::CliError;
use crate::{Running, findings, render, session};

pub(crate) fn plan(arguments: &PlanArguments, running: &Running) -> Result<ExitCode, CliError> {
    let PlanArguments { manifest, force, device, .. } = arguments;
    let (pipeline, verdicts) = verdicts(manifest, *device, (force, force), running)?;
    let view = PlanView::new(&pipeline, verdicts).map_err(CliError::Input)?;
    match arguments.output.json {
        true => render::json(&view),
        false => render::out_fitted(&text(&view, arguments.all)),
    }
    Ok(ExitCode::SUCCESS)
}

/// A manifest's pipeline and what is to become of its instances, some of which are `forced`. `named` are names that have to be
/// stages of it.
pub(super) fn verdicts(
    manifest: &ManifestArguments,
    device: DeviceArgument,
    (named, forced): (&[String], &[String]),
    running: &Running,
) -> Result<(Pipeline, Vec<Verdict>), CliError> {
    let devices = session::devices(device, running)?;
    let pipeline = session::pipeline(manifest, running.registry())?;
    check_stages(&pipeline, named)?;
    let (store, _temporary) = session::store_to_look_at(&pipeline, &manifest.cache)?;
    let session = Session::new(running.registry(), &store, devices, true);
    session.look_once();
    check_tables(&session, &pipeline)?;
    findings::refuse_errors(&session, &pipeline)?;
    let verdicts = assess(&session, &pipeline, Policy { force: forced, with_reasons: true });
    Ok((pipeline, verdicts))
}

fn text(view: &PlanView, all: bool) -> String {
    let width = view.instances.iter().map(|one| one.instance.len()).max().unwrap_or(0);
    let line = |PlannedInstance { instance, state }: &PlannedInstance| {
        let (word, rest) = in_words(state);
        format!("  {instance:width$}  {word:8} {rest}")
    };
    let is_told = |one: &&PlannedInstance| all || !matches!(one.state, PlannedState::UpToDate { .. });
    let mut lines: Vec<String> = view.instances.iter().filter(is_told).map(line).collect();
    lines.push(total(view));
    lines.join("\n")
}

fn in_words(state: &PlannedState) -> (&'static str, String) {
    let texts = |reasons: &[ReasonView]| -> Vec<String> {
        reasons.iter().map(|reason| reason.text.clone()).collect()
    };
    match state {
        PlannedState::UpToDate { from_run } => ("known", format!("from run {from_run}")),
        PlannedState::Stale { reasons, items } => {
            let of_items = |ItemCount { total, missing }: &ItemCount| format!("{missing} of {total} items; ");
            ("runs", items.as_ref().map_or_else(String::new, of_items) + &texts(reasons).join("; "))
        }
        PlannedState::Waiting { on, reasons } => {
            let mut first = on.clone();
            first.truncate(3);
            let more = on.len() - first.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let mut texts = texts(reasons);
            texts.push(format!("after {}{more}", first.join(", ")));
            ("follows", texts.join("; "))
        }
    }
}

fn total(view: &PlanView) -> String {
    let PlanView { known, running, following, .. } = view;
    match (running, following) {
        (0, 0) => format!("nothing to do: {known} instances have their results"),
        (_, 0) => format!("{running} instances run, {known} have their results"),
        _ => format!(
            "{running} instances run, {following} follow if their inputs change, {known} have their results"
        ),
    }
}
