//! The dataset table that a stage is given from outside.

use std::path::Path;
use std::sync::Arc;

use pipe_plugin::stage::{Finding, Preview};
use pipe_plugin::table::Table;
use pipe_plugin::table::damaged_names;

/// A row of the table.
pub(super) struct Named {
    pub(super) pid: String,
    /// The name of its files.
    pub(super) item: String,
    pub(super) line: u64,
}

/// The table of the input `dataset`, where it lies outside the store and can be read; what is wrong with it otherwise
/// is told elsewhere.
pub(super) fn table(preview: &Preview<'_>) -> Option<Arc<Table>> {
    let mut given = preview.all("dataset");
    let path = given.next()?.outside()?;
    // Several data sets go by names, and their files too.
    if given.next().is_some() {
        return None;
    }
    preview.table(path).ok()
}

/// The nodules of a table: those rows that have a name.
pub(super) fn named(table: &Table) -> Vec<Named> {
    let named = |row| {
        let (pid, id) = (table.get(row, "pid")?, table.get(row, "nodule_id")?);
        Some(Named { pid: pid.to_string(), item: format!("{pid}_{id}"), line: row.line })
    };
    table.rows().iter().filter_map(named).collect()
}

/// Columns of diameters in millimetres.
const DIAMETERS: [&str; 3] = ["longest_axial_diameter_(mm)", "short_diameter_(mm)", "mean_diameter"];
/// No nodule has a larger one, in millimetres.
const LARGEST_DIAMETER: f64 = 120.0;

/// Diameters that no nodule has: another unit, a lost decimal point, a code for a missing value; and short ones that are
/// longer than the longest.
pub(super) fn diameters(preview: &Preview<'_>) -> Vec<Finding> {
    let Some(table) = table(preview) else { return Vec::new() };
    let number = |row, column: &str| table.get(row, column)?.parse::<f64>().ok();
    let told = |column: &str, rows: Vec<(u64, f64)>, problem: &str| {
        let (line, value) = rows.first()?;
        let message =
            format!("`{column}` {problem} in {} of {} rows: {value}", rows.len(), table.rows().len());
        Some(
            Finding::warning(format!("{}:{line}", table.source), message)
                .advise("diameters are millimetres; leave cells blank where none is known"),
        )
    };
    let mut findings = Vec::new();
    for column in DIAMETERS {
        let rows = table.rows().iter().filter_map(|row| Some((row.line, number(row, column)?)));
        let odd: Vec<(u64, f64)> =
            rows.filter(|(_, value)| !(0.0..=LARGEST_DIAMETER).contains(value)).collect();
        findings.extend(told(column, odd, "is no nodule's"));
    }
    let [longest, short, _] = DIAMETERS;
    let exchanged = table.rows().iter().filter_map(|row| {
        let (long, short) = (number(row, longest)?, number(row, short)?);
        (short > LONGER * long).then_some((row.line, short))
    });
    findings.extend(told(short, exchanged.collect(), "is longer than the longest"));
    findings
}

/// Measured in two slices, a short diameter may be a little longer than the longest.
const LONGER: f64 = 1.25;

/// Names of patients and nodules that a spreadsheet has damaged, in all tables of the input `dataset`.
pub(super) fn damaged(preview: &Preview<'_>) -> Vec<Finding> {
    let paths = preview.all("dataset").filter_map(|given| given.outside());
    let tables = paths.filter_map(|path| preview.table(path).ok());
    tables
        .flat_map(|table| ["pid", "nodule_id"].map(|column| damaged_names(&table, column)))
        .flatten()
        .collect()
}

/// A path as people know it.
pub(super) fn shown(preview: &Preview<'_>, path: &Path) -> String {
    path.strip_prefix(preview.root).unwrap_or(path).display().to_string()
}
