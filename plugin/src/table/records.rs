//! Text to records of cells, with the line of each as an editor shows it.
//!
//! RFC 4180, and the blanks around cells that people leave: cells are trimmed, quoted or not. Knows nothing of headers.

/// One record: a row, or the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// 1-based line that it begins on.
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
}

impl Record {
    pub(super) fn is_blank(&self) -> bool {
        self.cells.iter().all(String::is_empty)
    }
}

/// Why a text cannot be cut into cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) line: u64,
    pub(super) problem: &'static str,
}

/// Reads records one after the other.
#[derive(Clone)]
pub(super) struct Records<'a> {
    rest: &'a str,
    line: u64,
    separator: char,
}

impl<'a> Records<'a> {
    /// Of a text whose first line has this number.
    pub(super) fn new(text: &'a str, line: u64, separator: char) -> Self {
        Self { rest: text, line, separator }
    }

    /// The next record that is not blank throughout; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Flaw> {
        while !self.rest.is_empty() {
            let record = self.record()?;
            if !record.is_blank() {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn record(&mut self) -> Result<Record, Flaw> {
        let (line, mut cells) = (self.line, Vec::new());
        loop {
            let blanks = self.rest.trim_start_matches(|c| c != self.separator && matches!(c, ' ' | '\t'));
            match blanks.strip_prefix('"') {
                Some(quoted) => {
                    self.rest = quoted;
                    cells.push(self.quoted()?);
                }
                None => {
                    let end = self.end_of_cell();
                    let (cell, rest) = self.rest.split_at(end);
                    cells.push(cell.trim().to_string());
                    self.rest = rest;
                }
            }
            match self.rest.strip_prefix(self.separator) {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        self.end_line();
        Ok(Record { line, cells })
    }

    /// A cell behind its opening quote, up to what comes behind its closing one.
    fn quoted(&mut self) -> Result<String, Flaw> {
        let opened = self.line;
        let mut cell = String::new();
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err(Flaw { line: opened, problem: "a quote is opened and never closed" });
            };
            let (part, rest) = self.rest.split_at(end);
            cell.push_str(part);
            self.line += breaks(part);
            self.rest = rest.get(1..).unwrap_or_default();
            match self.rest.strip_prefix('"') {
                Some(rest) => {
                    cell.push('"');
                    self.rest = rest;
                }
                None => break,
            }
        }
        let (between, rest) = self.rest.split_at(self.end_of_cell());
        if !between.trim().is_empty() {
            return Err(Flaw { line: self.line, problem: "a quoted cell goes on behind its closing quote" });
        }
        self.rest = rest;
        Ok(cell.trim().to_string())
    }

    fn end_of_cell(&self) -> usize {
        let ends = |c| c == self.separator || c == '\n' || c == '\r';
        self.rest.find(ends).unwrap_or(self.rest.len())
    }

    fn end_line(&mut self) {
        let rest = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix(['\r', '\n']));
        self.line += u64::from(rest.is_some());
        self.rest = rest.unwrap_or_default();
    }
}

/// The line breaks in a text: LF, CR, or both in a row as one.
pub(super) fn breaks(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let is_break = |(position, byte): (usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(position + 1) != Some(&b'\n'),
        _ => false,
    };
    bytes.iter().enumerate().filter(|one| is_break(*one)).count() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn all(text: &str, separator: char) -> Result<Vec<(u64, Vec<String>)>, Flaw> {
        let mut records = Records::new(text, 1, separator);
        let mut found = Vec::new();
        while let Some(Record { line, cells }) = records.next()? {
            found.push((line, cells));
        }
        Ok(found)
    }

    #[test]
    fn records_know_the_line_that_an_editor_shows() {
        for (text, lines) in [
            ("a,b\n1,2\n3,4\n", [1, 2, 3]),
            ("a,b\r\n1,2\r\n3,4\r\n", [1, 2, 3]),
            ("a,b\r1,2\r3,4", [1, 2, 3]),
            ("\n\na,b\n1,2\n\n \n,\n3,4", [3, 4, 8]),
            ("\r\n\r\na,b\r\n1,2\r\n\r\n3,4", [3, 4, 6]),
            ("\r\ra,b\r\r1,2\r3,4", [3, 5, 6]),
            ("a,\"b\"\n1,\"two\nlines\"\n3,4\n", [1, 2, 4]),
            ("a,\"b\"\r\n1,\"two\r\n\r\nlines\"\r\n3,4\n", [1, 2, 5]),
            ("a,\"b\rc\"\r1,2\r3,4\r", [1, 3, 4]),
        ] {
            let found: Vec<u64> = all(text, ',').unwrap().into_iter().map(|(line, _)| line).collect();
            assert_eq!(found, lines, "{text:?}");
        }
    }

    #[test]
    fn cells_are_cut_and_trimmed() {
        for (text, separator, cells) in [
            ("a, b ,\tc", ',', &["a", "b", "c"][..]),
            ("\"a,b\",\"say \"\"hi\"\"\",", ',', &["a,b", "say \"hi\"", ""]),
            ("a; \"b;c\" ;5\" nodule", ';', &["a", "b;c", "5\" nodule"]),
            ("a\t\tc", '\t', &["a", "", "c"]),
            ("a\t \"b\"\tc", '\t', &["a", "b", "c"]),
            ("\"\",x", ',', &["", "x"]),
        ] {
            assert_eq!(all(text, separator).unwrap(), [(1, cells.iter().map(ToString::to_string).collect())]);
        }
    }

    #[test]
    fn quotes_that_do_not_fit_are_told_with_their_line() {
        for (text, line, problem) in [
            ("a\n\"b\nc\nd\n", 2, "never closed"),
            ("a\n\"b\nc\"d\n", 3, "goes on behind"),
            ("a,b\r\n\"x\"1,2", 2, "goes on behind"),
        ] {
            let flaw = all(text, ',').unwrap_err();
            assert_eq!(flaw.line, line, "{text:?}");
            assert!(flaw.problem.contains(problem), "{text:?}: {}", flaw.problem);
        }
    }
}
