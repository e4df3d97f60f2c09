//! Order of slices, affine, spacing, tilt.

use std::io::Read;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use flate2::read::GzDecoder;
use pipe_imaging::affine::Affine;
use pipe_imaging::dicom::{ReadOptions, Tolerance, Voxels, read_series};

use super::build::{COLUMNS, File, ROWS};
use super::series::{axial, expected, message, name, read, series};

fn largest_difference(a: &Affine, b: &Affine) -> f64 {
    let entries = |m: &Affine| [m.linear.as_flattened(), &m.translation].concat();
    entries(a).iter().zip(entries(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn slices_are_ordered_by_place_and_not_by_name() {
    let series = read(&series(&[-5.0, -2.5, 0.0, 2.5])).unwrap();
    assert_eq!(series.geometry.shape, [usize::from(COLUMNS), usize::from(ROWS), 4]);
    assert_eq!(series.geometry.affine, axial(-5.0, 2.5));
    assert_eq!(series.voxels, Voxels::Integers(expected(4)));
    assert_eq!((series.geometry.spacing, series.geometry.tilt_degrees), ([0.5, 0.75, 2.5], 0.0));
    assert_eq!((series.geometry.files, series.geometry.skipped.len()), (4, 0));
}

#[test]
fn oblique_slices_get_their_own_axes() {
    // A turn about x: columns run along (0, 0.8, 0.6), the normal is (0, −0.6, 0.8).
    let file = |index: usize| {
        let along = 2.0 * index as f64;
        let place = format!("5\\{}\\{}", -0.6 * along, 0.8 * along);
        let mut file = File::slice(index, 0.0);
        file.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0.8\\0.6");
        file.text(tags::IMAGE_POSITION_PATIENT, VR::DS, &place);
        file.named(&name(index))
    };
    let series = read(&[file(0), file(1), file(2)]).unwrap();
    let expected = Affine::from_rows([[-0.5, 0.0, 0.0, -5.0], [0.0, -0.6, 1.2, 0.0], [0.0, 0.45, 1.6, 0.0]]);
    assert!(largest_difference(&series.geometry.affine, &expected) < 1e-12, "{:?}", series.geometry.affine);
    assert!(series.geometry.affine.shear() < 1e-12 && series.geometry.tilt_degrees == 0.0);
}

#[test]
fn rounded_cosines_give_perpendicular_axes() {
    let file = |index: usize| {
        let mut file = File::slice(index, index as f64);
        file.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0.9998\\0.0175\\0\\-0.0174\\0.9999\\0");
        file.named(&name(index))
    };
    let series = read(&[file(0), file(1)]).unwrap();
    assert!(series.geometry.affine.shear() < 1e-12);
    let [first, second, third] = series.geometry.affine.spacing();
    assert!((first - 0.5).abs() < 1e-12 && (second - 0.75).abs() < 1e-12 && (third - 1.0).abs() < 1e-12);
}

#[test]
fn a_tilted_gantry_shears_the_affine() {
    let file = |index: usize| {
        let mut file = File::slice(index, 0.0);
        let place = format!("-10\\{}\\{}", 20.0 + 0.25 * index as f64, 2.0 * index as f64);
        file.text(tags::IMAGE_POSITION_PATIENT, VR::DS, &place);
        file.named(&name(index))
    };
    let series = read(&[file(2), file(0), file(1)]).unwrap();
    let expected =
        Affine::from_rows([[-0.5, 0.0, 0.0, 10.0], [0.0, -0.75, -0.25, -20.0], [0.0, 0.0, 2.0, 0.0]]);
    assert_eq!(series.geometry.affine, expected);
    assert_eq!(series.geometry.spacing, [0.5, 0.75, 2.0]);
    assert!((series.geometry.tilt_degrees - 7.125).abs() < 1e-3, "{}", series.geometry.tilt_degrees);
    let mut plain = Vec::new();
    let bytes = series.nii_gz_bytes().unwrap();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(plain[252..256], [0, 0, 1, 0], "codes of qform and sform");
}

#[test]
fn gaps_duplicates_and_stray_slices_are_named() {
    let gap = message(&series(&[0.0, 1.0, 2.0, 5.0, 6.0]));
    let names = [name(2), name(3)];
    let expected =
        format!("3.000 mm between {} (at 2.000 mm along the slice normal) and {}", names[0], names[1]);
    assert!(gap.contains(&expected) && gap.contains("1.000 mm is usual"), "{gap}");
    assert!(gap.ends_with("about 2 slices seem to be missing"), "{gap}");
    let one = message(&series(&[0.0, 1.0, 2.0, 4.0]));
    assert!(one.ends_with("about 1 slice seems to be missing"), "{one}");
    let twice = message(&series(&[0.0, 1.0, 1.0, 2.0]));
    assert!(twice.contains("at the same position, 1.000 mm") && twice.contains(&name(1)), "{twice}");
    assert!(twice.contains(&name(2)), "{twice}");
    let mut files = series(&[0.0, 1.0, 3.0]);
    let mut stray = File::slice(7, 2.0);
    stray.text(tags::IMAGE_POSITION_PATIENT, VR::DS, "-10\\20.5\\2");
    files.push(stray.named("stray"));
    let off = message(&files);
    assert!(off.starts_with("stray: ImagePositionPatient is 0.500 mm away"), "{off}");
}

#[test]
fn the_tolerance_decides_how_even_is_even() {
    // One decimal of 0.625 mm.
    let places = [0.0, 0.6, 1.3, 1.9, 2.5];
    assert!(message(&series(&places)).contains("not evenly spaced"));
    let tolerance = Tolerance { millimetres: 0.15, share: 0.01 };
    let options = ReadOptions { tolerance, ..ReadOptions::default() };
    let read = read_series(&series(&places), &options).unwrap();
    assert_eq!(read.geometry.affine, axial(0.0, 0.625));
    // Three decimals pass by themselves.
    assert!(read_series(&series(&[0.0, 0.625, 1.251, 1.875]), &ReadOptions::default()).is_ok());
}

#[test]
fn small_differences_of_the_gaps_do_not_add_up() {
    // Each gap is within 1 % of the median, and the middle is 0.2 mm away from an even spacing.
    let places: Vec<f64> =
        (0..80).map(|k| if k < 40 { f64::from(k) } else { 39.0 + f64::from(k - 39) * 1.009 }).collect();
    assert!(message(&series(&places)).contains("away from the straight and even line"));
}

#[test]
fn a_single_slice_takes_the_step_that_it_declares() {
    let mut file = File::slice(0, 4.0);
    assert_eq!(read(&[file.named("a")]).unwrap().geometry.affine, axial(4.0, 2.5));
    file.text(tags::SPACING_BETWEEN_SLICES, VR::DS, "1.25");
    assert_eq!(read(&[file.named("a")]).unwrap().geometry.affine, axial(4.0, 1.25));
    file.without(tags::SPACING_BETWEEN_SLICES).without(tags::SLICE_THICKNESS);
    assert!(message(&[file.named("a")]).contains("a: (0018,0050) SliceThickness is missing"));
}
