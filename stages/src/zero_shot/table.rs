//! What zero-shot prediction gives: a table of probabilities, and how well each value is told from the others.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::semantics::is_same_word;
use pipe_statistics::bootstrap::{Bootstrap, BootstrapError, Interval};
use pipe_statistics::clusters::Clusters;

/// All that is said of one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureScores {
    /// Its column.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
    /// For each fold, for each nodule, the probability of each value.
    pub folds: Vec<Vec<Vec<f64>>>,
    /// What the table has of each nodule; `None` where it is blank.
    pub truth: Vec<Option<String>>,
}

/// How well a value is told from the others.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueMetric {
    /// The feature.
    pub feature: String,
    /// Its value.
    pub value: String,
    /// Nodules of which the feature is known.
    pub n: usize,
    /// Those that have the value.
    pub positive: usize,
    /// AUROC by prediction, `raw_k` and `ensemble`; `None` where all or none has the value.
    pub auroc: Vec<(String, Option<Interval>)>,
}

impl FeatureScores {
    /// A value's probability of each nodule: of each fold, then their mean.
    fn vectors(&self, value: usize) -> Vec<Vec<f64>> {
        let fold = |nodules: &Vec<Vec<f64>>| -> Vec<f64> {
            nodules.iter().map(|values| values.get(value).copied().unwrap_or(f64::NAN)).collect()
        };
        let mut vectors: Vec<Vec<f64>> = self.folds.iter().map(fold).collect();
        let count = vectors.len().max(1) as f64;
        let mean = |row: usize| vectors.iter().filter_map(|fold| fold.get(row)).sum::<f64>() / count;
        let ensemble = (0..self.truth.len()).map(mean).collect();
        vectors.push(ensemble);
        vectors
    }

    /// Rows `feature, value, raw_0, …, ensemble, truth` for each nodule, in its order; `truth` is 1 or 0, or blank.
    pub fn rows(&self) -> Vec<Vec<Vec<String>>> {
        let by_value: Vec<Vec<Vec<f64>>> = (0..self.values.len()).map(|value| self.vectors(value)).collect();
        let row = |nodule: usize, (value, vectors): (&String, &Vec<Vec<f64>>)| {
            let mut cells = vec![self.name.clone(), value.clone()];
            cells.extend(vectors.iter().filter_map(|vector| vector.get(nodule)).map(|p| format!("{p:?}")));
            let truth = self.truth.get(nodule).and_then(Option::as_ref);
            cells.push(
                truth.map_or("", |truth| if is_same_word(truth, value) { "1" } else { "0" }).to_owned(),
            );
            cells
        };
        (0..self.truth.len())
            .map(|nodule| self.values.iter().zip(&by_value).map(|pair| row(nodule, pair)).collect())
            .collect()
    }

    /// AUROC of each value against the others, with intervals; `patients` are those of the nodules.
    ///
    /// # Errors
    /// Those of the bootstrap.
    pub fn metrics(
        &self,
        keys: &[String],
        patients: &[&str],
        bootstrap: &Bootstrap,
    ) -> Result<Vec<ValueMetric>, BootstrapError> {
        let names: Vec<String> =
            keys.iter().map(|key| format!("raw_{key}")).chain(["ensemble".to_owned()]).collect();
        let known: Vec<usize> = (0..self.truth.len())
            .filter(|&nodule| self.truth.get(nodule).is_some_and(Option::is_some))
            .collect();
        let clusters = Clusters::new(known.iter().map(|&nodule| patients.get(nodule)));
        let mut metrics = Vec::new();
        for (position, value) in self.values.iter().enumerate() {
            let truth =
                |nodule: &usize| self.truth.get(*nodule)?.as_ref().map(|truth| is_same_word(truth, value));
            let labels: Vec<bool> = known.iter().filter_map(truth).collect();
            let positive = labels.iter().filter(|&&label| label).count();
            let mixed = positive > 0 && positive < labels.len();
            let vectors: Vec<Vec<f64>> = self
                .vectors(position)
                .iter()
                .map(|vector| known.iter().filter_map(|&nodule| vector.get(nodule).copied()).collect())
                .collect();
            let auroc: Vec<Option<Interval>> = match mixed {
                true => {
                    bootstrap.evaluate(&labels, &clusters, &vectors)?.iter().map(|one| one.auroc).collect()
                }
                false => vec![None; names.len()],
            };
            metrics.push(ValueMetric {
                feature: self.name.clone(),
                value: value.clone(),
                n: labels.len(),
                positive,
                auroc: names.iter().cloned().zip(auroc).collect(),
            });
        }
        Ok(metrics)
    }
}

/// Intervals on fewer nodules with a value, or without it, say little.
const FEW: usize = 10;

