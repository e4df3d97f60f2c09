//! From the bytes of a table to its header and rows: encoding, separator, decimal sign, and what programs add.
//!
//! What a table counts for does not depend on any of these: the same cells are read. Where two readings are possible,
//! the table is refused with what would make it plain.

use std::path::Path;

use super::encoding::decode;
use super::records::{Record, Records, breaks};
use super::{Row, TableError};
use crate::foreign::{Foreign, HEAD_BYTES, Wanted, what_is};

/// What separates cells: the comma first, where nothing tells.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// A table as it was written.
pub(super) struct Read {
    pub(super) header_line: u64,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// It was read as Windows-1252, since it is not UTF-8.
    pub(super) guessed_encoding: bool,
}

/// Reads a table.
pub(super) fn read(source: &str, bytes: &[u8]) -> Result<Read, TableError> {
    let table = || source.to_string();
    let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    if let Some(found) = what_is(Path::new(source), head).filter(|found| is_certain(*found, head)) {
        let fix = found.fix(Wanted::Table, Path::new(source));
        return Err(TableError::Foreign { table: table(), found: found.to_string(), fix });
    }
    let decoded = decode(bytes).map_err(|flaw| {
        let before = String::from_utf8_lossy(bytes.get(..flaw.at).unwrap_or_default());
        TableError::NoText { table: table(), line: 1 + breaks(&before), problem: flaw.problem }
    })?;
    let (text, first_line, told) = separator_line(&decoded.text);
    let separator = match told {
        Some(separator) => separator,
        None => find_separator(text, first_line)
            .map_err(|found| TableError::Ambiguous { table: table(), found })?,
    };
    let (header, rows) = records(source, text, first_line, separator)?;
    let mut read = Read {
        header_line: header.line,
        columns: header.cells,
        rows: rows.into_iter().map(|Record { line, cells }| Row { line, cells }).collect(),
        guessed_encoding: decoded.guessed,
    };
    drop_unnamed(source, &mut read)?;
    if separator == ';' {
        point_decimals(source, &mut read)?;
    }
    Ok(read)
}

/// A text's first letters could be a table's all the same where they are words.
fn is_certain(found: Foreign, head: &[u8]) -> bool {
    found != Foreign::MetaImage || head.starts_with(b"ObjectType =") || head.starts_with(b"NDims =")
}

/// The text behind a first line such as `sep=;`, which Excel writes and reads; the number of that line, and the sign.
fn separator_line(text: &str) -> (&str, u64, Option<char>) {
    let told = || {
        let (line, rest) = text.split_once(['\r', '\n'])?;
        let line = line.trim_matches('"');
        let (word, sign) = line.split_at_checked(4)?;
        let mut signs = sign.chars();
        let separator =
            signs.next().filter(|_| word.eq_ignore_ascii_case("sep=") && signs.next().is_none())?;
        let crlf = text.as_bytes().get(text.len() - rest.len() - 1) == Some(&b'\r');
        Some((rest.strip_prefix('\n').filter(|_| crlf).unwrap_or(rest), separator))
    };
    told().map_or((text, 1, None), |(rest, separator)| (rest, 2, Some(separator)))
}

/// What separates the cells of a text: the sign that occurs in its header. Where several do, the one that cuts all
/// rows alike.
///
/// # Errors
/// The signs, where several do that.
fn find_separator(text: &str, first_line: u64) -> Result<char, Vec<char>> {
    let header_cells = |separator: char| {
        let header = Records::new(text, first_line, separator).next();
        header.ok().flatten().map_or(0, |header| header.cells.len())
    };
    let occurring: Vec<char> = SEPARATORS.into_iter().filter(|sign| header_cells(*sign) > 1).collect();
    match occurring.as_slice() {
        [] => Ok(','),
        [one] => Ok(*one),
        several => {
            let fits = |sign: &&char| cuts_alike(text, first_line, **sign);
            match several.iter().filter(fits).collect::<Vec<_>>().as_slice() {
                [one] => Ok(**one),
                // What is wrong is told of the reading that has most cells.
                [] => Ok(several.iter().copied().max_by_key(|sign| header_cells(*sign)).unwrap_or(',')),
                several => Err(several.iter().map(|sign| **sign).collect()),
            }
        }
    }
}

