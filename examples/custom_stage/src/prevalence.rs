//! Kind `prevalence`: how many nodules of a cohort are malignant, by the value of a column.

use std::collections::BTreeMap;

use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind.
pub struct Prevalence;

/// Parameters of `prevalence`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrevalenceParams {
    /// The column to group by.
    pub by: String,
}

impl Default for PrevalenceParams {
    fn default() -> Self {
        Self { by: "nodule_consistency".to_string() }
    }
}

impl Stage for Prevalence {
    type Params = PrevalenceParams;

    const ABOUT: About = About::new(
        "prevalence",
        "counts malignant nodules by the value of a column",
        crate::code_stamps::PREVALENCE,
    )
    .inputs(&[InputSpec::new("dataset", InputForm::Table, "the cohort: malignant and the column")])
    .outputs(&[OutputSpec::file("counts", "prevalence.csv", "value, nodules, malignant")])
    .headline("counts", "prevalence.csv");

    fn columns(&self, params: &PrevalenceParams, _input: &str) -> Vec<Column> {
        vec![Column::required("malignant"), Column::required(&params.by)]
    }
}

impl Whole for Prevalence {
    fn run(&self, params: &PrevalenceParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let table = context.table("dataset")?;
        let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for row in table.rows() {
            let (nodules, malignant) =
                counts.entry(table.get(row, &params.by).unwrap_or("(blank)")).or_default();
            *nodules += 1;
            *malignant += u64::from(table.label(row, "malignant")?);
        }
        let mut rows = csv::Writer::from_writer(Vec::new());
        rows.write_record(["value", "nodules", "malignant"])?;
        for (value, (nodules, malignant)) in counts {
            rows.write_record([value, &nodules.to_string(), &malignant.to_string()])?;
        }
        context.write("counts", "prevalence.csv", &rows.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use pipe_plugin::testing;

    use super::*;

    const TABLE: &str = "pid,malignant,margin\nP1,1,sharp\nP2,0,sharp\nP3,1,\n";

    fn by(column: &str) -> PrevalenceParams {
        PrevalenceParams { by: column.to_string() }
    }

    #[test]
    fn values_are_counted_and_blank_cells_too() -> Result<(), StageError> {
        let ran = testing::run(&Prevalence, by("margin")).table("dataset", TABLE).finish()?;
        let expected = "value,nodules,malignant\n(blank),1,1\nsharp,2,1\n";
        assert_eq!(ran.text("counts", "prevalence.csv"), Some(expected));
        Ok(())
    }

    #[test]
    fn a_column_that_is_not_there_is_refused() {
        let refused = testing::run(&Prevalence, by("texture")).table("dataset", TABLE).finish();
        assert!(refused.is_err_and(|error| error.to_string().contains("texture")));
    }
}
