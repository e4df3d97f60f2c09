//! The files of a fold: `train_pid.csv` and `val_pid.csv`, each one column `pid`.
//!
//! Functions from bytes to identifiers and back. A leading column without a name, as pandas writes its
//! row index, is accepted on reading and never written.

use csv::WriterBuilder;
use pipe_plugin::table::{self, Table};
use thiserror::Error;

/// Name of the column with the patient identifiers.
pub const PID_COLUMN: &str = "pid";

/// Why a table of patient identifiers cannot be read.
#[derive(Debug, Error)]
pub enum TableError {
    /// It is no table, or a row has no identifier.
    #[error("{0}")]
    Table(#[from] table::TableError),
    /// The header is not `pid`, nor an unnamed column and `pid`.
    #[error(
        "{table}: the columns are `{found}`, expected `{PID_COLUMN}` alone or after an unnamed index column"
    )]
    Columns {
        /// The table.
        table: String,
        /// The header as it is.
        found: String,
    },
    /// It cannot be written.
    #[error("the identifiers cannot be written as a table: {0}")]
    Write(#[from] csv::Error),
}

/// Reads the identifiers of one side of a fold, in file order, as text: "007" stays "007". Messages call the file
/// `shown`.
///
/// # Errors
/// Bytes that are no table, other columns, or a row without an identifier.
pub fn read_pids(shown: &str, bytes: &[u8]) -> Result<Vec<String>, TableError> {
    let table = Table::parse_maybe_empty(shown, bytes)?;
    match table.columns() {
        [only] if only == PID_COLUMN => {}
        [index, pid] if index.is_empty() && pid == PID_COLUMN => {}
        columns => return Err(TableError::Columns { table: shown.to_owned(), found: columns.join(",") }),
    }
    let pid = |row| Ok(table.text(row, PID_COLUMN)?.to_owned());
    table.rows().iter().map(pid).collect()
}

/// Writes the identifiers of one side of a fold: the header, then one a line, ended by line feeds.
///
/// # Errors
/// None with identifiers that are UTF-8, as all `str` are; the writer's error is passed on.
pub fn write_pids<P: AsRef<str>>(pids: &[P]) -> Result<Vec<u8>, TableError> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    writer.write_record([PID_COLUMN])?;
    for pid in pids {
        writer.write_record([pid.as_ref()])?;
    }
    writer.into_inner().map_err(|error| TableError::Write(error.into_error().into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn index_columns_line_ends_and_byte_order_marks_are_accepted() {
        for table in
            ["pid\n007\nb\n", ",pid\n0,007\n1,b\n", "\u{feff}pid\r\n007\r\nb", "\"pid\"\n\"007\"\n b \n"]
        {
            assert_eq!(read_pids("t.csv", table.as_bytes()).expect(table), ["007", "b"]);
        }
        assert_eq!(read_pids("t.csv", b"pid\n").expect("no rows"), Vec::<String>::new());
    }

    #[test]
    fn other_tables_are_refused() {
        for (table, message) in [
            ("", "t.csv: the table has no rows"),
            ("patient\n1\n", "t.csv: the columns are `patient`"),
            ("index,pid\n0,1\n", "t.csv: the columns are `index,pid`"),
            ("pid,label\n0,1\n", "t.csv: the columns are `pid,label`"),
            (",pid\r\n0,a\r\n\r\n1,\r\n", "t.csv:4: `pid` must be a text, but is blank"),
            ("pid\nNA\n", "t.csv:2: `pid` must be a text, but is \"NA\""),
            (",pid\n0\n", "t.csv:2: 1 cell where the header has 2"),
        ] {
            let error = read_pids("t.csv", table.as_bytes()).expect_err(table).to_string();
            assert!(error.contains(message), "{table:?}: {error}");
        }
        assert!(read_pids("t.csv", b"pid\n\x81\n").is_err());
    }

    #[test]
    fn the_bytes_are_plain() {
        assert_eq!(write_pids(&["121389", "b"]).expect("bytes"), b"pid\n121389\nb\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pids in prop::collection::vec("[^\\s\\x00]([^\\n\\x00]*[^\\s\\x00])?", 0..20)) {
            let table = write_pids(&pids).expect("bytes");
            prop_assert_eq!(read_pids("t.csv", &table).expect("identifiers"), pids);
        }
    }
}
