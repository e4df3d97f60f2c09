//! Kind `split`: patients into stratified training and validation folds.

use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::label_problems;
use crate::splits::StratifiedShuffle;
use crate::splits::tables::write_pids;

/// The kind.
pub struct Split;

/// Parameters of `split`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitParams {
    /// How many folds; each is an independent random division.
    #[schemars(range(min = 1, max = 1000))]
    pub n_splits: usize,
    /// Share of the patients in a fold's training part.
    #[schemars(range(min = 0.01, max = 0.99))]
    pub train_size: f64,
    /// Seed of the division, as scikit-learn's `random_state`.
    pub random_state: u32,
}

impl Default for SplitParams {
    fn default() -> Self {
        Self { n_splits: 5, train_size: 0.6, random_state: 42 }
    }
}

impl Stage for Split {
    type Params = SplitParams;

    const ABOUT: About = About::new(
        "split",
        "divides the patients into stratified training and validation folds",
        crate::code_stamps::SPLIT,
    )
    .inputs(&[InputSpec::new("dataset", InputForm::Table, "the cohort: pid, malignant")])
    .outputs(&[OutputSpec::tree("splits", "fold_k/train_pid.csv and fold_k/val_pid.csv")]);

    fn columns(&self, _params: &SplitParams, _input: &str) -> Vec<Column> {
        vec![Column::required("pid"), Column::required("malignant")]
    }

    fn check_table(&self, _params: &SplitParams, _input: &str, table: &Table) -> Vec<StageError> {
        label_problems(table, false)
    }
}

impl Whole for Split {
    fn run(&self, params: &SplitParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let table = context.table("dataset")?;
        let mut pids = Vec::new();
        let mut labels = Vec::new();
        for row in table.rows() {
            pids.push(table.text(row, "pid")?.to_string());
            labels.push(table.label(row, "malignant")?);
        }
        let SplitParams { n_splits, train_size, random_state } = *params;
        let folds =
            StratifiedShuffle { n_splits, train_size, random_state }.split_patients(&pids, &labels)?;
        for (number, fold) in folds.iter().enumerate() {
            context.write("splits", &format!("fold_{number}/train_pid.csv"), &write_pids(&fold.train)?)?;
            context.write("splits", &format!("fold_{number}/val_pid.csv"), &write_pids(&fold.validation)?)?;
        }
        Ok(())
    }
}
