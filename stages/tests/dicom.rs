//! Reading DICOM series: order, geometry, values, and refusals, with files written here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "dicom/build.rs"]
mod build;

use build::{COLUMNS, EXPLICIT_BIG, File, PATIENT, PIXELS, ROWS, group, named, stored};
use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use pipe_stages::imaging::affine::Affine;
use pipe_stages::imaging::dicom::error::DicomError;
use pipe_stages::imaging::dicom::{Content, ReadOptions, Series, SeriesFile, Tolerance, Voxels, read_series};

const DIRECTORY: &str = uids::MEDIA_STORAGE_DIRECTORY_STORAGE;

fn read(files: &[SeriesFile]) -> Result<Series, DicomError> {
    read_series(files, &ReadOptions::default())
}

fn message(files: &[SeriesFile]) -> String {
    read(files).expect_err("not a volume").to_string()
}

/// Slices at the given places, in reverse, under names that say nothing.
fn series(places: &[f64]) -> Vec<SeriesFile> {
    let file = |(index, &z)| File::slice(index, z).named(&name(index));
    places.iter().enumerate().rev().map(file).collect()
}

/// Names that sort otherwise than the slices.
fn name(index: usize) -> String {
    format!("{}.dcm", (index * 7 + 3) % 10)
}

/// HU of the slices that [`series`] makes.
fn expected(slices: usize) -> Vec<i16> {
    (0..slices).flat_map(stored).map(|value| value - 1024).collect()
}

/// The affine of axial slices from `z` on.
fn axial(z: f64, step: f64) -> Affine {
    Affine::from_rows([[-0.5, 0.0, 0.0, 10.0], [0.0, -0.75, 0.0, -20.0], [0.0, 0.0, step, z]])
}

