//! Damaged and hostile NIfTI files: an error that names file and place, and never a panic, a wrong
//! value, or memory that the file is not worth.

mod nifti_files;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::{Reach, ReadLimits, Scan, ScanError};
use pipe_imaging::voxels::Region;
use pipe_stages::crop::geometry::LpsPoint;
use pipe_stages::crop::{CropParameters, crop_scan};

use nifti_files::{VALUES, exercise, gzip, nifti_1, nifti_2, pair, put};

const WHOLE_FILE: ReadLimits = ReadLimits { reach: Reach::WholeFile, memory_bytes: 1 << 20 };

fn open(bytes: Vec<u8>) -> Result<Scan, ScanError> {
    let length = bytes.len() as u64;
    Scan::from_reader(Path::new("scan.nii"), Cursor::new(bytes), length)
}

fn open_pair(header: Vec<u8>, image: Vec<u8>) -> Result<Scan, ScanError> {
    let [header_length, length] = [&header, &image].map(|bytes| bytes.len() as u64);
    Scan::from_pair_of_readers(
        (Path::new("scan.hdr"), Cursor::new(header), header_length),
        (Path::new("scan.img"), Cursor::new(image), length),
    )
}

fn values(scan: Result<Scan, ScanError>, limits: ReadLimits) -> Result<Vec<f32>, ScanError> {
    let scan = scan?;
    let whole = Region::whole(scan.layout().shape);
    Ok(scan.read_blocks(&[whole], limits)?[0].values())
}

/// The files of one kind each: version, compression, byte order.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("NIfTI-1", nifti_1(false)),
        ("NIfTI-1, big-endian", nifti_1(true)),
        ("NIfTI-2", nifti_2(false)),
        ("NIfTI-2, big-endian", nifti_2(true)),
        ("NIfTI-1, compressed", gzip(&nifti_1(false))),
        ("NIfTI-2, compressed", gzip(&nifti_2(true))),
    ]
}

