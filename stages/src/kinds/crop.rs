//! Kind `crop`: one cube of voxels at 1 mm around each nodule.

use pipe_engine::context::ItemContext;
use pipe_engine::stage::{
    About, Column, InputForm, InputSpec, Item, ItemSource, ItemStage, OutputForm, OutputSpec, RowItems,
    StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::write_array;
use crate::crop::geometry::LpsPoint;
use crate::crop::{CropParameters, crop};
use crate::imaging::orientation;

/// The kind.
pub struct Crop;

/// Parameters of `crop`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CropParams {
    /// Edge of the cube in millimetres, which is also its edge in voxels.
    #[schemars(range(min = 1, max = 512))]
    pub size_mm: usize,
    /// Which of the header's two forms places the scan when they disagree.
    pub orientation: Orientation,
}

/// Which of a NIfTI header's two forms places the scan.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// The one that ITK takes; forms that disagree are an error.
    Auto,
    /// The sform.
    Sform,
    /// The qform.
    Qform,
}

impl Default for CropParams {
    fn default() -> Self {
        Self { size_mm: 100, orientation: Orientation::Auto }
    }
}

impl CropParams {
    fn crop_parameters(&self) -> CropParameters {
        let orientation = match self.orientation {
            Orientation::Auto => orientation::Orientation::Auto,
            Orientation::Sform => orientation::Orientation::Sform,
            Orientation::Qform => orientation::Orientation::Qform,
        };
        CropParameters { size_mm: self.size_mm, orientation, ..CropParameters::default() }
    }
}

const COORDINATES: [&str; 3] = ["coordX", "coordY", "coordZ"];

impl ItemStage for Crop {
    type Params = CropParams;

    const ABOUT: About = About {
        name: "crop",
        summary: "cuts a cube at 1 mm around each nodule",
        inputs: &[InputSpec::new(
            "dataset",
            InputForm::Table,
            "the cohort: pid, nodule_id, image_path, coordX, coordY, coordZ (LPS millimetres)",
        )],
        outputs: &[OutputSpec {
            name: "volumes",
            summary: "{pid}_{nodule_id}.safetensors: `volume` f32 (P, P, P), axes z, y, x, in HU",
            form: OutputForm::Collection("safetensors"),
        }],
        random: false,
        device: false,
        code: crate::code_stamps::CROP,
        headline: None,
    };

    fn items(&self, _params: &CropParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Rows(RowItems {
            input: "dataset",
            name: &["pid", "nodule_id"],
            columns: COORDINATES.map(Column::required).to_vec(),
            files: &["image_path"],
            group_by: Some("image_path"),
            companion: None,
        })
    }

    fn check_item(&self, _params: &CropParams, item: &Item) -> Result<(), StageError> {
        point(item).map(|_| ())
    }

    fn run_group(
        &self,
        params: &CropParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        match crop_group(params, group, context) {
            Ok(volumes) => volumes,
            Err(error) => {
                // The scan itself cannot be used; every nodule of it fails, and the first carries the cause.
                let (text, advice) = (error.to_string(), error.advice.clone());
                let mut first = Some(error);
                let again = || StageError { source: text.clone().into(), advice: advice.clone() };
                group.iter().map(|_| Err(first.take().unwrap_or_else(again))).collect()
            }
        }
    }
}

fn crop_group(
    params: &CropParams,
    group: &[Item],
    context: &ItemContext<'_>,
) -> Result<Vec<Result<Vec<u8>, StageError>>, StageError> {
    context.check_cancelled()?;
    let Some(first) = group.first() else { return Ok(Vec::new()) };
    let scan = first.file("image_path")?;
    let points: Vec<LpsPoint> = group.iter().map(point).collect::<Result<_, _>>()?;
    let volumes = crop(&scan.path()?, &points, &params.crop_parameters()).map_err(|error| {
        let place = first.place.as_deref().unwrap_or(&first.name);
        let message = format!("{place}: {}: {error}", scan.shown);
        StageError::message(message).advise("replace the scan, or take its rows out of the table")
    })?;
    let edge = params.size_mm;
    let write = |(volume, item): (Result<Vec<f32>, _>, &Item)| {
        let volume = volume.map_err(|error| {
            let place = item.place.as_deref().unwrap_or(&item.name);
            StageError::message(format!("{place}: nodule {} in {}: {error}", item.name, scan.shown)).advise(
                "coordinates must be LPS millimetres; for RAS ones change the sign of coordX and coordY",
            )
        })?;
        write_array("volume", &[edge, edge, edge], &volume)
    };
    Ok(volumes.into_iter().zip(group).map(write).collect())
}

fn point(item: &Item) -> Result<LpsPoint, StageError> {
    let [x, y, z] = COORDINATES;
    Ok(LpsPoint { x: item.number(x)?, y: item.number(y)?, z: item.number(z)? })
}
