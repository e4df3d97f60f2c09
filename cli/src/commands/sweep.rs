//! `pipe sweep`

use std::collections::BTreeSet;
use std::process::ExitCode;

use pipe_cache::Store;
use pipe_engine::manifest::{Pipeline, load_sweep};
use pipe_engine::record::read_run;
use pipe_engine::sweep::{Metric, PointResult, PointState, results};
use pipe_engine::view::VERSION;
use serde_json::json;

use super::run::{exit_code, refused_in_json, run_loaded};
use crate::arguments::{RunArguments, SweepArguments, SweepShowArguments};
use crate::error::{CliError, exit};
use crate::progress::Verbosity;
use crate::{Running, hub, render, session};

/// So many metrics are shown without being asked for.
const FEW: usize = 6;

pub(crate) fn sweep(arguments: &SweepArguments, running: &Running) -> Result<ExitCode, CliError> {
    match arguments {
        SweepArguments::Show(arguments) => show(arguments),
        SweepArguments::Run(run) => refused_in_json(run.json, run_all(run, running)),
    }
}

/// Runs all points as one pipeline. One that fails does not end the others.
fn run_all(arguments: &RunArguments, running: &Running) -> Result<ExitCode, CliError> {
    let load = || load(arguments, running);
    let (summary, store) = run_loaded(arguments, running, &load, true)?;
    if !arguments.json {
        let run = read_run(&store, &summary.run)?;
        render::out_fitted(&text(&results(&store, &run)?, &[]));
    }
    Ok(exit_code(&summary))
}

/// The pipeline of all points; how many there are is told before any work.
fn load(arguments: &RunArguments, running: &Running) -> Result<Pipeline, CliError> {
    let manifest = &arguments.manifest;
    let (mut pipeline, points) =
        load_sweep(&manifest.manifest, &manifest.changes.overrides(), running.registry())?;
    hub::place_known(&mut pipeline)?;
    let alone: usize = points.iter().map(|point| instances(&pipeline, point.stages.values())).sum();
    let together = pipeline.instances.len();
    if arguments.json {
        let event = json!({
            "event": "sweep", "points": points.len(), "instances": together, "instances_of_points": alone,
        });
        render::out(&event.to_string());
    } else if arguments.verbosity() != Verbosity::Quiet {
        render::line(&format!(
            "{} points: {together} stage instances, {alone} if each point were run alone",
            points.len()
        ));
    }
    Ok(pipeline)
}

fn instances<'a>(pipeline: &Pipeline, stages: impl Iterator<Item = &'a String>) -> usize {
    let stages: BTreeSet<&String> = stages.collect();
    pipeline.instances.iter().filter(|instance| stages.contains(&instance.stage)).count()
}

fn show(arguments: &SweepShowArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let points = points_of(&store, &arguments.run)?;
    let known: BTreeSet<&String> = points.iter().flat_map(|point| point.metrics.keys()).collect();
    if let Some(name) =
        arguments.metric.iter().find(|name| !known.iter().any(|metric| is_meant(name, metric)))
    {
        let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
        return Err(CliError::refused(
            format!("no point has a metric {name}"),
            format!("known: {}", known.join(", ")),
        ));
    }
    if arguments.output.json {
        render::json(&json!({ "version": VERSION, "points": points }));
    } else if arguments.csv {
        let table = csv(&points).map_err(|error| CliError::Other {
            message: format!("the points cannot be written as CSV: {error}"),
            help: "`--json` has the same".to_string(),
            code: exit::FAILED,
        })?;
        render::out(&table);
    } else {
        render::out_fitted(&text(&points, &arguments.metric));
    }
    Ok(ExitCode::SUCCESS)
}

fn points_of(store: &Store, run: &str) -> Result<Vec<PointResult>, CliError> {
    let run = read_run(store, run)?;
    let points = results(store, &run)?;
    if points.is_empty() {
        let message = format!("{} is no run of a sweep", run.head.header.run);
        return Err(CliError::refused(
            message,
            "`pipe runs` lists the runs; `pipe sweep MANIFEST` runs a sweep",
        ));
    }
    Ok(points)
}

