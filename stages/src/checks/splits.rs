//! A folder with the patients of folds, given by hand: the fold that is asked for, its two parts, the table's patients.

use std::collections::BTreeSet;
use std::path::Path;

use pipe_plugin::stage::{Finding, Given, Preview};

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
    let mut findings: Vec<Finding> = unread(folder, &name, &given.place).into_iter().collect();
    let mut parts = Vec::new();
    for part in ["train", "val"] {
        let file = folder.join(format!("fold_{number}")).join(format!("{part}_pid.csv"));
        let shown = shown(preview, &file);
        match read_part(&file, &shown) {
            Ok(pids) => {
                findings.extend(twice(&pids, &shown, &given.place));
                parts.push(pids.into_iter().collect::<BTreeSet<String>>());
            }
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

fn read_part(file: &Path, shown: &str) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    read_pids(shown, &bytes).map_err(|error| error.to_string())
}

/// Patients whom a part names more than once; they count once.
fn twice(pids: &[String], shown: &str, place: &str) -> Option<Finding> {
    let mut known = BTreeSet::new();
    let twice: BTreeSet<&String> = pids.iter().filter(|pid| !known.insert(*pid)).collect();
    let twice: Vec<&String> = twice.into_iter().collect();
    (!twice.is_empty()).then(|| {
        let message = format!("{shown}: {} there twice: {}", count(twice.len()), examples(&twice));
        Finding::warning(place, message).advise("look whether another patient was meant")
    })
}

/// How many folds a folder has: those from fold_0 on without a gap.
pub(super) fn folds(folder: &Path) -> u64 {
    (0..).take_while(|number| folder.join(format!("fold_{number}")).is_dir()).count() as u64
}

/// What lies in the folder under names that nothing reads: copies and folds that are numbered otherwise.
fn unread(folder: &Path, name: &str, place: &str) -> Option<Finding> {
    let is_fold = |name: &str| {
        let number = name.strip_prefix("fold_").and_then(|number| number.parse::<u32>().ok());
        number.is_some_and(|number| format!("fold_{number}") == name)
    };
    let mut unread = Vec::new();
    for entry in names(folder) {
        match is_fold(&entry) {
            false => unread.push(entry),
            true => {
                let is_part = |file: &String| ["train_pid.csv", "val_pid.csv"].contains(&file.as_str());
                let others = names(&folder.join(&entry)).into_iter().filter(|file| !is_part(file));
                unread.extend(others.map(|file| format!("{entry}/{file}")));
            }
        }
    }
    let unread: Vec<String> = unread.into_iter().filter(|name| !is_of_no_concern(name)).collect();
    (!unread.is_empty()).then(|| {
        let message = format!("{name}: {} of its names are not read: {}", unread.len(), examples(&unread));
        Finding::warning(place, message)
            .advise("folds are fold_0, fold_1, … with train_pid.csv and val_pid.csv; move the others away")
    })
}

/// Hidden files, provenance, and what tells of the folds to people.
fn is_of_no_concern(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let extension = last.rsplit_once('.').map_or("", |(_, extension)| extension);
    last.starts_with('.') || ["json", "txt", "md", "log", "py", "ini", "db"].contains(&extension)
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
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
    let folds: Vec<String> = names(folder).into_iter().filter(|name| name.starts_with("fold_")).collect();
    match folds.is_empty() {
        true => "it has no folder fold_0, fold_1, …".to_string(),
        false => format!("it has {}", folds.join(", ")),
    }
}
