//! The data sets that models are tested on: each a table of nodules with their planes.

use std::collections::HashMap;

use pipe_plugin::context::Context;
use pipe_plugin::input::{Files, InputFile, InputValue, NAME};
use pipe_plugin::stage::{Column, StageError};
use pipe_plugin::table::{Row, Table};

use super::planes::PlaneRecords;
use super::{Nodule, read_nodules};
use crate::evaluation::comparisons::OtherRun;

/// One data set.
pub(crate) struct TestSet<'a> {
    /// Its name in tables.
    pub(crate) name: String,
    pub(crate) table: &'a Table,
    pub(crate) nodules: Vec<Nodule>,
    pub(crate) slices: &'a Files,
    /// What the nodules' planes say of themselves.
    pub(crate) planes: PlaneRecords,
}

/// The data sets of the inputs `dataset` and `slices`: the one called `name`, or several by the names that the manifest
/// gives them.
///
/// # Errors
/// Names of one input that the other does not have, or rows that cannot be used.
pub(crate) fn test_sets<'a>(context: &'a Context<'_>, name: &str) -> Result<Vec<TestSet<'a>>, StageError> {
    let named = |input: &'static str| {
        context.inputs(input).iter().map(move |one| (one.selector.get(NAME).cloned(), &one.value))
    };
    let missing = |what: &str, of: &Option<String>| {
        let of = of.as_deref().map_or("one without a name".to_string(), |name| format!("`{name}`"));
        StageError::message(format!("there are no {what} for {of}"))
            .advise("give `dataset` and `slices` the same names: { a = \"@a\", b = \"@b\" }")
    };
    let mut sets = Vec::new();
    for (given, value) in named("dataset") {
        let InputValue::Table(table) = value else { continue };
        let slices = named("slices").find(|(other, _)| *other == given);
        let Some((_, InputValue::Files(slices))) = slices else { return Err(missing("slices", &given)) };
        let name = given.unwrap_or_else(|| name.to_string());
        let nodules = read_nodules(table, true)?;
        let items: Vec<&str> = nodules.iter().map(|nodule| nodule.item.as_str()).collect();
        let planes = PlaneRecords::read(slices, &items)?;
        sets.push(TestSet { name, table, nodules, slices, planes });
    }
    let known = |name: &Option<String>| named("dataset").any(|(other, _)| other == *name);
    match named("slices").find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(missing("nodules", &name)),
        None => Ok(sets),
    }
}

/// The runs of the input `against`, as far as they are of a data set.
///
/// # Errors
/// A table that is no `predictions.csv`.
pub(crate) fn other_runs(context: &Context<'_>, dataset: &str) -> Result<Vec<OtherRun>, StageError> {
    let run = |input: &pipe_plugin::input::Input| match &input.value {
        InputValue::File(file) => {
            // By foreach values or names: results have no paths in them.
            let values: Vec<&str> = input.selector.values().map(String::as_str).collect();
            let name = if values.is_empty() { "against".to_string() } else { values.join(" ") };
            Some(read_other(file, name, dataset))
        }
        _ => None,
    };
    context.inputs("against").iter().filter_map(run).collect()
}

/// The ensembles of another run's `predictions.csv`. Where that file is of several data sets, those of this one.
fn read_other(file: &InputFile, name: String, dataset: &str) -> Result<OtherRun, StageError> {
    let table = Table::parse(&file.shown, &file.read()?)?;
    let columns = ["pid", "nodule_id", "ensemble"].map(Column::required);
    let further = ["calibrated_ensemble", "dataset", "malignant"].map(Column::optional);
    let table = table.project(&[&columns[..], &further].concat())?;
    let (ensemble, calibrated, malignant) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut other = OtherRun { name, ensemble, calibrated, malignant };
    let of_this = |row: &&Row| table.get(row, "dataset").is_none_or(|other| other == dataset);
    for row in table.rows().iter().filter(of_this) {
        let case = (table.text(row, "pid")?.to_string(), table.text(row, "nodule_id")?.to_string());
        if table.has_column("calibrated_ensemble") {
            other.calibrated.insert(case.clone(), table.number(row, "calibrated_ensemble")?);
        }
        if table.get(row, "malignant").is_some() {
            other.malignant.insert(case.clone(), table.label(row, "malignant")?);
        }
        let ensemble = table.number(row, "ensemble")?;
        if let Some(known) = other.ensemble.insert(case, ensemble)
            && known != ensemble
        {
            let message =
                format!("{}:{}: the case is there twice, as {known} and {ensemble}", file.shown, row.line);
            return Err(StageError::message(message)
                .advise("give predictions.csv of one run, with one row for each nodule"));
        }
    }
    Ok(other)
}
