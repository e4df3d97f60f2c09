//! CSV tables: read with line numbers, cut down to the columns that are used, hashed column by column.
//!
//! Knows nothing of what the columns mean. A blank cell and one of pandas' words for a missing value are the same to
//! every kind: [`Table::get`] has neither, and where something must be there, both are refused by cell.

mod cache;
mod damaged;
mod encoding;
mod error;
mod missing;
mod near;
mod read;
mod records;

use std::collections::HashMap;
use std::path::Path;

use pipe_cache::{Digest, Hasher};

pub use self::cache::TableCache;
pub use self::damaged::damaged_names;
pub use self::error::TableError;
pub use self::missing::is_missing;
use self::near::is_same_but_for_signs;
pub use self::near::nearest;
pub(crate) use self::read::has_comma;
use crate::stage::Column;

/// A table, or the part of one that a stage uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Where it came from, for messages.
    pub source: String,
    header_line: u64,
    columns: Vec<String>,
    rows: Vec<Row>,
    guessed_encoding: bool,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// 1-based line in the file.
    pub line: u64,
    cells: Vec<String>,
}

impl Table {
    /// Reads a table between commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252. Cells are trimmed; blank
    /// rows, and blank columns without a name, are skipped.
    ///
    /// # Errors
    /// What is no such text, or can be read in two ways; ragged rows, doubled columns, no rows.
    pub fn parse(source: &str, bytes: &[u8]) -> Result<Self, TableError> {
        let table = Self::parse_maybe_empty(source, bytes)?;
        match table.rows.is_empty() {
            true => Err(TableError::Empty { table: table.source }),
            false => Ok(table),
        }
    }

    /// Reads a table that may have a header and nothing else.
    ///
    /// # Errors
    /// As [`Table::parse`], but for that.
    pub fn parse_maybe_empty(source: &str, bytes: &[u8]) -> Result<Self, TableError> {
        let read::Read { header_line, columns, rows, guessed_encoding } = read::read(source, bytes)?;
        if let Some((_, column)) =
            columns.iter().enumerate().find(|(index, name)| columns[..*index].contains(name))
        {
            return Err(TableError::DuplicateColumn { table: source.to_string(), column: column.clone() });
        }
        Ok(Self { source: source.to_string(), header_line, columns, rows, guessed_encoding })
    }

    /// Reads a file, which messages call `shown`.
    ///
    /// # Errors
    /// As [`Table::parse`]; or when the file cannot be read.
    pub fn open(path: &Path, shown: &str) -> Result<Self, TableError> {
        let bytes = std::fs::read(path)
            .map_err(|source| TableError::Unreadable { table: shown.to_string(), source })?;
        Self::parse(shown, &bytes)
    }

    /// 1-based line of the header.
    pub fn header_line(&self) -> u64 {
        self.header_line
    }

    /// Whether it was read as Windows-1252, since it is not UTF-8.
    pub fn guessed_encoding(&self) -> bool {
        self.guessed_encoding
    }

