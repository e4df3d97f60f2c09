//! Sampling where the voxels are said to be.
//!
//! The cube's voxel (`P div 2`, `P div 2`, `P div 2`) is centred on the nodule's point itself, and its
//! neighbours lie 1 mm apart along the patient's LPS axes. Each is the trilinear interpolation of the
//! scan at the voxel position `A⁻¹ · (x, y, z)` of its centre: nothing is rounded to a grid before.

use super::geometry::{AxisSteps, Border, CropBox, LpsPoint, ScanSpace};

/// The cube of edge `size` around a point.
pub fn crop_box(space: &ScanSpace, point: LpsPoint, size: usize) -> CropBox {
    let columns = space.inverse.columns();
    let half = (size / 2) as f64;
    let axes = std::array::from_fn(|axis| {
        // Left and back are the negative directions of RAS.
        let direction = if axis < 2 { -1.0 } else { 1.0 };
        let step = |index: usize| columns[axis].map(|entry| entry * (direction * (index as f64 - half)));
        AxisSteps { start: 0, steps: (0..size).map(step).collect() }
    });
    CropBox { size, source: space.shape, base: space.inverse.apply(point.ras()), axes, border: Border::Hold }
}
