//! The planes of many nodules in memory, cut down to what a window can reach.

use pipe_cache::Hasher;
use pipe_plugin::input::{Files, InputFile};
use pipe_plugin::stage::StageError;
use rayon::prelude::*;

use super::leaks::ImageRecord;
use crate::arrays::{read_array, read_made};
use pipe_learning::preprocessing::Preprocessing;
use pipe_learning::slice::augmentation::central;
use pipe_learning::training::batches::PLANES;

/// Planes (9, edge, edge) of each nodule.
pub(crate) struct PlaneSet {
    /// Edge of the planes as kept.
    pub(crate) edge: usize,
    planes: Vec<Vec<f32>>,
}

impl PlaneSet {
    /// Reads the planes of items, in their order, and keeps the central square of `reach` voxels, or all
    /// when they are smaller.
    pub(crate) fn read(files: &Files, items: &[&str], reach: usize) -> Result<Self, StageError> {
        let read: Vec<(usize, Vec<f32>)> =
            items.par_iter().map(|item| read_planes(files, item, reach)).collect::<Result<_, _>>()?;
        let edge = read.first().map_or(0, |(edge, _)| *edge);
        if let Some((item, (other, _))) = items.iter().zip(&read).find(|(_, (other, _))| *other != edge) {
            let first = items.first().unwrap_or(&"");
            let message = format!(
                "{}: planes of {item} have an edge of {other} voxels where those of {first} have {edge}",
                files.shown
            );
            return Err(StageError::message(message).advise("crop all nodules with the same size_mm"));
        }
        Ok(Self { edge, planes: read.into_iter().map(|(_, planes)| planes).collect() })
    }

    /// The planes of the nodule at that position.
    pub(crate) fn get(&self, position: usize) -> Option<&[f32]> {
        self.planes.get(position).map(Vec::as_slice)
    }

    /// How many nodules there are.
    pub(crate) fn len(&self) -> usize {
        self.planes.len()
    }
}

/// What the planes of nodules say of themselves.
#[derive(Debug, Default)]
pub(crate) struct PlaneRecords {
    /// How all of them were made.
    pub(crate) preprocessing: Preprocessing,
    /// What each nodule's images are known by, in the order of the items.
    pub(crate) images: Vec<ImageRecord>,
}

impl PlaneRecords {
    /// Reads what the planes of items say.
    ///
    /// # Errors
    /// Planes that are missing or damaged, or were not all made in the same way.
    pub(crate) fn read(files: &Files, items: &[&str]) -> Result<Self, StageError> {
        let read: Vec<(Preprocessing, ImageRecord)> =
            items.par_iter().map(|item| read_record(files, item)).collect::<Result<_, _>>()?;
        // What some of them do not say, others may.
        let mut preprocessing = Preprocessing::default();
        for (item, (made, _)) in items.iter().zip(&read) {
            if let Some(difference) = preprocessing.differences(made).first() {
                let another = format!("the planes of {item}");
                let message = format!("{}: {}", files.shown, difference.between("planes before", &another));
                return Err(StageError::message(message).advise("make all planes in one way"));
            }
            preprocessing = preprocessing.and(made);
        }
        Ok(Self { preprocessing, images: read.into_iter().map(|(_, image)| image).collect() })
    }
}

fn read_record(files: &Files, item: &str) -> Result<(Preprocessing, ImageRecord), StageError> {
    let file = planes_of(files, item)?;
    let bytes = file.read()?;
    let made = read_made(&bytes, &file.shown)?;
    let (_, planes) = read_array(&bytes, "planes", &file.shown)?;
    let mut hasher = Hasher::new("pipe planes, version 1");
    hasher.field(planes.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    let image = ImageRecord { scan: made.scan.unwrap_or_default(), planes: hasher.finish().to_string() };
    Ok((made.preprocessing, image))
}

fn planes_of(files: &Files, item: &str) -> Result<InputFile, StageError> {
    files.item(item).ok_or_else(|| {
        StageError::message(format!("{} has no planes of nodule {item}", files.shown))
            .advise("give the slices that were made of this dataset")
    })
}

fn read_planes(files: &Files, item: &str, reach: usize) -> Result<(usize, Vec<f32>), StageError> {
    let file = planes_of(files, item)?;
    let (shape, planes) = read_array(&file.read()?, "planes", &file.shown)?;
    let [PLANES, edge, width] = shape[..] else {
        return Err(StageError::message(format!(
            "{}: `planes` must be (9, P, P), but is {shape:?}",
            file.shown
        )));
    };
    if edge != width || edge == 0 {
        return Err(StageError::message(format!(
            "{}: `planes` must be square, but are {shape:?}",
            file.shown
        )));
    }
    Ok((edge.min(reach), central(&planes, edge, reach)))
}
