//! Crops: the cube around a nodule, resampled to 1 mm on LPS axes (SPEC section 1).
//!
//! A scan is read once for all its nodules and only the voxels that their cubes touch are kept.
//! The module knows scans and points; tables, labels and files of results are not its business.

pub mod exact;
pub mod geometry;
pub mod reference;
pub mod sample;
pub mod signature;

mod separable;

#[cfg(test)]
mod properties;

use std::path::Path;

use pipe_imaging::affine::Affine;
use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::{ReadLimits, Scan, ScanError};
use pipe_imaging::voxels::{Block, Region};

use geometry::{CropBox, LpsPoint, ScanSpace};
use reference::Grid;

/// The largest edge of a crop in millimetres.
pub const LARGEST_SIZE: usize = 512;

/// Where a crop's voxels are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// Where the published pipeline reads them: see [`mod@reference`].
    #[default]
    Reference,
    /// Where they are said to be: see [`exact`].
    Exact,
}

/// How crops are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropParameters {
    /// Edge `P` of the cube in millimetres and voxels, 1 to [`LARGEST_SIZE`].
    pub size_mm: usize,
    /// Where the cube's voxels are read.
    pub sampling: Sampling,
    /// The value in HU of what lies outside the scan, a finite number.
    pub pad_hu: f64,
    /// Which of a header's orientations counts.
    pub orientation: Orientation,
    /// What reading may cost; no crop depends on it.
    pub limits: ReadLimits,
}

impl Default for CropParameters {
    /// 100 mm, as the published models saw them, both orientations agreeing.
    fn default() -> Self {
        Self {
            size_mm: 100,
            sampling: Sampling::default(),
            pad_hu: 0.0,
            orientation: Orientation::default(),
            limits: ReadLimits::default(),
        }
    }
}

/// Why a scan gives no crops at all.
#[derive(Debug, thiserror::Error)]
pub enum CropError {
    /// The edge asked for is out of range.
    #[error("size_mm is {found}, expected 1 to {LARGEST_SIZE}")]
    Size {
        /// The edge asked for.
        found: usize,
    },
    /// The value outside is NaN or infinite.
    #[error("pad_hu is {found}, expected a finite number")]
    Pad {
        /// The value asked for.
        found: f64,
    },
    /// The scan's affine cannot be inverted.
    #[error("the affine {affine:?} has no inverse")]
    NoInverse {
        /// Voxel indices to RAS millimetres.
        affine: Affine,
    },
    /// The scan cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

/// Why one nodule of a readable scan gives no crop.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PointError {
    /// A coordinate is NaN or infinite.
    #[error("the point {point} is not finite")]
    NotFinite {
        /// The point given.
        point: LpsPoint,
    },
    /// The point is not in the scan: a wrong scan, or coordinates that are not LPS.
    #[error("the point {point} lies {distance_mm:.1} mm outside the scan")]
    Outside {
        /// The point given.
        point: LpsPoint,
        /// Distance to the nearest voxel's edge.
        distance_mm: f64,
    },
    /// The scan holds NaN or infinite voxels near the point.
    #[error("the scan has voxels that are not finite around the point {point}")]
    Voxels {
        /// The point given.
        point: LpsPoint,
    },
}

/// One crop for each point: `P³` values in HU, C order over (z, y, x), LPS axes; `pad_hu` outside the scan.
pub type Crops = Vec<Result<Vec<f32>, PointError>>;

/// Cuts a cube around each point out of the NIfTI scan at `path`, in the points' order.
///
/// # Errors
/// [`CropError`] when the scan cannot be used; a point at fault fails alone, with a [`PointError`].
pub fn crop(path: &Path, points: &[LpsPoint], parameters: &CropParameters) -> Result<Crops, CropError> {
    crop_scan(Scan::open(path)?, points, parameters)
}

/// As [`crop`], from a scan that is already open.
///
/// # Errors
/// As [`crop`].
pub fn crop_scan(scan: Scan, points: &[LpsPoint], parameters: &CropParameters) -> Result<Crops, CropError> {
    let boxes = boxes(&scan, points, parameters)?;
    // A point at fault takes part with an empty region, so that blocks and points stay in step.
    let regions: Vec<_> =
        boxes.iter().map(|found| found.as_ref().map_or(Region::EMPTY, CropBox::region)).collect();
    let blocks = scan.read_blocks(&regions, parameters.limits)?;
    let cut = |((&point, found), block): ((&LpsPoint, Result<CropBox, PointError>), Block)| {
        let volume = sample::sample(&found?, &block, parameters.pad_hu);
        let finite = volume.iter().all(|value| value.is_finite());
        if finite { Ok(volume) } else { Err(PointError::Voxels { point }) }
    };
    Ok(points.iter().zip(boxes).zip(blocks).map(cut).collect())
}

