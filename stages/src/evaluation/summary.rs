//! The metrics as a table for a terminal of 100 columns: `summary.txt`.
//!
//! One row for each fold, the ensemble and the calibrated ensemble; the calibrated folds are in the
//! files only. It formats; every number comes from [`super::metrics`].

use std::fmt::Write as _;

use super::metrics::{DatasetMetrics, FoldSpread, LabelledMetrics, Score};
use super::predictions::Role;
use pipe_statistics::bootstrap::Interval;

/// Widest name that leaves the table within 100 columns.
const WIDEST_NAME: usize = 38;

/// Stands for a metric that there is not.
const ABSENT: &str = "-";

/// Why calibrated values have dashes.
pub const TURNED: &str = "Calibrators that give lower values for higher probabilities turn the ranking round: no AUROC,\n\
    AUPRC, sensitivity and specificity of their values.";

/// The table, with what is to be known of its numbers below it.
///
/// `ceiling` is the AUROC that no model can exceed, where the labels come from a generator that knows it; `remarks` are
/// what else is to be known of the models.
pub fn summary(metrics: &DatasetMetrics, ceiling: Option<f64>, remarks: &[String]) -> String {
    let mut text = header(metrics);
    if let Some(labelled) = &metrics.labelled {
        text.push_str("\n\n");
        text.push_str(&table(labelled));
        text.push_str(&notes(labelled, ceiling));
    }
    text.push('\n');
    for remark in remarks {
        text.push_str(remark);
        text.push('\n');
    }
    text
}

/// What came out, in one line: the ensemble's AUROC.
pub fn in_a_line(metrics: &DatasetMetrics) -> String {
    let name = clipped(&metrics.dataset);
    let Some(labelled) = &metrics.labelled else {
        return format!("{name}: {} cases predicted, no labels", metrics.cases);
    };
    match metrics.ensemble().and_then(|score| score.evaluation.auroc) {
        Some(Interval { value, low, high }) => {
            format!("{name}: ensemble AUROC {value:.3} [{low:.3}–{high:.3}]")
        }
        None => format!("{name}: {} cases of one class, no AUROC", labelled.n),
    }
}

/// The ensembles of several data sets in one table, as papers report external tests; a blank line ends it.
pub fn side_by_side(sets: &[&DatasetMetrics]) -> String {
    let titles = ["dataset", "n", "positive", "AUROC [CI]", "AUPRC [CI]", "Brier"].map(str::to_owned);
    let interval = |interval: Option<Interval>| {
        interval.map_or(ABSENT.to_owned(), |Interval { value, low, high }| {
            format!("{value:.3} [{low:.3}–{high:.3}]")
        })
    };
    let row = |set: &&DatasetMetrics| -> Option<[String; 6]> {
        let labelled = set.labelled.as_ref()?;
        let last = |role: Role| labelled.scores.iter().find(|score| score.role == role);
        let score = last(Role::Ensemble)?;
        Some([
            clipped(&set.dataset),
            labelled.n.to_string(),
            labelled.positive.to_string(),
            interval(score.evaluation.auroc),
            interval(score.evaluation.auprc),
            number(Some(score.evaluation.brier.value)),
        ])
    };
    let rows: Vec<[String; 6]> = std::iter::once(titles).chain(sets.iter().filter_map(row)).collect();
    format!("ensemble\n{}\n", aligned(&rows))
}

fn header(metrics: &DatasetMetrics) -> String {
    let dataset = clipped(&metrics.dataset);
    let Some(labelled) = &metrics.labelled else {
        return format!("{dataset}: n = {}, no labels: predictions only", metrics.cases);
    };
    let LabelledMetrics { n, positive, .. } = labelled;
    let share = 100.0 * *positive as f64 / *n as f64;
    let left_out = match metrics.left_out() {
        0 => String::new(),
        count => format!("\nwithout a label and left out: {count}"),
    };
    format!("{dataset}: n = {n}, positive = {positive} ({share:.1} %){left_out}")
}

/// The rows in aligned columns, the first to the left and the others to the right.
fn table(labelled: &LabelledMetrics) -> String {
    let auroc = format!("AUROC [{} % CI]", percent(labelled.level));
    let titles = ["prediction", &auroc, "AUPRC", "Brier", "sensitivity", "specificity"].map(str::to_owned);
    let shown = labelled.scores.iter().filter(|score| score.role != Role::Calibrated).map(cells);
    aligned(&std::iter::once(titles).chain(shown).collect::<Vec<_>>())
}

/// Rows in columns of their widest cells.
fn aligned(rows: &[[String; 6]]) -> String {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[String; 6], widths: &[usize; 6]) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
        let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
    }
    line.push('\n');
    line
}

fn cells(score: &Score) -> [String; 6] {
    let evaluation = &score.evaluation;
    let value = |interval: Option<Interval>| number(interval.map(|interval| interval.value));
    let auroc = evaluation.auroc.map_or(ABSENT.to_owned(), |Interval { value, low, high }| {
        format!("{value:.3} [{low:.3}–{high:.3}]")
    });
    [
        clipped(&score.name),
        auroc,
        value(evaluation.auprc),
        value(Some(evaluation.brier)),
        value(evaluation.youden.map(|youden| youden.sensitivity)),
        value(evaluation.youden.map(|youden| youden.specificity)),
    ]
}