/// Whether each row has as many cells as the header.
fn cuts_alike(text: &str, first_line: u64, separator: char) -> bool {
    let mut records = Records::new(text, first_line, separator);
    let Ok(Some(header)) = records.next() else { return false };
    loop {
        match records.next() {
            Ok(Some(record)) if used_cells(&record.cells) <= header.cells.len() => {
                if record.cells.len() < header.cells.len() {
                    return false;
                }
            }
            Ok(None) => return true,
            _ => return false,
        }
    }
}

/// How many cells there are up to the last one that is not blank.
fn used_cells(cells: &[String]) -> usize {
    cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1)
}

/// The header and all rows that are not blank, each cut to the header's length.
fn records(
    source: &str,
    text: &str,
    first_line: u64,
    separator: char,
) -> Result<(Record, Vec<Record>), TableError> {
    let flaw = |flaw: super::records::Flaw| TableError::Quotes {
        table: source.to_string(),
        line: flaw.line,
        problem: flaw.problem,
    };
    let mut records = Records::new(text, first_line, separator);
    let Some(header) = records.next().map_err(flaw)? else {
        return Err(TableError::Empty { table: source.to_string() });
    };
    let width = header.cells.len();
    let mut rows = Vec::new();
    while let Some(mut record) = records.next().map_err(flaw)? {
        // Blank cells behind the last column are what spreadsheets leave.
        if record.cells.len() < width || used_cells(&record.cells) > width {
            return Err(TableError::Ragged {
                table: source.to_string(),
                line: record.line,
                found: record.cells.len(),
                wanted: width,
            });
        }
        record.cells.truncate(width);
        rows.push(record);
    }
    Ok((header, rows))
}

/// Takes out the columns without a name that are blank throughout; one with cells may be there, as a row index.
fn drop_unnamed(source: &str, read: &mut Read) -> Result<(), TableError> {
    let is_blank =
        |column: usize| read.rows.iter().all(|row| row.cells.get(column).is_none_or(|cell| cell.is_empty()));
    let unnamed = |column: &usize| read.columns.get(*column).is_some_and(String::is_empty);
    let (blank, used): (Vec<usize>, Vec<usize>) =
        (0..read.columns.len()).filter(unnamed).partition(|column| is_blank(*column));
    // pandas writes its index first and without a name.
    if let Some(column) = used.into_iter().find(|column| *column > 0) {
        let row = read.rows.iter().find(|row| row.cells.get(column).is_some_and(|cell| !cell.is_empty()));
        return Err(TableError::Unnamed {
            table: source.to_string(),
            position: column + 1,
            line: row.map_or(read.header_line, |row| row.line),
        });
    }
    if !blank.is_empty() {
        let keep = |cells: &mut Vec<String>| {
            let mut position = 0..;
            cells.retain(|_| position.next().is_none_or(|position| !blank.contains(&position)));
        };
        keep(&mut read.columns);
        read.rows.iter_mut().for_each(|row| keep(&mut row.cells));
    }
    Ok(())
}

