//! Kind `dicom`: a NIfTI scan of each DICOM series, and the table with their new paths.

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{
    About, FileColumn, Gather, InputForm, InputSpec, Item, ItemFile, ItemSource, LeadsTo, OutputSpec,
    PerItem, Piece, RowItems, Stage, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::{series, table_file};
use pipe_imaging::dicom::{Geometry, ReadOptions, Tolerance, read_series};

/// The kind.
pub struct Dicom;

/// The column that names a series' folder.
pub(crate) const SERIES: &str = "image_path";

/// Parameters of `dicom`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DicomParams {
    /// The columns whose texts, joined by `_`, name a series' scan. Rows of one name must name one series: where
    /// a patient has several, add a column that tells them apart.
    #[schemars(length(min = 1))]
    pub name: Vec<String>,
    /// How far a slice may lie from where an evenly spaced series would have it, in millimetres; or
    /// `tolerance_share`, if that is more.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub tolerance_mm: f64,
    /// The same, as a share of the distance between slices.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub tolerance_share: f64,
}

impl Default for DicomParams {
    fn default() -> Self {
        let Tolerance { millimetres, share } = Tolerance::default();
        Self { name: vec!["pid".to_string()], tolerance_mm: millimetres, tolerance_share: share }
    }
}

impl DicomParams {
    /// Evenness asked of the slices.
    pub(crate) fn tolerance(&self) -> Tolerance {
        Tolerance { millimetres: self.tolerance_mm, share: self.tolerance_share }
    }
}

impl Stage for Dicom {
    type Params = DicomParams;

    const ABOUT: About = About::new(
        "dicom",
        "makes NIfTI scans of DICOM CT series: values in HU, slices in order and evenly spaced",
        crate::code_stamps::DICOM,
    )
    .inputs(&[InputSpec::new(
        "dataset",
        InputForm::Table,
        "the cohort: pid, image_path (a folder with the files of one series), and whatever else",
    )])
    .outputs(&[OutputSpec::tree(
        "dataset",
        "dataset.csv, the table with image_path leading to scans/{pid}.nii.gz; other columns as they were, \
                      but no other file that they name",
    )]);
}

impl PerItem for Dicom {
    fn items(&self, params: &DicomParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        let series = FileColumn::new(SERIES, LeadsTo::Folder);
        ItemSource::Rows(RowItems::new("dataset", &params.name).file(series).group_by(SERIES).repeats())
    }

    fn run_group(
        &self,
        params: &DicomParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        group.iter().map(|item| convert(params, item, context)).collect()
    }

    fn gather(&self, _params: &DicomParams, gather: &Gather<'_>) -> Result<Vec<(String, Piece)>, StageError> {
        let mut paths: Vec<&str> = vec![""; gather.table.rows().len()];
        let names: Vec<String> =
            gather.items.iter().map(|item| format!("scans/{}.nii.gz", item.name)).collect();
        for (item, name) in gather.items.iter().zip(&names) {
            for row in &item.rows {
                if let Some(path) = paths.get_mut(*row) {
                    *path = name;
                }
            }
        }
        let columns = gather.table.columns();
        let rows = gather.table.rows().iter().zip(&paths).map(|(row, path)| {
            let cell = |column: &String| match column == SERIES {
                true => (*path).to_string(),
                false => gather.table.get(row, column).unwrap_or_default().to_string(),
            };
            columns.iter().map(cell).collect()
        });
        let table = table_file::csv_bytes(columns, rows)?;
        let scans = names.iter().cloned().enumerate().map(|(position, name)| (name, Piece::Item(position)));
        Ok([("dataset.csv".to_string(), Piece::Bytes(table))].into_iter().chain(scans).collect())
    }
}

/// The bytes of a series as a NIfTI scan.
fn convert(params: &DicomParams, item: &Item, context: &ItemContext<'_>) -> Result<Vec<u8>, StageError> {
    context.check_cancelled()?;
    let Some(ItemFile::Folder(folder)) = item.files.get(SERIES) else {
        return Err(StageError::message(format!("{}: `{SERIES}` is no folder", item.place())));
    };
    let refuse = |problem: String, advice: Option<&str>| {
        StageError::message(format!("{}: {}: {problem}", item.place(), folder.shown))
            .advise(advice.unwrap_or("replace the series, or take its rows out of the table"))
    };
    let files = series::series_files(folder)?;
    let options = ReadOptions { tolerance: params.tolerance(), ..ReadOptions::default() };
    let read = read_series(&files, &options).map_err(|error| refuse(error.to_string(), error.advice()))?;
    let Geometry { shape: [columns, rows, slices], files, skipped, .. } = &read.geometry;
    context.log(&format!("{}: {columns} × {rows} × {slices} voxels from {files} files", item.name));
    // LIDC-IDRI's archive has the readers' annotations beside each series.
    let is_annotation = |name: &&str| name.to_ascii_lowercase().ends_with(".xml");
    let skipped: Vec<&str> = skipped.iter().map(String::as_str).filter(|name| !is_annotation(name)).collect();
    if !skipped.is_empty() {
        let named = skipped.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let more = if skipped.len() > 3 { ", …" } else { "" };
        let count = skipped.len();
        context.warn(
            item,
            &format!("{count} files of the folder hold no image and are left out: {named}{more}"),
        );
    }
    for remark in read.geometry.remarks.iter().chain(&read.remarks) {
        context.warn(item, remark);
    }
    read.nii_gz_bytes().map_err(|error| refuse(error.to_string(), None))
}
