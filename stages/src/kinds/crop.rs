//! Kind `crop`: one cube of voxels at 1 mm around each nodule.

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{
    About, Column, Filling, InputForm, InputSpec, Item, ItemFile, ItemSource, OutputSpec, PerItem, RowItems,
    Stage, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::{Store, write_volume};
use crate::cohort::like::{LIKE, fill};
use crate::cohort::scans::{self, COORDINATES, Orientation};
use crate::crop::geometry::LpsPoint;
use crate::crop::signature::signature;
use crate::crop::{self, CropError, CropParameters, crop_scan, origins};
use pipe_imaging::scan::Scan;
use pipe_learning::preprocessing::{GRID, GRID_1MM, Made, Preprocessing, VOLUME_PARAMETERS};

/// The kind.
pub struct Crop;

/// Parameters of `crop`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CropParams {
    /// Edge of the cube in millimetres, which is also its edge in voxels. The published models take 100.
    #[schemars(range(min = 1, max = 512))]
    pub size_mm: usize,
    /// Where the cube's voxels are read. `reference`: where the published pipeline reads them, as the published
    /// models expect; each axis is 0 to 1 mm beside the point, and towards the ends of a scan whose voxels are
    /// s mm apart up to |s − 1|/2 mm more. `exact`: where they are said to be, the middle voxel on the point
    /// itself; for models that are trained on such crops, and for measuring.
    pub sampling: Sampling,
    /// The value in HU of what lies outside the scan. The published models saw 0; −1000 is air.
    #[schemars(range(min = -32768.0, max = 32767.0))]
    pub pad_hu: f64,
    /// Which of the header's two forms places the scan. `auto`: the one that ITK takes, and an error where they
    /// disagree, which `sform` and `qform` settle, or where both codes are 0, which `itk` settles: as ITK, with the
    /// axes along L, P and S and the first voxel at the origin.
    pub orientation: Orientation,
    /// How the values are stored. `f32`: as computed. `i16`: rounded to whole HU, in half the space; a value
    /// that does not fit into 16 bits is an error.
    pub store: Store,
}

/// Where a crop's voxels are read.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Where the published pipeline reads them.
    Reference,
    /// Where they are said to be.
    Exact,
}

impl Default for CropParams {
    fn default() -> Self {
        Self {
            size_mm: 100,
            sampling: Sampling::Reference,
            pad_hu: 0.0,
            orientation: Orientation::Auto,
            store: Store::F32,
        }
    }
}

impl CropParams {
    fn crop_parameters(&self) -> CropParameters {
        let sampling = match self.sampling {
            Sampling::Reference => crop::Sampling::Reference,
            Sampling::Exact => crop::Sampling::Exact,
        };
        let (size_mm, pad_hu) = (self.size_mm, self.pad_hu);
        let orientation = self.orientation.into();
        CropParameters { size_mm, sampling, pad_hu, orientation, ..CropParameters::default() }
    }

    /// What volumes that are cut so say of it.
    fn preprocessing(&self) -> Result<Preprocessing, StageError> {
        let parameters = serde_json::to_value(self)?;
        Ok(Preprocessing::of_parameters(&parameters, &VOLUME_PARAMETERS).with(GRID, GRID_1MM))
    }
}

impl Stage for Crop {
    type Params = CropParams;

    const ABOUT: About = About::new(
        "crop",
        "cuts a cube at 1 mm around each nodule",
        crate::code_stamps::CROP,
    )
    .inputs(&[
        InputSpec::new(
            "dataset",
            InputForm::Table,
            "the cohort: pid, nodule_id, image_path, coordX, coordY, coordZ (LPS millimetres)",
        ),
        LIKE,
    ])
    .outputs(&[OutputSpec::collection(
        "volumes",
        "safetensors",
        "{pid}_{nodule_id}.safetensors: `volume` f32 or i16 (P, P, P), axes z, y, x, in HU; how it was made \
                      as metadata",
    )]);

    fn fill_from(&self, params: &mut CropParams, filling: &Filling<'_>) -> Result<(), StageError> {
        fill(params, filling)
    }
}

