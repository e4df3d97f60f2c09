//! Series of the files that [`super::build`] writes, and what they must become.

use std::collections::BTreeSet;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use pipe_imaging::affine::Affine;
use pipe_imaging::dicom::error::DicomError;
use pipe_imaging::dicom::{
    Geometry, ReadOptions, Series, SeriesFile, read_geometry, read_series, read_slices,
};

use super::build::{File, group, stored};

pub fn read(files: &[SeriesFile]) -> Result<Series, DicomError> {
    let series = read_series(files, &ReadOptions::default())?;
    let geometry = read_geometry(files, ReadOptions::default().tolerance)?;
    assert_eq!(geometry, series.geometry, "headers alone say the same");
    Ok(series)
}

pub fn message(files: &[SeriesFile]) -> String {
    read(files).expect_err("not a volume").to_string()
}

#[test]
fn single_slices_are_those_of_the_whole_series() {
    let files = series(&[0.0, 1.0, 2.0, 3.0]);
    let wanted = |_: &Geometry| BTreeSet::from([1, 3, 9]);
    let (geometry, slices) = read_slices(&files, ReadOptions::default().tolerance, wanted).unwrap();
    let whole = read(&files).unwrap();
    assert_eq!(geometry, whole.geometry);
    let expected: Vec<f32> = expected(4).into_iter().map(f32::from).collect();
    let of_slice = |slice: usize| expected.chunks(12).nth(slice).unwrap().to_vec();
    assert_eq!(slices, [(1, of_slice(1)), (3, of_slice(3))].into());
}

/// Slices at the given places, in reverse, under names that say nothing.
pub fn series(places: &[f64]) -> Vec<SeriesFile> {
    let file = |(index, &z)| File::slice(index, z).named(&name(index));
    places.iter().enumerate().rev().map(file).collect()
}

/// Names that sort otherwise than the slices.
pub fn name(index: usize) -> String {
    format!("{}.dcm", (index * 7 + 3) % 10)
}

/// HU of the slices that [`series`] makes.
pub fn expected(slices: usize) -> Vec<i16> {
    (0..slices).flat_map(stored).map(|value| value - 1024).collect()
}

/// The affine of axial slices from `z` on.
pub fn axial(z: f64, step: f64) -> Affine {
    Affine::from_rows([[-0.5, 0.0, 0.0, 10.0], [0.0, -0.75, 0.0, -20.0], [0.0, 0.0, step, z]])
}

/// Three frames with their own positions and a shared rest.
pub fn enhanced() -> File {
    let mut file = File::slice(0, 0.0);
    for tag in [
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::PIXEL_SPACING,
        tags::RESCALE_SLOPE,
        tags::RESCALE_INTERCEPT,
        tags::SLICE_THICKNESS,
    ] {
        file.without(tag);
    }
    let mut shared = InMemDicomObject::new_empty();
    group(&mut shared, tags::PIXEL_MEASURES_SEQUENCE, &[(tags::PIXEL_SPACING, "0.75\\0.5")]);
    let orientation = [(tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\1\\0")];
    group(&mut shared, tags::PLANE_ORIENTATION_SEQUENCE, &orientation);
    let frames = [2.0, 0.0, 1.0].map(|z| {
        let mut frame = InMemDicomObject::new_empty();
        let place = format!("-10\\20\\{z}");
        group(&mut frame, tags::PLANE_POSITION_SEQUENCE, &[(tags::IMAGE_POSITION_PATIENT, &place)]);
        let rescale = [(tags::RESCALE_SLOPE, "1"), (tags::RESCALE_INTERCEPT, "-1024")];
        group(&mut frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &rescale);
        frame
    });
    file.text(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_CT_IMAGE_STORAGE)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, "3")
        .sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared])
        .sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.to_vec())
        .words([2, 0, 1].into_iter().flat_map(stored).map(i16::cast_unsigned));
    file
}

/// RLE of pixels of 16 bits, all stored as they are.
pub fn rle(words: &[i16]) -> Vec<u8> {
    let segment = |byte: usize| {
        let bytes: Vec<u8> = words.iter().map(|word| word.to_be_bytes()[byte]).collect();
        bytes.chunks(128).flat_map(|run| [&[run.len() as u8 - 1], run].concat()).collect::<Vec<u8>>()
    };
    let (high, low) = (segment(0), segment(1));
    let mut header = [0_u32; 16];
    header[..3].copy_from_slice(&[2, 64, 64 + high.len() as u32]);
    let mut bytes: Vec<u8> = header.iter().flat_map(|field| field.to_le_bytes()).collect();
    bytes.extend(high);
    bytes.extend(low);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}