/// What to say of values that too few nodules have, or too few have not; those that all or none have have no AUROC.
pub fn warning(metrics: &[ValueMetric]) -> Option<String> {
    let scored = |metric: &&ValueMetric| metric.positive > 0 && metric.positive < metric.n;
    let is_small = |metric: &&ValueMetric| metric.positive.min(metric.n - metric.positive) < FEW;
    let (all, small) = (metrics.iter().filter(scored), metrics.iter().filter(scored).filter(is_small));
    let (all, small) = (all.count(), small.count());
    (small > 0).then(|| {
        format!(
            "{small} of {all} values with an AUROC are those of fewer than {FEW} nodules, or of all but fewer: their intervals \
             say little"
        )
    })
}

/// `metrics.json`: feature → value → n, positive and AUROC by prediction.
pub fn json_value(metrics: &[ValueMetric]) -> Value {
    let mut features: Map<String, Value> = Map::new();
    for metric in metrics {
        let auroc: Map<String, Value> =
            metric.auroc.iter().map(|(name, interval)| (name.clone(), json!(interval))).collect();
        let entry = json!({"n": metric.n, "positive": metric.positive, "auroc": auroc});
        let feature = features.entry(metric.feature.clone()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(values) = feature {
            values.insert(metric.value.clone(), entry);
        }
    }
    json!({"feature": features})
}

/// Rows of `metrics.csv`, long form, with their header.
pub fn csv_rows(metrics: &[ValueMetric]) -> Vec<Vec<String>> {
    let header =
        ["feature", "value", "n", "positive", "prediction", "metric", "value_of_metric", "low", "high"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for metric in metrics {
        for (name, interval) in &metric.auroc {
            let mut row = vec![metric.feature.clone(), metric.value.clone()];
            row.extend([metric.n.to_string(), metric.positive.to_string(), name.clone(), "auroc".to_owned()]);
            let numbers = interval.map(|Interval { value, low, high }| [value, low, high]);
            row.extend(match numbers {
                Some(numbers) => numbers.map(|number| format!("{number:?}")),
                None => [const { String::new() }; 3],
            });
            rows.push(row);
        }
    }
    rows
}

/// The ensemble's table for people.
pub fn summary(nodules: usize, metrics: &[ValueMetric]) -> String {
    let mut text = format!("zero-shot: n = {nodules}\n\n");
    let wide = |get: fn(&ValueMetric) -> &str, title: &str| {
        metrics.iter().map(|metric| get(metric).chars().count()).max().unwrap_or(0).max(title.len())
    };
    let (feature, value) = (wide(|x| &x.feature, "feature"), wide(|x| &x.value, "value"));
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:feature$}  {:value$}      n  positive  AUROC [CI] of the ensemble",
        "feature", "value"
    );
    for metric in metrics {
        let auroc = match metric.auroc.last().and_then(|(_, interval)| *interval) {
            Some(Interval { value, low, high }) => format!("{value:.3} [{low:.3}, {high:.3}]"),
            None => "-".to_owned(),
        };
        let ValueMetric { n, positive, .. } = metric;
        let _ = writeln!(
            text,
            "{:feature$}  {:value$}  {n:>5}  {positive:>8}  {auroc}",
            metric.feature, metric.value
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    fn scores() -> FeatureScores {
        let nodule = |p: f64| vec![p, 1.0 - p];
        FeatureScores {
            name: "nodule_shape".into(),
            values: vec!["Ovoid".into(), "Round".into()],
            folds: vec![[0.75, 0.5, 0.25].map(nodule).to_vec(), [0.25, 1.0, 0.25].map(nodule).to_vec()],
            truth: vec![Some("ovoid".into()), None, Some("Round".into())],
        }
    }

    #[test]
    fn each_value_has_a_row_with_all_folds_their_mean_and_the_truth() {
        let rows = scores().rows();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0][0], ["nodule_shape", "Ovoid", "0.75", "0.25", "0.5", "1"]);
        assert_eq!(rows[1][1], ["nodule_shape", "Round", "0.5", "0.0", "0.25", ""]);
    }

    #[test]
    fn values_are_scored_against_the_others_where_the_truth_is_known() {
        let bootstrap = Bootstrap { draws: 20, ..Bootstrap::new(RandomKey::new(1, "test")) };
        let keys = ["0".to_owned(), "1".to_owned()];
        let metrics = scores().metrics(&keys, &["a", "b", "c"], &bootstrap).expect("metrics");
        assert_eq!((metrics[0].n, metrics[0].positive), (2, 1));
        let values: Vec<f64> = metrics[0].auroc.iter().map(|(_, auroc)| auroc.expect("both").value).collect();
        assert_eq!(values, [1.0, 0.5, 1.0]);
        assert!(warning(&metrics).expect("few").starts_with("2 of 2 values"), "{:?}", warning(&metrics));
        let one = FeatureScores { truth: vec![Some("Round".into()), None, Some("Round".into())], ..scores() };
        let metrics = one.metrics(&keys, &["a", "b", "c"], &bootstrap).expect("metrics");
        assert!(metrics.iter().flat_map(|metric| &metric.auroc).all(|(_, auroc)| auroc.is_none()));
        assert_eq!(warning(&metrics), None);
        assert!(
            summary(3, &metrics).contains("nodule_shape  Ovoid      2         0  -"),
            "{}",
            summary(3, &metrics)
        );
    }
}
