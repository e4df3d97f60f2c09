//! Trilinear interpolation of a crop's voxels in a block of the stored scan.
//!
//! Values are combined in f64 in a fixed order, along the stored axes from the first to the third, and
//! rounded to f32 once. Where no axis of the scan is oblique, `separable` gives the same bits
//! in a fraction of the time.

use super::geometry::CropBox;
use super::separable::{Line, separate};
use pipe_imaging::voxels::{Block, Region, Voxels};

/// The crop's `P³` values in C order over (z, y, x); `outside` where the scan has none.
///
/// `block` has to hold the box's region; stored voxels that it does not hold count as `outside`.
pub fn sample(crop_box: &CropBox, block: &Block, outside: f64) -> Vec<f32> {
    let lines = separate(crop_box, block.region);
    pulp::Arch::new().dispatch(Work { crop_box, block, outside, lines })
}

/// As [`sample`], voxel by voxel whatever the scan's axes: the oracle of the faster way.
#[cfg(test)]
pub(super) fn sample_each(crop_box: &CropBox, block: &Block, outside: f64) -> Vec<f32> {
    pulp::Arch::Scalar.dispatch(Work { crop_box, block, outside, lines: None })
}

/// What is compiled for each kind of processor and chosen when it runs. Wider instructions do the same
/// operations, none of them fused, so the results are the same.
struct Work<'a> {
    crop_box: &'a CropBox,
    block: &'a Block,
    outside: f64,
    lines: Option<[Line; 3]>,
}

impl pulp::WithSimd for Work<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _instructions: S) -> Vec<f32> {
        let Block { slope, intercept, ref voxels, .. } = *self.block;
        match voxels {
            Voxels::Stored(stored) => self.fill(stored, move |value| f64::from(value) * slope + intercept),
            Voxels::Scaled(values) => self.fill(values, f64::from),
        }
    }
}

impl Work<'_> {
    #[inline(always)]
    fn fill<T: Copy, F: Fn(T) -> f64>(&self, values: &[T], scale: F) -> Vec<f32> {
        let lattice = Lattice { values, region: self.block.region, scale, outside: self.outside };
        let mut volume = vec![self.outside as f32; self.crop_box.size.pow(3)];
        match &self.lines {
            Some(lines) => super::separable::fill(lines, &lattice, self.crop_box.size, &mut volume),
            None => fill_each(self.crop_box, &lattice, &mut volume),
        }
        volume
    }
}

/// Stored values on their lattice, with the scaling to HU.
pub(super) struct Lattice<'a, T, F> {
    pub(super) values: &'a [T],
    pub(super) region: Region,
    pub(super) scale: F,
    /// The value of what the scan does not have.
    pub(super) outside: f64,
}

#[inline(always)]
fn fill_each<T: Copy, F: Fn(T) -> f64>(crop_box: &CropBox, lattice: &Lattice<'_, T, F>, volume: &mut [f32]) {
    let [along_x, along_y, along_z] = &crop_box.axes;
    let size = crop_box.size;
    for (z, step) in (along_z.start..).zip(&along_z.steps) {
        let slice = sum(crop_box.base, *step);
        for (y, step) in (along_y.start..).zip(&along_y.steps) {
            let row = sum(slice, *step);
            let values = volume.get_mut((z * size + y) * size + along_x.start..).unwrap_or_default();
            for (value, step) in values.iter_mut().zip(&along_x.steps) {
                if let Some(position) = crop_box.seen(sum(row, *step)) {
                    *value = lattice.at(position, crop_box.source) as f32;
                }
            }
        }
    }
}

#[inline(always)]
fn sum(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

impl<T: Copy, F: Fn(T) -> f64> Lattice<'_, T, F> {
    /// The interpolated value at a position in voxels of the scan.
    #[inline(always)]
    fn at(&self, position: [f64; 3], source: [usize; 3]) -> f64 {
        match self.inner_cell(position.map(split)) {
            Some((corners, weights)) => trilinear(corners, weights),
            None => self.at_border(position, source),
        }
    }

    /// The eight values around a position inside the block, x fastest, and the weights of the upper ones;
    /// `None` at its border.
    #[inline(always)]
    fn inner_cell(&self, parts: [(isize, f64); 3]) -> Option<([f64; 8], [f64; 3])> {
        let Region { start, .. } = self.region;
        let [width, height, depth] = self.region.shape();
        // An index before the start wraps to one far behind the end.
        let [x, y, z] = [0, 1, 2].map(|axis| (parts[axis].0 as usize).wrapping_sub(start[axis]));
        let inside =
            x < width.saturating_sub(1) && y < height.saturating_sub(1) && z < depth.saturating_sub(1);
        if !inside {
            return None;
        }
        let offset = (z * height + y) * width + x;
        let pair = |at: usize| match self.values.get(at..at + 2)? {
            &[low, high] => Some([(self.scale)(low), (self.scale)(high)]),
            _ => None,
        };
        let slice = width * height;
        let [a, b] = pair(offset)?;
        let [c, d] = pair(offset + width)?;
        let [e, f] = pair(offset + slice)?;
        let [g, h] = pair(offset + slice + width)?;
        Some(([a, b, c, d, e, f, g, h], parts.map(|(_, weight)| weight)))
    }

    /// As [`Self::at`], with the value outside for every neighbour that the scan does not have.
    #[cold]
    fn at_border(&self, position: [f64; 3], source: [usize; 3]) -> f64 {
        let parts = [0, 1, 2].map(|axis| split(near(position[axis], source[axis])));
        let corners = std::array::from_fn(|corner| {
            let index = std::array::from_fn(|axis| parts[axis].0 + (corner >> axis & 1) as isize);
            self.voxel(index).unwrap_or(self.outside)
        });
        trilinear(corners, parts.map(|(_, weight)| weight))
    }

    fn voxel(&self, index: [isize; 3]) -> Option<f64> {
        let shape = self.region.shape();
        let mut offset = 0;
        for axis in [2, 1, 0] {
            let local = usize::try_from(index[axis]).ok()?.checked_sub(self.region.start[axis])?;
            if local >= shape[axis] {
                return None;
            }
            offset = offset * shape[axis] + local;
        }
        self.values.get(offset).map(|&value| (self.scale)(value))
    }
}

