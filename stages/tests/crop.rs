//! Crops against those of the published pipeline (SPEC section 1).
//!
//! `crops.safetensors` holds every seventh value of each expected crop in C order over (z, y, x), and
//! every thirteenth of `crop100`: neither number divides an edge, so all rows and planes are met.

use std::path::PathBuf;

use pipe_imaging::nifti_write::{Volume, write};
use pipe_imaging::scan::{Reach, ReadLimits, ScanError};
use pipe_imaging::{affine::Affine, orientation::Orientation};
use pipe_stages::crop::geometry::LpsPoint;
use pipe_stages::crop::{CropError, CropParameters, Crops, PointError, Sampling, crop};
use safetensors::SafeTensors;

/// SPEC's tolerance in HU.
const TOLERANCE: f32 = 0.01;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/crop").join(name)
}

struct Case {
    name: String,
    path: PathBuf,
    point: LpsPoint,
    size: usize,
}

fn cases() -> Vec<Case> {
    let mut reader = csv::Reader::from_path(fixture("cases.csv")).expect("the table of cases");
    let rows = reader.deserialize::<(String, String, String, f64, f64, f64, usize)>();
    rows.map(|row| {
        let (name, _, image, x, y, z, size) = row.expect("a case");
        Case { name, path: fixture(&image), point: LpsPoint { x, y, z }, size }
    })
    .collect()
}

fn expected(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let data = tensors.tensor(name).expect("the expected crop").data();
    data.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn parameters(size_mm: usize) -> CropParameters {
    CropParameters { size_mm, ..CropParameters::default() }
}

fn only(crops: Crops) -> Vec<f32> {
    let [crop] = <[_; 1]>::try_from(crops).expect("one crop");
    crop.expect("inside the scan")
}

#[test]
fn every_reference_crop_is_reproduced() {
    let bytes = std::fs::read(fixture("crops.safetensors")).expect("the expected crops");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let cases = cases();
    assert_eq!(cases.len(), 18);
    for case in cases {
        let found = only(crop(&case.path, &[case.point], &parameters(case.size)).expect("a readable scan"));
        assert_eq!(found.len(), case.size.pow(3), "{}", case.name);
        let stride = if case.name == "crop100" { 13 } else { 7 };
        let expected = expected(&tensors, &case.name);
        assert_eq!(expected.len(), found.len().div_ceil(stride), "{}", case.name);
        let differences = found.iter().step_by(stride).zip(&expected).map(|(a, b)| (a - b).abs());
        let largest = differences.fold(0.0, f32::max);
        assert!(largest <= TOLERANCE, "{}: differs by {largest} HU", case.name);
    }
}

#[test]
fn several_points_of_a_scan_give_what_each_gives_alone() {
    let case = cases().into_iter().find(|case| case.name == "oblique").expect("listed");
    let LpsPoint { x, y, z } = case.point;
    let points = [
        case.point,
        LpsPoint { x: x + 9.5, y: y - 4.0, z: z + 11.0 },
        LpsPoint { x: 900.0, y, z },
        case.point,
    ];
    let together = crop(&case.path, &points, &parameters(24)).expect("a readable scan");
    for (point, found) in points.iter().zip(&together) {
        let alone = crop(&case.path, &[*point], &parameters(24)).expect("a readable scan");
        assert_eq!(Some(found), alone.first());
    }
    assert!(matches!(together[2], Err(PointError::Outside { .. })));
    assert_ne!(together[0], together[1]);
}

#[test]
fn how_far_a_scan_is_read_changes_nothing() {
    let case = cases().into_iter().find(|case| case.name == "lps_aniso").expect("listed");
    let limits = ReadLimits { reach: Reach::WholeFile, ..ReadLimits::default() };
    let whole = CropParameters { limits, ..parameters(case.size) };
    let read =
        |parameters: &CropParameters| only(crop(&case.path, &[case.point], parameters).expect("readable"));
    assert_eq!(read(&whole), read(&parameters(case.size)));
}

#[test]
fn a_point_outside_is_an_error_with_its_distance() {
    let case = cases().into_iter().find(|case| case.name == "ras_iso").expect("listed");
    // The scan's last slice ends at z = 155.5.
    let point = LpsPoint { z: 165.5, ..case.point };
    let crops = crop(&case.path, &[point], &parameters(40)).expect("a readable scan");
    let message = crops[0].as_ref().expect_err("outside").to_string();
    assert!(message.ends_with("165.5) LPS lies 10.0 mm outside the scan"), "{message}");
    let nowhere = LpsPoint { x: f64::NAN, ..case.point };
    let crops = crop(&case.path, &[nowhere], &parameters(40)).expect("a readable scan");
    assert!(matches!(crops[0], Err(PointError::NotFinite { .. })));
}

fn scan_file(folder: &tempfile::TempDir, volume: &Volume) -> PathBuf {
    let path = folder.path().join("scan.nii.gz");
    write(&path, volume).expect("writable");
    path
}

const CENTRE: LpsPoint = LpsPoint { x: 0.5, y: 0.5, z: -0.5 };

#[test]
fn a_box_that_sticks_out_is_filled_with_zero() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let affine = Affine { translation: [-15.0; 3], ..Affine::from_spacing([1.5; 3]) };
    let path = scan_file(&folder, &Volume { shape: [20; 3], affine, voxels: &[100; 20 * 20 * 20] });
    let inside = only(crop(&path, &[CENTRE], &parameters(10)).expect("readable"));
    assert!(inside.iter().all(|&value| value == 100.0));
    let wide = only(crop(&path, &[CENTRE], &parameters(60)).expect("readable"));
    // The grid has 30³ voxels: 19 steps of 1.5 mm, plus one, rounded to even.
    let zero = wide.iter().filter(|&&value| value == 0.0).count();
    assert_eq!(zero, 60 * 60 * 60 - 30 * 30 * 30);
    assert_eq!(wide.iter().copied().fold(0.0, f32::max), 100.0);
}

