//! `pipe get`

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use pipe_cache::{ArtifactRef, Store};
use pipe_engine::input::Selector;
use pipe_engine::manifest::Overrides;
use pipe_engine::plan::known_results;
use pipe_engine::publish::{Copyable, copy_out};
use pipe_engine::record::read_run;
use pipe_engine::registry::Registry;
use pipe_engine::stage::OutputSpec;

use crate::cli::GetArguments;
use crate::error::{CliError, exit};
use crate::{render, session};

/// The outputs of one instance of the stage that was asked for.
struct Found {
    kind: String,
    selector: Selector,
    outputs: Option<BTreeMap<String, ArtifactRef>>,
    label: String,
}

pub(crate) fn get(arguments: &GetArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let (stage, output) = match arguments.stage.split_once('.') {
        Some((stage, output)) => (stage, Some(output)),
        None => (arguments.stage.as_str(), None),
    };
    let (store, found) = if Path::new(&arguments.source).is_file() {
        from_manifest(arguments, stage, registry)?
    } else {
        from_run(arguments, stage)?
    };
    let mut copies = Vec::new();
    for instance in &found {
        let Some(outputs) = &instance.outputs else {
            return Err(CliError::Other {
                message: format!("{} is not computed", instance.label),
                help: format!("run the pipeline first; `pipe plan` tells what `{stage}` waits for"),
                code: exit::FAILED,
            });
        };
        for spec in specs(&instance.kind, stage, output, registry)? {
            if let Some(artifact) = outputs.get(spec.name) {
                copies.push(Copyable { selector: &instance.selector, spec, artifact });
            }
        }
    }
    let files = copy_out(&store, &copies, &arguments.to, false)?;
    render::line(&format!("{files} files copied to {}", arguments.to.display()));
    Ok(ExitCode::SUCCESS)
}

fn from_manifest(
    arguments: &GetArguments,
    stage: &str,
    registry: &Registry,
) -> Result<(Arc<Store>, Vec<Found>), CliError> {
    let overrides = Overrides { set: arguments.set.clone(), profiles: arguments.profile.clone() };
    let pipeline = session::pipeline_at(Path::new(&arguments.source), &overrides, registry)?;
    let store = session::store(&pipeline, &arguments.cache)?;
    let results = known_results(&pipeline, registry, &store, arguments.device).map_err(CliError::Input)?;
    let found: Vec<Found> = pipeline
        .instances
        .iter()
        .zip(results)
        .filter(|(instance, _)| instance.stage == stage)
        .map(|(instance, outputs)| Found {
            kind: instance.kind.about().name.to_string(),
            selector: instance.selector.clone(),
            outputs,
            label: instance.label.clone(),
        })
        .collect();
    let known = pipeline.instances.iter().map(|instance| instance.stage.clone());
    found_or_unknown(store, found, stage, known)
}

fn from_run(arguments: &GetArguments, stage: &str) -> Result<(Arc<Store>, Vec<Found>), CliError> {
    if let Some(given) = arguments.set.first().or(arguments.profile.first()) {
        let message = format!("`{given}` changes a manifest, but {} names a run", arguments.source);
        return Err(CliError::refused(message, "give the manifest's path instead of a run"));
    }
    let store = session::nearest_store(&arguments.cache)?;
    let run = read_run(&store, &arguments.source)?;
    let known: Vec<String> = run.instances.iter().map(|record| record.stage.clone()).collect();
    let found = run
        .instances
        .into_iter()
        .filter(|record| record.stage == stage)
        .map(|record| Found {
            outputs: (!record.outputs.is_empty()).then_some(record.outputs),
            kind: record.kind,
            selector: record.selector,
            label: record.label,
        })
        .collect();
    found_or_unknown(store, found, stage, known.into_iter())
}

fn found_or_unknown(
    store: Arc<Store>,
    found: Vec<Found>,
    stage: &str,
    known: impl Iterator<Item = String>,
) -> Result<(Arc<Store>, Vec<Found>), CliError> {
    if found.is_empty() {
        let known: std::collections::BTreeSet<String> = known.collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(CliError::refused(format!("there is no stage `{stage}`"), format!("stages: {known}")));
    }
    Ok((store, found))
}

/// The outputs that were asked for.
fn specs(
    kind: &str,
    stage: &str,
    output: Option<&str>,
    registry: &Registry,
) -> Result<Vec<&'static OutputSpec>, CliError> {
    let Some(kind) = registry.get(kind) else {
        let message = format!("stage `{stage}` is of the kind `{kind}`, which this program does not have");
        return Err(CliError::refused(message, "use the program that ran it"));
    };
    let all = kind.about().outputs;
    match output {
        None => Ok(all.iter().collect()),
        Some(name) => match all.iter().find(|spec| spec.name == name) {
            Some(spec) => Ok(vec![spec]),
            None => {
                let known: Vec<&str> = all.iter().map(|spec| spec.name).collect();
                let message = format!("stage `{stage}` has no output `{name}`");
                Err(CliError::refused(message, format!("outputs: {}", known.join(", "))))
            }
        },
    }
}
