//! Kind `luna16`: the nodules of LUNA16's tables as a sample table, with the scans of the subsets that are there.

use std::collections::{BTreeMap, BTreeSet};

use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::scans::COORDINATES;
use crate::cohort::table_file::csv_bytes;
use crate::collections::luna16::{
    DOWNLOAD, ENDING, KEPT, Marked, SERIES, nodules, problems, scans, unusable, without_scan,
};
use crate::collections::under;

/// The kind.
pub struct Luna16;

/// What becomes of nodules whose series has no scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutScan {
    /// They are left out, with a warning.
    #[default]
    LeaveOut,
    /// They are an error.
    Refuse,
}

/// Parameters of `luna16`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Luna16Params {
    /// The folder that is given as `scans`, as it is written there: the paths of scans begin with it.
    pub folder: String,
    /// What becomes of nodules whose series has no scan in the folder, as where some subsets are not downloaded.
    pub without_scan: WithoutScan,
}

/// The input of nodules.
pub(crate) const ANNOTATIONS: &str = "annotations";
/// The input of scans, and the output that names them.
pub(crate) const SCANS: &str = "scans";
const DATASET: &str = "dataset";

impl Stage for Luna16 {
    type Params = Luna16Params;

    const ABOUT: About = About::new(
        "luna16",
        "makes a sample table of LUNA16's nodules and a table of its scans",
        crate::code_stamps::LUNA16,
    )
    .inputs(&[
        InputSpec::new(
            ANNOTATIONS,
            InputForm::Table,
            "annotations.csv of the download, or candidates_V2.csv: seriesuid, coordX, coordY, coordZ (LPS \
             millimetres)",
        ),
        InputSpec::new(
            SCANS,
            InputForm::Tree,
            "the folder of the download: SERIES.mhd with its voxels in subset0, subset1, …; no segmentations",
        ),
    ])
    .outputs(&[
        OutputSpec::file(
            DATASET,
            "dataset.csv",
            "a row for each nodule: pid (its series), nodule_id (from 1 within it), image_path, coordX, coordY, \
             coordZ (LPS millimetres), and diameter_mm and class where the table has them",
        ),
        OutputSpec::file(
            SCANS,
            "scans.csv",
            "a row for each scan, with nodules or without: series_instance_uid, image_path; lidc takes it",
        ),
    ]);

    fn columns(&self, _params: &Luna16Params, _input: &str) -> Vec<Column> {
        let required = [SERIES].into_iter().chain(COORDINATES).map(Column::required);
        required.chain(KEPT.map(Column::optional)).collect()
    }

    fn files(&self, _params: &Luna16Params, input: &str) -> Option<Vec<String>> {
        // Voxels are read by the stages that the table is given to.
        (input == SCANS).then(|| vec![format!("*{ENDING}")])
    }

    fn check_table(&self, _params: &Luna16Params, _input: &str, table: &Table) -> Vec<StageError> {
        problems(table)
    }
}

impl Whole for Luna16 {
    fn run(&self, params: &Luna16Params, context: &mut Context<'_>) -> Result<(), StageError> {
        let (annotations, files) = (context.table(ANNOTATIONS)?, context.files(SCANS)?);
        let scans = scans(files.names()).map_err(|error| error.prefixed(files.shown.as_str()))?;
        let nodules = nodules(annotations)?;
        if let Some(error) = unusable(&nodules, &scans) {
            return Err(error.prefixed(files.shown.as_str()));
        }
        if let Some(told) = without_scan(&nodules, &scans) {
            match params.without_scan {
                WithoutScan::Refuse => return Err(StageError::message(told).advise(DOWNLOAD)),
                WithoutScan::LeaveOut => context.warn(&format!("{told}; these nodules are left out")),
            }
        }
        let marked: BTreeSet<&str> = nodules.iter().map(|nodule| nodule.series).collect();
        let plain = scans.keys().filter(|series| !marked.contains(*series)).count();
        context.log(&format!("{} scans, {plain} of them without a row in the table", scans.len()));
        context.write(DATASET, "dataset.csv", &dataset(params, annotations, &nodules, &scans)?)?;
        let columns = ["series_instance_uid", "image_path"].map(str::to_string);
        let rows = scans.iter().map(|(series, name)| vec![series.to_string(), under(&params.folder, name)]);
        context.write(SCANS, "scans.csv", &csv_bytes(&columns, rows)?)
    }
}

