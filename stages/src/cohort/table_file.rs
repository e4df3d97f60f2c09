//! Tables as files: a header and rows of cells.

use pipe_plugin::stage::StageError;

/// The bytes of a CSV table.
///
/// # Errors
/// When a row has another number of cells than the header.
pub(crate) fn csv_bytes(
    columns: &[String],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<Vec<u8>, StageError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}
