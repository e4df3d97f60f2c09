//! The files of a fold: `train_pid.csv` and `val_pid.csv`, each one column `pid`.
//!
//! Functions from bytes to identifiers and back. A leading column without a name, as pandas writes its
//! row index, is accepted on reading and never written. The caller knows the path and adds it to errors.

use csv::{ReaderBuilder, StringRecord, Trim, WriterBuilder};
use thiserror::Error;

/// Name of the column with the patient identifiers.
pub const PID_COLUMN: &str = "pid";

/// Why a table of patient identifiers cannot be read.
#[derive(Debug, Error)]
pub enum TableError {
    /// The bytes are not a table: not UTF-8, or rows of different lengths.
    #[error("not a CSV table: {0}")]
    Csv(#[from] csv::Error),
    /// The header is not `pid`, nor an unnamed column and `pid`.
    #[error("the columns are `{found}`, expected `{PID_COLUMN}` alone or after an unnamed index column")]
    Columns {
        /// The header as it is.
        found: String,
    },
    /// A row has no identifier.
    #[error("line {line} has no patient identifier")]
    Blank {
        /// Line of the file, from 1.
        line: u64,
    },
}

/// Reads the identifiers of one side of a fold, in file order, as text: "007" stays "007".
///
/// # Errors
/// Bytes that are no table, other columns, or a row without an identifier.
pub fn read_pids(table: &[u8]) -> Result<Vec<String>, TableError> {
    let table = table.strip_prefix("\u{feff}".as_bytes()).unwrap_or(table);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(table);
    let column = pid_column(reader.headers()?)?;
    let mut pids = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        match record.get(column).filter(|pid| !pid.is_empty()) {
            Some(pid) => pids.push(pid.to_owned()),
            None => return Err(TableError::Blank { line }),
        }
    }
    Ok(pids)
}

/// Position of the identifiers in a row.
fn pid_column(header: &StringRecord) -> Result<usize, TableError> {
    match header.iter().collect::<Vec<_>>().as_slice() {
        [PID_COLUMN] => Ok(0),
        ["", PID_COLUMN] => Ok(1),
        columns => Err(TableError::Columns { found: columns.join(",") }),
    }
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
    writer.into_inner().map_err(|error| TableError::Csv(error.into_error().into()))
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
            assert_eq!(read_pids(table.as_bytes()).expect(table), ["007", "b"]);
        }
        assert_eq!(read_pids(b"pid\n").expect("no rows"), Vec::<String>::new());
    }

    #[test]
    fn other_tables_are_refused() {
        for (table, message) in [
            ("", "the columns are ``"),
            ("patient\n1\n", "the columns are `patient`"),
            ("index,pid\n0,1\n", "the columns are `index,pid`"),
            ("pid,label\n0,1\n", "the columns are `pid,label`"),
            (",pid\n0,a\n1,\n", "line 3 has no patient identifier"),
            (",pid\n0\n", "not a CSV table"),
        ] {
            let error = read_pids(table.as_bytes()).expect_err(table).to_string();
            assert!(error.contains(message), "{table:?}: {error}");
        }
        assert!(read_pids(b"pid\n\xff\xfe\n").is_err());
    }

    #[test]
    fn the_bytes_are_plain() {
        assert_eq!(write_pids(&["121389", "b"]).expect("bytes"), b"pid\n121389\nb\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pids in prop::collection::vec("[^\\s\r\n](.*[^\\s])?", 0..20)) {
            let table = write_pids(&pids).expect("bytes");
            prop_assert_eq!(read_pids(&table).expect("identifiers"), pids);
        }
    }
}
