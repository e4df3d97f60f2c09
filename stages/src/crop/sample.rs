//! Trilinear interpolation of a crop's voxels in a block of the stored scan.
//!
//! Values are combined in f64 in a fixed order and rounded to f32 once.

use super::geometry::CropBox;
use crate::imaging::voxels::{Block, Region, Voxels};

/// The crop's `P³` values in C order over (z, y, x); zero outside the grid and outside the scan.
///
/// `block` has to hold the box's region; stored voxels that it does not hold count as zero.
pub fn sample(crop_box: &CropBox, block: &Block) -> Vec<f32> {
    match &block.voxels {
        Voxels::Stored(stored) => fill(crop_box, &Lattice::new(block, stored, |v| block.scale(f64::from(v)))),
        Voxels::Scaled(values) => fill(crop_box, &Lattice::new(block, values, f64::from)),
    }
}

fn fill<T: Copy, F: Fn(T) -> f64>(crop_box: &CropBox, lattice: &Lattice<'_, T, F>) -> Vec<f32> {
    let mut volume = Vec::with_capacity(crop_box.size.pow(3));
    for along_z in crop_box.steps(2) {
        for along_y in crop_box.steps(1) {
            let Some(row) = along_z.zip(*along_y).map(|(z, y)| sum(sum(crop_box.base(), z), y)) else {
                volume.resize(volume.len() + crop_box.size, 0.0);
                continue;
            };
            let value = |x: &Option<[f64; 3]>| x.map_or(0.0, |x| lattice.at(sum(row, x)) as f32);
            volume.extend(crop_box.steps(0).iter().map(value));
        }
    }
    volume
}

fn sum(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// Stored values on their lattice, with the scaling to HU.
struct Lattice<'a, T, F> {
    values: &'a [T],
    region: Region,
    /// Distance in `values` from one row, and from one slice, to the next.
    strides: [usize; 2],
    scale: F,
}

impl<'a, T: Copy, F: Fn(T) -> f64> Lattice<'a, T, F> {
    fn new(block: &Block, values: &'a [T], scale: F) -> Self {
        let [width, height, _] = block.region.shape();
        Self { values, region: block.region, strides: [width, width * height], scale }
    }

    /// The interpolated value at a position in voxels of the scan.
    fn at(&self, position: [f64; 3]) -> f64 {
        let floor = position.map(f64::floor);
        let weight = std::array::from_fn(|axis| position[axis] - floor[axis]);
        let corners = self.inner_cell(floor).unwrap_or_else(|| self.border_cell(floor));
        trilinear(corners, weight)
    }

    /// The eight values around a position inside the block, x fastest; `None` at its border.
    fn inner_cell(&self, floor: [f64; 3]) -> Option<[f64; 8]> {
        let Region { start, end } = self.region;
        let mut offset = 0;
        for (axis, stride) in [1, self.strides[0], self.strides[1]].into_iter().enumerate() {
            if floor[axis] < start[axis] as f64 || floor[axis] + 1.0 >= end[axis] as f64 {
                return None;
            }
            offset += (floor[axis] as usize - start[axis]) * stride;
        }
        let [row, slice] = self.strides;
        let pair = |at: usize| match self.values.get(at..at + 2)? {
            &[low, high] => Some([(self.scale)(low), (self.scale)(high)]),
            _ => None,
        };
        let [a, b] = pair(offset)?;
        let [c, d] = pair(offset + row)?;
        let [e, f] = pair(offset + slice)?;
        let [g, h] = pair(offset + slice + row)?;
        Some([a, b, c, d, e, f, g, h])
    }

    /// As [`Self::inner_cell`], with zero for every neighbour that the scan does not have.
    fn border_cell(&self, floor: [f64; 3]) -> [f64; 8] {
        std::array::from_fn(|corner| {
            let index = std::array::from_fn(|axis| floor[axis] + (corner >> axis & 1) as f64);
            self.voxel(index).unwrap_or(0.0)
        })
    }

