//! The planes of many nodules in memory, cut down to what a window can reach.

use pipe_engine::input::Files;
use pipe_engine::stage::StageError;
use rayon::prelude::*;

use crate::arrays::read_array;
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

/// The central square of each plane. A window at the middle of the whole plane is at the middle of it.
fn central(planes: &[f32], edge: usize, reach: usize) -> Vec<f32> {
    if edge <= reach {
        return planes.to_vec();
    }
    let start = edge / 2 - reach / 2;
    let rows =
        planes.chunks_exact(edge * edge).flat_map(|plane| plane.chunks_exact(edge).skip(start).take(reach));
    rows.flat_map(|row| row.iter().skip(start).take(reach)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_stays_the_middle() {
        for (edge, reach) in [(10, 4), (11, 4), (10, 5), (11, 5), (9, 9), (4, 9)] {
            let planes: Vec<f32> = (0..9 * edge * edge).map(|value| value as f32).collect();
            let cut = central(&planes, edge, reach);
            let kept = edge.min(reach);
            assert_eq!(cut.len(), 9 * kept * kept);
            let middle = |values: &[f32], edge: usize| values[(edge / 2) * edge + edge / 2];
            assert_eq!(middle(&cut, kept), middle(&planes, edge), "{edge} {reach}");
        }
    }
}
