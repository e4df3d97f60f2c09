//! Tables: cells by line and header.

use csv::{ReaderBuilder, StringRecord};

use super::{Numbers, Within};

/// How two tables differ; `None` where one is no table, or all values are the same.
pub(super) fn compare(before: &[u8], after: &[u8]) -> Option<Within> {
    let [then, now] = [rows(before)?, rows(after)?];
    let mut numbers = Numbers::default();
    let headers = then.first().cloned().unwrap_or_default();
    for (line, (one, other)) in (1..).zip(then.iter().zip(&now)) {
        if one.len() != other.len() {
            return Some(Within::other(format!(
                "line {line}: {} cells then, {} now",
                one.len(),
                other.len()
            )));
        }
        for (column, (one, other)) in one.iter().zip(other).enumerate() {
            let place = || match line {
                1 => format!("line {line}"),
                _ => format!("line {line}, column {}", headers.get(column).unwrap_or("?")),
            };
            match (one.parse::<f64>(), other.parse::<f64>()) {
                _ if one == other => {}
                (Ok(one), Ok(other)) => numbers.add(place, one, other),
                _ => return Some(Within::other(format!("{}: `{one}` then, `{other}` now", place()))),
            }
        }
    }
    if then.len() != now.len() {
        let rows = |table: &[StringRecord]| table.len().saturating_sub(1);
        return Some(Within::other(format!("{} rows then, {} now", rows(&then), rows(&now))));
    }
    numbers.into_difference()
}

fn rows(bytes: &[u8]) -> Option<Vec<StringRecord>> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    reader.records().collect::<Result<_, _>>().ok()
}