    /// The headers.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, in the order of the file.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether there is such a column.
    pub fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column == name)
    }

    /// The part of the table with these columns, in this order; optional ones only when they are there.
    ///
    /// # Errors
    /// [`TableError::MissingColumn`] for a required one.
    pub fn project(&self, wanted: &[Column]) -> Result<Self, TableError> {
        let mut positions = Vec::new();
        for column in wanted {
            match self.columns.iter().position(|name| *name == column.name) {
                Some(position) => positions.push(position),
                None if column.required => {
                    let others = self.columns.iter().map(String::as_str);
                    let spare = others.filter(|name| wanted.iter().all(|column| column.name != *name));
                    return Err(self.missing(&column.name, nearest(&column.name, spare)));
                }
                None => {}
            }
        }
        let pick = |cells: &[String]| positions.iter().filter_map(|p| cells.get(*p).cloned()).collect();
        let rows = self.rows.iter().map(|row| Row { line: row.line, cells: pick(&row.cells) }).collect();
        Ok(Self { source: self.source.clone(), columns: pick(&self.columns), rows, ..*self })
    }

    /// A row's cell; `None` when there is no such column, or the cell is blank or says that the value is missing.
    pub fn get<'a>(&self, row: &'a Row, column: &str) -> Option<&'a str> {
        self.written(row, column).filter(|cell| !is_missing(cell))
    }

    /// A row's cell as it is written; `None` when there is no such column.
    pub fn written<'a>(&self, row: &'a Row, column: &str) -> Option<&'a str> {
        let position = self.columns.iter().position(|name| name == column)?;
        row.cells.get(position).map(String::as_str)
    }

    /// A row's cell that must not be blank.
    ///
    /// # Errors
    /// [`TableError::Cell`], or [`TableError::MissingColumn`].
    pub fn text<'a>(&self, row: &'a Row, column: &str) -> Result<&'a str, TableError> {
        self.need(column)?;
        self.get(row, column).ok_or_else(|| self.missing_cell(row, column, "a text"))
    }

    /// A row's cell as a finite number.
    ///
    /// # Errors
    /// [`TableError::Cell`], or [`TableError::MissingColumn`].
    pub fn number(&self, row: &Row, column: &str) -> Result<f64, TableError> {
        self.need(column)?;
        let wanted = "a finite number";
        let text = self.get(row, column).ok_or_else(|| self.missing_cell(row, column, wanted))?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ if has_comma(text) => {
                Err(self.cell_error(row, column, "a number with a decimal point", &format!("{text:?}")))
            }
            _ => Err(self.cell_error(row, column, wanted, &format!("{text:?}"))),
        }
    }

    /// A row's cell as a label, 0 or 1 (also written `0.0`, `1.0`, `true`, `false`).
    ///
    /// # Errors
    /// [`TableError::Cell`], or [`TableError::MissingColumn`].
    pub fn label(&self, row: &Row, column: &str) -> Result<bool, TableError> {
        self.need(column)?;
        let cell = self.get(row, column).map(str::to_ascii_lowercase);
        let number = cell.as_deref().and_then(|cell| cell.parse::<f64>().ok());
        match cell.as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) if number == Some(1.0) => Ok(true),
            Some(_) if number == Some(0.0) => Ok(false),
            Some(other) => Err(self.cell_error(row, column, "0 or 1", &format!("{other:?}"))),
            None => Err(self.missing_cell(row, column, "0 or 1")),
        }
    }

    /// A digest of each column: what a table contributes to a fingerprint.
    pub fn column_digests(&self) -> Vec<(String, Digest)> {
        let digest = |position: usize| {
            let mut hasher = Hasher::new("pipe table column, version 1");
            for row in &self.rows {
                hasher.field(row.cells.get(position).map_or("", String::as_str));
            }
            hasher.finish()
        };
        self.columns.iter().enumerate().map(|(position, name)| (name.clone(), digest(position))).collect()
    }

    /// Lines on which the same key occurs twice, as (key, first line, second line).
    pub fn first_duplicate(keys: impl IntoIterator<Item = (String, u64)>) -> Option<(String, u64, u64)> {
        let mut seen: HashMap<String, u64> = HashMap::new();
        for (key, line) in keys {
            if let Some(first) = seen.insert(key.clone(), line) {
                return Some((key, first, line));
            }
        }
        None
    }

    fn need(&self, column: &str) -> Result<(), TableError> {
        if self.has_column(column) {
            return Ok(());
        }
        let mut names = self.columns.iter().map(String::as_str);
        Err(self.missing(column, names.find(|name| is_same_but_for_signs(name, column))))
    }

    fn missing(&self, column: &str, near: Option<&str>) -> TableError {
        TableError::MissingColumn {
            table: self.source.clone(),
            column: column.to_string(),
            hint: match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("found {}", self.columns.join(", ")),
            },
        }
    }

    fn missing_cell(&self, row: &Row, column: &str, wanted: &'static str) -> TableError {
        let found = match self.written(row, column) {
            None | Some("") => "blank".to_string(),
            Some(word) => format!("{word:?}, which says that it is missing"),
        };
        self.cell_error(row, column, wanted, &found)
    }

    fn cell_error(&self, row: &Row, column: &str, wanted: &'static str, found: &str) -> TableError {
        TableError::Cell {
            table: self.source.clone(),
            line: row.line,
            column: column.to_string(),
            wanted,
            found: found.to_string(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::parse("nodules.csv", text.as_bytes()).unwrap()
    }

    #[test]
    fn cells_are_trimmed_and_blanks_are_absent() {
        let table = table("\u{feff}pid, malignant\n 12 ,1.0\n13,\nNA,nan\n");
        let rows = table.rows();
        assert_eq!(table.text(&rows[0], "pid").unwrap(), "12");
        assert!(table.label(&rows[0], "malignant").unwrap());
        assert_eq!(
            table.label(&rows[1], "malignant").unwrap_err().to_string(),
            "nodules.csv:3: `malignant` must be 0 or 1, but is blank"
        );
        assert_eq!((table.get(&rows[2], "pid"), table.get(&rows[2], "malignant")), (None, None));
        assert_eq!(
            table.text(&rows[2], "pid").unwrap_err().to_string(),
            "nodules.csv:4: `pid` must be a text, but is \"NA\", which says that it is missing"
        );
    }

    #[test]
    fn numbers_must_be_finite() {
        let table = table("coordX\n1.5\nNaN\nleft\n");
        assert_eq!(table.number(&table.rows()[0], "coordX").unwrap(), 1.5);
        for row in &table.rows()[1..] {
            assert!(table.number(row, "coordX").is_err());
        }
    }

    #[test]
    fn wrong_tables_are_refused() {
        let error = |text: &str| Table::parse("t.csv", text.as_bytes()).unwrap_err();
        assert!(matches!(error("pid\n"), TableError::Empty { .. }));
        assert!(matches!(error(""), TableError::Empty { .. }));
        assert!(matches!(error("pid,pid\n1,2\n"), TableError::DuplicateColumn { .. }));
        assert!(matches!(error("pid,x\n1\n"), TableError::Ragged { .. }));
    }

    #[test]
    fn a_missing_column_suggests_the_near_one() {
        let error = |text: &str, columns: &[&str]| {
            let wanted: Vec<Column> = columns.iter().copied().map(Column::required).collect();
            table(text).project(&wanted).unwrap_err().to_string()
        };
        assert_eq!(
            error("pid,Malignancy\n1,0\n", &["pid", "malignant"]),
            "nodules.csv: there is no column `malignant`; did you mean `Malignancy`?"
        );
        assert_eq!(
            error("coordX,coordY\n1,0\n", &["coordX", "coordY", "coordZ"]),
            "nodules.csv: there is no column `coordZ`; found coordX, coordY"
        );
    }

    #[test]
    fn only_used_columns_count() {
        let digests = |text: &str| table(text).project(&[Column::required("pid")]).unwrap().column_digests();
        assert_eq!(digests("pid,path\n1,a\n"), digests("path,pid\nb,1\n"));
        assert_ne!(digests("pid,path\n1,a\n"), digests("pid,path\n2,a\n"));
    }
}
