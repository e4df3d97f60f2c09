//! Kind `centroid`: a dataset table from label masks, with the centre of each nodule in LPS millimetres.

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{
    About, Column, FileColumn, Gather, InputForm, InputSpec, Item, ItemSource, LeadsTo, OutputSpec, PerItem,
    Piece as Part, RowItems, Stage, StageError,
};
use pipe_plugin::table::{Row, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::scans::{self, Orientation};
use crate::cohort::{series, table_file};
use crate::segmentation::{
    Connectivity, Each, Piece, SegmentationError, SegmentationParameters, pieces_and_left_out,
};
use pipe_imaging::placement::{Grid, displaced};
use pipe_imaging::scan::ScanError;

/// The kind.
pub struct Centroid;

/// The column that names a row's mask.
pub(crate) const MASK: FileColumn = FileColumn::new("mask_path", LeadsTo::File).pair_of(scans::halves);
/// The column that names the scan which the mask was drawn on.
pub(crate) const SCAN: FileColumn =
    FileColumn::new("image_path", LeadsTo::FileOrFolder).pair_of(scans::halves).optional();

const REPLACE: &str = "replace the mask, or take its row out of the table";
const NODULE: &str = "nodule_id";
const TABLE: &str = "dataset.csv";
/// What the output has beside the input's columns.
const ADDED: [&str; 6] = ["coordX", "coordY", "coordZ", "label", "voxels", "volume_mm3"];

/// Parameters of `centroid`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CentroidParams {
    /// The columns whose texts, joined by `_`, name a mask; `nodule_id` comes behind them when the table has it.
    #[schemars(length(min = 1))]
    pub name: Vec<String>,
    /// What makes a nodule. `component`: each connected piece of a label value. `label`: all voxels of a value.
    pub each: EachNodule,
    /// The neighbours of a voxel that belong to its piece: those that share a face (6), an edge (18) or a corner (26).
    pub connectivity: Neighbours,
    /// Pieces of fewer voxels are left out; a mask that has no other is an error.
    #[schemars(range(min = 1))]
    pub min_voxels: u64,
    /// The label values that mark nodules; all but 0 when there is none.
    pub labels: Vec<u32>,
    /// Which of the headers' two forms places mask and scan, as for `crop`. Masks and scans without codes need `itk`.
    pub orientation: Orientation,
}

/// What makes a nodule of a mask.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EachNodule {
    /// Each connected piece of a label value.
    Component,
    /// All voxels of a label value.
    Label,
}

/// How many neighbours a voxel has.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "u8", into = "u8")]
#[schemars(with = "u8", extend("enum" = [6, 18, 26]))]
pub struct Neighbours(Connectivity);

impl TryFrom<u8> for Neighbours {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            6 => Ok(Self(Connectivity::Faces)),
            18 => Ok(Self(Connectivity::Edges)),
            26 => Ok(Self(Connectivity::Corners)),
            other => Err(format!("connectivity must be 6, 18 or 26, but is {other}")),
        }
    }
}

impl From<Neighbours> for u8 {
    fn from(Neighbours(connectivity): Neighbours) -> Self {
        match connectivity {
            Connectivity::Faces => 6,
            Connectivity::Edges => 18,
            Connectivity::Corners => 26,
        }
    }
}

impl Default for CentroidParams {
    fn default() -> Self {
        Self {
            name: vec!["pid".to_string()],
            each: EachNodule::Component,
            connectivity: Neighbours(Connectivity::Corners),
            min_voxels: 1,
            labels: Vec::new(),
            orientation: Orientation::Auto,
        }
    }
}

impl CentroidParams {
    fn segmentation(&self) -> SegmentationParameters {
        SegmentationParameters {
            each: match self.each {
                EachNodule::Component => Each::Component,
                EachNodule::Label => Each::Label,
            },
            connectivity: self.connectivity.0,
            min_voxels: self.min_voxels,
            labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
            orientation: self.orientation.into(),
            ..SegmentationParameters::default()
        }
    }
}

