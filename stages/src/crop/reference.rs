//! Sampling as the published pipeline does it.
//!
//! The published models saw volumes that MONAI had resampled as a whole to a 1 mm grid in RAS, which
//! were then flipped to LPS and cut. The grid's origin, its size and two half-voxel shifts of that
//! resampler are part of what such a crop is, so they are computed here exactly as SPEC section 1
//! states them; the resampled volume itself is never made.

use super::geometry::{AxisSteps, Border, CropBox, LpsPoint, ScanSpace};
use pipe_imaging::affine::Affine;

/// Slack in deciding which corner of the scan is the lowest on all axes.
const CORNER_TOLERANCE: f64 = 1e-8;
/// Up to this difference a scan counts as being the 1 mm grid already.
const GRID_TOLERANCE: f64 = 1e-3;

/// The 1 mm grid that a scan would be resampled to.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid<'a> {
    space: &'a ScanSpace,
    /// RAS position of the grid's first voxel.
    origin: [f64; 3],
    /// Voxels of the grid on the RAS axes, whole numbers.
    size: [f64; 3],
    /// Whether the scan is this grid already, so that nothing is resampled.
    aligned: bool,
}

impl<'a> Grid<'a> {
    /// The grid of a scan (SPEC section 1, step 2).
    pub fn new(space: &'a ScanSpace) -> Self {
        let ScanSpace { shape, affine, .. } = *space;
        let corners = corners(shape).map(|corner| affine.apply(corner));
        let size = std::array::from_fn(|axis| {
            let along = corners.map(|corner| corner[axis]);
            let extent =
                along.into_iter().fold(f64::MIN, f64::max) - along.into_iter().fold(f64::MAX, f64::min);
            (extent + 1.0).round_ties_even()
        });
        let origin = lowest(&corners).unwrap_or_else(|| centred_origin(shape, &affine, size));
        let aligned = is_aligned(shape, &affine, origin, size);
        Self { space, origin, size, aligned }
    }

    /// The cube of edge `size` around a point (steps 3 to 5).
    pub fn crop_box(&self, point: LpsPoint, size: usize) -> CropBox {
        let centre = self.centre(point);
        let half = (size / 2) as f64;
        let axes = std::array::from_fn(|axis| {
            let step = |index| Some((index, self.step(axis, centre[axis] - half + index as f64)?));
            let inside: Vec<(usize, [f64; 3])> = (0..size).filter_map(step).collect();
            let start = inside.first().map_or(0, |&(index, _)| index);
            AxisSteps { start, steps: inside.into_iter().map(|(_, step)| step).collect() }
        });
        let base = std::array::from_fn(|row| {
            if self.aligned { 0.0 } else { (self.space.inverse.translation[row] + 0.5) * self.shrink(row) }
        });
        CropBox { size, source: self.space.shape, base, axes, border: Border::Fade }
    }

    /// The LPS index of the voxel that a point falls into, truncated toward zero (step 3).
    fn centre(&self, point: LpsPoint) -> [f64; 3] {
        let [x, y, z] = self.origin;
        let [width, depth, _] = self.size;
        [x + width - 1.0 + point.x, y + depth - 1.0 + point.y, point.z - z].map(f64::trunc)
    }

    /// What LPS index `index` of an axis adds to the position in the scan; `None` outside the grid.
    fn step(&self, axis: usize, index: f64) -> Option<[f64; 3]> {
        let size = self.size[axis];
        if !(0.0..size).contains(&index) {
            return None;
        }
        let ras = if axis < 2 { size - 1.0 - index } else { index };
        if self.aligned {
            return Some(std::array::from_fn(|row| if row == axis { ras } else { 0.0 }));
        }
        // A grid of one voxel has only the index 0, which no stretching moves.
        let stretched = if size > 1.0 { ras * size / (size - 1.0) } else { 0.0 };
        let world = self.origin[axis] + stretched - 0.5;
        Some(std::array::from_fn(|row| self.space.inverse.linear[row][axis] * world * self.shrink(row)))
    }

    /// The factor (N − 1)/N of step 5 along one stored axis.
    fn shrink(&self, row: usize) -> f64 {
        let extent = self.space.shape[row] as f64;
        (extent - 1.0) / extent
    }
}

/// The centres of the eight corner voxels.
fn corners(shape: [usize; 3]) -> [[f64; 3]; 8] {
    let last = shape.map(|extent| extent as f64 - 1.0);
    std::array::from_fn(|corner| {
        std::array::from_fn(|axis| if corner >> (2 - axis) & 1 == 1 { last[axis] } else { 0.0 })
    })
}

/// The first corner that is the lowest on all axes at once; a rotated scan has none.
fn lowest(corners: &[[f64; 3]; 8]) -> Option<[f64; 3]> {
    let below = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).all(|(a, b)| *a <= b + CORNER_TOLERANCE);
    corners.iter().find(|corner| corners.iter().all(|other| below(corner, other))).copied()
}

/// The origin that puts the grid's middle on the scan's.
fn centred_origin(source: [usize; 3], affine: &Affine, size: [f64; 3]) -> [f64; 3] {
    let middle = affine.apply(source.map(|extent| extent as f64 / 2.0));
    std::array::from_fn(|axis| middle[axis] - size[axis] / 2.0)
}

