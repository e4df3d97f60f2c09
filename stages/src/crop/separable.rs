//! Trilinear interpolation where every axis of the cube runs along an axis of the scan.
//!
//! A voxel's position along a stored axis then depends on one of its indices alone, so rows are
//! interpolated along the first stored axis once for all rows and slices of the cube that need them,
//! then along the second, then along the third. Each voxel still goes through the same operations in
//! the same order as by itself, so the bits are the same.

use super::geometry::CropBox;
use super::sample::{Lattice, mix, near, split};
use pipe_imaging::voxels::Region;

/// Missing neighbours kept before and behind each row, so that no position needs a test.
const MARGIN: usize = 2;

/// The positions along one stored axis.
pub(super) struct Line {
    /// The axis of the cube that runs along it: 0 (x), 1 (y) or 2 (z).
    axis: usize,
    /// The first index of the cube that is sampled.
    start: usize,
    taps: Vec<Tap>,
}

/// Two neighbours and the share of the upper one.
struct Tap {
    /// The lower neighbour, counted from [`MARGIN`] voxels before the block.
    low: usize,
    weight: f64,
}

/// The lines along the three stored axes; `None` when an axis is oblique.
pub(super) fn separate(crop_box: &CropBox, region: Region) -> Option<[Line; 3]> {
    let axes = axes_along_rows(crop_box)?;
    Some([0, 1, 2].map(|row| line(crop_box, region, axes[row], row)))
}

/// For each stored axis the axis of the cube that runs along it.
fn axes_along_rows(crop_box: &CropBox) -> Option<[usize; 3]> {
    let moves = |axis: usize, row: usize| crop_box.axes[axis].steps.iter().any(|step| step[row] != 0.0);
    let orders = [[0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]];
    orders.into_iter().find(|order| {
        let stays = |axis: usize| (0..3).all(|row| order[row] == axis || !moves(axis, row));
        (0..3).all(stays)
    })
}

fn line(crop_box: &CropBox, region: Region, axis: usize, row: usize) -> Line {
    let steps = &crop_box.axes[axis];
    let tap = |(index, step): (usize, &[f64; 3])| {
        let seen = crop_box.seen_along(row, crop_box.base[row] + step[row])?;
        let (low, weight) = split(near(seen, crop_box.source[row]));
        // Beyond its margins the block goes on as they are.
        let local = low.saturating_sub_unsigned(region.start[row]).saturating_add_unsigned(MARGIN);
        let behind = region.shape()[row] + MARGIN;
        Some((index, Tap { low: usize::try_from(local).unwrap_or(0).min(behind), weight }))
    };
    // Positions rise or fall all along the line, so those that are seen follow one another.
    let seen: Vec<(usize, Tap)> = (steps.start..).zip(&steps.steps).filter_map(tap).collect();
    let start = seen.first().map_or(0, |&(index, _)| index);
    Line { axis, start, taps: seen.into_iter().map(|(_, tap)| tap).collect() }
}

/// Fills the part of the cube that the lines cover; `volume` holds `size³` values.
#[inline(always)]
pub(super) fn fill<T: Copy, F: Fn(T) -> f64>(
    lines: &[Line; 3],
    lattice: &Lattice<'_, T, F>,
    size: usize,
    volume: &mut [f32],
) {
    let [along_row, along_column, along_slices] = lines;
    let strides = [0, 1, 2].map(|row| [1, size, size * size][lines[row].axis]);
    let [width, height] = [along_row.taps.len(), along_column.taps.len()];
    let mut slices = Pair::new(width * height);
    let mut rows = Pair::new(width);
    let mut padded = Padded::new(lattice);
    for (index, tap) in (along_slices.start..).zip(&along_slices.taps) {
        slices.load(tap.low, |slice, values| {
            rows.forget();
            interpolate_slice([along_row, along_column], slice, &mut padded, &mut rows, values);
        });
        let [low, high] = slices.values();
        let rows = low.chunks_exact(width.max(1)).zip(high.chunks_exact(width.max(1)));
        for (column, (low, high)) in (along_column.start..).zip(rows) {
            let start = index * strides[2] + column * strides[1] + along_row.start * strides[0];
            let target = volume.get_mut(start..).unwrap_or_default();
            mix_into(target, strides[0], low, high, tap.weight);
        }
    }
}