/// A nodule as it is kept for each mask.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Nodule {
    label: u32,
    /// 1 for the first piece of a label.
    piece: usize,
    voxels: u64,
    volume_mm3: f64,
    /// LPS millimetres.
    centre: [f64; 3],
}

impl Stage for Centroid {
    type Params = CentroidParams;

    const ABOUT: About = About::new("centroid", "finds the nodules of label masks and makes a dataset table of their centres", crate::code_stamps::CENTROID).inputs(&[InputSpec::new(
            "masks",
            InputForm::Table,
            "a row for each mask: pid, mask_path (NIfTI), image_path (its scan, NIfTI or a DICOM folder, with which it \
             must overlap; a mask of as many voxels must lie where the scan lies), and whatever else; with nodule_id, each \
             mask must hold that one nodule",
        )]).outputs(&[OutputSpec::table("dataset", TABLE, "a row for each nodule: the mask's row, nodule_id, coordX, coordY, coordZ (centre of mass, LPS \
                      millimetres), label, voxels, volume_mm3")]);

    fn check_table(&self, _params: &CentroidParams, _input: &str, table: &Table) -> Vec<StageError> {
        let there = ADDED.iter().filter(|column| table.has_column(column));
        there
            .map(|column| {
                let message = format!("{}: column `{column}` is there already", table.source);
                StageError::message(message).advise("rename it: this stage makes a column of that name")
            })
            .collect()
    }
}

impl PerItem for Centroid {
    fn items(&self, params: &CentroidParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        let rows = RowItems::new("masks", &params.name).optional_name(NODULE);
        ItemSource::Rows(rows.columns([Column::optional(NODULE)]).file(MASK).file(SCAN))
    }

    fn run_group(
        &self,
        params: &CentroidParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        group.iter().map(|item| nodules(params, item, context)).collect()
    }

    fn gather(
        &self,
        _params: &CentroidParams,
        gather: &Gather<'_>,
    ) -> Result<Vec<(String, Part)>, StageError> {
        let kept: Vec<&String> = gather.table.columns().iter().filter(|name| *name != NODULE).collect();
        let columns = kept.iter().map(|name| name.as_str()).chain([NODULE]).chain(ADDED);
        let columns: Vec<String> = columns.map(str::to_string).collect();
        let mut rows = Vec::new();
        for item in gather.items {
            let nodules: Vec<Nodule> = serde_json::from_slice(&item.file.read()?)?;
            for row in item.rows.iter().filter_map(|position| gather.table.rows().get(*position)) {
                let cell = |name: &&String| gather.table.get(row, name).unwrap_or_default().to_string();
                for nodule in &nodules {
                    let own = added_cells(gather.table, row, nodule);
                    rows.push(kept.iter().map(cell).chain(own).collect::<Vec<String>>());
                }
            }
        }
        Ok(vec![(TABLE.to_string(), Part::Bytes(table_file::csv_bytes(&columns, rows)?))])
    }
}

/// The cells of `nodule_id` and the added columns.
fn added_cells(table: &Table, row: &Row, nodule: &Nodule) -> [String; 7] {
    let Nodule { label, piece, voxels, volume_mm3, centre: [x, y, z] } = nodule;
    let id = match (table.get(row, NODULE), piece) {
        (Some(id), _) => id.to_string(),
        (None, 1) => label.to_string(),
        (None, piece) => format!("{label}-{piece}"),
    };
    [
        id,
        x.to_string(),
        y.to_string(),
        z.to_string(),
        label.to_string(),
        voxels.to_string(),
        volume_mm3.to_string(),
    ]
}

/// A piece of more cubic millimetres is hardly a nodule: a ball of it measures 66 mm.
const LARGEST_MM3: f64 = 150_000.0;