fn notes(labelled: &LabelledMetrics, ceiling: Option<f64>) -> String {
    let mut notes = String::new();
    if let Some(FoldSpread { count, mean, deviation }) = labelled.fold_auroc() {
        let _ =
            writeln!(notes, "mean of the {count} folds: AUROC {mean:.3}, standard deviation {deviation:.3}");
    }
    if let Some(ceiling) = ceiling {
        let _ = writeln!(notes, "best possible (generator): {ceiling:.3}");
    }
    notes.push('\n');
    let LabelledMetrics { n, positive, patients, draws, .. } = labelled;
    if *positive == 0 || positive == n {
        notes.push_str("All cases are of one class: AUROC, sensitivity and specificity need both.");
    } else {
        let _ = write!(
            notes,
            "CI: percentiles of {draws} bootstrap draws of the {patients} patients, each with all nodules,\n\
             stratified by having a positive one. Sensitivity and specificity: at each row's best\n\
             threshold (Youden's index), chosen on these very cases."
        );
    }
    notes
}

fn number(value: Option<f64>) -> String {
    value.map_or(ABSENT.to_owned(), |value| format!("{value:.3}"))
}

/// A share in percent, with one decimal where it needs one.
fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

/// The text, cut to the widest name.
fn clipped(text: &str) -> String {
    if text.chars().count() <= WIDEST_NAME {
        return text.to_owned();
    }
    text.chars().take(WIDEST_NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_statistics::bootstrap::{Evaluation, YoudenIntervals};

    fn interval(value: f64) -> Interval {
        Interval { value, low: value - 0.05, high: value + 0.05 }
    }

    fn score(name: &str, role: Role, auroc: f64) -> Score {
        let youden =
            YoudenIntervals { threshold: 0.5, sensitivity: interval(0.8), specificity: interval(0.7) };
        Score {
            name: name.to_owned(),
            role,
            evaluation: Evaluation {
                auroc: Some(interval(auroc)),
                auprc: Some(interval(0.65)),
                brier: interval(0.125),
                youden: Some(youden),
            },
        }
    }

    fn metrics(scores: Vec<Score>, positive: usize) -> DatasetMetrics {
        let labelled = LabelledMetrics { n: 40, positive, patients: 35, draws: 2000, level: 0.95, scores };
        DatasetMetrics { dataset: "phantom".to_owned(), cases: 40, labelled: Some(labelled) }
    }

    fn two_folds(name: impl Fn(usize) -> String) -> DatasetMetrics {
        let raw = |fold: usize| score(&name(fold), Role::Raw, 0.8125 + 0.03125 * fold as f64);
        let mut scores: Vec<Score> = (0..2).map(raw).collect();
        scores.push(score("ensemble", Role::Ensemble, 0.85));
        scores.push(score("calibrated_0", Role::Calibrated, 0.8));
        scores.push(score("calibrated_ensemble", Role::CalibratedEnsemble, 0.86));
        metrics(scores, 12)
    }

    #[test]
    fn the_table_is_pinned() {
        let expected = "\
phantom: n = 40, positive = 12 (30.0 %)

prediction               AUROC [95 % CI]  AUPRC  Brier  sensitivity  specificity
raw_0                0.812 [0.762–0.863]  0.650  0.125        0.800        0.700
raw_1                0.844 [0.794–0.894]  0.650  0.125        0.800        0.700
ensemble             0.850 [0.800–0.900]  0.650  0.125        0.800        0.700
calibrated_ensemble  0.860 [0.810–0.910]  0.650  0.125        0.800        0.700
mean of the 2 folds: AUROC 0.828, standard deviation 0.022
best possible (generator): 0.930

CI: percentiles of 2000 bootstrap draws of the 35 patients, each with all nodules,
stratified by having a positive one. Sensitivity and specificity: at each row's best
threshold (Youden's index), chosen on these very cases.
";
        assert_eq!(summary(&two_folds(|fold| format!("raw_{fold}")), Some(0.93), &[]), expected);
        let without = expected.replace("best possible (generator): 0.930\n", "");
        assert_eq!(summary(&two_folds(|fold| format!("raw_{fold}")), None, &[]), without);
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns() {
        let mut long = two_folds(|fold| format!("raw_{}_{fold}", "ä".repeat(90)));
        long.dataset = "d".repeat(300);
        long.cases = 1_000_000_000;
        let text = summary(&long, Some(0.93), &[]);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{text}");
    }

    #[test]
    fn one_class_leaves_dashes_and_says_why() {
        let mut one = score("ensemble", Role::Ensemble, 0.5);
        one.evaluation = Evaluation { auroc: None, auprc: None, brier: interval(0.125), youden: None };
        let text = summary(&metrics(vec![one], 0), None, &[]);
        assert!(text.contains("positive = 0 (0.0 %)"), "{text}");
        assert!(
            text.contains("ensemble                  -      -  0.125            -            -\n"),
            "{text}"
        );
        assert!(
            text.ends_with("All cases are of one class: AUROC, sensitivity and specificity need both.\n")
        );
    }

    #[test]
    fn a_line_says_what_came_out() {
        let text = in_a_line(&two_folds(|fold| format!("raw_{fold}")));
        assert_eq!(text, "phantom: ensemble AUROC 0.850 [0.800–0.900]");
        let mut one = score("ensemble", Role::Ensemble, 0.5);
        one.evaluation.auroc = None;
        assert_eq!(in_a_line(&metrics(vec![one], 0)), "phantom: 40 cases of one class, no AUROC");
        let none = DatasetMetrics { dataset: "new".to_owned(), cases: 7, labelled: None };
        assert_eq!(in_a_line(&none), "new: 7 cases predicted, no labels");
    }

    #[test]
    fn missing_labels_are_told() {
        let none = DatasetMetrics { dataset: "new".to_owned(), cases: 7, labelled: None };
        assert_eq!(summary(&none, None, &[]), "new: n = 7, no labels: predictions only\n");
        let mut some = metrics(Vec::new(), 12);
        some.cases = 43;
        let header = "phantom: n = 40, positive = 12 (30.0 %)\nwithout a label and left out: 3\n";
        assert!(summary(&some, None, &[]).starts_with(header));
    }
}
