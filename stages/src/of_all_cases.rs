//! Which results are of all cases together, so that their numbers may leave when a run is de-identified. Stands beside the kinds.
//!
//! Subgroups are left out: one may be a single patient. So are texts for people, in which names are cut short.

use pipe_plugin::stage::OfAllCases;

/// Of kind `evaluate`.
pub const EVALUATE: &[OfAllCases] = &[OfAllCases {
    output: "metrics",
    files: &["metrics.json", "metrics.csv", "comparisons.csv", "decision_curve.csv", "operating_points.csv"],
    words: WORDS,
}];

/// Of kind `zero-shot`.
pub const ZERO_SHOT: &[OfAllCases] =
    &[OfAllCases { output: "metrics", files: &["metrics.json", "metrics.csv"], words: WORDS }];

/// Words of headers, metrics and predictions.
const WORDS: &[&str] = &[
    "all",
    "auprc",
    "auroc",
    "auroc_first",
    "auroc_mean",
    "auroc_second",
    "auroc_sd",
    "brier",
    "calibrated",
    "ceiling",
    "count",
    "dataset",
    "difference",
    "ensemble",
    "feature",
    "first",
    "folds",
    "high",
    "low",
    "metric",
    "n",
    "net_benefit",
    "none",
    "npv",
    "p_delong",
    "positive",
    "ppv",
    "prediction",
    "raw",
    "second",
    "sensitivity",
    "specificity",
    "threshold",
    "unlabelled",
    "validation_sensitivity",
    "value",
    "value_of_metric",
];
