//! LUNA16: the nodules of its tables, and which file of the download is the scan of a series.
//!
//! A scan is `SERIES.mhd`, in whatever folder its subset was unpacked to. The lung segmentations have the same names and lie in
//! `seg-lungs-LUNA16`. Points are in the world millimetres of ITK, which are LPS.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pipe_plugin::stage::StageError;
use pipe_plugin::table::{Row, Table, TableError};

use crate::cohort::scans::COORDINATES;

/// Column of the series.
pub(crate) const SERIES: &str = "seriesuid";
/// Columns that go on as they are where a table has them.
pub(crate) const KEPT: [&str; 2] = ["diameter_mm", "class"];
/// How the name of a scan's header ends.
pub(crate) const ENDING: &str = ".mhd";
/// How the names of folders begin that hold segmentations.
const SEGMENTATIONS: &str = "seg-lungs";
/// So many series are named in a message.
const SHOWN: usize = 3;
/// What to do about series without a scan.
pub(crate) const DOWNLOAD: &str =
    "unpack the other subsets into the folder, or take the rows out of the table";

/// A row of a table.
pub(crate) struct Marked<'a> {
    pub(crate) series: &'a str,
    /// 1 for the first row of a series.
    pub(crate) number: usize,
    pub(crate) row: &'a Row,
}

/// The scan of each series, by names within the folder of the download.
///
/// # Errors
/// Two scans of one series.
pub(crate) fn scans<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<&'a str, &'a str>, StageError> {
    let mut scans = BTreeMap::new();
    for name in names {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let Some(series) = file.strip_suffix(ENDING) else { continue };
        if folder.split('/').any(|part| part.starts_with(SEGMENTATIONS)) {
            continue;
        }
        if let Some(other) = scans.insert(series, name) {
            let message = format!("series {series} has two scans, {other} and {name}");
            return Err(StageError::message(message).advise("take one of them out of the folder"));
        }
    }
    Ok(scans)
}

/// What is wrong with the rows of a table.
pub(crate) fn problems(table: &Table) -> Vec<StageError> {
    let mut problems = Vec::new();
    let mut keys = Vec::new();
    for row in table.rows() {
        match point(table, row) {
            Ok((series, point)) => keys.push((format!("{point:?} in series {series}"), row.line)),
            Err(error) => problems.push(StageError::from(error)),
        }
    }
    if let Some((nodule, first, second)) = Table::first_duplicate(keys) {
        let message = format!("{}: {nodule} is on line {first} and again on line {second}", table.source);
        problems.push(StageError::message(message).advise("take one of the rows out"));
    }
    problems
}

fn point<'a>(table: &Table, row: &'a Row) -> Result<(&'a str, [f64; 3]), TableError> {
    let series = table.text(row, SERIES)?;
    let [x, y, z] = COORDINATES;
    Ok((series, [table.number(row, x)?, table.number(row, y)?, table.number(row, z)?]))
}

/// The rows of a table, numbered within each series.
///
/// # Errors
/// The first thing that is wrong with them.
pub(crate) fn nodules(table: &Table) -> Result<Vec<Marked<'_>>, StageError> {
    if let Some(problem) = problems(table).into_iter().next() {
        return Err(problem);
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut nodules = Vec::new();
    for row in table.rows() {
        let series = table.text(row, SERIES)?;
        let count = counts.entry(series).or_default();
        *count += 1;
        nodules.push(Marked { series, number: *count, row });
    }
    Ok(nodules)
}

