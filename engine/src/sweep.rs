//! What a run of a sweep came to: each point with its values, what became of it, and its metrics.
//!
//! Nothing of a sweep is kept beside records: points stand in the manifest of the run, and all else follows from its instances.

use std::collections::{BTreeMap, HashMap};

use pipe_cache::{ArtifactRef, Digest, Form, Store};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::Point;
use crate::record::{InstanceRecord, InstanceStatus, RecordError, RunRecord, read_manifest};
use crate::table::Table;

/// The table that metrics of a stage are read from, wherever it is among its outputs: a row for each, with the columns `metric` and
/// `value`, and maybe `low` and `high`.
const METRICS: &str = "metrics.csv";

/// A point of a sweep after a run.
#[derive(Clone, Debug, Serialize)]
pub struct PointResult {
    /// The point's name.
    pub name: String,
    /// The values that keys are given.
    pub values: BTreeMap<String, Value>,
    /// What became of it.
    pub state: PointState,
    /// The instances that failed in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// Its metrics by name, such as `evaluate/ensemble/auroc`.
    pub metrics: BTreeMap<String, Metric>,
}

/// What became of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PointState {
    /// All of its instances have results.
    Finished,
    /// One of its instances failed.
    Failed,
    /// The run ended before it.
    Unfinished,
}

/// A metric with its interval, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metric {
    /// Its value; none where it is not a number.
    pub value: Option<f64>,
    /// Where its interval begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Where its interval ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

impl PointState {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Unfinished => "not finished",
        }
    }
}

/// The points of a run in the order of the sweep; none of a run that is no sweep.
///
/// # Errors
/// When the run's record cannot be read.
pub fn results(store: &Store, run: &RunRecord) -> Result<Vec<PointResult>, RecordError> {
    let manifest = read_manifest(&run.head)?;
    let points = manifest.get("sweep").and_then(|sweep| sweep.get("points")).cloned();
    // A manifest whose `[sweep]` was not run has its table there.
    let points: Vec<Point> =
        points.and_then(|points| serde_json::from_value(points).ok()).unwrap_or_default();
    let mut instances: HashMap<&str, Vec<&InstanceRecord>> = HashMap::new();
    for instance in &run.instances {
        instances.entry(&instance.stage).or_default().push(instance);
    }
    let mut read = HashMap::new();
    Ok(points.into_iter().map(|point| result(store, point, &instances, &mut read)).collect())
}

fn result(
    store: &Store,
    point: Point,
    instances: &HashMap<&str, Vec<&InstanceRecord>>,
    read: &mut HashMap<Digest, BTreeMap<String, Metric>>,
) -> PointResult {
    let mut failed = Vec::new();
    let mut metrics = BTreeMap::new();
    let mut is_whole = true;
    for (stage, version) in &point.stages {
        let of_stage = instances.get(version.as_str()).map_or(&[][..], Vec::as_slice);
        is_whole &= !of_stage.is_empty() && of_stage.iter().all(|instance| instance.has_result());
        for instance in of_stage {
            if instance.status == InstanceStatus::Failed {
                failed.push(instance.label.clone());
            }
            let values: Vec<&str> = instance.selector.values().map(String::as_str).collect();
            for (output, artifact) in &instance.outputs {
                let found =
                    read.entry(artifact.digest).or_insert_with(|| metrics_of(store, output, artifact));
                let name = |name: &String| {
                    [stage.as_str()]
                        .into_iter()
                        .chain(values.iter().copied())
                        .chain([name.as_str()])
                        .collect::<Vec<_>>()
                        .join("/")
                };
                metrics.extend(found.iter().map(|(metric, value)| (name(metric), *value)));
            }
        }
    }
    let state = match (failed.is_empty(), is_whole) {
        (false, _) => PointState::Failed,
        (true, true) => PointState::Finished,
        (true, false) => PointState::Unfinished,
    };
    PointResult { name: point.name, values: point.values, state, failed, metrics }
}

/// The metrics in an output. One that is gone has none.
fn metrics_of(store: &Store, output: &str, artifact: &ArtifactRef) -> BTreeMap<String, Metric> {
    let digests = match artifact.form {
        // A record does not say how a file by itself is called; a table is called as its output is.
        Form::File if METRICS.strip_suffix(".csv") == Some(output) => vec![artifact.digest],
        Form::File => Vec::new(),
        _ => {
            let index = store.index(artifact.digest);
            let entries = index.iter().flat_map(|index| index.entries());
            entries.filter(|entry| entry.name == METRICS).map(|entry| entry.digest).collect()
        }
    };
    digests.into_iter().flat_map(|digest| table_of(store, digest).unwrap_or_default()).collect()
}

fn table_of(store: &Store, digest: Digest) -> Option<BTreeMap<String, Metric>> {
    let bytes = store.read(digest).ok()?;
    let table = Table::parse(METRICS, &bytes).ok()?;
    if !table.has_column("metric") || !table.has_column("value") {
        return None;
    }
    let own = ["metric", "value", "low", "high"];
    let names: Vec<&String> = table.columns().iter().filter(|name| !own.contains(&name.as_str())).collect();
    let mut metrics = BTreeMap::new();
    for row in table.rows() {
        let number =
            |column: &str| table.get(row, column)?.parse::<f64>().ok().filter(|number| number.is_finite());
        let cells = names.iter().filter_map(|name| table.get(row, name)).chain(table.get(row, "metric"));
        let name = cells.collect::<Vec<_>>().join("/");
        metrics.insert(name, Metric { value: number("value"), low: number("low"), high: number("high") });
    }
    Some(metrics)
}
