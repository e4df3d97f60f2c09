//! Kind `prevalence`: how many nodules of a cohort are malignant, by the value of a column.

use std::collections::BTreeMap;

use pipe::engine::context::Context;
use pipe::engine::stage::{About, Column, InputForm, InputSpec, OutputForm, OutputSpec, Stage, StageError};
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

    const ABOUT: About = About {
        name: "prevalence",
        summary: "counts malignant nodules by the value of a column",
        inputs: &[InputSpec::new("dataset", InputForm::Table, "the cohort: malignant and the column")],
        outputs: &[OutputSpec {
            name: "counts",
            summary: "value, nodules, malignant",
            form: OutputForm::File("prevalence.csv"),
        }],
        random: false,
        device: false,
        service: false,
        code: crate::code_stamps::PREVALENCE,
        headline: Some(("counts", "prevalence.csv")),
    };

    fn columns(&self, params: &PrevalenceParams, _input: &str) -> Vec<Column> {
        vec![Column::required("malignant"), Column::required(&params.by)]
    }

    fn run(&self, params: &PrevalenceParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let table = context.table("dataset")?;
        let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for row in table.rows() {
            let (nodules, malignant) =
                counts.entry(table.get(row, &params.by).unwrap_or("(blank)")).or_default();
            *nodules += 1;
            *malignant += u64::from(table.label(row, "malignant")?);
        }
        let mut text = String::from("value,nodules,malignant\n");
        for (value, (nodules, malignant)) in counts {
            text.push_str(&format!("{value},{nodules},{malignant}\n"));
        }
        context.write("counts", "prevalence.csv", text.as_bytes())
    }
}
