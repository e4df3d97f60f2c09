//! `pipe audit`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use pipe_cache::Store;
use pipe_engine::audit::{
    Asked, Audit, Checked, RecordFacts, Recorded, Target, audit as look, find, unreadable,
};
use pipe_engine::context::Devices;
use pipe_engine::record::RecordError;
use pipe_engine::registry::Registry;
use pipe_engine::session::Session;
use pipe_engine::view::AuditView;

use crate::arguments::AuditArguments;
use crate::error::{CliError, exit};
use crate::{hub, render, session};

pub(crate) fn audit(arguments: &AuditArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let path = Path::new(&arguments.target);
    let (run, target) = match path.exists() {
        true => find(&store, path)?,
        false => (arguments.target.clone(), Target::Run),
    };
    let audit = audited(arguments, registry, &store, (&run, target))?;
    match arguments.output.json {
        true => render::json(&AuditView::new(&audit)),
        false => render::out_fitted(&text(&audit)),
    }
    Ok(match audit.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(exit::FOUND),
    })
}

fn audited(
    arguments: &AuditArguments,
    registry: &Registry,
    store: &Arc<Store>,
    (run, target): (&str, Target),
) -> Result<Audit, CliError> {
    let recorded = match Recorded::read(store, run) {
        Err(error @ (RecordError::Unreadable { .. } | RecordError::Empty { .. })) => {
            return Ok(unreadable(run, &error));
        }
        recorded => recorded?,
    };
    let mut pipeline = recorded.pipeline(store, arguments.root.as_deref(), registry);
    if let Ok(pipeline) = &mut pipeline {
        // What is not at hand is told as such: an audit downloads nothing.
        let _ = hub::place_known(pipeline);
    }
    // No device is used; its sort is a part of fingerprints.
    let devices = if recorded.device() == "cuda" { Devices::Cuda(vec![0]) } else { Devices::Cpu };
    let session = Session::new(registry, store, devices, false);
    let asked = Asked { target, head: arguments.head };
    Ok(look(&session, &recorded, pipeline.as_ref(), &asked)?)
}

fn text(audit: &Audit) -> String {
    let mut lines: Vec<String> = audit.findings.iter().map(|finding| format!("finding: {finding}")).collect();
    lines.extend(audit.notes.iter().map(|note| format!("note: {note}")));
    lines.push(format!("run {}", audit.run));
    lines.extend(facts(&audit.record, &audit.checked));
    lines.push(audit.level().to_string());
    lines.join("\n")
}

fn facts(record: &RecordFacts, checked: &Checked) -> Vec<String> {
    let Checked { instances, bound, blobs, bytes, published } = checked;
    let mut lines = Vec::new();
    if let Some(head) = record.head {
        let seen = match record.seen_by {
            0 => "no later run has seen it".to_string(),
            1 => "1 later run has seen it".to_string(),
            many => format!("{many} later runs have seen it"),
        };
        lines.push(format!("  record     {} lines, head {head}; {seen}", record.lines));
    }
    lines.push(format!("  instances  {instances} with results, {bound} bound anew to their inputs"));
    lines.push(format!("  bytes      {blobs} blobs, {}", render::size(*bytes)));
    lines.push(format!("  published  {published} files"));
    lines
}