fn is_aligned(source: [usize; 3], affine: &Affine, origin: [f64; 3], size: [f64; 3]) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() <= GRID_TOLERANCE;
    let unit = Affine::from_spacing([1.0; 3]);
    let linear = affine.linear.as_flattened().iter().zip(unit.linear.as_flattened());
    linear.into_iter().all(|(&a, &b)| close(a, b))
        && affine.translation.into_iter().zip(origin).all(|(a, b)| close(a, b))
        && source.into_iter().zip(size).all(|(a, b)| a as f64 == b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_imaging::voxels::Region;

    fn lps(x: f64, y: f64, z: f64) -> LpsPoint {
        LpsPoint { x, y, z }
    }

    fn space(shape: [usize; 3], affine: Affine) -> ScanSpace {
        ScanSpace::new(shape, &affine).expect("regular")
    }

    /// LPS storage: both horizontal axes run against RAS.
    fn flipped() -> ScanSpace {
        let rows = [[-0.5, 0.0, 0.0, 10.0], [0.0, -0.5, 0.0, 20.0], [0.0, 0.0, 2.0, -30.0]];
        space([41, 21, 11], Affine::from_rows(rows))
    }

    #[test]
    fn size_and_origin_follow_the_voxel_centres() {
        let space = flipped();
        let grid = Grid::new(&space);
        assert_eq!(grid.size, [21.0, 11.0, 21.0]);
        assert_eq!(grid.origin, [-10.0, 10.0, -30.0]);
        assert!(!grid.aligned);
    }

    #[test]
    fn half_sizes_round_to_even() {
        // 4 steps of 0.625 mm: 2.5 + 1 rounds to 4; 6 steps of 0.75 mm: 4.5 + 1 rounds to 6.
        let space = space([5, 7, 3], Affine::from_spacing([0.625, 0.75, 0.75]));
        assert_eq!(Grid::new(&space).size, [4.0, 6.0, 2.0]);
    }

    #[test]
    fn a_rotated_scan_is_centred() {
        let affine = Affine::from_quaternion([0.1, 0.2, 0.1], [1.0, 1.0, 2.0], false, [5.0, 6.0, 7.0]);
        let space = space([10, 12, 14], affine);
        let grid = Grid::new(&space);
        let middle = affine.apply([5.0, 6.0, 7.0]);
        let grid_middle = grid.origin.iter().zip(grid.size).map(|(origin, size)| origin + size / 2.0);
        for (found, expected) in grid_middle.zip(middle) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn the_centre_is_truncated_toward_zero() {
        let space = flipped();
        let grid = Grid::new(&space);
        // x: −10 + 21 − 1 + coordX; y: 10 + 11 − 1 + coordY; z: coordZ + 30.
        assert_eq!(grid.centre(lps(0.7, -20.9, -29.1)), [10.0, 0.0, 0.0]);
        assert_eq!(grid.centre(lps(-10.9, -10.0, -30.5)), [0.0, 10.0, 0.0]);
    }

    #[test]
    fn the_identity_grid_is_not_resampled() {
        let aligned = |affine, extent| Grid::new(&space([extent; 3], affine)).aligned;
        let mut moved = Affine::from_spacing([1.0, 1.0, 1.0005]);
        moved.translation = [-30.0, 4.0, 100.0];
        assert!(aligned(moved, 64));
        assert!(!aligned(Affine::from_spacing([1.0, 1.0, 1.002]), 64));
        assert!(!aligned(Affine::from_spacing([1.0, 1.0, 1.0009]), 700), "one voxel more than the scan");
        assert!(!aligned(Affine::from_spacing([-1.0, -1.0, 1.0]), 64));
    }

    #[test]
    fn the_region_covers_what_interpolation_touches_and_no_more_than_the_scan() {
        let space = flipped();
        let grid = Grid::new(&space);
        let whole = grid.crop_box(lps(0.0, -15.0, -20.0), 100).region();
        assert_eq!(whole, Region::whole([41, 21, 11]));
        let part = grid.crop_box(lps(0.0, -15.0, -20.0), 4).region();
        assert!(part.voxels() < 15 * 15 * 8 && part.start.iter().all(|&start| start > 0), "{part:?}");
    }

    #[test]
    fn a_box_beside_the_grid_needs_no_voxels() {
        let space = flipped();
        let grid = Grid::new(&space);
        let beside = grid.crop_box(lps(500.0, -15.0, -20.0), 8);
        assert_eq!(beside.region().voxels(), 0);
        assert!(beside.axes[0].steps.is_empty());
    }

    #[test]
    fn a_single_slice_has_a_grid() {
        let space = space([8, 8, 1], Affine::from_spacing([2.0, 2.0, 5.0]));
        let grid = Grid::new(&space);
        assert_eq!(grid.size, [15.0, 15.0, 1.0]);
        let step = grid.step(2, 0.0).expect("inside");
        assert!(step.iter().all(|part| part.is_finite()));
    }
}
