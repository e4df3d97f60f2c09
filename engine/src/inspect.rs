//! A look at a cohort before hours of work: what each kind finds at a glance, and files that are there twice.
//!
//! Only tables outside the store are looked at, and of the files that their rows name no more than a glance needs:
//! nothing is hashed whole, nothing is kept, and no result depends on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pipe_cache::Digest;
use rayon::prelude::*;

use crate::bind::{TableSource, shown_path};
use crate::input::list_folder;
use crate::items::row_files::{Found, RowFiles};
use crate::items::rows;
use crate::manifest::{InputSource, Instance, Pipeline};
use crate::session::Session;
use crate::stage::{Finding, InspectedFile, InspectedRow, ItemSource, RowItems, Severity, StageError};

/// Of files with the same size, this much is compared at the start, in the middle and at the end.
const COMPARED_BYTES: u64 = 64 << 10;

/// What a look has found.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Rows looked at.
    pub rows: usize,
    /// Files and folders that they name.
    pub files: usize,
    /// What looks wrong: errors first, in the order of the tables' lines.
    pub findings: Vec<Finding>,
}

impl Inspection {
    /// How many findings are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Looks at the rows of every table outside the store that a kind makes items of. To be called when
/// [`crate::preflight::check_tables`] has found nothing.
///
/// # Errors
/// When a table cannot be read, or names what is not there.
pub fn inspect(session: &Session<'_>, pipeline: &Pipeline) -> Result<Inspection, StageError> {
    let binder = session.binder(pipeline);
    let mut places: BTreeSet<String> = BTreeSet::new();
    let mut paths: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut findings: Vec<((Severity, String, u64), Finding)> = Vec::new();
    for instance in &pipeline.instances {
        let Some(ItemSource::Rows(rows)) = binder.item_source(instance)? else { continue };
        let given = instance.inputs.iter().find(|binding| binding.spec.name == rows.input);
        let Some([InputSource::Path(table)]) = given.map(|given| &*given.sources) else { continue };
        let source = binder.open_table(&InputSource::Path(table.clone()), &|_| None)?;
        let inspected = inspected_rows(&source, &rows)?;
        places.extend(inspected.iter().map(|one| one.place.clone()));
        for one in &inspected {
            for path in one.files.values().filter_map(leading_path) {
                paths.entry(path.to_path_buf()).or_insert_with(|| one.place.clone());
            }
        }
        findings.extend(inspect_groups(instance, &rows, inspected).into_iter().map(sortable));
    }
    let files = paths.len();
    findings.extend(same_content(&pipeline.root, &paths).into_iter().map(sortable));
    findings.sort_by(|a, b| a.0.cmp(&b.0));
    let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
    findings.dedup();
    Ok(Inspection { rows: places.len(), files, findings })
}

/// Errors first, then by table and line.
fn sortable(finding: Finding) -> ((Severity, String, u64), Finding) {
    let (table, line) = finding.place.rsplit_once(':').unwrap_or((&finding.place, ""));
    let key = (finding.severity, table.to_string(), line.parse().unwrap_or(0));
    (key, finding)
}

fn inspect_groups(instance: &Instance, rows: &RowItems, inspected: Vec<InspectedRow>) -> Vec<Finding> {
    let mut groups: Vec<Vec<InspectedRow>> = Vec::new();
    let mut positions: HashMap<PathBuf, usize> = HashMap::new();
    for one in inspected {
        let path = rows.group_by.and_then(|column| one.files.get(column)).and_then(leading_path);
        let path = path.map(Path::to_path_buf);
        match path.as_ref().and_then(|path| positions.get(path)).and_then(|group| groups.get_mut(*group)) {
            Some(group) => group.push(one),
            None => {
                positions.extend(path.map(|path| (path, groups.len())));
                groups.push(vec![one]);
            }
        }
    }
    groups.par_iter().flat_map_iter(|group| instance.kind.inspect(&instance.params, group)).collect()
}

/// A table's rows with the items that they belong to, and where their files are.
fn inspected_rows(source: &TableSource, rows: &RowItems) -> Result<Vec<InspectedRow>, StageError> {
    let (found, problems) = rows::find(source, &rows.files)?;
    crate::items::refuse(problems)?;
    let RowFiles::Root(root) = &source.files else { return Ok(Vec::new()) };
    let mut places = HashMap::new();
    for (cell, found) in found {
        places.insert(cell, inspected_file(root, &found)?);
    }
    let mut inspected = Vec::new();
    for named in rows::named_rows(&source.table, rows)? {
        for row in named.rows.iter().filter_map(|position| source.table.rows().get(*position)) {
            let table = &source.table;
            let value = |column: &String| Some((column.clone(), table.get(row, column)?.to_string()));
            let mut files = BTreeMap::new();
            for column in &rows.files {
                let cell = table.get(row, column.name).unwrap_or_default().to_string();
                if let Some(file) = places.get(&(column.name, cell)) {
                    files.insert(column.name.to_string(), file.clone());
                }
            }
            inspected.push(InspectedRow {
                name: named.name.clone(),
                place: format!("{}:{}", table.source, row.line),
                values: table.columns().iter().filter_map(value).collect(),
                files,
            });
        }
    }
    Ok(inspected)
}

fn inspected_file(root: &Path, found: &Found) -> Result<InspectedFile, StageError> {
    Ok(match found {
        Found::One(name) => InspectedFile::One(root.join(name)),
        Found::Pair(first, second) => InspectedFile::Pair(root.join(first), root.join(second)),
        Found::Folder(name) => {
            let mut files = Vec::new();
            list_folder(&root.join(name), "", 0, &mut files)?;
            files.sort();
            InspectedFile::Folder(files)
        }
    })
}

/// The file that stands for what a path leads to: of a pair the second, which is the larger.
fn leading_path(file: &InspectedFile) -> Option<&Path> {
    match file {
        InspectedFile::One(path) | InspectedFile::Pair(_, path) => Some(path),
        InspectedFile::Folder(files) => files.first().map(|(_, path)| path.as_path()),
    }
}

/// Files that seem to have the content of another one.
fn same_content(root: &Path, paths: &BTreeMap<PathBuf, String>) -> Vec<Finding> {
    let mut by_size: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for path in paths.keys() {
        if let Ok(metadata) = std::fs::metadata(path) {
            by_size.entry(metadata.len()).or_default().push(path);
        }
    }
    let candidates: Vec<(u64, &Path)> = by_size
        .iter()
        .filter(|(_, alike)| alike.len() > 1)
        .flat_map(|(size, alike)| alike.iter().map(|path| (*size, *path)))
        .collect();
    let samples: Vec<(Option<Digest>, &Path)> =
        candidates.par_iter().map(|(size, path)| (sample(path, *size), *path)).collect();
    let mut first: HashMap<Digest, &Path> = HashMap::new();
    let mut findings = Vec::new();
    for (digest, path) in samples {
        let (Some(digest), Some(place)) = (digest, paths.get(path)) else { continue };
        match first.get(&digest) {
            None => {
                first.insert(digest, path);
            }
            Some(other) => {
                let at = paths.get(*other).map_or("", String::as_str);
                let message = format!(
                    "{} seems to have the content of {} ({at})",
                    shown_path(root, path),
                    shown_path(root, other)
                );
                let advice = "take one of them out of the table, unless both are meant";
                findings.push(
                    Finding::warning(place, message)
                        .advise(advice)
                        .of_kind("files with the content of another one"),
                );
            }
        }
    }
    findings
}

/// A digest of a file's size and of parts of it.
fn sample(path: &Path, size: u64) -> Option<Digest> {
    let mut file = File::open(path).ok()?;
    let mut bytes = size.to_le_bytes().to_vec();
    for start in [0, size / 2, size.saturating_sub(COMPARED_BYTES)] {
        file.seek(SeekFrom::Start(start)).ok()?;
        file.by_ref().take(COMPARED_BYTES).read_to_end(&mut bytes).ok()?;
    }
    Some(Digest::of(&bytes))
}
