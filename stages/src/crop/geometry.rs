//! Where points and the voxels of a cube lie in a stored scan.
//!
//! Whatever the way of sampling, the map from a cube's voxels to positions in the scan is affine, so a
//! [`CropBox`] keeps one contribution for each index of each axis and their sum is the position. Which
//! contributions these are is decided in [`super::reference`] and [`super::exact`].

use pipe_imaging::affine::Affine;
use pipe_imaging::voxels::Region;

/// A point in the patient's LPS millimetres (x to the left, y to the back, z to the head).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LpsPoint {
    /// `coordX`.
    pub x: f64,
    /// `coordY`.
    pub y: f64,
    /// `coordZ`.
    pub z: f64,
}

impl LpsPoint {
    /// Whether all coordinates are numbers.
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }

    /// The same point in RAS millimetres.
    pub fn ras(self) -> [f64; 3] {
        [-self.x, -self.y, self.z]
    }
}

impl std::fmt::Display for LpsPoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "({}, {}, {}) LPS", self.x, self.y, self.z)
    }
}

/// A scan's voxels in space.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanSpace {
    /// Voxels along the stored axes.
    pub shape: [usize; 3],
    /// Voxel indices to RAS millimetres.
    pub affine: Affine,
    /// RAS millimetres to voxel indices.
    pub inverse: Affine,
}

impl ScanSpace {
    /// The space of a scan; `None` when the affine has no inverse.
    pub fn new(shape: [usize; 3], affine: &Affine) -> Option<Self> {
        Some(Self { shape, affine: *affine, inverse: affine.inverse()? })
    }

    /// How far a point lies outside the scan's voxels, in millimetres; 0 inside.
    ///
    /// For sheared voxels this is an upper bound.
    pub fn distance_outside(&self, point: LpsPoint) -> f64 {
        let voxel = self.inverse.apply(point.ras());
        let beyond =
            std::array::from_fn(|axis| voxel[axis] - voxel[axis].clamp(-0.5, self.shape[axis] as f64 - 0.5));
        self.affine.apply_linear(beyond).iter().map(|part| part * part).sum::<f64>().sqrt()
    }
}

/// What a position at the border of the scan sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Neighbours that the scan does not have count as the value outside, so that values fade over the
    /// last voxel.
    Fade,
    /// A voxel fills its space: up to half a voxel beyond the outermost centres their values hold, and
    /// farther out is the value outside.
    Hold,
}

/// What the indices along one LPS axis of a cube add to the position in the scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AxisSteps {
    /// The first index that is sampled.
    pub start: usize,
    /// Contributions of that index and those after it, in voxels along the stored axes. Indices without
    /// one have the value outside.
    pub steps: Vec<[f64; 3]>,
}

/// A cube of voxels of 1 mm on LPS axes, and where each lies in the stored scan.
#[derive(Clone, Debug, PartialEq)]
pub struct CropBox {
    /// Edge of the cube in voxels.
    pub size: usize,
    /// Voxels of the scan along the stored axes.
    pub source: [usize; 3],
    /// What the contributions of all three axes are added to, in voxels along the stored axes.
    pub base: [f64; 3],
    /// Contributions along x, y and z.
    pub axes: [AxisSteps; 3],
    /// What is seen at the scan's border.
    pub border: Border,
}

impl CropBox {
    /// Where the cube's voxel of that index along x, y and z is read, in voxels along the scan's stored axes; `None` for
    /// one that has the value outside.
    pub fn voxel(&self, index: [usize; 3]) -> Option<[f64; 3]> {
        let mut position = self.base;
        for (axis, index) in self.axes.iter().zip(index) {
            let step = axis.steps.get(index.checked_sub(axis.start)?)?;
            for (to, step) in position.iter_mut().zip(step) {
                *to += step;
            }
        }
        Some(position)
    }

    /// The voxel position in the scan that is read; `None` where the value outside stands.
    #[inline(always)]
    pub(super) fn seen(&self, position: [f64; 3]) -> Option<[f64; 3]> {
        match self.border {
            Border::Fade => Some(position),
            Border::Hold => {
                let mut seen = position;
                for (at, &extent) in seen.iter_mut().zip(&self.source) {
                    *at = held(*at, extent)?;
                }
                Some(seen)
            }
        }
    }

    /// As [`Self::seen`], along one stored axis alone.
    pub(super) fn seen_along(&self, row: usize, position: f64) -> Option<f64> {
        match self.border {
            Border::Fade => Some(position),
            Border::Hold => held(position, self.source[row]),
        }
    }

    /// The stored voxels that the cube's interpolation can touch, with a voxel to spare.
    pub fn region(&self) -> Region {
        let bounds = [0, 1, 2].map(|row| self.bounds(row).unwrap_or((0.0, -3.0)));
        Region {
            // A cast to an integer saturates, so that positions below the scan start at 0.
            start: bounds.map(|(low, _)| (low.floor() - 1.0) as usize),
            end: bounds.map(|(_, high)| (high.floor() + 3.0) as usize),
        }
        .within(self.source)
    }

    /// The lowest and highest position along one stored axis; `None` when no voxel is sampled.
    fn bounds(&self, row: usize) -> Option<(f64, f64)> {
        let mut bounds = (self.base[row], self.base[row]);
        for axis in &self.axes {
            let along = || axis.steps.iter().map(|step| step[row]);
            bounds.0 += along().reduce(f64::min)?;
            bounds.1 += along().reduce(f64::max)?;
        }
        Some(bounds)
    }
}

/// A position within half a voxel of a voxel's centre, moved to the nearest centre line where it lies
/// beyond the outermost one.
#[inline(always)]
fn held(position: f64, extent: usize) -> Option<f64> {
    let last = extent as f64 - 1.0;
    let inside = position >= -0.5 && position <= last + 0.5;
    inside.then(|| position.max(0.0).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_measured_to_the_edge_of_the_voxels() {
        let affine =
            Affine::from_rows([[-0.5, 0.0, 0.0, 10.0], [0.0, -0.5, 0.0, 20.0], [0.0, 0.0, 2.0, -30.0]]);
        let space = ScanSpace::new([41, 21, 11], &affine).expect("regular");
        // RAS extent: x from −10.25 to 10.25, y from 9.75 to 20.25, z from −31 to −9.
        let outside = |x, y, z| space.distance_outside(LpsPoint { x, y, z });
        assert_eq!(outside(0.0, -15.0, -20.0), 0.0);
        assert_eq!(outside(10.25, -20.25, -31.0), 0.0);
        assert!((outside(13.25, -15.0, -5.0) - 5.0).abs() < 1e-12);
    }

    #[test]
    fn values_hold_for_half_a_voxel() {
        let table = [
            (-0.51, None),
            (-0.5, Some(0.0)),
            (0.25, Some(0.25)),
            (4.0, Some(4.0)),
            (4.5, Some(4.0)),
            (4.51, None),
            (f64::NAN, None),
        ];
        for (position, expected) in table {
            assert_eq!(held(position, 5), expected, "{position}");
        }
        assert_eq!(held(0.3, 1), Some(0.0), "a single slice");
    }

    #[test]
    fn a_scan_without_an_inverse_has_no_space() {
        assert_eq!(ScanSpace::new([4; 3], &Affine::from_spacing([1.0, 0.0, 1.0])), None);
    }
}
