//! Metrics, calibration and weights against the reference's numbers (SPEC section 5).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use pipe_numerics::random::RandomKey;
use pipe_stages::semantics::SEMANTIC_COLUMNS;
use pipe_statistics::bootstrap::{Bootstrap, Evaluation, Interval};
use pipe_statistics::calibration::{BetaCalibrator, CalibrationKind};
use pipe_statistics::clusters::Clusters;
use pipe_statistics::decision::Proportion;
use pipe_statistics::delong::delong;
use pipe_statistics::metrics::{auroc, average_precision, brier};
use pipe_statistics::weights::{FeatureColumn, class_weights, diagnosis_weights, semantic_weights};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const TOLERANCE: f64 = 1e-6;

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stats").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&bytes(name)).expect("fixture")
}

fn flags(labels: &[u8]) -> Vec<bool> {
    labels.iter().map(|&label| label == 1).collect()
}

fn greatest_difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[derive(Deserialize)]
struct MetricCase {
    y: Vec<u8>,
    s: Vec<f64>,
    auroc: f64,
    auprc: f64,
    brier: f64,
}

#[test]
fn metrics_equal_the_reference() {
    for case in fixture::<Vec<MetricCase>>("metrics.json") {
        let labels = flags(&case.y);
        let found = [
            auroc(&labels, &case.s).expect("scores").expect("both classes"),
            average_precision(&labels, &case.s).expect("scores").expect("positive cases"),
            brier(&labels, &case.s).expect("probabilities"),
        ];
        let difference = greatest_difference(&found, &[case.auroc, case.auprc, case.brier]);
        assert!(difference < TOLERANCE, "{} cases: {difference:e}", labels.len());
    }
}

#[test]
fn evaluation_has_the_reference_values_inside_its_intervals() {
    for case in fixture::<Vec<MetricCase>>("metrics.json") {
        let bootstrap = Bootstrap { draws: 500, ..Bootstrap::new(RandomKey::new(42, "evaluate")) };
        let evaluations = bootstrap
            .evaluate(&flags(&case.y), &Clusters::of_single_cases(case.y.len()), &[case.s])
            .expect("evaluated");
        let evaluation = evaluations.first().expect("one vector");
        let auroc = evaluation.auroc.expect("both classes");
        let auprc = evaluation.auprc.expect("positive cases");
        let found = [auroc.value, auprc.value, evaluation.brier.value];
        assert!(greatest_difference(&found, &[case.auroc, case.auprc, case.brier]) < TOLERANCE);
        for interval in [auroc, auprc, evaluation.brier] {
            assert!(interval.low < interval.value && interval.value < interval.high, "{interval:?}");
        }
    }
}

/// Nodules of patients, with what `tests/oracles/clusters.py` says of them by definitions of its own.
#[derive(Deserialize)]
struct Clustered {
    patients: Vec<u32>,
    labels: Vec<bool>,
    first: Vec<f64>,
    second: Vec<f64>,
    variance_first: f64,
    variance_second: f64,
    variance_difference: f64,
    variance_of_independent_cases: f64,
    threshold: f64,
    sensitivity: Interval,
    specificity: Interval,
    bootstrap: BTreeMap<String, Interval>,
}

#[test]
fn variances_of_clustered_cases_equal_an_independent_computation() {
    let case: Clustered = fixture("clusters.json");
    let patients = Clusters::new(&case.patients);
    assert!(patients.count() < patients.cases());
    let alone = Clusters::of_single_cases(case.labels.len());
    // Beside scores that say nothing a difference has the variance of the one AUROC.
    let flat = vec![0.5; case.labels.len()];
    for (clusters, first, second, expected) in [
        (&patients, &case.first, &flat, case.variance_first),
        (&patients, &flat, &case.second, case.variance_second),
        (&patients, &case.first, &case.second, case.variance_difference),
        (&alone, &case.first, &case.second, case.variance_of_independent_cases),
    ] {
        let found = delong(&case.labels, clusters, first, second).expect("scores").expect("both classes");
        let difference = (found.standard_error * found.standard_error - expected).abs();
        assert!(difference < 1e-12, "{found:?}: {expected} differs by {difference:e}");
    }
}

#[test]
fn shares_of_clustered_cases_equal_an_independent_computation() {
    let case: Clustered = fixture("clusters.json");
    for (class, expected) in [(true, &case.sensitivity), (false, &case.specificity)] {
        let outcome =
            |(label, score): (&bool, &f64)| (*label == class).then_some((*score >= case.threshold) == class);
        let outcomes: Vec<Option<bool>> = case.labels.iter().zip(&case.first).map(outcome).collect();
        let found = Proportion::of(&outcomes, &Clusters::new(&case.patients)).expect("cases");
        let found = [found.value, found.low, found.high];
        let difference = greatest_difference(&found, &[expected.value, expected.low, expected.high]);
        assert!(difference < 1e-12, "{class}: {found:?} and {expected:?} differ by {difference:e}");
    }
}