/// A mask's nodules as JSON.
fn nodules(params: &CentroidParams, item: &Item, context: &ItemContext<'_>) -> Result<Vec<u8>, StageError> {
    context.check_cancelled()?;
    let shown = item.files.get(MASK.name).map_or("the mask", |file| file.shown());
    let refuse = |problem: String, advice: &str| {
        StageError::message(format!("{}: {}", item.place(), scans::about(shown, &problem)))
            .advise(advice.to_string())
    };
    let unreadable = |error: ScanError| refuse(error.to_string(), &scans::advice(shown, &error, REPLACE));
    let mask = scans::open(item, MASK.name)?.map_err(unreadable)?;
    let scan = series::space(item, SCAN.name, params.orientation)?;
    if let Some(space) = &scan {
        let affine = mask.affine(params.orientation.into()).map_err(unreadable)?;
        let placed = Grid { shape: mask.layout().shape, affine };
        let displaced = displaced(&placed, &Grid { shape: space.shape, affine: space.affine });
        match displaced {
            Some(displaced) if displaced.within_a_voxel => context.warn(item, &displaced.to_string()),
            Some(displaced) => return Err(refuse(displaced.to_string(), displaced.advice())),
            None => {}
        }
    }
    let (found, left_out) =
        pieces_and_left_out(mask, &params.segmentation()).map_err(|error| match error {
            SegmentationError::Scan(error) => unreadable(error),
            other => refuse(other.to_string(), advice_for(&other)),
        })?;
    for (number, piece) in found.iter().enumerate().filter(|(_, piece)| piece.volume_mm3 > LARGEST_MM3) {
        let volume = piece.volume_mm3 / 1000.0;
        let text = format!("piece {} has {volume:.0} cm3: is it a nodule?", number + 1);
        context.warn(item, &text);
    }
    if left_out > 0 {
        let (all, few) = (found.len() + left_out, params.min_voxels);
        context
            .warn(item, &format!("{left_out} of {all} pieces have fewer than {few} voxels and are left out"));
    }
    if let Some(id) = item.values.get(NODULE)
        && found.len() != 1
    {
        let problem = format!("it holds {} nodules, but its row names one, {id}", found.len());
        return Err(refuse(
            problem,
            "set labels, each = \"label\" or min_voxels; or leave nodule_id out of the table",
        ));
    }
    if let Some(space) = scan {
        for piece in &found {
            let distance = space.distance_outside(piece.centre);
            if distance > 0.0 {
                let scan = item.files.get(SCAN.name).map_or("the scan", |file| file.shown());
                let problem = format!(
                    "label {} has its centre {} {distance:.1} mm outside the scan {scan}: they do not overlap in space",
                    piece.label, piece.centre
                );
                return Err(refuse(problem, "correct the mask's affine, or the row's paths"));
            }
        }
    }
    let kept: Vec<Nodule> = found.iter().map(nodule).collect();
    Ok(serde_json::to_vec(&kept)?)
}

fn nodule(piece: &Piece) -> Nodule {
    Nodule {
        label: piece.label,
        piece: piece.piece,
        voxels: piece.voxels,
        volume_mm3: piece.volume_mm3,
        centre: [piece.centre.x, piece.centre.y, piece.centre.z],
    }
}

fn advice_for(error: &SegmentationError) -> &'static str {
    match error {
        SegmentationError::NotALabel { .. } => {
            "the mask must hold labels; of probabilities make labels first"
        }
        SegmentationError::Empty { .. } => "take its row out of the table, or correct labels",
        SegmentationError::Pieces => "the file looks like noise; give its mask",
        SegmentationError::TooSmall { .. } => "lower min_voxels, or take its row out of the table",
        SegmentationError::Scan(_) => REPLACE,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_reach_the_search() {
        let params: CentroidParams = serde_json::from_value(json!({})).expect("defaults");
        assert_eq!(params.segmentation(), SegmentationParameters::default());
        let written = json!({
            "name": ["pid"], "each": "label", "connectivity": 6, "min_voxels": 5, "labels": [2, 3],
            "orientation": "qform",
        });
        let params: CentroidParams = serde_json::from_value(written.clone()).expect("valid");
        assert_eq!(serde_json::to_value(&params).expect("JSON"), written);
        let found = params.segmentation();
        assert_eq!((found.each, found.connectivity, found.min_voxels), (Each::Label, Connectivity::Faces, 5));
        assert_eq!(found.labels, Some(vec![2, 3]));
        assert!(serde_json::from_value::<CentroidParams>(json!({ "connectivity": 8 })).is_err());
    }
}