fn largest_difference(a: &Affine, b: &Affine) -> f64 {
    let entries = |m: &Affine| [m.linear.as_flattened(), &m.translation].concat();
    entries(a).iter().zip(entries(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn slices_are_ordered_by_place_and_not_by_name() {
    let series = read(&series(&[-5.0, -2.5, 0.0, 2.5])).unwrap();
    assert_eq!(series.shape, [usize::from(COLUMNS), usize::from(ROWS), 4]);
    assert_eq!(series.affine, axial(-5.0, 2.5));
    assert_eq!(series.voxels, Voxels::Integers(expected(4)));
    assert_eq!((series.spacing, series.tilt_degrees), ([0.5, 0.75, 2.5], 0.0));
    assert_eq!((series.files, series.skipped.len()), (4, 0));
}

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
        assert_eq!(series.affine, axial(0.0, 1.0), "{syntax}");
    }
}

#[test]
fn files_that_are_no_image_are_skipped_and_listed() {
    let mut files = series(&[0.0, 1.0]);
    files.push(named("LICENSE", b"terms".to_vec()));
    files.push(named("a.xml", [b"<a/>".repeat(100)].concat()));
    files.push(named("empty", Vec::new()));
    let directory = File::slice(0, 0.0).without(tags::SOP_CLASS_UID).bytes_of_class(DIRECTORY);
    files.push(named("DICOMDIR", directory));
    let series = read(&files).unwrap();
    assert_eq!(series.skipped, ["DICOMDIR", "LICENSE", "a.xml", "empty"]);
    assert_eq!(series.files, 2);
    assert!(message(&files[2..]).contains("no CT image among 4 files"));
    assert!(message(&[]).contains("no CT image among 0 files"));
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
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
    assert_eq!(plain.len(), 352 + 2 * PIXELS * 2);
    assert_eq!(plain[352..354], (-1324_i16).to_le_bytes());
    // data_type, db_name, …; descrip, aux_file; intent_name.
    for text in [4..38, 148..252, 328..344] {
        assert!(plain[text.clone()].iter().all(|&byte| byte == 0), "{text:?}");
    }
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
    assert!(largest_difference(&series.affine, &expected) < 1e-12, "{:?}", series.affine);
    assert!(series.affine.shear() < 1e-12 && series.tilt_degrees == 0.0);
}

#[test]
fn rounded_cosines_give_perpendicular_axes() {
    let file = |index: usize| {
        let mut file = File::slice(index, index as f64);
        file.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0.9998\\0.0175\\0\\-0.0174\\0.9999\\0");
        file.named(&name(index))
    };
    let series = read(&[file(0), file(1)]).unwrap();
    assert!(series.affine.shear() < 1e-12);
    let [first, second, third] = series.affine.spacing();
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
    assert_eq!(series.affine, expected);
    assert_eq!(series.spacing, [0.5, 0.75, 2.0]);
    assert!((series.tilt_degrees - 7.125).abs() < 1e-3, "{}", series.tilt_degrees);
    let mut plain = Vec::new();
    let bytes = series.nii_gz_bytes().unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
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
    assert_eq!(read.affine, axial(0.0, 0.625));
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
fn what_all_slices_share_must_not_differ() {
    let cases: [(&str, fn(&mut File)); 7] = [
        ("ImageOrientationPatient", |file| {
            file.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\-1\\0\\0");
        }),
        ("PixelSpacing", |file| {
            file.text(tags::PIXEL_SPACING, VR::DS, "0.75\\0.51");
        }),
        ("ImageType", |file| {
            file.text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\AXIAL");
        }),
        ("FrameOfReferenceUID", |file| {
            file.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.6");
        }),
        ("Rows", |file| {
            file.short(tags::ROWS, 2).words(vec![0; 8]);
        }),
        ("Columns", |file| {
            file.short(tags::COLUMNS, 2).words(vec![0; 6]);
        }),
        ("a localizer", |file| {
            file.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
        }),
    ];
    for (what, change) in cases {
        let mut file = File::slice(2, 2.0);
        change(&mut file);
        let mut files = series(&[0.0, 1.0]);
        files.push(file.named("zz"));
        let message = message(&files);
        assert!(message.starts_with("zz: ") && message.contains(what), "{what}: {message}");
    }
}

#[test]
fn several_series_are_counted_and_not_shown() {
    let mut files = series(&[0.0, 1.0]);
    for (name, uid) in [("a", "9.8.7"), ("b", "9.8.6")] {
        let mut file = File::slice(0, 5.0);
        file.text(tags::SERIES_INSTANCE_UID, VR::UI, uid);
        files.push(file.named(name));
    }
    let message = message(&files);
    assert!(message.contains("files of 3 series") && !message.contains("9.8."), "{message}");
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
    file.words((0..PIXELS as u16 / 2).map(|pair| 2 * pair | (2 * pair + 1) << 8)).syntax = EXPLICIT_BIG;
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
fn a_single_slice_takes_the_step_that_it_declares() {
    let mut file = File::slice(0, 4.0);
    assert_eq!(read(&[file.named("a")]).unwrap().affine, axial(4.0, 2.5));
    file.text(tags::SPACING_BETWEEN_SLICES, VR::DS, "1.25");
    assert_eq!(read(&[file.named("a")]).unwrap().affine, axial(4.0, 1.25));
    file.without(tags::SPACING_BETWEEN_SLICES).without(tags::SLICE_THICKNESS);
    assert!(message(&[file.named("a")]).contains("a: (0018,0050) SliceThickness is missing"));
}

/// Three frames with their own positions and a shared rest.
fn enhanced() -> File {
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

#[test]
fn the_frames_of_an_enhanced_ct_are_slices() {
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_BIG] {
        let mut file = enhanced();
        file.syntax = syntax;
        let series = read(&[file.named("a")]).unwrap();
        assert_eq!(series.voxels, Voxels::Integers(expected(3)), "{syntax}");
        assert_eq!(series.affine, axial(0.0, 1.0));
        assert_eq!((series.shape[2], series.files), (3, 1));
    }
    let mut frames_without_places = File::slice(0, 0.0);
    frames_without_places.text(tags::NUMBER_OF_FRAMES, VR::IS, "2").words(vec![0; 2 * PIXELS]);
    assert!(message(&[frames_without_places.named("a")]).contains("same position"));
}

/// RLE of pixels of 16 bits, all stored as they are.
fn rle(words: &[i16]) -> Vec<u8> {
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

#[test]
fn unacceptable_files_are_refused_by_attribute() {
    let cases: Vec<(&str, fn(&mut File))> = vec![
        ("(0028,0004) PhotometricInterpretation (byte", |f| {
            f.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
        }),
        ("(0028,0002) SamplesPerPixel", |f| {
            f.short(tags::SAMPLES_PER_PIXEL, 3);
        }),
        ("(0028,0100) BitsAllocated", |f| {
            f.short(tags::BITS_ALLOCATED, 12);
        }),
        ("(0028,0101) BitsStored", |f| {
            f.short(tags::BITS_STORED, 17);
        }),
        ("(0028,0101) BitsStored", |f| {
            f.short(tags::BITS_STORED, 0);
        }),
        ("(0028,0102) HighBit", |f| {
            f.short(tags::HIGH_BIT, 16);
        }),
        ("(0028,0103) PixelRepresentation", |f| {
            f.short(tags::PIXEL_REPRESENTATION, 2);
        }),
        ("(0028,0010) Rows", |f| {
            f.short(tags::ROWS, 0);
        }),
        ("(0028,0011) Columns", |f| {
            f.short(tags::COLUMNS, 40_000);
        }),
        ("(0028,0010) Rows", |f| {
            f.short(tags::ROWS, 32_767).short(tags::COLUMNS, 32_767);
        }),
        ("(0028,0010) Rows (byte", |f| {
            f.text(tags::ROWS, VR::IS, "3   ");
        }),
        ("(0028,0010) Rows is missing", |f| {
            f.without(tags::ROWS);
        }),
        ("(0028,1053) RescaleSlope is missing", |f| {
            f.without(tags::RESCALE_SLOPE);
        }),
        ("(0028,1053) RescaleSlope", |f| {
            f.text(tags::RESCALE_SLOPE, VR::DS, "0");
        }),
        ("(0028,1052) RescaleIntercept", |f| {
            f.text(tags::RESCALE_INTERCEPT, VR::DS, "NaN");
        }),
        ("(0028,0030) PixelSpacing", |f| {
            f.text(tags::PIXEL_SPACING, VR::DS, "0.5");
        }),
        ("(0028,0030) PixelSpacing", |f| {
            f.text(tags::PIXEL_SPACING, VR::DS, "0.5\\0");
        }),
        ("(0020,0032) ImagePositionPatient", |f| {
            f.text(tags::IMAGE_POSITION_PATIENT, VR::DS, "0\\0\\1e300");
        }),
        ("(0020,0032) ImagePositionPatient is missing", |f| {
            f.without(tags::IMAGE_POSITION_PATIENT);
        }),
        ("(0020,0037) ImageOrientationPatient", |f| {
            f.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\1\\0\\0");
        }),
        ("(0020,0037) ImageOrientationPatient", |f| {
            f.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\0\\0\\0\\0\\0");
        }),
        ("(0008,0016) SOPClassUID", |f| {
            f.text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE);
        }),
        ("(0020,000E) SeriesInstanceUID is missing", |f| {
            f.without(tags::SERIES_INSTANCE_UID);
        }),
        ("(7FE0,0010) PixelData is missing", |f| {
            f.without(tags::PIXEL_DATA);
        }),
        ("pixel data of frame 1: 2 bytes, expected 24", |f| {
            f.words(vec![1]);
        }),
        ("pixel data of frame 1: 26 bytes, expected 24", |f| {
            f.words(vec![1; PIXELS + 1]);
        }),
        ("(0028,0008) NumberOfFrames", |f| {
            f.text(tags::NUMBER_OF_FRAMES, VR::IS, "0");
        }),
        ("(0028,0008) NumberOfFrames", |f| {
            f.text(tags::NUMBER_OF_FRAMES, VR::IS, "2000000000");
        }),
        ("transfer syntax 1.2.840.10008.1.2.4.50 is not supported", |f| f.syntax = uids::JPEG_BASELINE8_BIT),
        ("expected encapsulated pixel data", |f| f.syntax = uids::RLE_LOSSLESS),
        ("pixel data of known length", |f| {
            f.fragments(uids::EXPLICIT_VR_LITTLE_ENDIAN, vec![], vec![vec![0; 24]]);
        }),
        ("(7FE0,0010) PixelData is missing", |f| {
            f.fragments(uids::RLE_LOSSLESS, vec![], vec![]);
        }),
    ];
    for (expected, change) in cases {
        let mut file = File::slice(0, 0.0);
        change(&mut file);
        let message = message(&[file.named("folder/name.dcm")]);
        assert!(message.starts_with("folder/name.dcm: "), "{message}");
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(!message.contains(PATIENT), "{message}");
    }
}

#[test]
fn a_volume_above_the_limit_is_refused_before_it_is_decoded() {
    let options = ReadOptions { memory_bytes: 2 * 3 * PIXELS as u64 - 1, ..ReadOptions::default() };
    let error = read_series(&series(&[0.0, 1.0, 2.0]), &options).expect_err("too large");
    assert_eq!(error.to_string(), "4×3 voxels in 3 slices need 72 bytes; the limit is 71");
}

#[test]
fn sequences_around_the_image_do_not_matter() {
    // An icon has pixel data of its own, and unknown sequences may be implicit inside explicit files.
    let mut icon = File::slice(3, 3.0);
    icon.fragments(uids::RLE_LOSSLESS, vec![], vec![vec![7; 10]]);
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
        let mut file = File::slice(0, 0.0);
        file.syntax = syntax;
        file.sequence(tags::ICON_IMAGE_SEQUENCE, vec![File::slice(5, 5.0).data, icon.data.clone()]);
        assert_eq!(read(&[file.named("a")]).unwrap().voxels, Voxels::Integers(expected(1)), "{syntax}");
    }
    let bytes = File::slice(0, 0.0).bytes();
    let pixel_data = bytes.windows(4).position(|window| window == [0xE0, 0x7F, 0x10, 0]).unwrap();
    let mut unknown = b"\x99\x70\x10\x10UN\0\0\xFF\xFF\xFF\xFF".to_vec();
    unknown.extend(b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\x10\x00\x10\x00\x04\0\0\0Name");
    unknown.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
    let with_unknown = [&bytes[..pixel_data], &unknown, &bytes[pixel_data..]].concat();
    assert_eq!(read(&[named("a", with_unknown)]).unwrap().voxels, Voxels::Integers(expected(1)));
    let deep = b"\x99\x70\x10\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF".repeat(100_000);
    let too_deep = [&bytes[..pixel_data], &deep].concat();
    assert!(message(&[named("a", too_deep)]).contains("sequences at most 16 deep"));
}

/// A file of each kind: plain, enhanced, fragments.
fn samples() -> Vec<Vec<u8>> {
    let mut fragments = File::slice(0, 0.0);
    fragments.fragments(uids::RLE_LOSSLESS, vec![0], vec![rle(&stored(0))]);
    let mut implicit = enhanced();
    implicit.syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN;
    vec![File::slice(0, 0.0).bytes(), implicit.bytes(), fragments.bytes()]
}

#[test]
fn a_file_that_is_cut_off_is_never_read() {
    for bytes in samples() {
        assert!(read(&[named("a", bytes.clone())]).is_ok());
        for length in 0..bytes.len() {
            let result = read(&[named("a", bytes[..length].to_vec())]);
            assert!(result.is_err(), "{length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn a_flipped_bit_never_panics_and_never_shows_the_patient() {
    for bytes in samples() {
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                if let Err(error) = read(&[named("a", damaged)]) {
                    let message = error.to_string();
                    assert!(!message.contains("Secret"), "byte {position}, bit {bit}: {message}");
                }
            }
        }
    }
}