/// Why no nodule can be used, if that is so.
pub(crate) fn unusable(nodules: &[Marked<'_>], scans: &BTreeMap<&str, &str>) -> Option<StageError> {
    if scans.is_empty() {
        let advice = "give the folder with subset0, subset1, … in it, and unpack these there";
        return Some(StageError::message(format!("there is no scan SERIES{ENDING} in it")).advise(advice));
    }
    let has_scan = |nodule: &Marked<'_>| scans.contains_key(nodule.series);
    if nodules.iter().any(has_scan) {
        return None;
    }
    let message = format!("none of its {} scans is of a series in the table", scans.len());
    Some(StageError::message(message).advise("give the table and the subsets of one download"))
}

/// The nodules whose series has no scan, in words.
pub(crate) fn without_scan(nodules: &[Marked<'_>], scans: &BTreeMap<&str, &str>) -> Option<String> {
    let series: Vec<&str> =
        nodules.iter().map(|nodule| nodule.series).filter(|series| !scans.contains_key(*series)).collect();
    let distinct: BTreeSet<&str> = series.iter().copied().collect();
    if distinct.is_empty() {
        return None;
    }
    let shown: Vec<&str> = distinct.iter().copied().take(SHOWN).collect();
    let more = if distinct.len() > SHOWN { ", …" } else { "" };
    let folders: BTreeSet<&str> =
        scans.values().map(|name| name.rsplit_once('/').map_or("the folder itself", |(at, _)| at)).collect();
    let folders: Vec<&str> = folders.into_iter().collect();
    Some(format!(
        "{} of {} nodules are of {} series without a scan: {}{more}; there are scans in {}",
        series.len(),
        nodules.len(),
        distinct.len(),
        shown.join(", "),
        folders.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_are_found_by_their_series_and_segmentations_left_out() {
        let names = ["annotations.csv", "seg-lungs-LUNA16/1.mhd", "subset0/1.mhd", "subset0/1.raw", "2.mhd"];
        assert_eq!(scans(names).expect("scans"), BTreeMap::from([("1", "subset0/1.mhd"), ("2", "2.mhd")]));
        let error = scans(["subset0/1.mhd", "subset1/1.mhd"]).expect_err("two scans");
        assert_eq!(error.to_string(), "series 1 has two scans, subset0/1.mhd and subset1/1.mhd");
    }

    #[test]
    fn rows_are_numbered_within_their_series_and_those_without_a_scan_told() {
        let text = "seriesuid,coordX,coordY,coordZ\n1,1,2,3\n2,1,2,3\n1,4,5,6\n3,1,2,3\n";
        let table = Table::parse("a.csv", text.as_bytes()).expect("a table");
        let nodules = nodules(&table).expect("nodules");
        let named: Vec<(&str, usize)> = nodules.iter().map(|one| (one.series, one.number)).collect();
        assert_eq!(named, [("1", 1), ("2", 1), ("1", 2), ("3", 1)]);
        let some = scans(["subset4/1.mhd"]).expect("scans");
        assert_eq!(
            without_scan(&nodules, &some).as_deref(),
            Some("2 of 4 nodules are of 2 series without a scan: 2, 3; there are scans in subset4")
        );
        assert!(unusable(&nodules, &some).is_none());
        let other = scans(["9.mhd"]).expect("scans");
        for (scans, part) in [(other, "none of its 1 scans is of a series"), (BTreeMap::new(), "no scan")] {
            let error = unusable(&nodules, &scans).expect("unusable");
            assert!(error.to_string().contains(part), "{error}");
        }
        let all = scans(["1.mhd", "2.mhd", "3.mhd"]).expect("scans");
        assert_eq!(without_scan(&nodules, &all), None);
    }

    #[test]
    fn wrong_rows_are_told_by_line() {
        let text = "seriesuid,coordX,coordY,coordZ\n1,1,2,3\n2,1,2,left\n1,1.0,2,3\n,1,2,3\n";
        let table = Table::parse("a.csv", text.as_bytes()).expect("a table");
        let told: Vec<String> = problems(&table).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("a.csv:3: `coordZ` must be a finite number"), "{}", told[0]);
        assert!(told[1].starts_with("a.csv:5: `seriesuid` must be a text, but is blank"), "{}", told[1]);
        assert_eq!(told[2], "a.csv: [1.0, 2.0, 3.0] in series 1 is on line 2 and again on line 4");
    }
}
