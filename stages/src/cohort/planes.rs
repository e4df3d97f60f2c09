//! The planes of many nodules in memory, cut down to what a window can reach.

use pipe_engine::input::Files;
use pipe_engine::stage::StageError;
use rayon::prelude::*;

use crate::arrays::read_array;
use crate::slice::augmentation::central;
use crate::training::batches::PLANES;

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

fn read_planes(files: &Files, item: &str, reach: usize) -> Result<(usize, Vec<f32>), StageError> {
    let file = files.item(item).ok_or_else(|| {
        StageError::message(format!("{} has no planes of nodule {item}", files.shown))
            .advise("give the slices that were made of this dataset")
    })?;
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