/// The crop around the centre of 20³ noisy voxels, stored with the x axis running either way.
fn crop_of_noise(folder: &tempfile::TempDir, flip: bool) -> Vec<f32> {
    let noise = |x: usize, row: usize| ((x + 20 * row) * 7919 % 1500) as i16 - 1000;
    let voxel = |index: usize| noise(if flip { 19 - index % 20 } else { index % 20 }, index / 20);
    let voxels: Vec<i16> = (0..20 * 20 * 20).map(voxel).collect();
    let mut affine = Affine { translation: [-15.0; 3], ..Affine::from_spacing([1.5; 3]) };
    if flip {
        affine.linear[0][0] = -1.5;
        affine.translation[0] += 19.0 * 1.5;
    }
    let path = scan_file(folder, &Volume { shape: [20; 3], affine, voxels: &voxels });
    only(crop(&path, &[CENTRE], &parameters(16)).expect("readable"))
}

#[test]
fn an_axis_that_is_stored_the_other_way_gives_the_same_crop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (plain, flipped) = (crop_of_noise(&folder, false), crop_of_noise(&folder, true));
    let differences = plain.iter().zip(&flipped).map(|(a, b)| (a - b).abs());
    assert!(differences.fold(0.0, f32::max) < TOLERANCE);
    let mirrored = plain.iter().rev().zip(&flipped).map(|(a, b)| (a - b).abs());
    assert!(mirrored.fold(0.0, f32::max) > 100.0, "noise that a mirror does not change");
}

#[test]
fn what_cannot_be_cropped_is_refused() {
    let case = cases().into_iter().next().expect("a case");
    for size in [0, 513] {
        let error = crop(&case.path, &[case.point], &parameters(size)).expect_err("out of range");
        assert!(matches!(error, CropError::Size { found } if found == size));
    }
    let limits = ReadLimits { memory_bytes: 1000, ..ReadLimits::default() };
    let error =
        crop(&case.path, &[case.point], &CropParameters { limits, ..parameters(40) }).expect_err("too large");
    assert!(matches!(error, CropError::Scan(ScanError::TooLarge { limit: 1000, .. })), "{error}");
    let missing = crop(&fixture("images/none.nii.gz"), &[case.point], &parameters(40)).expect_err("missing");
    assert!(missing.to_string().contains("none.nii.gz: cannot open"), "{missing}");
}

#[test]
fn an_orientation_that_is_not_there_is_refused() {
    let case = cases().into_iter().find(|case| case.name == "qform_only").expect("listed");
    let chosen =
        |orientation| crop(&case.path, &[case.point], &CropParameters { orientation, ..parameters(8) });
    let error = chosen(Orientation::Sform).expect_err("no sform").to_string();
    assert!(error.contains("qform_only.nii.gz: the sform (srow_x, byte 280) was asked for"), "{error}");
    assert_eq!(
        only(chosen(Orientation::Qform).expect("given")),
        only(chosen(Orientation::Auto).expect("given"))
    );
}