/// Writes decimal commas as points. Only a table between semicolons has them for sure.
fn point_decimals(source: &str, read: &mut Read) -> Result<(), TableError> {
    let of_column = |read: &Read, column: usize, is: fn(&str) -> bool| {
        read.rows.iter().find(|row| row.cells.get(column).is_some_and(|cell| is(cell))).map(|row| row.line)
    };
    let columns = 0..read.columns.len();
    let commas: Vec<usize> = columns
        .clone()
        .filter(|column| of_column(read, *column, has_comma).is_some())
        // Where a column has both, its commas stay, and are refused where a number is needed.
        .filter(|column| of_column(read, *column, has_point).is_none())
        .collect();
    let Some(first) = commas.first() else { return Ok(()) };
    let grouped =
        columns.filter_map(|column| Some((column, of_column(read, column, has_grouping_points)?))).next();
    if let Some((column, line)) = grouped {
        let name = |column: usize| read.columns.get(column).cloned().unwrap_or_default();
        return Err(TableError::Decimals {
            table: source.to_string(),
            line,
            column: name(column),
            other: name(*first),
        });
    }
    for row in &mut read.rows {
        for column in &commas {
            if let Some(cell) = row.cells.get_mut(*column).filter(|cell| has_comma(cell)) {
                *cell = cell.replace(',', ".");
            }
        }
    }
    Ok(())
}

/// Whether a cell is a number with a decimal comma.
pub(crate) fn has_comma(cell: &str) -> bool {
    is_decimal(cell, ',')
}

fn has_point(cell: &str) -> bool {
    is_decimal(cell, '.')
}

fn is_decimal(cell: &str, sign: char) -> bool {
    let Some((whole, rest)) = cell.split_once(sign) else { return false };
    let (fraction, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole) && digits(fraction) && digits(exponent) && !fraction.is_empty() && !exponent.is_empty()
}

