//! Voxels: encodings, bits, rescaling, frames.

use std::io::Read;

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use flate2::read::GzDecoder;
use pipe_imaging::dicom::{Content, SeriesFile, Voxels};

use super::build::{EXPLICIT_BIG, File, PIXELS, stored};
use super::series::{axial, enhanced, expected, message, name, read, rle, series};

#[test]
fn uncompressed_syntaxes_give_the_same_volume() {
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG] {
        let file = |index: usize| {
            let mut file = File::slice(index, index as f64);
            file.syntax = syntax;
            file.named(&name(index))
        };
        let series = read(&[file(1), file(0), file(2)]).unwrap();
        assert_eq!(series.voxels, Voxels::Integers(expected(3)), "{syntax}");
        assert_eq!(series.geometry.affine, axial(0.0, 1.0), "{syntax}");
    }
}

#[test]
fn files_on_disk_are_read_as_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = series(&[0.0, 1.0, 2.0]);
    let on_disk: Vec<SeriesFile> = in_memory
        .iter()
        .map(|SeriesFile { name, content }| {
            let Content::Bytes(bytes) = content else { panic!("in memory") };
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            SeriesFile { name: name.clone(), content: Content::Path(path) }
        })
        .collect();
    assert_eq!(read(&on_disk).unwrap(), read(&in_memory).unwrap());
    let missing = SeriesFile { name: "gone".to_owned(), content: Content::Path(folder.path().join("gone")) };
    assert!(message(&[missing]).starts_with("gone: cannot read: "));
}

#[test]
fn the_nifti_file_holds_the_volume_and_nothing_of_the_patient() {
    let files = series(&[0.0, 1.0]);
    let mut shuffled = files.clone();
    shuffled.reverse();
    let bytes = read(&files).unwrap().nii_gz_bytes().unwrap();
    assert_eq!(bytes, read(&shuffled).unwrap().nii_gz_bytes().unwrap());
    let mut plain = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(plain.len(), 352 + 2 * PIXELS * 2);
    assert_eq!(plain[352..354], (-1324_i16).to_le_bytes());
    // data_type, db_name, …; descrip, aux_file; intent_name.
    for text in [4..38, 148..252, 328..344] {
        assert!(plain[text.clone()].iter().all(|&byte| byte == 0), "{text:?}");
    }
}

#[test]
fn bits_are_taken_out_and_signs_extended() {
    // allocated, stored, high bit, signed, word, number
    let cases = [
        (16, 12, 11, true, 0x0FFF, -1),
        (16, 12, 11, true, 0xF7FF, 2047),
        (16, 12, 11, false, 0xFFFF, 4095),
        (16, 12, 15, true, 0xFFF5, -1),
        (16, 12, 13, false, 0x3FFC, 4095),
        (16, 16, 15, true, 0x8000, -32768),
        (16, 16, 15, false, 0x7FFF, 32767),
        (16, 1, 0, false, 0xFFFF, 1),
    ];
    for (allocated, bits, high, signed, word, number) in cases {
        let mut file = File::slice(0, 0.0);
        file.bits(allocated, bits, high, signed).words(vec![word; PIXELS]);
        file.text(tags::RESCALE_INTERCEPT, VR::DS, "0");
        let series = read(&[file.named("a")]).unwrap();
        assert_eq!(series.voxels, Voxels::Integers(vec![number; PIXELS]), "{word:04x} {bits} {high}");
    }
}

#[test]
fn pixels_of_8_and_32_bits_are_read_in_either_order() {
    let numbers: Vec<i32> = (0..PIXELS as i32).map(|pixel| pixel * 11 - 60).collect();
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG] {
        let expected = Voxels::Integers(numbers.iter().map(|&number| number as i16).collect());
        let mut bytes = File::slice(0, 0.0);
        let values = numbers.iter().map(|&number| number as i8 as u8).collect();
        bytes.bits(8, 8, 7, true).text(tags::RESCALE_INTERCEPT, VR::DS, "0");
        bytes.put(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(values)).syntax = syntax;
        assert_eq!(read(&[bytes.named("a")]).unwrap().voxels, expected, "{syntax}");
        let mut words = File::slice(0, 0.0);
        let values = numbers.iter().map(|&number| number.cast_unsigned()).collect();
        words.bits(32, 32, 31, true).text(tags::RESCALE_INTERCEPT, VR::DS, "0");
        words.put(tags::PIXEL_DATA, VR::OL, PrimitiveValue::U32(values)).syntax = syntax;
        assert_eq!(read(&[words.named("a")]).unwrap().voxels, expected, "{syntax}");
    }
}

