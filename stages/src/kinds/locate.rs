//! Kind `locate`: points given as voxel indices of a scan, as LPS millimetres.

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{
    About, Column, FileColumn, Gather, InputForm, InputSpec, Item, ItemSource, LeadsTo, OutputSpec, PerItem,
    Piece, RowItems, Stage, StageError,
};
use pipe_plugin::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cohort::scans::{COORDINATES, Orientation, halves};
use crate::cohort::{series, table_file};
use pipe_imaging::affine::Affine;

/// The kind.
pub struct Locate;

/// How indices count a scan's voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// x, y, z along the axes in which the scan's file keeps its voxels.
    Voxels,
    /// x is the row, y the column and z the slice from the lowest up, as pylidc counts those of a DICOM series; in a
    /// NIfTI file whose first axis is the column and whose second is the row, as the kind dicom writes it.
    #[default]
    Pylidc,
    /// As `pylidc`, in a NIfTI file whose axes may be turned round: columns are taken to run to the patient's left and
    /// rows to the back, as they do in a patient on the back.
    PylidcTurned,
}

/// Parameters of `locate`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocateParams {
    /// The columns whose texts, joined by `_`, name a point.
    #[schemars(length(min = 1))]
    pub name: Vec<String>,
    /// What the indices x, y, z count; the first voxel has index 0, and its centre is meant.
    pub counting: Counting,
    /// Which of a NIfTI header's two forms places the scan, as for `crop`.
    pub orientation: Orientation,
}

impl Default for LocateParams {
    fn default() -> Self {
        Self {
            name: ["pid", "nodule_id"].map(str::to_string).to_vec(),
            counting: Counting::Pylidc,
            orientation: Orientation::Auto,
        }
    }
}

const SCAN: FileColumn = FileColumn::new("image_path", LeadsTo::FileOrFolder).pair_of(halves);
const INDICES: [&str; 3] = ["x", "y", "z"];
/// The column in which lidc says that a table has indices only.
const POSITION: &str = "position";
const TABLE: &str = "dataset.csv";

impl Stage for Locate {
    type Params = LocateParams;

    const ABOUT: About = About::new(
        "locate",
        "turns voxel indices into points in the patient, by each scan's affine",
        crate::code_stamps::LOCATE,
    )
    .inputs(&[InputSpec::new(
        "dataset",
        InputForm::Table,
        "pid, nodule_id, image_path (NIfTI or a DICOM folder), x, y, z (voxel indices), and whatever else",
    )])
    .outputs(&[OutputSpec::table(
        "dataset",
        TABLE,
        "the table with coordX, coordY, coordZ (LPS millimetres)",
    )]);

    fn check_table(&self, _params: &LocateParams, _input: &str, table: &Table) -> Vec<StageError> {
        let there = COORDINATES.iter().filter(|column| table.has_column(column));
        let error = |column: &&str| {
            let message = format!("{}: column `{column}` is there already", table.source);
            StageError::message(message).advise("take it out: this stage makes a column of that name")
        };
        there.map(error).collect()
    }
}

impl PerItem for Locate {
    fn items(&self, params: &LocateParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        let rows = RowItems::new("dataset", &params.name).columns(INDICES.map(Column::required));
        ItemSource::Rows(rows.file(SCAN).group_by(SCAN.name))
    }

    fn run_group(
        &self,
        params: &LocateParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let Some(first) = group.first() else { return Vec::new() };
        let voxels =
            context.check_cancelled().map_err(StageError::from).and_then(|()| Voxels::of(params, first));
        match voxels {
            Ok(voxels) => group.iter().map(|item| voxels.point(params, item)).collect(),
            Err(error) => {
                let mut results = vec![Err(error)];
                results
                    .extend(group.iter().skip(1).map(|item| Voxels::of(params, item)?.point(params, item)));
                results
            }
        }
    }