/// Both draw at random: 4000 draws here, 20,000 there. An end's own error is about 0.02 of the interval's width.
#[test]
fn bootstrap_intervals_of_clustered_cases_are_those_of_an_independent_computation() {
    let case: Clustered = fixture("clusters.json");
    let bootstrap = Bootstrap { draws: 4000, ..Bootstrap::new(RandomKey::new(42, "evaluate")) };
    let intervals = |clusters: &Clusters| {
        let found = bootstrap.evaluate(&case.labels, clusters, &[&case.first]).expect("evaluated");
        let Evaluation { auroc, auprc, brier, youden } = found[0];
        let youden = youden.expect("both classes");
        let [auroc, auprc] = [auroc, auprc].map(|interval| interval.expect("both classes"));
        [auroc, auprc, brier, youden.sensitivity, youden.specificity]
    };
    let names = ["auroc", "auprc", "brier", "sensitivity", "specificity"];
    for (name, found) in names.iter().zip(intervals(&Clusters::new(&case.patients))) {
        let expected = &case.bootstrap[*name];
        assert!((found.value - expected.value).abs() < 1e-12, "{name}: {found:?} {expected:?}");
        let width = expected.high - expected.low;
        let ends = greatest_difference(&[found.low, found.high], &[expected.low, expected.high]);
        assert!(ends < 0.06 * width, "{name}: {found:?} and {expected:?} differ by {}", ends / width);
    }
    // Taken as independent, the same nodules would promise too much.
    let expected = &case.bootstrap["auroc"];
    let [alone, ..] = intervals(&Clusters::of_single_cases(case.labels.len()));
    assert!(alone.high - alone.low < 0.94 * (expected.high - expected.low), "{alone:?} {expected:?}");
}

#[derive(Deserialize)]
struct CalibrationCase {
    parameters: CalibrationKind,
    p: Vec<f64>,
    y: Vec<u8>,
    map: [f64; 3],
    grid: Vec<f64>,
    predicted: Vec<f64>,
}

/// The reference's solver stops early, so its predictions are near ours and its likelihood below.
#[test]
fn calibrators_are_at_least_as_likely_as_the_reference_and_predict_alike() {
    let cases: Vec<CalibrationCase> = fixture("beta_calibration.json");
    assert_eq!(cases.len(), 20);
    for case in cases {
        let (kind, labels) = (case.parameters, flags(&case.y));
        let ours = BetaCalibrator::fit(kind, &case.p, &labels).expect("fitted");
        assert!(ours.converged, "{kind}: {ours:?}");
        let [a, b, m] = case.map;
        let theirs = BetaCalibrator::from_map(kind, a, b, m);
        let excess =
            ours.log_loss(&case.p, &labels).expect("loss") - theirs.log_loss(&case.p, &labels).expect("loss");
        assert!(excess < 1e-12, "{kind}: mean loss greater by {excess:e}");
        let found: Vec<f64> = case.grid.iter().map(|&p| ours.apply(p)).collect();
        let difference = greatest_difference(&found, &case.predicted);
        assert!(difference < 5e-3, "{kind} {:?}: predictions differ by {difference:e}", case.map);
        let map = greatest_difference(&[ours.a, ours.b, ours.m], &case.map);
        assert!(map < 2e-2, "{kind} {:?}: map differs by {map:e}", case.map);
    }
}

#[test]
fn a_coefficient_of_the_wrong_sign_is_dropped() {
    let dropped = fixture::<Vec<CalibrationCase>>("beta_calibration.json")
        .into_iter()
        .find(|case| case.parameters == CalibrationKind::Abm && case.map[0] == 0.0)
        .expect("a case with a dropped coefficient");
    let ours = BetaCalibrator::fit(CalibrationKind::Abm, &dropped.p, &flags(&dropped.y)).expect("fitted");
    assert_eq!(ours.a, 0.0);
    assert!(ours.b < 0.0, "only one coefficient is ever dropped: {ours:?}");
}

#[derive(Deserialize)]
struct Weights {
    class_weights: [f64; 2],
    sample_weights: Vec<f64>,
    semantic_weights: Vec<f64>,
}

/// A column of the weights' input, blanks as `None`.
fn column(rows: &[csv::StringRecord], header: &csv::StringRecord, name: &str) -> Vec<Option<String>> {
    let index = header.iter().position(|column| column == name).expect(name);
    let value = |row: &csv::StringRecord| row.get(index).filter(|text| !text.is_empty()).map(str::to_owned);
    rows.iter().map(value).collect()
}

#[test]
fn weights_equal_the_reference() {
    let table = bytes("weights_dataset.csv");
    let mut reader = csv::Reader::from_reader(table.as_slice());
    let header = reader.headers().expect("header").clone();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows");
    let expected: Weights = fixture("weights.json");

    let malignant: Vec<bool> =
        column(&rows, &header, "malignant").iter().map(|value| value.as_deref() == Some("1.0")).collect();
    let classes = class_weights(&malignant).expect("both classes");
    assert!(greatest_difference(&classes, &expected.class_weights) < TOLERANCE);
    let samples = diagnosis_weights(&malignant).expect("both classes");
    assert!(greatest_difference(&samples, &expected.sample_weights) < TOLERANCE);

    let values = SEMANTIC_COLUMNS.map(|feature| column(&rows, &header, feature.name));
    let columns: Vec<FeatureColumn> = SEMANTIC_COLUMNS
        .iter()
        .zip(&values)
        .map(|(feature, values)| FeatureColumn { name: feature.name, values })
        .collect();
    let semantic = semantic_weights(&columns).expect("weights");
    assert!(greatest_difference(&semantic, &expected.semantic_weights) < TOLERANCE);
}