/// The bytes of the dataset table: the nodules that have a scan.
fn dataset(
    params: &Luna16Params,
    annotations: &Table,
    nodules: &[Marked<'_>],
    scans: &BTreeMap<&str, &str>,
) -> Result<Vec<u8>, StageError> {
    let kept: Vec<&str> =
        COORDINATES.into_iter().chain(KEPT).filter(|column| annotations.has_column(column)).collect();
    let columns: Vec<String> =
        ["pid", "nodule_id", "image_path"].iter().chain(&kept).map(|column| column.to_string()).collect();
    let row = |nodule: &Marked<'_>| {
        let name = scans.get(nodule.series)?;
        let cell = |column: &&str| annotations.get(nodule.row, column).unwrap_or_default().to_string();
        let mut cells =
            vec![nodule.series.to_string(), nodule.number.to_string(), under(&params.folder, name)];
        cells.extend(kept.iter().map(cell));
        Some(cells)
    };
    csv_bytes(&columns, nodules.iter().filter_map(row))
}

#[cfg(test)]
mod tests {
    use pipe_plugin::testing::{self, Ran};
    use serde_json::json;

    use super::*;

    const TABLE: &str = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.1,-128.5,-175.3,-298.25,5.65\n\
                         1.2,69.6,-140.9,876.4,5.8\n1.1,103.75,-211.9,-227.1,\n";

    fn ran(params: serde_json::Value, table: &str, names: &[&str]) -> Result<Ran, StageError> {
        let params: Luna16Params = serde_json::from_value(params).expect("valid");
        let files = names.iter().map(|name| (*name, b"NDims = 3\n".to_vec()));
        testing::run(&Luna16, params).table(ANNOTATIONS, table).files(SCANS, files).finish()
    }

    #[test]
    fn rows_name_the_scans_of_their_series() {
        let names = ["subset0/1.1.mhd", "subset0/1.1.raw", "seg-lungs-LUNA16/1.1.mhd", "subset9/1.3.mhd"];
        let ran = ran(json!({ "folder": "LUNA16" }), TABLE, &names).expect("a table");
        assert_eq!(
            ran.text("dataset", "dataset.csv"),
            Some(
                "pid,nodule_id,image_path,coordX,coordY,coordZ,diameter_mm\n\
                 1.1,1,LUNA16/subset0/1.1.mhd,-128.5,-175.3,-298.25,5.65\n\
                 1.1,2,LUNA16/subset0/1.1.mhd,103.75,-211.9,-227.1,\n"
            )
        );
        assert_eq!(
            ran.text("scans", "scans.csv"),
            Some("series_instance_uid,image_path\n1.1,LUNA16/subset0/1.1.mhd\n1.3,LUNA16/subset9/1.3.mhd\n")
        );
        assert_eq!(
            ran.warnings,
            [
                "1 of 3 nodules are of 1 series without a scan: 1.2; there are scans in subset0, subset9; these \
                 nodules are left out"
            ]
        );
        assert_eq!(ran.log, ["2 scans, 1 of them without a row in the table"]);
    }

    #[test]
    fn series_without_a_scan_may_be_refused() {
        let refused = |params, names: &[&str]| ran(params, TABLE, names).expect_err("refused");
        let error = refused(json!({ "without_scan": "refuse" }), &["subset0/1.1.mhd"]);
        assert!(error.to_string().starts_with("1 of 3 nodules are of 1 series without a scan"), "{error}");
        assert_eq!(error.advice.as_deref(), Some(DOWNLOAD));
        for (names, part) in [
            (&["subset0/9.mhd"][..], "none of its 1 scans is of a series in the table"),
            (&["subset0/1.1.raw"], "there is no scan SERIES.mhd in it"),
            (&["subset0/1.1.mhd", "subset0/subset0/1.1.mhd"], "series 1.1 has two scans"),
        ] {
            let error = refused(json!({}), names).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn candidates_keep_their_class() {
        let table = "seriesuid,coordX,coordY,coordZ,class\n1.1,1,2,3,0\n";
        let ran = ran(json!({}), table, &["1.1.mhd"]).expect("a table");
        assert_eq!(
            ran.text("dataset", "dataset.csv"),
            Some("pid,nodule_id,image_path,coordX,coordY,coordZ,class\n1.1,1,1.1.mhd,1,2,3,0\n")
        );
        assert!(ran.warnings.is_empty(), "{:?}", ran.warnings);
    }
}
