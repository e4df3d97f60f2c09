//! Kind `slice`: nine planes through the middle of each volume.

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{
    About, Filling, InputForm, InputSpec, Item, ItemSource, OutputSpec, PerItem, Stage, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::{read_made, read_volume, write_array};
use crate::cohort::like::{LIKE, fill};
use pipe_learning::preprocessing::{CLIP_MAX, CLIP_MIN, Made};
use pipe_learning::slice::planes::planes;

/// The kind.
pub struct Slice;

/// Parameters of `slice`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SliceParams {
    /// Lower end of the intensity window in HU; it becomes 0.
    pub clip_min: f64,
    /// Upper end of the intensity window in HU; it becomes 1.
    pub clip_max: f64,
}

impl Default for SliceParams {
    fn default() -> Self {
        Self { clip_min: -1000.0, clip_max: 500.0 }
    }
}

impl Stage for Slice {
    type Params = SliceParams;

    const ABOUT: About = About::new(
        "slice",
        "cuts nine planes through the middle of each volume: three straight, six diagonal",
        crate::code_stamps::SLICE,
    )
    .inputs(&[
        InputSpec::new("volumes", InputForm::Collection, "the nodules' volumes, as from crop")
            .of("safetensors"),
        LIKE,
    ])
    .outputs(&[OutputSpec::collection(
        "slices",
        "safetensors",
        "{pid}_{nodule_id}.safetensors: `planes` f32 (9, P, P), windowed; how they were made as metadata",
    )]);

    fn check(&self, params: &SliceParams) -> Vec<String> {
        if params.clip_min < params.clip_max {
            return Vec::new();
        }
        vec![format!(
            "`clip_max` ({}) must be greater than `clip_min` ({})",
            params.clip_max, params.clip_min
        )]
    }

    fn fill_from(&self, params: &mut SliceParams, filling: &Filling<'_>) -> Result<(), StageError> {
        fill(params, filling)
    }
}

impl PerItem for Slice {
    fn items(&self, _params: &SliceParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Collection { input: "volumes" }
    }

    fn run_group(
        &self,
        params: &SliceParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let run = |item| {
            context.check_cancelled().map_err(StageError::from).and_then(|()| slice_item(params, item))
        };
        group.iter().map(run).collect()
    }
}

fn slice_item(params: &SliceParams, item: &Item) -> Result<Vec<u8>, StageError> {
    let file = item.file("volumes")?;
    let bytes = file.read()?;
    let made = read_made(&bytes, &file.shown)?;
    let (shape, volume) = read_volume(&bytes, &file.shown)?;
    let [edge, height, width] = shape[..] else {
        return Err(StageError::message(format!(
            "{}: `volume` must have three axes, but has {shape:?}",
            file.shown
        )));
    };
    if edge != height || edge != width {
        return Err(StageError::message(format!(
            "{}: `volume` must be a cube, but is {shape:?}",
            file.shown
        )));
    }
    let planes = planes(&volume, edge, params.clip_min as f32, params.clip_max as f32)
        .map_err(|error| StageError::message(format!("{}: {error}", file.shown)))?;
    let preprocessing = made.preprocessing.with(CLIP_MIN, params.clip_min).with(CLIP_MAX, params.clip_max);
    // Where a volume lies in the patient changes nothing of what is seen in its planes.
    let made = Made { preprocessing, origin_lps: None, ..made };
    write_array("planes", &[9, edge, edge], &planes, &made)
}