/// The index of the lower of two neighbours, and the share of the upper one.
#[inline(always)]
pub(super) fn split(position: f64) -> (isize, f64) {
    let toward_zero = position as isize;
    let floor = toward_zero.saturating_sub(isize::from(toward_zero as f64 > position));
    (floor, (position - floor as f64).abs())
}

/// A position no farther outside than where both neighbours are missing, as they are everywhere beyond.
pub(super) fn near(position: f64, extent: usize) -> f64 {
    position.clamp(-2.0, extent as f64 + 1.0)
}

/// Two neighbours by the share of the upper one.
#[inline(always)]
pub(super) fn mix(low: f64, high: f64, weight: f64) -> f64 {
    low * (1.0 - weight) + high * weight
}

/// Interpolates along x, then y, then z.
#[inline(always)]
fn trilinear(v: [f64; 8], [x, y, z]: [f64; 3]) -> f64 {
    let front = mix(mix(v[0], v[1], x), mix(v[2], v[3], x), y);
    let back = mix(mix(v[4], v[5], x), mix(v[6], v[7], x), y);
    mix(front, back, z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::geometry::{LpsPoint, ScanSpace};
    use crate::crop::reference::Grid;
    use pipe_imaging::affine::Affine;

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

    /// The value at a position of a block that is a whole scan.
    fn at(block: &Block, position: [f64; 3], outside: f64) -> f64 {
        let Voxels::Stored(values) = &block.voxels else { panic!("stored") };
        let scale = |value| block.scale(f64::from(value));
        let lattice = Lattice { values, region: block.region, scale, outside };
        lattice.at(position, block.region.shape())
    }

    #[test]
    fn a_linear_ramp_is_interpolated_exactly() {
        let block = block([4, 5, 6], |[x, y, z]| (x + 10 * y + 100 * z) as i16);
        for position in [[0.0, 0.0, 0.0], [1.25, 2.5, 3.75], [2.5, 3.5, 4.5]] {
            let [x, y, z] = position;
            let expected = 2.0 * (x + 10.0 * y + 100.0 * z) - 10.0;
            assert!((at(&block, position, 0.0) - expected).abs() < 1e-9, "{position:?}");
        }
    }

    #[test]
    fn neighbours_outside_the_scan_count_as_the_value_outside() {
        let block = block([2, 2, 2], |_| 55);
        let table = [
            ([1.0, 1.0, 1.0], 100.0, 100.0),
            ([1.25, 1.0, 1.0], 75.0, -175.0),
            ([-0.5, 0.0, 1.5], 25.0, -725.0),
            ([-1.5, 0.0, 0.0], 0.0, -1000.0),
            ([0.0, 2.0, 0.0], 0.0, -1000.0),
            ([0.0, 1e300, f64::NEG_INFINITY], 0.0, -1000.0),
        ];
        for (position, with_zero, with_air) in table {
            assert_eq!(at(&block, position, 0.0), with_zero, "{position:?}");
            assert_eq!(at(&block, position, -1000.0), with_air, "{position:?}");
        }
        assert!(at(&block, [0.0, f64::NAN, 0.0], 0.0).is_nan());
    }

    #[test]
    fn positions_are_split_below() {
        let table = [(2.75, (2, 0.75)), (2.0, (2, 0.0)), (-0.25, (-1, 0.75)), (-2.0, (-2, 0.0))];
        for (position, expected) in table {
            assert_eq!(split(position), expected);
        }
    }

    #[test]
    fn the_identity_grid_copies_voxels_flipped_to_lps() {
        let shape = [4, 5, 6];
        let block = block(shape, |[x, y, z]| (x + 10 * y + 100 * z) as i16);
        let space = ScanSpace::new(shape, &Affine::from_spacing([1.0; 3])).expect("regular");
        // LPS centre index (1, 2, 3) is RAS voxel (2, 2, 3).
        let crop_box = Grid::new(&space).crop_box(LpsPoint { x: -2.0, y: -2.0, z: 3.0 }, 3);
        let volume = sample(&crop_box, &block, 0.0);
        let value = |x: usize, y: usize, z: usize| 2.0 * (x + 10 * y + 100 * z) as f32 - 10.0;
        assert_eq!(volume[13], value(2, 2, 3), "the middle");
        assert_eq!(volume[12], value(3, 2, 3), "a step along x to the left is one voxel back");
        assert_eq!(volume[10], value(2, 3, 3));
        assert_eq!(volume[4], value(2, 2, 2));
    }
}