    fn gather(
        &self,
        _params: &LocateParams,
        gather: &Gather<'_>,
    ) -> Result<Vec<(String, Piece)>, StageError> {
        let kept: Vec<&String> = gather.table.columns().iter().filter(|name| *name != POSITION).collect();
        let columns =
            kept.iter().map(|name| name.as_str()).chain(COORDINATES).map(str::to_string).collect::<Vec<_>>();
        let mut rows = Vec::new();
        for item in gather.items {
            let point: [f64; 3] = serde_json::from_slice(&item.file.read()?)?;
            for row in item.rows.iter().filter_map(|position| gather.table.rows().get(*position)) {
                let cell = |name: &&String| gather.table.get(row, name).unwrap_or_default().to_string();
                rows.push(kept.iter().map(cell).chain(point.map(|value| format!("{value:?}"))).collect());
            }
        }
        Ok(vec![(TABLE.to_string(), Piece::Bytes(table_file::csv_bytes(&columns, rows)?))])
    }
}

/// Where a scan's voxels lie.
struct Voxels {
    shape: [usize; 3],
    /// Voxel index → RAS millimetres.
    affine: Affine,
}

impl Voxels {
    fn of(params: &LocateParams, item: &Item) -> Result<Self, StageError> {
        let (shape, affine) = series::voxels(item, SCAN.name, params.orientation)?.ok_or_else(|| {
            StageError::message(format!("{}: there is no scan", item.place())).advise("fill in `image_path`")
        })?;
        Ok(Self { shape, affine })
    }

    /// The point as JSON.
    fn point(&self, params: &LocateParams, item: &Item) -> Result<Vec<u8>, StageError> {
        let mut given = [0.0; 3];
        for (to, column) in given.iter_mut().zip(INDICES) {
            *to = item.number(column)?;
        }
        let index = self.index(params.counting, given);
        let inside =
            index.iter().zip(self.shape).all(|(index, size)| (-0.5..size as f64 - 0.5).contains(index));
        if !inside {
            let [x, y, z] = given;
            let shape = self.shape;
            let message = format!("{}: ({x}, {y}, {z}) is outside the scan's {shape:?} voxels", item.place());
            return Err(StageError::message(message).advise(
                "see that `image_path` is the scan that the indices are of, and `counting` how they count",
            ));
        }
        let [x, y, z] = self.affine.apply(index);
        Ok(serde_json::to_vec(&[-x, -y, z])?)
    }

    /// Along the axes of the file.
    fn index(&self, counting: Counting, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let columns = self.affine.columns();
        // By RAS axis: whether the voxel axis of that number runs against where it should.
        let turned = |axis: usize, index: f64, ras: usize, sign: f64| {
            let direction =
                columns.get(axis).and_then(|column| column.get(ras)).map_or(sign, |step| step * sign);
            let size = self.shape.get(axis).map_or(1.0, |&size| size as f64);
            if direction < 0.0 { size - 1.0 - index } else { index }
        };
        match counting {
            Counting::Voxels => [x, y, z],
            Counting::Pylidc => [y, x, turned(2, z, 2, 1.0)],
            Counting::PylidcTurned => [turned(0, y, 0, -1.0), turned(1, x, 1, -1.0), turned(2, z, 2, 1.0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_counted_as_they_are_said_to_be() {
        // A series on the back: columns to the left, rows to the back, slices downwards in the file.
        let affine =
            Affine::from_rows([[-0.5, 0.0, 0.0, 10.0], [0.0, -0.5, 0.0, 20.0], [0.0, 0.0, -2.0, 30.0]]);
        let voxels = Voxels { shape: [100, 80, 10], affine };
        let index = |counting| voxels.index(counting, [7.0, 3.0, 1.0]);
        assert_eq!(index(Counting::Voxels), [7.0, 3.0, 1.0]);
        assert_eq!(index(Counting::Pylidc), [3.0, 7.0, 8.0]);
        assert_eq!(index(Counting::PylidcTurned), [3.0, 7.0, 8.0]);
        // The same as NIfTI converters write it: rows to the front, slices upwards.
        let affine =
            Affine::from_rows([[-0.5, 0.0, 0.0, 10.0], [0.0, 0.5, 0.0, -19.5], [0.0, 0.0, 2.0, 12.0]]);
        let converted = Voxels { shape: [100, 80, 10], affine };
        let turned = converted.index(Counting::PylidcTurned, [7.0, 3.0, 1.0]);
        assert_eq!(turned, [3.0, 72.0, 1.0]);
        assert_eq!(converted.affine.apply(turned), voxels.affine.apply([3.0, 7.0, 8.0]));
    }
}