/// Interpolates one stored slice along its rows and then its columns.
#[inline(always)]
fn interpolate_slice<T: Copy, F: Fn(T) -> f64>(
    [along_row, along_column]: [&Line; 2],
    slice: usize,
    padded: &mut Padded<'_, T, F>,
    rows: &mut Pair,
    values: &mut [f64],
) {
    for (target, tap) in values.chunks_exact_mut(along_row.taps.len().max(1)).zip(&along_column.taps) {
        rows.load(tap.low, |row, values| {
            let padded = padded.row(row, slice);
            for (value, tap) in values.iter_mut().zip(&along_row.taps) {
                if let Some(&[low, high]) = padded.get(tap.low..).and_then(<[f64]>::first_chunk) {
                    *value = mix(low, high, tap.weight);
                }
            }
        });
        let [low, high] = rows.values();
        for ((value, &low), &high) in target.iter_mut().zip(low).zip(high) {
            *value = mix(low, high, tap.weight);
        }
    }
}

/// Mixes two rows into every `stride`-th value.
#[inline(always)]
fn mix_into(target: &mut [f32], stride: usize, low: &[f64], high: &[f64], weight: f64) {
    if stride == 1 {
        for ((value, &low), &high) in target.iter_mut().zip(low).zip(high) {
            *value = mix(low, high, weight) as f32;
        }
    } else {
        for ((value, &low), &high) in target.iter_mut().step_by(stride).zip(low).zip(high) {
            *value = mix(low, high, weight) as f32;
        }
    }
}

/// One stored row at a time in f64, with missing neighbours at both ends.
struct Padded<'a, T, F> {
    lattice: &'a Lattice<'a, T, F>,
    values: Vec<f64>,
}

impl<'a, T: Copy, F: Fn(T) -> f64> Padded<'a, T, F> {
    fn new(lattice: &'a Lattice<'a, T, F>) -> Self {
        let width = lattice.region.shape()[0];
        Self { lattice, values: vec![lattice.outside; width + 2 * MARGIN] }
    }

    /// The row at indices that count from [`MARGIN`] voxels before the block.
    #[inline(always)]
    fn row(&mut self, row: usize, slice: usize) -> &[f64] {
        let Lattice { values, ref scale, outside, .. } = *self.lattice;
        let [width, height, depth] = self.lattice.region.shape();
        let inside = |index: usize, extent| index.checked_sub(MARGIN).filter(|&index| index < extent);
        let stored = inside(row, height).zip(inside(slice, depth)).and_then(|(row, slice)| {
            let start = (slice * height + row) * width;
            values.get(start..start + width)
        });
        let middle = self.values.get_mut(MARGIN..MARGIN + width).unwrap_or_default();
        match stored {
            Some(stored) => {
                for (value, &stored) in middle.iter_mut().zip(stored) {
                    *value = scale(stored);
                }
            }
            None => middle.fill(outside),
        }
        &self.values
    }
}

/// Two neighbouring rows or slices. The next two often share one with them.
struct Pair {
    /// What the two are; nothing has the index `usize::MAX`.
    keys: [usize; 2],
    values: [Vec<f64>; 2],
}

impl Pair {
    fn new(length: usize) -> Self {
        Self { keys: [usize::MAX; 2], values: [vec![0.0; length], vec![0.0; length]] }
    }

    fn forget(&mut self) {
        self.keys = [usize::MAX; 2];
    }

    /// Makes these the values of `low` and its upper neighbour, computing what is not here.
    #[inline(always)]
    fn load(&mut self, low: usize, mut compute: impl FnMut(usize, &mut [f64])) {
        let wanted = [low, low + 1];
        if self.keys[1] == wanted[0] || self.keys[0] == wanted[1] {
            self.keys.swap(0, 1);
            self.values.swap(0, 1);
        }
        for ((key, values), wanted) in self.keys.iter_mut().zip(&mut self.values).zip(wanted) {
            if *key != wanted {
                compute(wanted, values);
                *key = wanted;
            }
        }
    }

    fn values(&self) -> [&[f64]; 2] {
        [&self.values[0], &self.values[1]]
    }
}
