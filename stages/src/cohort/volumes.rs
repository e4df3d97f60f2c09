//! The volumes of many nodules in memory, for planes of them that no two epochs share.
//!
//! A volume is kept as what the intensity window leaves of it, in 16 bits: 2 MB for 100³ voxels, to 0.02 HU. Whether
//! volumes and window are those that the slices were made of is checked by the planes that are no rotation.

use pipe_plugin::input::Files;
use pipe_plugin::stage::StageError;
use rayon::prelude::*;

use super::planes::PlaneSet;
use crate::arrays::read_volume;
use pipe_learning::slice::augmentation::{Augmentation, Augmenter, Voxel as _, central};
use pipe_learning::training::batches::SourceError;
use pipe_learning::training::parameters::ImageAugmentation;
use pipe_numerics::random::Generator;

/// How far the middle plane of a volume may be from the slice that was made of it.
const TOLERANCE: f32 = 1e-3;

/// Volumes of nodules, all of one size.
pub(crate) struct VolumeSet {
    volumes: Vec<Volume>,
    augmenter: Augmenter,
    augmentation: Augmentation,
}

/// A windowed volume, as shares of 65,535.
struct Volume {
    edge: usize,
    voxels: Vec<u16>,
    lowest: f32,
}

impl VolumeSet {
    /// Reads the volumes of items, in their order, which are those of the planes.
    pub(crate) fn read(
        files: &Files,
        items: &[&str],
        planes: &PlaneSet,
        augmentation: &ImageAugmentation,
    ) -> Result<Self, StageError> {
        let read = |(row, item): (usize, &&str)| -> Result<Volume, StageError> {
            let volume = Volume::read(files, item, augmentation.window)?;
            match planes.get(row).is_some_and(|row| volume.has_given(row, planes.edge)) {
                true => Ok(volume),
                false => Err(other_volume(files, item, augmentation.window)),
            }
        };
        let volumes: Vec<Volume> = items.par_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let edge = volumes.first().map_or(0, |volume| volume.edge);
        if let Some((item, volume)) = items.iter().zip(&volumes).find(|(_, volume)| volume.edge != edge) {
            let first = items.first().unwrap_or(&"");
            let message = format!(
                "{}: the volume of {item} has an edge of {} voxels where that of {first} has {edge}",
                files.shown, volume.edge
            );
            return Err(StageError::message(message).advise("crop all nodules with the same size_mm"));
        }
        let augmenter = Augmenter::new(edge, planes.edge)
            .map_err(|error| StageError::message(format!("{}: {error}", files.shown)))?;
        Ok(Self { volumes, augmenter, augmentation: augmentation.strength })
    }

    /// Planes of the nodule at that position after a draw of its own: as large as those of the slices.
    pub(crate) fn planes(&self, position: usize, generator: &mut Generator) -> Result<Vec<f32>, SourceError> {
        let volume = self.volumes.get(position).ok_or("no such row")?;
        let draw = self.augmentation.draw(generator);
        Ok(self.augmenter.planes(&volume.voxels, volume.lowest, &draw)?)
    }
}

impl Volume {
    fn read(files: &Files, item: &str, [low, high]: [f32; 2]) -> Result<Self, StageError> {
        let file = files.item(item).ok_or_else(|| {
            StageError::message(format!("{} has no volume of nodule {item}", files.shown))
                .advise("give the volumes that the slices were cut from")
        })?;
        let (shape, values) = read_volume(&file.read()?, &file.shown)?;
        let [edge, height, width] = shape[..] else {
            return Err(not_a_cube(&file.shown, &shape));
        };
        if edge != height || edge != width {
            return Err(not_a_cube(&file.shown, &shape));
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(StageError::message(format!("{}: a voxel is {value}", file.shown)));
        }
        let share = |value: f32| ((value.clamp(low, high) - low) / (high - low) * u16::ONE).round() as u16;
        let voxels: Vec<u16> = values.into_iter().map(share).collect();
        let lowest = voxels.iter().min().map_or(0.0, |lowest| f32::from(*lowest) / u16::ONE);
        Ok(Self { edge, voxels, lowest })
    }

    /// Whether the first of these planes, kept to a square at its middle, is this volume's.
    fn has_given(&self, planes: &[f32], kept: usize) -> bool {
        let area = self.edge * self.edge;
        let middle = self.voxels.get(self.edge / 2 * area..).and_then(|rest| rest.get(..area));
        let Some(middle) = middle.filter(|_| kept <= self.edge) else { return false };
        let middle: Vec<f32> = middle.iter().map(|voxel| f32::from(*voxel) / u16::ONE).collect();
        let own = central(&middle, self.edge, kept);
        own.len() == kept * kept && own.iter().zip(planes).all(|(a, b)| (a - b).abs() < TOLERANCE)
    }
}

fn not_a_cube(shown: &str, shape: &[usize]) -> StageError {
    StageError::message(format!("{shown}: `volume` must be a cube, but is {shape:?}"))
}

fn other_volume(files: &Files, item: &str, [low, high]: [f32; 2]) -> StageError {
    let message = format!(
        "{}: the volume of {item}, windowed from {low} to {high} HU, does not give its slices",
        files.shown
    );
    StageError::message(message)
        .advise("give train the volumes that the slices were cut from, and slice's `clip_min` and `clip_max`")
}

/// What training says without the volumes that image augmentation needs.
pub(crate) fn volumes_are_missing() -> StageError {
    StageError::message("image augmentation needs the input `volumes`")
        .advise("give train `volumes = \"@crop\"`, or set `augmentation = false`")
}