/// Where the first voxel of each point's cube lies, in LPS millimetres; `None` for a point at fault.
///
/// Sampling as the published pipeline does it stretches cubes by less than a thousandth; the place is that of the voxel
/// in the middle, followed back to the first at 1 mm a voxel.
///
/// # Errors
/// As [`crop`].
pub fn origins(
    scan: &Scan,
    points: &[LpsPoint],
    parameters: &CropParameters,
) -> Result<Vec<Option<[f64; 3]>>, CropError> {
    let affine = scan.affine(parameters.orientation)?;
    let half = (parameters.size_mm / 2) as f64;
    let origin = |found: Result<CropBox, PointError>| {
        let [x, y, z] = affine.apply(found.ok()?.voxel([parameters.size_mm / 2; 3])?);
        Some([-x - half, -y - half, z - half])
    };
    Ok(boxes(scan, points, parameters)?.into_iter().map(origin).collect())
}

/// The cube of each point in a scan.
fn boxes(
    scan: &Scan,
    points: &[LpsPoint],
    parameters: &CropParameters,
) -> Result<Vec<Result<CropBox, PointError>>, CropError> {
    check(parameters)?;
    let affine = scan.affine(parameters.orientation)?;
    let space = ScanSpace::new(scan.layout().shape, &affine).ok_or(CropError::NoInverse { affine })?;
    let grid = Grid::new(&space);
    let crop_box = |point| match parameters.sampling {
        Sampling::Reference => grid.crop_box(point, parameters.size_mm),
        Sampling::Exact => exact::crop_box(&space, point, parameters.size_mm),
    };
    Ok(points.iter().map(|&point| inside(&space, point).map(crop_box)).collect())
}

fn check(parameters: &CropParameters) -> Result<(), CropError> {
    let CropParameters { size_mm, pad_hu, .. } = *parameters;
    if !(1..=LARGEST_SIZE).contains(&size_mm) {
        return Err(CropError::Size { found: size_mm });
    }
    if pad_hu.is_finite() { Ok(()) } else { Err(CropError::Pad { found: pad_hu }) }
}

/// The point, if it is in the scan.
fn inside(space: &ScanSpace, point: LpsPoint) -> Result<LpsPoint, PointError> {
    if !point.is_finite() {
        return Err(PointError::NotFinite { point });
    }
    let distance_mm = space.distance_outside(point);
    if distance_mm > 0.0 { Err(PointError::Outside { point, distance_mm }) } else { Ok(point) }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use pipe_imaging::nifti_write::header_bytes;

    /// A 12³ scan of f32 voxels at 1.5 mm, zero but for one voxel near its first corner.
    fn scan_with(odd_voxel: f32) -> Scan {
        let mut bytes = header_bytes([12; 3], &Affine::from_spacing([1.5; 3])).expect("valid").to_vec();
        bytes[70..74].copy_from_slice(&[16, 0, 32, 0]);
        bytes.resize(352 + 4 * 12 * 12 * 12, 0);
        bytes[352 + 4 * 13..][..4].copy_from_slice(&odd_voxel.to_le_bytes());
        let length = bytes.len() as u64;
        Scan::from_reader(Path::new("scan.nii"), Cursor::new(bytes), length).expect("readable")
    }

    #[test]
    fn voxels_that_are_not_finite_spoil_only_the_crops_they_touch() {
        let parameters = CropParameters { size_mm: 6, ..CropParameters::default() };
        let points = [2.0, 12.0].map(|at| LpsPoint { x: -at, y: -at, z: at });
        for odd_voxel in [f32::NAN, f32::INFINITY] {
            let crops = crop_scan(scan_with(odd_voxel), &points, &parameters).expect("readable");
            assert_eq!(crops[0], Err(PointError::Voxels { point: points[0] }));
            assert_eq!(crops[1], Ok(vec![0.0; 216]));
        }
        let crops = crop_scan(scan_with(700.0), &points, &parameters).expect("readable");
        assert!(crops[0].as_ref().is_ok_and(|crop| crop.iter().any(|&value| value > 0.0)));
    }

    #[test]
    fn no_points_give_no_crops() {
        assert_eq!(crop_scan(scan_with(0.0), &[], &CropParameters::default()).expect("readable"), []);
    }
}
