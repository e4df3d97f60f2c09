//! Names that a spreadsheet has taken for numbers or dates.

use super::Table;
use crate::stage::Finding;

/// So many examples are told.
const EXAMPLES: usize = 3;

/// Names in a column that look as if a spreadsheet had taken them for numbers. Tables of kinds with items are looked at
/// by the engine; other kinds say which columns hold names.
pub fn damaged_names(table: &Table, column: &str) -> Option<Finding> {
    let cells = table.rows().iter().filter_map(|row| Some((row.line, table.get(row, column)?)));
    let damaged: Vec<(u64, &str)> = cells.filter(|(_, cell)| looks_damaged(cell)).collect();
    let (line, _) = damaged.first()?;
    let mut examples: Vec<String> = Vec::new();
    for (_, cell) in &damaged {
        let example = format!("{cell:?}");
        if examples.len() < EXAMPLES && !examples.contains(&example) {
            examples.push(example);
        }
    }
    let more = if damaged.len() > examples.len() { ", …" } else { "" };
    let message = format!(
        "`{column}` looks damaged by a spreadsheet in {} of {} rows: {}{more}",
        damaged.len(),
        table.rows().len(),
        examples.join(", ")
    );
    let advice = format!("export the table again with `{column}` as text: names count as they are written");
    Some(Finding::warning(format!("{}:{line}", table.source), message).advise(advice))
}

/// `200000.0`, `1E+05`, `'00012`, `#REF!`, `########`, `="0012"`, `3-Jan`.
fn looks_damaged(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| match text.split_once(['.', ',']) {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    };
    let zeros = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte == b'0');
    let decimal = name.split_once(['.', ',']).is_some_and(|(whole, rest)| digits(whole) && zeros(rest));
    let exponent = name.split_once(['e', 'E']).is_some_and(|(front, back)| {
        // "12E5" may be a name; a spreadsheet writes the sign.
        number(front) && back.strip_prefix(['+', '-']).is_some_and(digits)
    });
    let failed = name.starts_with('#') && name.ends_with(['!', '?']);
    let hidden = name.starts_with("##") || name.contains('\u{fffd}') || name.starts_with("=\"");
    // Sixteen digits and more are rounded to fifteen.
    let rounded = name.len() > 15 && digits(name) && name.ends_with("000");
    decimal || exponent || failed || hidden || rounded || is_date(name) || name.starts_with('\'')
}

/// `3-Jan` and `Jan-03`, which spreadsheets make of `3-1` and the like.
fn is_date(name: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let is_month = |text: &str| MONTHS.contains(&text.to_lowercase().as_str());
    let is_number =
        |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('-').is_some_and(|(a, b)| (is_month(a) && is_number(b)) || (is_number(a) && is_month(b)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_spreadsheet_has_damaged_are_told_with_a_count() {
        let table = Table::parse(
            "t.csv",
            b"pid,x\nP1,1\n200000.0,1\n1E+05,1\n200000.0,1\n'0012,1\n\"1,00E+05\",1\n12E5,1\n",
        )
        .unwrap();
        assert_eq!(
            damaged_names(&table, "pid").map(|finding| format!("{}: {}", finding.place, finding.message)),
            Some(
                "t.csv:3: `pid` looks damaged by a spreadsheet in 5 of 7 rows: \"200000.0\", \"1E+05\", \"'0012\", …".to_string()
            )
        );
        assert_eq!(damaged_names(&table, "x"), None);
        for name in ["1.5", "1.10", "12E5", "1e", "P1.0", "#12", "00012", "1.2.840.0"] {
            assert!(!looks_damaged(name), "{name}");
        }
        for name in ["1.0", "1,0", "1.5E+10", "#REF!", "#NAME?", "'5"] {
            assert!(looks_damaged(name), "{name}");
        }
    }
}
