//! Everything that the NIfTI reader does, with any bytes: for fuzzing, and for its corpus as a test.

use std::io::Cursor;
use std::path::Path;

use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::{Reach, ReadLimits, Scan, ScanError};
use pipe_imaging::voxels::Region;
use pipe_stages::crop::geometry::LpsPoint;
use pipe_stages::crop::{CropParameters, crop_scan};

const MEMORY_BYTES: u64 = 1 << 20;
/// Where a pair is cut in two, so that one input stands for both files.
const HEADER_BYTES: [usize; 2] = [348, 540];

/// Reads `bytes` in every way.
///
/// # Panics
/// When the reader gives something that it must not.
pub fn nifti(bytes: &[u8]) {
    match open(bytes) {
        Err(ScanError::NoImage { .. }) => {
            HEADER_BYTES.into_iter().for_each(|at| scans(|| open_pair(bytes, at)))
        }
        Err(error) => assert!(error.to_string().starts_with("scan.nii: "), "{error}"),
        Ok(_) => scans(|| open(bytes)),
    }
}

fn open(bytes: &[u8]) -> Result<Scan, ScanError> {
    Scan::from_reader(Path::new("scan.nii"), Cursor::new(bytes.to_vec()), bytes.len() as u64)
}

fn open_pair(bytes: &[u8], at: usize) -> Result<Scan, ScanError> {
    let (header, image) = bytes.split_at(at.min(bytes.len()));
    Scan::from_pair_of_readers(
        (Path::new("scan.hdr"), Cursor::new(header.to_vec()), header.len() as u64),
        (Path::new("scan.img"), Cursor::new(image.to_vec()), image.len() as u64),
    )
}

fn scans(open: impl Fn() -> Result<Scan, ScanError>) {
    let Ok(scan) = open() else { return };
    let shape = scan.layout().shape;
    blocks(&open, shape);
    for orientation in [Orientation::Auto, Orientation::Sform, Orientation::Qform, Orientation::Itk] {
        let Ok(affine) = scan.affine(orientation) else { continue };
        let [x, y, z] = affine.apply(shape.map(|extent| extent as f64 / 2.0));
        let points = [LpsPoint { x: -x, y: -y, z }, LpsPoint { x: 0.0, y: 0.0, z: 0.0 }];
        let limits = ReadLimits { memory_bytes: MEMORY_BYTES, ..ReadLimits::default() };
        let parameters = CropParameters { size_mm: 6, orientation, limits, ..CropParameters::default() };
        let Ok(crops) = open().map(|scan| crop_scan(scan, &points, &parameters)) else { continue };
        for crop in crops.into_iter().flatten().flatten() {
            assert!(crop.len() == 216 && crop.iter().all(|value| value.is_finite()));
        }
    }
}

fn blocks(open: &impl Fn() -> Result<Scan, ScanError>, shape: [usize; 3]) {
    let regions = [
        Region::whole(shape),
        Region { start: shape.map(|extent| extent / 3), end: shape.map(|extent| extent / 2 + 1) },
        Region { start: [0; 3], end: [1; 3] },
    ];
    let read = |regions: &[Region], reach| {
        open()?.read_blocks(regions, ReadLimits { reach, memory_bytes: MEMORY_BYTES })
    };
    let checked = read(&regions, Reach::WholeFile);
    if let Ok(blocks) = &checked {
        for (block, region) in blocks.iter().zip(regions) {
            assert_eq!((block.region, block.values().len()), (region, region.voxels()));
        }
        // What the whole file holds, a part of it holds as well.
        let part = read(&regions[2..], Reach::LastSlice).expect("a part of what can be read");
        assert_eq!(
            part[0].values().first().map(|v| v.to_bits()),
            blocks[2].values().first().map(|v| v.to_bits())
        );
    }
}
