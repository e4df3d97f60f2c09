//! Volumes of nodules for other programs: torch tensors as the published pipeline leaves them, NIfTI files that lie where
//! the nodule is, pictures to look at.

use pipe_plugin::export::{Exported, Sink};
use pipe_plugin::stage::StageError;

use super::picture::montage;
use crate::arrays::{read_array, read_made, read_volume};
use pipe_imaging::affine::Affine;
use pipe_imaging::nifti_write::{Volume, nii_gz_bytes};
use pipe_learning::slice::planes::planes;
use pipe_torch::write::tensor;

/// The intensity window of pictures of volumes in HU, that of the published models. Pictures of slices have their own.
const WINDOW: [f32; 2] = [-1000.0, 500.0];

/// A file of a collection, by the name of its item.
struct ItemBytes {
    name: String,
    shown: String,
    bytes: Vec<u8>,
}

/// A cube of voxels and what its file says of it.
struct Cube {
    edge: usize,
    values: Vec<f32>,
}

/// Goes through the items of the chosen instances; several instances have a folder each. There is nothing to remark.
fn each(
    chosen: &[&Exported],
    output: &str,
    mut act: impl FnMut(ItemBytes) -> Result<(), StageError>,
) -> Result<Vec<String>, StageError> {
    for instance in chosen {
        let files = instance.files(output)?;
        let folder: String = instance.selector.iter().map(|(key, value)| format!("{key}_{value}/")).collect();
        for name in files.names() {
            let item = name.rsplit_once('.').map_or(name, |(item, _)| item);
            let (name, shown) = (format!("{folder}{item}"), format!("{}: {name}", files.shown));
            act(ItemBytes { shown, bytes: files.read(&format!("{item}.safetensors"))?, name })?;
        }
    }
    Ok(Vec::new())
}

impl ItemBytes {
    fn cube(&self) -> Result<Cube, StageError> {
        let (shape, values) = read_volume(&self.bytes, &self.shown)?;
        match shape[..] {
            [edge, rows, columns] if edge == rows && edge == columns => Ok(Cube { edge, values }),
            _ => Err(StageError::message(format!("{}: the shape {shape:?} is not a cube's", self.shown))),
        }
    }
}

/// `{pid}_{nodule_id}.pt`: a tensor f32 (P, P, P), as the published pipeline saves its crops.
pub(super) fn tensors(
    chosen: &[&Exported],
    _all: &[Exported],
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, StageError> {
    each(chosen, "volumes", |item| {
        let Cube { edge, values } = item.cube()?;
        let array = candle_core::Tensor::from_vec(values, (edge, edge, edge), &candle_core::Device::Cpu)?;
        let name = item.name.rsplit('/').next().unwrap_or(&item.name);
        sink(&format!("{}.pt", item.name), &tensor(&array, name)?)
    })
}

/// `{pid}_{nodule_id}.nii.gz`: the volume where it lies in the patient.
pub(super) fn nifti(
    chosen: &[&Exported],
    _all: &[Exported],
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, StageError> {
    each(chosen, "volumes", |item| {
        let Cube { edge, values } = item.cube()?;
        let origin = read_made(&item.bytes, &item.shown)?.origin_lps.ok_or_else(|| {
            StageError::message(format!("{}: the volume does not say where it lies", item.shown))
                .advise("run `crop` again: volumes of before this version, and imported ones, do not say it")
        })?;
        let volume = Volume { shape: [edge; 3], affine: affine_at(origin), voxels: &values };
        sink(&format!("{}.nii.gz", item.name), &nii_gz_bytes(&volume)?)
    })
}

/// From voxels of 1 mm along x, y and z of LPS, the first of which lies at `origin`, to RAS.
fn affine_at([x, y, z]: [f64; 3]) -> Affine {
    let linear = [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]];
    Affine { linear, translation: [-x, -y, z] }
}

/// `{pid}_{nodule_id}.png` of a volume: its nine planes, windowed as for the published models.
pub(super) fn pictures_of_volumes(
    chosen: &[&Exported],
    _all: &[Exported],
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, StageError> {
    let [low, high] = WINDOW;
    each(chosen, "volumes", |item| {
        let Cube { edge, values } = item.cube()?;
        let planes = planes(&values, edge, low, high)
            .map_err(|error| StageError::message(format!("{}: {error}", item.shown)))?;
        sink(&format!("{}.png", item.name), &montage(&planes, edge)?)
    })
}

/// `{pid}_{nodule_id}.png` of slices: the nine planes as a model sees them.
pub(super) fn pictures_of_slices(
    chosen: &[&Exported],
    _all: &[Exported],
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, StageError> {
    each(chosen, "slices", |item| {
        let (shape, planes) = read_array(&item.bytes, "planes", &item.shown)?;
        let [9, edge, width] = shape[..] else {
            return Err(StageError::message(format!("{}: `planes` must be (9, P, P)", item.shown)));
        };
        if edge != width {
            return Err(StageError::message(format!("{}: `planes` must be square", item.shown)));
        }
        sink(&format!("{}.png", item.name), &montage(&planes, edge)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_affine_leads_from_voxels_to_ras() {
        let affine = affine_at([10.0, -20.0, 5.0]);
        // A voxel to the left, two towards the back, three towards the head.
        assert_eq!(affine.apply([1.0, 2.0, 3.0]), [-11.0, 18.0, 8.0]);
    }
}
