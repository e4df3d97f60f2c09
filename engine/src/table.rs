//! CSV tables: read with line numbers, cut down to the columns that are used, hashed column by column.
//!
//! Knows nothing of what the columns mean.

use std::collections::HashMap;

use pipe_cache::{Digest, Hasher};

use crate::stage::Column;

/// A table, or the part of one that a stage uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Where it came from, for messages.
    pub source: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// 1-based line in the file.
    pub line: u64,
    cells: Vec<String>,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is not CSV.
    #[error("{table}: cannot be read as CSV")]
    Csv {
        /// The table.
        table: String,
        /// The parser's words.
        source: csv::Error,
    },
    /// It has a header and nothing else, or is empty.
    #[error("{table}: the table has no rows")]
    Empty {
        /// The table.
        table: String,
    },
    /// A column that is needed is not there.
    #[error("{table}: there is no column `{column}`; found {found}")]
    MissingColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A header occurs twice.
    #[error("{table}: column `{column}` occurs twice")]
    DuplicateColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A cell does not hold what it must.
    #[error("{table}:{line}: `{column}` must be {wanted}, but is {found}")]
    Cell {
        /// The table.
        table: String,
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What it must hold.
        wanted: &'static str,
        /// What it holds.
        found: String,
    },
}

impl Table {
    /// Reads a CSV text. Cells are trimmed; a leading byte-order mark and blank lines are skipped.
    ///
    /// # Errors
    /// Ragged rows, doubled columns, text that is not UTF-8, no rows.
    pub fn parse(source: &str, bytes: &[u8]) -> Result<Self, TableError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let wrap = |error| TableError::Csv { table: source.to_string(), source: error };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let columns: Vec<String> = reader.headers().map_err(wrap)?.iter().map(str::to_string).collect();
        if let Some((_, column)) =
            columns.iter().enumerate().find(|(index, name)| columns[..*index].contains(name))
        {
            return Err(TableError::DuplicateColumn { table: source.to_string(), column: column.clone() });
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(wrap)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(Row { line, cells: record.iter().map(str::to_string).collect() });
        }
        if rows.is_empty() {
            return Err(TableError::Empty { table: source.to_string() });
        }
        Ok(Self { source: source.to_string(), columns, rows })
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
                None if column.required => return Err(self.missing(&column.name)),
                None => {}
            }
        }
        let pick = |cells: &[String]| positions.iter().filter_map(|p| cells.get(*p).cloned()).collect();
        let rows = self.rows.iter().map(|row| Row { line: row.line, cells: pick(&row.cells) }).collect();
        Ok(Self { source: self.source.clone(), columns: pick(&self.columns), rows })
    }

    /// A row's cell; `None` when there is no such column or the cell is blank.
    pub fn get<'a>(&self, row: &'a Row, column: &str) -> Option<&'a str> {
        let position = self.columns.iter().position(|name| name == column)?;
        row.cells.get(position).map(String::as_str).filter(|cell| !cell.is_empty())
    }

    /// A row's cell that must not be blank.
    ///
    /// # Errors
    /// [`TableError::Cell`], or [`TableError::MissingColumn`].
    pub fn text<'a>(&self, row: &'a Row, column: &str) -> Result<&'a str, TableError> {
        self.need(column)?;
        self.get(row, column).ok_or_else(|| self.cell_error(row, column, "a text", "blank"))
    }

    /// A row's cell as a finite number.
    ///
    /// # Errors
    /// [`TableError::Cell`], or [`TableError::MissingColumn`].
    pub fn number(&self, row: &Row, column: &str) -> Result<f64, TableError> {
        self.need(column)?;
        let wanted = "a finite number";
        let text = self.get(row, column).ok_or_else(|| self.cell_error(row, column, wanted, "blank"))?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.cell_error(row, column, wanted, &format!("{text:?}"))),
        }
    }

    /// A row's cell as a label, 0 or 1 (also written `0.0`, `1.0`, `true`, `false`).
    ///
    /// # Errors
    /// [`TableError::Cell`], or [`TableError::MissingColumn`].
    pub fn label(&self, row: &Row, column: &str) -> Result<bool, TableError> {
        self.need(column)?;
        match self.get(row, column).map(str::to_ascii_lowercase).as_deref() {
            Some("1" | "1.0" | "true") => Ok(true),
            Some("0" | "0.0" | "false") => Ok(false),
            Some(other) => Err(self.cell_error(row, column, "0 or 1", &format!("{other:?}"))),
            None => Err(self.cell_error(row, column, "0 or 1", "blank")),
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
        if self.has_column(column) { Ok(()) } else { Err(self.missing(column)) }
    }

    fn missing(&self, column: &str) -> TableError {
        TableError::MissingColumn {
            table: self.source.clone(),
            column: column.to_string(),
            found: self.columns.join(", "),
        }
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
        let table = table("\u{feff}pid, malignant\n 12 ,1.0\n13,\n");
        let rows = table.rows();
        assert_eq!(table.text(&rows[0], "pid").unwrap(), "12");
        assert!(table.label(&rows[0], "malignant").unwrap());
        assert_eq!(
            table.label(&rows[1], "malignant").unwrap_err().to_string(),
            "nodules.csv:3: `malignant` must be 0 or 1, but is blank"
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
        assert!(matches!(error("pid,x\n1\n"), TableError::Csv { .. }));
        assert!(Table::parse("t.csv", b"pid\n\xff\n").is_err());
    }

    #[test]
    fn only_used_columns_count() {
        let digests = |text: &str| table(text).project(&[Column::required("pid")]).unwrap().column_digests();
        assert_eq!(digests("pid,path\n1,a\n"), digests("path,pid\nb,1\n"));
        assert_ne!(digests("pid,path\n1,a\n"), digests("pid,path\n2,a\n"));
    }
}