#[test]
fn bytes_in_big_endian_words_are_swapped_back() {
    let mut file = File::slice(0, 0.0);
    file.bits(8, 8, 7, false).text(tags::RESCALE_INTERCEPT, VR::DS, "0");
    // The first pixel is the low byte of the first word.
    file.words((0..PIXELS as u16 / 2).map(|pair| (2 * pair) | ((2 * pair + 1) << 8))).syntax = EXPLICIT_BIG;
    let expected = (0..PIXELS as i16).collect();
    assert_eq!(read(&[file.named("a")]).unwrap().voxels, Voxels::Integers(expected));
}

#[test]
fn each_slice_is_rescaled_by_its_own_numbers() {
    let mut files = Vec::new();
    for (index, (slope, intercept)) in [("1", "-1024"), ("2", "0"), ("-3.0", "+1e1")].into_iter().enumerate()
    {
        let mut file = File::slice(0, index as f64);
        file.text(tags::RESCALE_SLOPE, VR::DS, slope).text(tags::RESCALE_INTERCEPT, VR::DS, intercept);
        files.push(file.named(&name(index)));
    }
    let expected: Vec<i16> = [(1, -1024), (2, 0), (-3, 10)]
        .into_iter()
        .flat_map(|(slope, intercept)| stored(0).into_iter().map(move |value| slope * value + intercept))
        .collect();
    assert_eq!(read(&files).unwrap().voxels, Voxels::Integers(expected));
}

#[test]
fn single_precision_only_where_integers_do_not_do() {
    let mut fraction = File::slice(0, 1.0);
    fraction.text(tags::RESCALE_SLOPE, VR::DS, "0.5");
    let series = read(&[File::slice(0, 0.0).named("a"), fraction.named("b")]).unwrap();
    let whole = stored(0).into_iter().map(|value| f32::from(value) - 1024.0);
    let half = stored(0).into_iter().map(|value| f32::from(value) * 0.5 - 1024.0);
    assert_eq!(series.voxels, Voxels::Reals(whole.chain(half).collect()));
    let mut large = File::slice(0, 0.0);
    large.bits(16, 16, 15, false).words(vec![60_000; PIXELS]);
    assert_eq!(read(&[large.named("a")]).unwrap().voxels, Voxels::Reals(vec![58_976.0; PIXELS]));
    let mut beyond = File::slice(0, 0.0);
    beyond.text(tags::RESCALE_SLOPE, VR::DS, "1e300");
    assert!(message(&[beyond.named("a")]).contains("exceeds single precision"));
}

#[test]
fn the_frames_of_an_enhanced_ct_are_slices() {
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG] {
        let mut file = enhanced();
        file.syntax = syntax;
        let series = read(&[file.named("a")]).unwrap();
        assert_eq!(series.voxels, Voxels::Integers(expected(3)), "{syntax}");
        assert_eq!(series.geometry.affine, axial(0.0, 1.0));
        assert_eq!((series.geometry.shape[2], series.geometry.files), (3, 1));
    }
    let mut frames_without_places = File::slice(0, 0.0);
    frames_without_places.text(tags::NUMBER_OF_FRAMES, VR::IS, "2").words(vec![0; 2 * PIXELS]);
    assert!(message(&[frames_without_places.named("a")]).contains("same position"));
}

#[test]
fn fragments_belong_to_frames_one_by_one_or_by_the_offset_table() {
    let frames = [2, 0, 1].map(|index| rle(&stored(index)));
    let mut one_each = enhanced();
    one_each.fragments(uids::RLE_LOSSLESS, Vec::new(), frames.to_vec());
    assert_eq!(read(&[one_each.named("a")]).unwrap().voxels, Voxels::Integers(expected(3)));
    let pieces: Vec<Vec<u8>> = frames.iter().flat_map(|frame| frame.chunks(40)).map(<[u8]>::to_vec).collect();
    let size = |frame: &Vec<u8>| frame.chunks(40).map(|piece| piece.len() as u32 + 8).sum::<u32>();
    let offsets = vec![0, size(&frames[0]), size(&frames[0]) + size(&frames[1])];
    let mut in_pieces = enhanced();
    in_pieces.fragments(uids::RLE_LOSSLESS, offsets, pieces.clone());
    assert_eq!(read(&[in_pieces.named("a")]).unwrap().voxels, Voxels::Integers(expected(3)));
    for table in [vec![], vec![0, 3, 5], vec![0, size(&frames[0])]] {
        let mut file = enhanced();
        file.fragments(uids::RLE_LOSSLESS, table, pieces.clone());
        assert!(message(&[file.named("a")]).contains("one fragment for each frame, or an offset table"));
    }
    let mut single = File::slice(1, 0.0);
    single.fragments(uids::RLE_LOSSLESS, vec![], rle(&stored(1)).chunks(40).map(<[u8]>::to_vec).collect());
    let hu = stored(1).into_iter().map(|value| value - 1024).collect();
    assert_eq!(read(&[single.named("a")]).unwrap().voxels, Voxels::Integers(hu));
}
