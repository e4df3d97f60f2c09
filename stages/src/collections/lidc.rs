//! LIDC-IDRI: where the scan of each series is, by a table of the user's or by the one that a download has.
//!
//! NBIA's data retriever writes metadata.csv at the top of the folder that it fills, with a row for each series, radiographs
//! and others included. Whether scans are there is not looked at.

use std::collections::BTreeMap;

use pipe_plugin::stage::StageError;
use pipe_plugin::table::{Row, Table, TableError};

use super::under;
use crate::lidc::database::LidcScan;

/// Columns of a table of the user's.
pub(crate) const SERIES: &str = "series_instance_uid";
pub(crate) const PATH: &str = "image_path";
const PID: &str = "pid";
/// Columns of metadata.csv.
const DOWNLOADED_SERIES: &str = "Series UID";
const DOWNLOADED_PATH: &str = "File Location";
/// All columns that are read where they are there.
pub(crate) const COLUMNS: [&str; 5] = [PATH, SERIES, PID, DOWNLOADED_SERIES, DOWNLOADED_PATH];

/// Whether a table tells scans in a way that is known.
///
/// # Errors
/// The columns that it lacks.
pub(crate) fn check_columns(table: &Table) -> Result<(), StageError> {
    if is_of_download(table) {
        return Ok(());
    }
    let refuse = |problem: String, advice: &str| {
        let message = format!("{}: {problem}", table.source);
        Err(StageError::message(message).advise(advice.to_string()))
    };
    if !table.has_column(PATH) {
        let problem = format!("there is no column `{PATH}`; found {}", table.columns().join(", "));
        return refuse(problem, "give a table with the paths of scans, or metadata.csv of a download");
    }
    if !table.has_column(SERIES) && !table.has_column(PID) {
        let problem = format!("there is neither `{SERIES}` nor `{PID}`");
        return refuse(problem, "add one of them, to tell which scan a row is of");
    }
    Ok(())
}

/// Whether it is the table of all series that a download from TCIA has.
fn is_of_download(table: &Table) -> bool {
    !table.has_column(PATH) && table.has_column(DOWNLOADED_SERIES) && table.has_column(DOWNLOADED_PATH)
}

/// The path that a row names, read against a folder.
///
/// # Errors
/// When it names none.
pub(crate) fn location(folder: &str, table: &Table, row: &Row) -> Result<String, TableError> {
    if !is_of_download(table) {
        return Ok(under(folder, table.text(row, PATH)?));
    }
    // A download may have been made on Windows.
    let location = table.text(row, DOWNLOADED_PATH)?.replace('\\', "/");
    Ok(under(folder, location.trim_start_matches("./")))
}

/// The path of each series that the table names and the database has.
///
/// # Errors
/// A series that is there twice; in a table of the user's, one that the database does not have.
pub(crate) fn paths(
    folder: &str,
    table: &Table,
    scans: &[LidcScan],
) -> Result<BTreeMap<String, String>, StageError> {
    check_columns(table)?;
    let mut paths = BTreeMap::new();
    for row in table.rows() {
        let known = if is_of_download(table) {
            let series = table.text(row, DOWNLOADED_SERIES)?;
            scans.iter().find(|scan| scan.series == series)
        } else {
            Some(of_row(table, row, scans)?)
        };
        // A download has radiographs and others, too.
        let Some(scan) = known else { continue };
        if paths.insert(scan.series.clone(), location(folder, table, row)?).is_some() {
            let problem = format!("series {} is there twice", scan.series);
            return Err(refused(table, row, &problem, "take one of the rows out"));
        }
    }
    Ok(paths)
}

/// The scan that a row of the user's table is of.
fn of_row<'a>(table: &Table, row: &Row, scans: &'a [LidcScan]) -> Result<&'a LidcScan, StageError> {
    let found = match table.get(row, SERIES) {
        Some(series) => scans.iter().find(|scan| scan.series == series),
        None => {
            let pid = table.text(row, PID)?;
            let of_patient: Vec<&LidcScan> = scans.iter().filter(|scan| scan.patient == pid).collect();
            if of_patient.len() > 1 {
                let problem = format!("patient {pid} has {} scans in the database", of_patient.len());
                return Err(refused(table, row, &problem, "add a column `series_instance_uid`"));
            }
            of_patient.first().copied()
        }
    };
    let unknown = || {
        let advice = "correct the row, or take it out of the table";
        refused(table, row, "the database has no such scan", advice)
    };
    found.ok_or_else(unknown)
}

fn refused(table: &Table, row: &Row, problem: &str, advice: &str) -> StageError {
    StageError::message(format!("{}:{}: {problem}", table.source, row.line)).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(series: &str) -> LidcScan {
        LidcScan {
            patient: "LIDC-IDRI-0001".into(),
            series: series.into(),
            slice_thickness: 2.5,
            pixel_spacing: 0.7,
            slices: 9,
            annotations: Vec::new(),
        }
    }

    fn found(folder: &str, text: &str) -> Result<BTreeMap<String, String>, StageError> {
        let table = Table::parse("metadata.csv", text.as_bytes())?;
        paths(folder, &table, &[scan("1.1"), scan("1.2")])
    }

    #[test]
    fn the_table_of_a_download_names_the_folders_of_known_series() {
        let text = "Series UID,Modality,File Location\n1.1,CT,./LIDC-IDRI/LIDC-IDRI-0001/a/b\n\
                    9.9,DX,./LIDC-IDRI/LIDC-IDRI-0001/c/d\n1.2,CT,.\\LIDC-IDRI\\LIDC-IDRI-0002\\a\\b\n";
        let expected = |folder: &str| {
            let path = |patient: u32| format!("{folder}LIDC-IDRI/LIDC-IDRI-000{patient}/a/b");
            BTreeMap::from([("1.1".to_string(), path(1)), ("1.2".to_string(), path(2))])
        };
        assert_eq!(found("", text).expect("paths"), expected(""));
        assert_eq!(found("manifest-1", text).expect("paths"), expected("manifest-1/"));
        let twice = found("", &format!("{text}1.1,CT,./e\n")).expect_err("twice");
        assert_eq!(twice.to_string(), "metadata.csv:5: series 1.1 is there twice");
    }

    #[test]
    fn a_table_of_ones_own_names_files_and_known_series_only() {
        let text = "series_instance_uid,image_path\n1.2,a.nii.gz\n";
        let expected = BTreeMap::from([("1.2".to_string(), "scans/a.nii.gz".to_string())]);
        assert_eq!(found("scans", text).expect("paths"), expected);
        for (text, part) in [
            ("series_instance_uid,image_path\n1.3,a\n", "metadata.csv:2: the database has no such scan"),
            ("pid,image_path\nLIDC-IDRI-0001,a\n", "patient LIDC-IDRI-0001 has 2 scans in the database"),
            ("Series UID,where\n1.1,a\n", "there is no column `image_path`; found Series UID, where"),
            ("sex,image_path\nf,a\n", "neither `series_instance_uid` nor `pid`"),
        ] {
            let error = found("", text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