#[test]
fn undamaged_files_hold_the_values() {
    for (kind, bytes) in files() {
        assert_eq!(values(open(bytes), WHOLE_FILE).expect(kind), VALUES, "{kind}");
    }
    for version_2 in [false, true] {
        let (header, image) = pair(version_2);
        assert_eq!(values(open_pair(header, image), WHOLE_FILE).expect("a pair"), VALUES);
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_truncated() {
    let first_voxel = Region { start: [0; 3], end: [1; 3] };
    for (kind, bytes) in files() {
        for length in 0..bytes.len() {
            let cut = || open(bytes[..length].to_vec());
            let read = |limits| cut().and_then(|scan| scan.read_blocks(&[first_voxel], limits));
            for limits in [WHOLE_FILE, ReadLimits::default()] {
                let message = read(limits).expect_err(kind).to_string();
                assert!(message.starts_with("scan.nii: truncated: "), "{kind}, {length} bytes: {message}");
            }
        }
    }
    let (header, image) = pair(false);
    for length in 0..348 {
        let message = open_pair(header[..length].to_vec(), image.clone()).expect_err("cut off").to_string();
        assert!(message.starts_with("scan.hdr: truncated: "), "{length}: {message}");
    }
    for image in [image.clone(), gzip(&image)] {
        for length in 0..image.len() {
            let message = values(open_pair(header.clone(), image[..length].to_vec()), WHOLE_FILE);
            let message = message.expect_err("cut off").to_string();
            assert!(message.starts_with("scan.img: truncated: "), "{length}: {message}");
        }
    }
}

#[test]
fn no_flipped_bit_of_a_header_is_worse_than_an_error() {
    for (kind, bytes) in files().into_iter().filter(|(kind, _)| !kind.contains("compressed")) {
        for bit in 0..8 * (bytes.len() - size_of_val(&[0_i16; 24])) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let scan = match open(bytes) {
                Ok(scan) => scan,
                Err(error) => {
                    let message = error.to_string();
                    let placed = message.contains("(byte ") || message.contains("truncated: ");
                    assert!(message.starts_with("scan.nii: ") && placed, "{kind}, bit {bit}: {message}");
                    continue;
                }
            };
            if let Err(error) = scan.affine(Orientation::Auto) {
                assert!(error.to_string().contains("byte "), "{kind}, bit {bit}: {error}");
            }
            let voxels = scan.layout().shape.iter().product::<usize>();
            let found = values(Ok(scan), WHOLE_FILE).expect("a header that was accepted can be read");
            assert_eq!(found.len(), voxels, "{kind}, bit {bit}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_compressed_file_gives_an_error_or_changes_nothing() {
    for (kind, bytes) in files().into_iter().filter(|(kind, _)| kind.contains("compressed")) {
        let mut refused = 0;
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match values(open(bytes), WHOLE_FILE) {
                Ok(found) => assert_eq!(found, VALUES, "{kind}, bit {bit}"),
                Err(error) => {
                    assert!(error.to_string().starts_with("scan.nii: "), "{error}");
                    refused += 1;
                }
            }
        }
        // Time, system and the like may be anything, and some codes are never used.
        assert!(10 * refused > 9 * 8 * bytes.len(), "{kind}: {refused} of {}", 8 * bytes.len());
    }
}

#[test]
fn sizes_and_places_that_cannot_be_are_refused_by_name() {
    let short = |value: i16| value.to_le_bytes().to_vec();
    let long = |value: i64| value.to_le_bytes().to_vec();
    let single = |value: f32| value.to_le_bytes().to_vec();
    let table_1: [(usize, Vec<u8>, &str); 7] = [
        (42, short(-1), "dim[1] (byte 42) is -1, expected 1 to 32767"),
        (44, short(i16::MIN), "dim[2] (byte 44) is -32768"),
        (46, short(0), "dim[3] (byte 46) is 0"),
        (46, short(i16::MAX), "truncated: 393556 bytes of uncompressed data expected"),
        (108, single(-352.0), "vox_offset (byte 108) is -352"),
        (108, single(16_777_216.0), "truncated: 16777264 bytes"),
        (108, single(f32::INFINITY), "vox_offset (byte 108) is inf"),
    ];
    let table_2: [(usize, Vec<u8>, &str); 7] = [
        (24, long(-1), "dim[1] (byte 24) is -1, expected 1 to 1048576"),
        (32, long(i64::MIN), "dim[2] (byte 32) is -9223372036854775808"),
        (40, long(1 << 32), "dim[3] (byte 40) is 4294967296"),
        (40, long(1 << 20), "truncated: 12583456 bytes of uncompressed data expected"),
        (168, long(-1), "vox_offset (byte 168) is -1"),
        (168, long(1 << 30), "truncated: 1073741872 bytes"),
        (168, long(1 << 31), "vox_offset (byte 168) is 2147483648"),
    ];
    let cases = table_1.into_iter().map(|case| (nifti_1(false), case));
    for (mut bytes, (offset, value, expected)) in
        cases.chain(table_2.into_iter().map(|case| (nifti_2(false), case)))
    {
        put(&mut bytes, offset, &value);
        for bytes in [gzip(&bytes), bytes] {
            let message = open(bytes).expect_err(expected).to_string();
            assert!(message.starts_with(&format!("scan.nii: {expected}")), "{message}");
        }
    }
}

#[test]
fn a_small_file_cannot_claim_much_memory() {
    // 1,000 × 1,000 × 500 voxels are declared and 2 MB of zeros there, in 2 kB.
    let mut bytes = nifti_1(false);
    for (axis, extent) in [1000_i16, 1000, 500].into_iter().enumerate() {
        put(&mut bytes, 42 + 2 * axis, &extent.to_le_bytes());
    }
    bytes.resize(2_000_000, 0);
    let message = open(gzip(&bytes)).expect_err("2 kB").to_string();
    assert!(message.starts_with("scan.nii: truncated: 1000000352 bytes"), "{message}");
    // With more behind it the file might hold that much, but the caller sets the limit.
    let padded = [gzip(&bytes), vec![0; 1_000_000]].concat();
    let message = values(open(padded), WHOLE_FILE).expect_err("1 GB").to_string();
    assert_eq!(message, "scan.nii: needs 1000000000 bytes of memory, above the limit of 1048576");
}

#[test]
fn a_file_that_inflates_far_behind_its_voxels_is_given_up() {
    let bytes = [nifti_1(false), vec![0; 40 << 20]].concat();
    for limits in [WHOLE_FILE, ReadLimits::default()] {
        let message = values(open(gzip(&bytes)), limits).expect_err("a bomb").to_string();
        assert!(message.starts_with("scan.nii: more than 16777216 bytes behind the 400 bytes"), "{message}");
    }
    let (header, image) = pair(false);
    let header = gzip(&[header, vec![0; 40 << 20]].concat());
    let message = open_pair(header, image).expect_err("a bomb").to_string();
    assert!(message.starts_with("scan.hdr: more than 16777216 bytes behind the 348 bytes"), "{message}");
}

#[test]
fn orientations_that_place_nothing_are_refused_by_name() {
    let affine = |mut bytes: Vec<u8>, patches: &[(usize, &[u8])]| {
        patches.iter().for_each(|(offset, value)| put(&mut bytes, *offset, value));
        open(bytes)
            .expect("a readable header")
            .affine(Orientation::Auto)
            .expect_err("no orientation")
            .to_string()
    };
    let (nan, infinite) = (f32::NAN.to_le_bytes(), f32::INFINITY.to_le_bytes());
    let (nan_2, large_2) = (f64::NAN.to_le_bytes(), 1e200_f64.to_le_bytes());
    let zeros = [0; 32];
    for (message, expected) in [
        (affine(nifti_1(false), &[(280, &nan)]), "the sform (srow_x, byte 280) is not finite"),
        (affine(nifti_1(false), &[(324, &infinite)]), "the sform (srow_x, byte 280) is not finite"),
        (affine(nifti_1(false), &[(296, &zeros[..16])]), "the sform (srow_x, byte 280) is singular"),
        (affine(nifti_1(false), &[(254, &zeros[..2]), (80, &nan)]), "pixdim[1] (byte 80) is NaN"),
        (
            affine(nifti_1(false), &[(254, &zeros[..2]), (256, &nan)]),
            "the qform (quatern_b, byte 256) is not",
        ),
        (
            affine(nifti_1(false), &[(252, &zeros[..4])]),
            "sform_code (byte 254) and qform_code (byte 252) are 0",
        ),
        (affine(nifti_2(false), &[(400, &nan_2)]), "the sform (srow_x, byte 400) is not finite"),
        (affine(nifti_2(false), &[(432, &zeros)]), "the sform (srow_x, byte 400) is singular"),
        (affine(nifti_2(false), &[(400, &large_2)]), "the sform (srow_x, byte 400) is singular"),
        (affine(nifti_2(false), &[(348, &zeros[..4]), (112, &nan_2)]), "pixdim[1] (byte 112) is NaN"),
        (
            affine(nifti_2(false), &[(348, &zeros[..4]), (352, &nan_2)]),
            "the qform (quatern_b, byte 352) is not",
        ),
    ] {
        assert!(message.starts_with(&format!("scan.nii: {expected}")), "{message}\n{expected}");
    }
}

#[test]
fn far_away_scans_give_errors_and_no_crops() {
    // A translation that is finite and beyond all reason.
    let mut bytes = nifti_2(false);
    put(&mut bytes, 344, &0_i32.to_le_bytes());
    for offset in [424, 456, 488] {
        put(&mut bytes, offset, &1e300_f64.to_le_bytes());
    }
    let parameters = CropParameters { size_mm: 8, ..CropParameters::default() };
    let points = [LpsPoint { x: 0.0, y: 0.0, z: 0.0 }, LpsPoint { x: -1e300, y: -1e300, z: 1e300 }];
    let crops = crop_scan(open(bytes).expect("readable"), &points, &parameters).expect("readable");
    assert!(crops[0].is_err(), "the origin is far away");
    assert_eq!(crops.len(), points.len());
}

/// Seeds of the fuzz target `nifti`, and inputs that once crashed it.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/nifti")
}

#[test]
fn the_corpus_is_read_or_refused() {
    let files: Vec<_> =
        fs::read_dir(corpus()).expect("the corpus").map(|entry| entry.expect("an entry")).collect();
    assert!(files.len() >= 9, "{} files", files.len());
    for file in files {
        exercise::nifti(&fs::read(file.path()).expect("readable"));
    }
}

/// Writes the seeds anew: `cargo test --test nifti_damage -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    let joined = |(header, image): (Vec<u8>, Vec<u8>)| [header, image].concat();
    let file = nifti_1(false);
    let members = [gzip(&file[..352]), gzip(&file[352..390]), gzip(&file[390..]), vec![0; 9]].concat();
    for (name, bytes) in [
        ("nifti1.nii", nifti_1(false)),
        ("nifti1_big.nii", nifti_1(true)),
        ("nifti2.nii", nifti_2(false)),
        ("nifti2_big.nii", nifti_2(true)),
        ("nifti1.nii.gz", gzip(&nifti_1(false))),
        ("nifti2.nii.gz", gzip(&nifti_2(true))),
        ("members.nii.gz", members),
        ("nifti1.pair", joined(pair(false))),
        ("nifti2.pair", joined(pair(true))),
    ] {
        fs::write(corpus().join(name), bytes).expect("writable");
    }
}
