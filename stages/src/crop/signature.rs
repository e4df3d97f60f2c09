//! What a scan is known by, whatever its file is called and however it is compressed or scaled.
//!
//! Scanners' noise makes a slice of a scan unlike any other in the world, so the voxels of the first slice that is not
//! of one value are enough, rounded to whole HU, whichever way its rows and columns run. A voxel that is changed
//! elsewhere leaves the signature as it is. A scan whose slices run the other way, or that was resampled or cut, has
//! another one.

use pipe_cache::Hasher;

use pipe_imaging::scan::{ReadLimits, Scan, ScanError};

/// The signature of a scan as hexadecimal digits; `None` where one value fills all that was looked at.
///
/// # Errors
/// When the scan cannot be read.
pub fn signature(scan: Scan) -> Result<Option<String>, ScanError> {
    let shape = scan.layout().shape;
    let look = |slice: usize, values: &[f32]| {
        let first = values.first().copied().unwrap_or_default();
        let is_telling = values.iter().any(|value| whole(*value) != whole(first));
        match is_telling {
            true => Err(Stop::Found(digest(shape, values))),
            false if slice + 1 >= LOOKED_AT => Err(Stop::Nothing),
            false => Ok(()),
        }
    };
    match scan.for_each_slice(ReadLimits::default(), look) {
        Ok(()) | Err(Stop::Nothing) => Ok(None),
        Err(Stop::Found(signature)) => Ok(Some(signature)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// So many slices of one value may come before one that tells something.
const LOOKED_AT: usize = 16;

/// Why reading stops.
enum Stop {
    Found(String),
    Nothing,
    Failed(ScanError),
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Failed(error)
    }
}

/// Whole HU, within 16 bits; what is not finite is 0.
fn whole(value: f32) -> i16 {
    value.round_ties_even() as i16
}

fn digest(shape: [usize; 3], values: &[f32]) -> String {
    let mut hasher = Hasher::new("pipe scan signature, version 2");
    let mut shape = shape;
    shape.sort_unstable();
    for extent in shape {
        hasher.field((extent as u64).to_le_bytes());
    }
    // Sorted, so that rows and columns may run either way.
    let mut values: Vec<i16> = values.iter().map(|value| whole(*value)).collect();
    values.sort_unstable();
    hasher.field(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    hasher.finish().to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::*;
    use pipe_imaging::affine::Affine;
    use pipe_imaging::nifti_write::{Volume, Voxel, nii_gz_bytes};

    fn of<T: Voxel>(voxels: &[T], scale: f64) -> Option<String> {
        let affine = Affine::from_spacing([scale; 3]);
        let bytes = nii_gz_bytes(&Volume { shape: [4, 4, 3], affine, voxels }).expect("written");
        let length = bytes.len() as u64;
        signature(Scan::from_reader(Path::new("s.nii.gz"), Cursor::new(bytes), length).expect("opened"))
            .expect("readable")
    }

    #[test]
    fn a_scan_keeps_its_signature_in_another_file_and_another_scan_has_another() {
        let voxels: Vec<i16> = (0..48).map(|voxel| if voxel < 16 { -1000 } else { voxel }).collect();
        let reals: Vec<f32> = voxels.iter().map(|voxel| f32::from(*voxel) + 0.2).collect();
        let signature = of(&voxels, 1.0);
        assert!(signature.is_some());
        assert_eq!(of(&reals, 2.0), signature, "stored otherwise, placed otherwise");
        let mut turned = voxels.clone();
        turned.chunks_mut(4).for_each(<[i16]>::reverse);
        assert_eq!(of(&turned, 1.0), signature, "rows that run the other way");
        let mut far = voxels.clone();
        far[40] = 7;
        assert_eq!(of(&far, 1.0), signature, "another voxel behind the first slice that tells something");
        let mut near = voxels;
        near[20] = 7;
        assert_ne!(of(&near, 1.0), signature);
        assert_eq!(of(&[5_i16; 48], 1.0), None);
    }
}
