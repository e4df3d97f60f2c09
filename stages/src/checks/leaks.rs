//! Patients and scans of training that are in a test table, found before the work where both tables are files.
//!
//! What cannot be read is told elsewhere. Models also carry what they were trained on, so that `evaluate` finds what no
//! table shows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pipe_cache::{Digest, Hasher};
use pipe_plugin::stage::{Finding, Given, Preview};
use pipe_plugin::table::TableCache;
use rayon::prelude::*;

use super::examples;
use super::outlook::{Outlook, made_by, shown, table_of};
use crate::cohort::leaks::{SharedPatient, alike_within, shared_patients};
use crate::cohort::scans::open_outside;
use crate::cohort::trained_on::PATIENTS;
use crate::crop::signature::signature;
use crate::splits::tables::read_pids;

/// Of files of one size, so much is compared at the start, in the middle and at the end.
const COMPARED_BYTES: u64 = 64 << 10;

/// Rows of a table outside the store, with the scans that they name.
struct Cohort {
    path: PathBuf,
    pids: Vec<String>,
    /// Scans by path, with the patient of the first row that names each.
    scans: BTreeMap<PathBuf, String>,
}

impl Cohort {
    fn read(tables: &TableCache, path: &Path, root: &Path) -> Option<Self> {
        let table = tables.open(path, &path.display().to_string()).ok()?;
        let mut cohort = Self { path: path.to_path_buf(), pids: Vec::new(), scans: BTreeMap::new() };
        for row in table.rows() {
            let Some(pid) = table.get(row, "pid") else { continue };
            cohort.pids.push(pid.to_owned());
            if let Some(scan) = table.get(row, "image_path") {
                cohort.scans.entry(root.join(scan)).or_insert_with(|| pid.to_owned());
            }
        }
        Some(cohort)
    }

    fn shown(&self, root: &Path) -> String {
        self.path.strip_prefix(root).unwrap_or(&self.path).display().to_string()
    }
}

/// Identifiers in a table that seem to be of one patient, and why these should be one.
pub(super) fn within(tables: &TableCache, dataset: &Given, reason: &str) -> Vec<Finding> {
    let Some(cohort) = dataset.outside().and_then(|path| Cohort::read(tables, path, Path::new(""))) else {
        return Vec::new();
    };
    let alike = alike_within(cohort.pids.iter().map(String::as_str));
    if alike.is_empty() {
        return Vec::new();
    }
    let pairs: Vec<String> =
        alike.iter().map(|SharedPatient { first, second }| format!("{first} and {second}")).collect();
    let message = format!(
        "{}: {} patients seem to be there under two identifiers: {}",
        dataset.text,
        alike.len(),
        examples(&pairs)
    );
    vec![
        Finding::warning(&dataset.place, message)
            .advise(format!("write a patient's identifier in one way: {reason}")),
    ]
}

/// Test patients and scans that the models are trained on.
pub(super) fn between(preview: &Preview<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut compared = HashSet::new();
    for dataset in preview.all("dataset") {
        findings.extend(made_alike(dataset, preview));
        let Some(test) = table_of(dataset) else { continue };
        let Some(test) = Cohort::read(preview.tables, &test, preview.root) else { continue };
        for model in preview.all("models") {
            if let Some(folder) = model.outside() {
                findings.extend(with_model(dataset, &test, model, folder));
                continue;
            }
            let outlook = Outlook::of(model);
            findings.extend(with_files(dataset, &test, model, &outlook.patients));
            let Some(table) = outlook.table else { continue };
            // All folds are of one table.
            if !compared.insert((dataset.text.clone(), table.clone())) {
                continue;
            }
            let Some(training) = Cohort::read(preview.tables, &table, preview.root) else { continue };
            findings.extend(patients(dataset, &test, &training.pids, &training.shown(preview.root)));
            findings.extend(scans(dataset, &test, &training, preview.root));
        }
    }
    findings
}

/// Rows that a stage makes, given to training and to the test.
fn made_alike(dataset: &Given, preview: &Preview<'_>) -> Option<Finding> {
    let tested = made_by(dataset)?;
    let is_trained = |model: &&Given| Outlook::of(model).made_by.as_ref() == Some(&tested);
    let model = preview.all("models").find(is_trained)?;
    let message = format!("{} is trained on the rows of {tested}, which it is tested on", shown(model));
    Some(Finding::error(&dataset.place, message).advise("test on patients that are in no fold"))
}

fn with_model(dataset: &Given, test: &Cohort, model: &Given, folder: &Path) -> Vec<Finding> {
    let of_folds = (0..100).map(|fold| folder.join(format!("fold_{fold}")).join(PATIENTS));
    let files: Vec<PathBuf> = std::iter::once(folder.join(PATIENTS)).chain(of_folds).collect();
    with_files(dataset, test, model, &files)
}

/// Test patients whom one of the files names as trained on.
fn with_files(dataset: &Given, test: &Cohort, model: &Given, files: &[PathBuf]) -> Vec<Finding> {
    let read = |file: &PathBuf| read_pids(PATIENTS, &std::fs::read(file).ok()?).ok();
    let seen: Vec<String> = files.iter().filter_map(read).flatten().collect();
    patients(dataset, test, &seen, &format!("the training of {}", shown(model))).into_iter().collect()
}

