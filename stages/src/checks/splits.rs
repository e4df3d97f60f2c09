//! A folder with the patients of folds, given by hand: the fold that is asked for, its two parts, the table's patients.

use std::collections::BTreeSet;
use std::path::Path;

use pipe_engine::stage::{Finding, Given, Preview};

use super::examples;
use super::nodules::{named, shown, table};
use crate::splits::tables::read_pids;

/// What was found of a fold.
#[derive(Default)]
pub(super) struct CheckedFold {
    pub(super) findings: Vec<Finding>,
    /// Everyone in it, where the folder could be read.
    pub(super) patients: Option<BTreeSet<String>>,
}

/// Looks at a fold of the input `splits`.
pub(super) fn fold(preview: &Preview<'_>, number: u32) -> CheckedFold {
    let Some((given, folder)) = preview.one("splits").and_then(|given| Some((given, given.outside()?)))
    else {
        return CheckedFold::default();
    };
    let name = shown(preview, folder);
    if !folder.join(format!("fold_{number}")).is_dir() {
        let finding = Finding::error(&given.place, format!("{name} has no folder fold_{number}"));
        let finding =
            finding.advise(format!("{}; `foreach` of `fold` says which are used", folds_in(folder)));
        return CheckedFold { findings: vec![finding], patients: None };
    }
    let mut findings = Vec::new();
    let mut parts = Vec::new();
    for part in ["train", "val"] {
        let file = folder.join(format!("fold_{number}")).join(format!("{part}_pid.csv"));
        match read_part(&file, &shown(preview, &file)) {
            Ok(pids) => parts.push(pids),
            Err(problem) => findings.push(Finding::error(&given.place, problem)),
        }
    }
    let [train, validation] = parts.as_slice() else { return CheckedFold { findings, patients: None } };
    let both: Vec<&String> = train.intersection(validation).collect();
    if !both.is_empty() {
        let message =
            format!("{name}: {} in both parts of fold {number}: {}", count(both.len()), examples(&both));
        findings.push(Finding::error(&given.place, message).advise("divide the folds by patient"));
    }
    for (part, pids) in [("train", train), ("val", validation)] {
        if pids.is_empty() {
            let message = format!("{name}: fold_{number}/{part}_pid.csv names nobody");
            findings.push(Finding::error(&given.place, message).advise("name the patients of that part"));
        }
    }
    let patients: BTreeSet<String> = train.union(validation).cloned().collect();
    findings.extend(unknown(preview, given, &name, number, &patients));
    CheckedFold { findings, patients: Some(patients) }
}

fn read_part(file: &Path, shown: &str) -> Result<BTreeSet<String>, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    read_pids(shown, &bytes).map(|pids| pids.into_iter().collect()).map_err(|error| error.to_string())
}

/// Patients that the table does not have.
fn unknown(
    preview: &Preview<'_>,
    given: &Given,
    name: &str,
    number: u32,
    patients: &BTreeSet<String>,
) -> Option<Finding> {
    let table = table(preview)?;
    let known: BTreeSet<String> = named(&table).into_iter().map(|one| one.pid).collect();
    let unknown: Vec<&String> = patients.difference(&known).collect();
    if unknown.is_empty() {
        return None;
    }
    let numbers: BTreeSet<&str> = known.iter().map(|pid| as_number(pid)).collect();
    let (patients, are) = if unknown.len() == 1 { ("patient", "is") } else { ("patients", "are") };
    let message = format!(
        "{name}: {} {patients} of fold {number} {are} not in {}: {}",
        unknown.len(),
        table.source,
        examples(&unknown)
    );
    let advice = match unknown.iter().all(|pid| numbers.contains(as_number(pid))) {
        true => {
            "they are there with other zeros, which a spreadsheet has added or taken: write pid alike in both"
        }
        false => "make the folds from the same dataset",
    };
    Some(Finding::error(&given.place, message).advise(advice))
}

/// An identifier as a spreadsheet reads it: without zeros before a number or behind its point.
fn as_number(pid: &str) -> &str {
    let whole = pid.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|byte| byte == b'0'));
    whole.map_or(pid, |(whole, _)| whole).trim_start_matches('0')
}

fn count(patients: usize) -> String {
    if patients == 1 { "1 patient is".to_string() } else { format!("{patients} patients are") }
}

/// The folds of a folder, in words.
fn folds_in(folder: &Path) -> String {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folds: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("fold_"))
        .collect();
    folds.sort();
    match folds.is_empty() {
        true => "it has no folder fold_0, fold_1, …".to_string(),
        false => format!("it has {}", folds.join(", ")),
    }
}