/// Whether a cell's points may stand between thousands: 1.234, 12.345.678.
fn has_grouping_points(cell: &str) -> bool {
    let mut groups = cell.strip_prefix(['+', '-']).unwrap_or(cell).split('.');
    let first = groups.next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest: Vec<&str> = groups.collect();
    !rest.is_empty()
        && digits(first)
        && first.len() <= 3
        && first != "0"
        && rest.iter().all(|group| group.len() == 3 && digits(group))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::table::Table;

    fn parse(bytes: impl AsRef<[u8]>) -> Result<Table, TableError> {
        Table::parse("t.csv", bytes.as_ref())
    }

    fn refused(bytes: impl AsRef<[u8]>) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    const PLAIN: &str = "pid,coordX,remark\n007,-1.5,größer\n008,2,\"a;b\"\n";

    #[test]
    fn the_same_cells_are_read_whatever_wrote_them() {
        let plain = parse(PLAIN).unwrap();
        let semicolons = "pid;coordX;remark\n007;-1,5;größer\n008;2;\"a;b\"\n";
        let tabs = "pid\tcoordX\tremark\n007\t-1.5\tgrößer\n008\t2\ta;b\n";
        let utf16 = |text: &str, mark: [u8; 2], unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            mark.into_iter().chain(text.encode_utf16().flat_map(unit)).collect()
        };
        let cp1252 = |text: &str| text.replace("größer", "gr\u{1}\u{2}er").into_bytes();
        let cp1252 = |text: &str| -> Vec<u8> {
            cp1252(text)
                .into_iter()
                .map(|b| match b {
                    1 => 0xf6,
                    2 => 0xdf,
                    b => b,
                })
                .collect()
        };
        for (name, bytes) in [
            ("line ends", PLAIN.replace('\n', "\r\n").into_bytes()),
            ("old line ends", PLAIN.replace('\n', "\r").into_bytes()),
            ("mark", format!("\u{feff}{PLAIN}").into_bytes()),
            ("semicolons", semicolons.into()),
            ("points between semicolons", semicolons.replace("-1,5", "-1.5").into()),
            ("sep=;", format!("sep=;\r\n{semicolons}").into()),
            ("SEP=,", format!("\"SEP=,\"\n{PLAIN}").into()),
            ("tabs", tabs.into()),
            ("sep=tab", format!("sep=\t\n{tabs}").into()),
            ("UTF-16 LE", utf16(tabs, [0xff, 0xfe], u16::to_le_bytes)),
            ("UTF-16 BE", utf16(semicolons, [0xfe, 0xff], u16::to_be_bytes)),
            ("cp1252", cp1252(PLAIN)),
            ("cp1252 between semicolons", cp1252(semicolons)),
            (
                "empty columns and rows",
                "pid,coordX,remark,,\n007,-1.5,größer,,\n,,,,\n008,2,a;b,,\n,,,,\n".into(),
            ),
            ("empty cells behind", "pid,coordX,remark\n007,-1.5,größer,,\n008,2,a;b,\n".into()),
            ("an empty column", ",pid,coordX,remark\n,007,-1.5,größer\n,008,2,a;b\n".into()),
        ] {
            let read = parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read.columns(), plain.columns(), "{name}");
            assert_eq!(read.column_digests(), plain.column_digests(), "{name}");
            assert_eq!(read.guessed_encoding(), name.starts_with("cp1252"), "{name}");
        }
    }

    #[test]
    fn lines_are_an_editors() {
        for (text, lines) in [
            ("sep=;\r\npid;x\r\n1;a\r\n2;b\r\n", [2, 3, 4]),
            ("\u{feff}pid;x\r\n1;a\r\n\r\n2;b\r\n", [1, 2, 4]),
            ("\npid,x\n1,\"a\nb\"\n,\n2,b", [2, 3, 6]),
        ] {
            let table = parse(text).unwrap();
            let rows = table.rows().iter().map(|row| row.line);
            assert_eq!(
                std::iter::once(table.header_line()).chain(rows).collect::<Vec<_>>(),
                lines,
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, message) in [
            ("a,b;c\n1,2;3\n", "t.csv: cells may be separated by `,` or by `;`"),
            (
                "pid;x;y\n1;1,5;1.234\n2;2,5;2.5\n",
                "t.csv:2: `y` has points that may stand between thousands, as `x`",
            ),
        ] {
            let error = refused(text);
            assert!(error.starts_with(message), "{error}");
        }
        // One reading only cuts all rows alike.
        for text in ["a,b;c\n1,2\n", "a;b,c;d\n1;2;3\n"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        // A column with both signs keeps them, and its numbers are refused where they are needed.
        let table = parse("pid;x\n1;1,5\n2;1.5\n").unwrap();
        assert!(table.number(&table.rows()[0], "x").is_err());
        assert_eq!(table.number(&table.rows()[1], "x").unwrap(), 1.5);
    }

    #[test]
    fn a_decimal_comma_is_never_a_separator() {
        for text in ["pid,x\n1,-1,5\n", "pid,x,y\n1,2,3,5\n", "pid\tx\n1\t1,5\n", "pid,x\n1,\"1,5\"\n"] {
            let number = parse(text).and_then(|table| table.number(&table.rows()[0], "x"));
            assert!(number.is_err(), "{text}: {number:?}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_the_header_are_told() {
        for (text, message) in [
            ("a,b,c\r\n1,2,3\r\n\r\n1,2\r\n", "t.csv:4: 2 cells where the header has 3"),
            ("a,b\n1,2\n1,2,3\n", "t.csv:3: 3 cells where the header has 2"),
            ("a\n1,2\n", "t.csv:2: 2 cells where the header has 1"),
            ("a,b\n1\n", "t.csv:2: 1 cell where the header has 2"),
            ("a,b\n1,\"2\n3,4\n", "t.csv:2: a quote is opened and never closed"),
            ("a,,b\n1,2,3\n", "t.csv:2: column 2 has cells and no name"),
        ] {
            assert_eq!(refused(text), message);
        }
    }

    #[test]
    fn other_formats_are_named_with_the_fix() {
        for (bytes, found) in [
            (&b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml"[..], "an Excel or OpenDocument workbook"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel or OpenDocument workbook"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
            (b"\x1f\x8b\x08\0", "compressed by gzip"),
            (b"<!DOCTYPE html><html>", "a web page"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.to_string().starts_with(&format!("t.csv is {found}")), "{error}");
            assert!(error.advice().is_some());
        }
        assert_eq!(
            refused(b"pid\nm\xc3\xbcller\n\xff\n"),
            "t.csv:3: the table is UTF-8 with a damaged letter"
        );
    }
}