fn patients(dataset: &Given, test: &Cohort, training: &[String], where_to: &str) -> Option<Finding> {
    let shared = shared_patients(training.iter().map(String::as_str), test.pids.iter().map(String::as_str));
    if shared.is_empty() {
        return None;
    }
    let tested: HashSet<&String> = test.pids.iter().collect();
    let named: Vec<String> = shared
        .iter()
        .map(|one| match one.first == one.second {
            true => one.first.clone(),
            false => format!("{} (there {})", one.second, one.first),
        })
        .collect();
    let message = format!(
        "{} of the {} test patients are in {where_to}: {}",
        shared.len(),
        tested.len(),
        examples(&named)
    );
    Some(Finding::error(&dataset.place, message).advise(
        "test on patients that are in no fold; people who are others need identifiers that are not alike",
    ))
}

fn scans(dataset: &Given, test: &Cohort, training: &Cohort, root: &Path) -> Option<Finding> {
    let mut shared = same_scans(training, test);
    shared.extend(same_voxels(training, test, &shared));
    if shared.is_empty() {
        return None;
    }
    let show = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let named: Vec<String> = shared
        .iter()
        .map(|(trained, tested)| match trained == tested {
            true => {
                format!("{} ({} and {})", show(tested), patient(training, trained), patient(test, tested))
            }
            false => format!("{} is {}", show(tested), show(trained)),
        })
        .collect();
    let message = format!(
        "{} of the {} test scans are scans of {}: {}",
        shared.len(),
        test.scans.len(),
        training.shown(root),
        examples(&named)
    );
    Some(Finding::error(&dataset.place, message).advise("test on scans that no model is trained on"))
}

fn patient(cohort: &Cohort, scan: &Path) -> String {
    cohort.scans.get(scan).cloned().unwrap_or_default()
}

/// Scans of the second cohort that have the content of one of the first, as pairs.
fn same_scans(first: &Cohort, second: &Cohort) -> Vec<(PathBuf, PathBuf)> {
    let mut by_size: HashMap<Extent, Vec<&PathBuf>> = HashMap::new();
    for path in first.scans.keys() {
        if let Some(extent) = Extent::of(path) {
            by_size.entry(extent).or_default().push(path);
        }
    }
    let candidates: Vec<(&PathBuf, Vec<&PathBuf>)> = second
        .scans
        .keys()
        .filter_map(|path| Some((path, by_size.get(&Extent::of(path)?)?.clone())))
        .collect();
    let same = |(tested, alike): &(&PathBuf, Vec<&PathBuf>)| {
        let own = sample(tested)?;
        let trained = alike.iter().find(|trained| **trained == *tested || sample(trained) == Some(own))?;
        Some(((*trained).clone(), (*tested).clone()))
    };
    candidates.par_iter().filter_map(same).collect()
}

/// Scans of the second cohort, none of those known already, that have the voxels of one of the first in a file of other
/// bytes: compressed anew, stored as other numbers. Series of files are compared by bytes only.
fn same_voxels(first: &Cohort, second: &Cohort, known: &[(PathBuf, PathBuf)]) -> Vec<(PathBuf, PathBuf)> {
    let known: HashSet<&PathBuf> = known.iter().map(|(_, tested)| tested).collect();
    let signed = |path: &PathBuf| -> Option<(String, PathBuf)> {
        Some((signature(open_outside(path).ok()?).ok()??, path.clone()))
    };
    let trained: Vec<&PathBuf> = first.scans.keys().collect();
    let trained: HashMap<String, PathBuf> = trained.into_par_iter().filter_map(signed).collect();
    let tested: Vec<&PathBuf> = second.scans.keys().filter(|path| !known.contains(path)).collect();
    let tested: Vec<(String, PathBuf)> = tested.into_par_iter().filter_map(signed).collect();
    let pair = |(signature, path)| Some((trained.get(&signature)?.clone(), path));
    tested.into_iter().filter_map(pair).collect()
}

/// How much there is of a scan: files and bytes in all.
#[derive(PartialEq, Eq, Hash)]
struct Extent {
    files: usize,
    bytes: u64,
}

impl Extent {
    fn of(path: &Path) -> Option<Self> {
        let files = files_of(path)?;
        let bytes =
            files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|metadata| metadata.len()).sum();
        Some(Self { files: files.len(), bytes })
    }
}

/// A file, or those of a series' folder.
fn files_of(path: &Path) -> Option<Vec<PathBuf>> {
    if !path.is_dir() {
        return path.is_file().then(|| vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
    Some(entries.filter(|path| path.is_file()).collect())
}

/// A digest of parts of a scan's files, whatever these are called.
fn sample(path: &Path) -> Option<Digest> {
    let mut parts: Vec<Digest> =
        files_of(path)?.iter().map(|file| sample_file(file)).collect::<Option<_>>()?;
    parts.sort_unstable();
    let mut hasher = Hasher::new("pipe sampled scan, version 1");
    for part in parts {
        hasher.field(part.as_bytes());
    }
    Some(hasher.finish())
}

fn sample_file(path: &Path) -> Option<Digest> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let mut bytes = size.to_le_bytes().to_vec();
    for start in [0, size / 2, size.saturating_sub(COMPARED_BYTES)] {
        file.seek(SeekFrom::Start(start)).ok()?;
        file.by_ref().take(COMPARED_BYTES).read_to_end(&mut bytes).ok()?;
    }
    Some(Digest::of(&bytes))
}
