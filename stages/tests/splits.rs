//! Folds equal scikit-learn's, in membership and order.

use pipe_stages::splits::{Fold, StratifiedShuffle};
use serde::Deserialize;

#[derive(Deserialize)]
struct Positions<T> {
    train: Vec<T>,
    val: Vec<T>,
}

/// The reference's splits of patients with a diagnosis.
#[derive(Deserialize)]
struct PatientCase {
    kind: String,
    pid: Vec<u64>,
    malignant: Vec<f64>,
    n_splits: usize,
    train_size: f64,
    random_state: u32,
    folds: Vec<Positions<u64>>,
}

#[test]
fn patient_splits_equal_the_reference() {
    let cases: Vec<PatientCase> = serde_json::from_str(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/stats/splits.json"
    )))
    .expect("fixture");
    assert_eq!(cases.len(), 4);
    for case in cases {
        assert_eq!(case.kind, "stratified_shuffle");
        let splitter = StratifiedShuffle {
            n_splits: case.n_splits,
            train_size: case.train_size,
            random_state: case.random_state,
        };
        let pids: Vec<String> = case.pid.iter().map(u64::to_string).collect();
        let labels: Vec<i64> = case.malignant.iter().map(|&label| label as i64).collect();
        let texts = |values: &[u64]| values.iter().map(u64::to_string).collect();
        let expected: Vec<Fold<String>> = case
            .folds
            .iter()
            .map(|fold| Fold { train: texts(&fold.train), validation: texts(&fold.val) })
            .collect();
        assert_eq!(splitter.split_patients(&pids, &labels), Ok(expected), "{} patients", pids.len());
    }
}

/// Splits with several classes and equal remainders, where the class sizes are drawn too. Made by
/// scikit-learn 1.7.2 (NumPy 2.4): `StratifiedShuffleSplit(n_splits=…, train_size=…,
/// random_state=…).split(labels, labels)`.
#[derive(Deserialize)]
struct LabelCase {
    labels: Vec<u8>,
    n_splits: usize,
    train_size: f64,
    random_state: u32,
    folds: Vec<Positions<usize>>,
}

#[test]
fn splits_with_drawn_class_sizes_equal_scikit_learn() {
    let cases: Vec<LabelCase> = serde_json::from_str(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/stats/splits_ties.json"
    )))
    .expect("fixture");
    assert_eq!(cases.len(), 5);
    for LabelCase { labels, n_splits, train_size, random_state, folds } in cases {
        let expected: Vec<Fold<usize>> =
            folds.into_iter().map(|fold| Fold { train: fold.train, validation: fold.val }).collect();
        let splitter = StratifiedShuffle { n_splits, train_size, random_state };
        assert_eq!(splitter.split(&labels), Ok(expected), "{labels:?}");
    }
}
