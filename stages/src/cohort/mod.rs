//! From a stage's inputs to the rows that a model sees: nodules of a table, with their planes and texts.
//!
//! Reads artifacts and says what is missing by nodule and file. Knows nothing of the training loop or of
//! metrics.

use pipe_plugin::stage::StageError;
use pipe_plugin::table::{Row, Table};

pub(crate) mod calibrator_file;
pub(crate) mod companions;
pub(crate) mod fold;
pub(crate) mod inference;
pub(crate) mod leaks;
pub(crate) mod like;
pub(crate) mod model_file;
pub(crate) mod model_set;
pub(crate) mod pixels;
pub(crate) mod planes;
pub(crate) mod scans;
pub(crate) mod series;
pub(crate) mod table_file;
pub(crate) mod test_set;
pub(crate) mod texts;
pub(crate) mod trained_on;
pub(crate) mod volumes;

/// One row of a dataset table.
#[derive(Clone, Debug)]
pub(crate) struct Nodule {
    /// The patient.
    pub(crate) pid: String,
    /// The nodule's number within the patient.
    pub(crate) nodule_id: String,
    /// The name of its files: pid and nodule_id.
    pub(crate) item: String,
    /// The diagnosis, if the table has it.
    pub(crate) malignant: Option<bool>,
    /// Position of the row in the table.
    pub(crate) row: usize,
}

/// What is wrong with the diagnoses of a table's rows; `blank_allowed` as for [`read_nodules`].
pub(crate) fn label_problems(table: &Table, blank_allowed: bool) -> Vec<StageError> {
    if !table.has_column("malignant") {
        return Vec::new();
    }
    let wanted = |row: &&Row| !(blank_allowed && table.get(row, "malignant").is_none());
    let labels = table.rows().iter().filter(wanted).map(|row| table.label(row, "malignant"));
    labels.filter_map(|label| label.err().map(StageError::from)).collect()
}

/// The nodules of a table, in its order. A table without the column `malignant` has no diagnoses; in one
/// with it, only `blank_allowed` lets a cell be blank.
pub(crate) fn read_nodules(table: &Table, blank_allowed: bool) -> Result<Vec<Nodule>, StageError> {
    let labelled = table.has_column("malignant");
    let read = |(position, row): (usize, &Row)| {
        let pid = table.text(row, "pid")?.to_string();
        let nodule_id = table.text(row, "nodule_id")?.to_string();
        let absent = !labelled || (blank_allowed && table.get(row, "malignant").is_none());
        let malignant = if absent { None } else { Some(table.label(row, "malignant")?) };
        Ok(Nodule { item: format!("{pid}_{nodule_id}"), pid, nodule_id, malignant, row: position })
    };
    let nodules: Vec<Nodule> =
        table.rows().iter().enumerate().map(read).collect::<Result<_, StageError>>()?;
    let keys = nodules.iter().zip(table.rows()).map(|(nodule, row)| (nodule.item.clone(), row.line));
    if let Some((item, first, second)) = Table::first_duplicate(keys) {
        let message =
            format!("{}: nodule {item} is on line {first} and again on line {second}", table.source);
        return Err(StageError::message(message).advise("give each row its own pid and nodule_id"));
    }
    Ok(nodules)
}