    fn voxel(&self, index: [f64; 3]) -> Option<f64> {
        let Region { start, end } = self.region;
        let mut offset = 0;
        for (axis, stride) in [1, self.strides[0], self.strides[1]].into_iter().enumerate() {
            if !(start[axis] as f64..end[axis] as f64).contains(&index[axis]) {
                return None;
            }
            offset += (index[axis] as usize - start[axis]) * stride;
        }
        self.values.get(offset).map(|&value| (self.scale)(value))
    }
}

/// Interpolates along x, then y, then z.
fn trilinear(v: [f64; 8], [x, y, z]: [f64; 3]) -> f64 {
    let mix = |low: f64, high: f64, weight: f64| low * (1.0 - weight) + high * weight;
    let front = mix(mix(v[0], v[1], x), mix(v[2], v[3], x), y);
    let back = mix(mix(v[4], v[5], x), mix(v[6], v[7], x), y);
    mix(front, back, z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::geometry::{Grid, LpsPoint};
    use crate::imaging::affine::Affine;

    fn block(shape: [usize; 3], value: impl Fn([usize; 3]) -> i16) -> Block {
        let mut stored = Vec::new();
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                stored.extend((0..shape[0]).map(|x| value([x, y, z])));
            }
        }
        let region = Region::whole(shape);
        Block { region, voxels: Voxels::Stored(stored), slope: 2.0, intercept: -10.0 }
    }

    #[test]
    fn a_linear_ramp_is_interpolated_exactly() {
        let block = block([4, 5, 6], |[x, y, z]| (x + 10 * y + 100 * z) as i16);
        let Voxels::Stored(stored) = &block.voxels else { panic!("stored") };
        let lattice = Lattice::new(&block, stored, |v| block.scale(f64::from(v)));
        for position in [[0.0, 0.0, 0.0], [1.25, 2.5, 3.75], [2.5, 3.5, 4.5]] {
            let [x, y, z] = position;
            let expected = 2.0 * (x + 10.0 * y + 100.0 * z) - 10.0;
            assert!((lattice.at(position) - expected).abs() < 1e-9, "{position:?}");
        }
    }

    #[test]
    fn neighbours_outside_the_scan_count_as_zero() {
        let block = block([2, 2, 2], |_| 55);
        let Voxels::Stored(stored) = &block.voxels else { panic!("stored") };
        let lattice = Lattice::new(&block, stored, |v| block.scale(f64::from(v)));
        assert_eq!(lattice.at([1.0, 1.0, 1.0]), 100.0, "on the last voxel");
        assert_eq!(lattice.at([1.25, 1.0, 1.0]), 75.0);
        assert_eq!(lattice.at([-0.5, 0.0, 1.5]), 25.0);
        assert_eq!(lattice.at([-1.5, 0.0, 0.0]), 0.0);
        assert_eq!(lattice.at([0.0, 2.0, 0.0]), 0.0);
    }

    #[test]
    fn the_identity_grid_copies_voxels_flipped_to_lps() {
        let shape = [4, 5, 6];
        let block = block(shape, |[x, y, z]| (x + 10 * y + 100 * z) as i16);
        let grid = Grid::new(shape, &Affine::from_spacing([1.0; 3])).expect("regular");
        // LPS centre index (1, 2, 3) is RAS voxel (2, 2, 3).
        let crop_box = grid.crop_box(LpsPoint { x: -2.0, y: -2.0, z: 3.0 }, 3);
        let volume = sample(&crop_box, &block);
        let value = |x: usize, y: usize, z: usize| 2.0 * (x + 10 * y + 100 * z) as f32 - 10.0;
        assert_eq!(volume[13], value(2, 2, 3), "the middle");
        assert_eq!(volume[12], value(3, 2, 3), "a step along x to the left is one voxel back");
        assert_eq!(volume[10], value(2, 3, 3));
        assert_eq!(volume[4], value(2, 2, 2));
    }
}