/// The bytes of all reference crops, in the table's order. Arithmetic in a fixed order gives the same on every host.
#[test]
fn reference_crops_are_the_same_to_the_bit() {
    let mut hasher = blake3::Hasher::new();
    for case in cases() {
        for value in only(crop(&case.path, &[case.point], &parameters(case.size)).expect("a readable scan")) {
            hasher.update(&value.to_le_bytes());
        }
    }
    let digest = hasher.finalize().to_hex();
    assert_eq!(digest.as_str(), "67c8fbd8884e3566abd556037f0e14efee867187e3157bf67b0ac7404a3e90b3");
}

fn exactly(size_mm: usize) -> CropParameters {
    CropParameters { sampling: Sampling::Exact, ..parameters(size_mm) }
}

#[test]
fn outside_the_scan_is_what_was_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let affine = Affine { translation: [-15.0; 3], ..Affine::from_spacing([1.5; 3]) };
    let path = scan_file(&folder, &Volume { shape: [20; 3], affine, voxels: &[100; 20 * 20 * 20] });
    let with = |parameters: CropParameters, pad_hu| {
        only(crop(&path, &[CENTRE], &CropParameters { pad_hu, ..parameters }).expect("readable"))
    };
    let count = |volume: &[f32], value: f32| volume.iter().filter(|&&found| found == value).count();
    // The scan's voxels fill 30 mm on each axis, and keep their values up to their faces.
    for pad_hu in [0.0, -1000.0] {
        let volume = with(exactly(60), pad_hu);
        assert_eq!(count(&volume, 100.0), 30 * 30 * 30);
        assert_eq!(count(&volume, pad_hu as f32), 60 * 60 * 60 - 30 * 30 * 30);
    }
    // In the reference, voxels at the border are mixed with what lies outside.
    let [zero, air] = [0.0, -1000.0].map(|pad_hu| with(parameters(60), pad_hu));
    for (index, (&zero, &air)) in zero.iter().zip(&air).enumerate() {
        let share_outside = 1.0 - zero / 100.0;
        assert!((air - (zero - 1000.0 * share_outside)).abs() < 1e-3, "{index}: {zero} {air}");
    }
    assert_eq!(count(&air, -1000.0), 60 * 60 * 60 - 30 * 30 * 30);
    assert!(count(&air, 100.0) < 30 * 30 * 30);
}

#[test]
fn exact_sampling_of_a_scan_at_1_mm_copies_its_voxels() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Stored in LPS: the crop has the scan's own directions. Voxel (10, 10, 10) lies at (5, -5, 2.5) LPS.
    let rows = [[-1.0, 0.0, 0.0, 5.0], [0.0, -1.0, 0.0, 15.0], [0.0, 0.0, 1.0, -7.5]];
    let voxels: Vec<i16> = (0..20 * 20 * 20).map(|index| (index * 7919 % 1500) as i16 - 1000).collect();
    let path =
        scan_file(&folder, &Volume { shape: [20; 3], affine: Affine::from_rows(rows), voxels: &voxels });
    let volume = only(crop(&path, &[LpsPoint { x: 5.0, y: -5.0, z: 2.5 }], &exactly(7)).expect("readable"));
    for (index, &found) in volume.iter().enumerate() {
        let [z, y, x] = [index / 49, index / 7 % 7, index % 7].map(|axis| axis + 10 - 3);
        assert_eq!(found, f32::from(voxels[(z * 20 + y) * 20 + x]), "{index}");
    }
}

#[test]
fn a_value_outside_that_is_no_number_is_refused() {
    let case = cases().into_iter().next().expect("a case");
    let error = crop(&case.path, &[case.point], &CropParameters { pad_hu: f64::NAN, ..parameters(8) });
    assert!(matches!(error, Err(CropError::Pad { .. })), "{error:?}");
}

/// The size of the difference that [`pipe_stages::crop::exact`]'s documentation states.
#[test]
fn the_two_ways_of_sampling_differ_where_values_change() {
    let case = cases().into_iter().find(|case| case.name == "crop100").expect("listed");
    let of = |parameters| only(crop(&case.path, &[case.point], &parameters).expect("readable"));
    let (reference, exact) = (of(parameters(100)), of(exactly(100)));
    let mut differences: Vec<f32> = reference.iter().zip(&exact).map(|(a, b)| (a - b).abs()).collect();
    differences.sort_by(f32::total_cmp);
    let mean = differences.iter().map(|&value| f64::from(value)).sum::<f64>() / differences.len() as f64;
    assert!((mean - 21.1).abs() < 0.1, "{mean} HU");
    let median = differences[differences.len() / 2];
    assert!((median - 3.5).abs() < 0.1, "{median} HU");
}