impl PerItem for Crop {
    fn items(&self, _params: &CropParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Rows(
            RowItems::new("dataset", ["pid", "nodule_id"])
                .columns(COORDINATES.map(Column::required))
                .file(scans::COLUMN)
                .group_by("image_path"),
        )
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
    let shown = first.files.get(scans::COLUMN.name).map_or("the scan", ItemFile::shown);
    let points: Vec<LpsPoint> = group.iter().map(point).collect::<Result<_, _>>()?;
    let refuse = |error: CropError| {
        let message = format!("{}: {}", first.place(), scans::about(shown, &error));
        StageError::message(message).advise(match &error {
            CropError::Scan(error) => scans::advice(shown, error, scans::REPLACE),
            _ => scans::REPLACE.to_string(),
        })
    };
    let open = || -> Result<Scan, StageError> {
        scans::open(first, scans::COLUMN.name)?.map_err(|error| refuse(error.into()))
    };
    let parameters = params.crop_parameters();
    let scan = open()?;
    let origins = origins(&scan, &points, &parameters).map_err(refuse)?;
    let volumes = crop_scan(scan, &points, &parameters).map_err(refuse)?;
    let signature = signature(open()?).map_err(|error| refuse(error.into()))?;
    let preprocessing = params.preprocessing()?;
    let written = volumes.into_iter().zip(origins).zip(group).map(|((volume, origin_lps), item)| {
        let volume = volume.map_err(|error| {
            StageError::message(format!("{}: nodule {} in {shown}: {error}", item.place(), item.name)).advise(
                "coordinates must be LPS millimetres; for RAS ones change the sign of coordX and coordY",
            )
        })?;
        if let Some(odd) = implausible(params, &volume) {
            context.warn(item, odd);
        }
        let made = Made { preprocessing: preprocessing.clone(), scan: signature.clone(), origin_lps };
        let shown = format!("nodule {} in {shown}", item.name);
        write_volume(params.size_mm, &volume, (params.store, &made), &shown)
    });
    Ok(written.collect())
}

/// What is odd about a crop's values, which are HU of a lung and what is around it. Smaller crops may be within a mass.
fn implausible(params: &CropParams, volume: &[f32]) -> Option<&'static str> {
    // What lies outside the scan says nothing of its values.
    let pad = params.pad_hu as f32;
    let of_scan = || volume.iter().filter(|value| **value != pad);
    let has = |range: std::ops::RangeInclusive<f32>| of_scan().any(|value| range.contains(value));
    if params.size_mm < SMALLEST_OF_LUNG || of_scan().next().is_none() {
        None
    } else if !has(f32::MIN..=-500.0) {
        Some("the crop has no voxel of air or lung (below -500): are the scan's values HU?")
    } else if !has(-200.0..=200.0) {
        Some("the crop has no voxel of soft tissue (-200 to 200): are the scan's values HU?")
    } else {
        None
    }
}

/// From this edge on, in millimetres, a crop about a nodule holds lung and soft tissue.
const SMALLEST_OF_LUNG: usize = 50;

fn point(item: &Item) -> Result<LpsPoint, StageError> {
    let [x, y, z] = COORDINATES;
    Ok(LpsPoint { x: item.number(x)?, y: item.number(y)?, z: item.number(z)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use pipe_imaging::orientation;

    #[test]
    fn the_defaults_are_those_of_the_published_models() {
        let params: CropParams = serde_json::from_value(json!({})).expect("defaults");
        let written = serde_json::to_value(&params).expect("JSON");
        let expected = json!({
            "size_mm": 100, "sampling": "reference", "pad_hu": 0.0, "orientation": "auto", "store": "f32",
        });
        assert_eq!(written, expected);
        assert_eq!(params.crop_parameters(), CropParameters::default());
    }

    #[test]
    fn values_that_are_hardly_hounsfield_units_are_told_whatever_lies_outside() {
        let params = CropParams { size_mm: 60, ..CropParams::default() };
        for (values, is_odd) in [
            (&[-1000.0, 0.0, 0.0][..], true),
            (&[-1000.0, 0.0, 40.0], false),
            (&[40.0, 60.0], true),
            (&[0.0, 0.0], false),
        ] {
            assert_eq!(implausible(&params, values).is_some(), is_odd, "{values:?}");
        }
        assert_eq!(implausible(&CropParams { size_mm: 20, ..params }, &[40.0]), None);
    }

    #[test]
    fn every_parameter_of_sampling_is_handed_on() {
        let given = json!({ "size_mm": 8, "sampling": "exact", "pad_hu": -1000.0, "orientation": "qform" });
        let params: CropParams = serde_json::from_value(given).expect("valid");
        let expected = CropParameters {
            size_mm: 8,
            sampling: crop::Sampling::Exact,
            pad_hu: -1000.0,
            orientation: orientation::Orientation::Qform,
            ..CropParameters::default()
        };
        assert_eq!(params.crop_parameters(), expected);
    }
}