/// Whether a name means a metric: all of its name, or the parts at its end.
fn is_meant(name: &str, metric: &str) -> bool {
    metric.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// A line for each point: its name, what became of it, the values in which points differ, and metrics.
fn text(points: &[PointResult], wanted: &[String]) -> String {
    let keys = differing(points);
    let known: BTreeSet<&String> = points.iter().flat_map(|point| point.metrics.keys()).collect();
    let metrics: Vec<&String> = match wanted {
        [] if known.len() > FEW => Vec::new(),
        [] => known.iter().copied().collect(),
        _ => {
            known.iter().copied().filter(|metric| wanted.iter().any(|name| is_meant(name, metric))).collect()
        }
    };
    let heads = ["point", "state"].into_iter().map(str::to_string);
    let mut rows = vec![
        heads
            .chain(keys.iter().map(|key| (*key).clone()))
            .chain(metrics.iter().map(|name| (*name).clone()))
            .collect(),
    ];
    for point in points {
        let value = |key: &&String| point.values.get(*key).map_or("-".to_string(), plain);
        let metric = |name: &&String| point.metrics.get(*name).map_or("-".to_string(), told);
        let first = [point.name.clone(), point.state.word().to_string()].into_iter();
        rows.push(first.chain(keys.iter().map(value)).chain(metrics.iter().map(metric)).collect());
    }
    let mut lines = render::columns(&rows);
    let count = |state: PointState| points.iter().filter(|point| point.state == state).count();
    let states = [PointState::Finished, PointState::Failed, PointState::Unfinished];
    let counts = states.into_iter().map(|state| (count(state), state.word())).filter(|(count, _)| *count > 0);
    lines.push(counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", "));
    if metrics.is_empty() && !known.is_empty() {
        lines.push(format!(
            "{} metrics: `pipe sweep show --metric NAME` shows some, `--csv` all",
            known.len()
        ));
    }
    lines.join("\n")
}

/// The keys in which points differ.
fn differing(points: &[PointResult]) -> Vec<&String> {
    let keys: BTreeSet<&String> = points.iter().flat_map(|point| point.values.keys()).collect();
    let first = points.first();
    keys.into_iter()
        .filter(|key| {
            points.iter().any(|point| point.values.get(*key) != first.and_then(|one| one.values.get(*key)))
        })
        .collect()
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn told(metric: &Metric) -> String {
    let Some(value) = metric.value else { return "not a number".to_string() };
    match (metric.low, metric.high) {
        (Some(low), Some(high)) => format!("{value:.4} [{low:.4}, {high:.4}]"),
        _ => format!("{value:.4}"),
    }
}

/// All values and metrics, a row for each point.
fn csv(points: &[PointResult]) -> Result<String, csv::Error> {
    let keys: BTreeSet<&String> = points.iter().flat_map(|point| point.values.keys()).collect();
    let metrics: BTreeSet<&String> = points.iter().flat_map(|point| point.metrics.keys()).collect();
    let heads = ["point", "state"].into_iter().map(str::to_string).chain(keys.iter().copied().cloned());
    let of_metric = |name: &&String| [(*name).clone(), format!("{name}/low"), format!("{name}/high")];
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(heads.chain(metrics.iter().flat_map(of_metric)))?;
    for point in points {
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let first = [point.name.clone(), point.state.word().to_string()].into_iter();
        let values = keys.iter().map(|key| point.values.get(*key).map(plain).unwrap_or_default());
        let metrics = metrics.iter().flat_map(|name| {
            let metric = point.metrics.get(*name).copied().unwrap_or_default();
            [metric.value, metric.low, metric.high].map(number)
        });
        writer.write_record(first.chain(values).chain(metrics))?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
