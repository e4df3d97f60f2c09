//! What is skipped, what is refused and how it is named, and damage.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use pipe_imaging::dicom::{ReadOptions, Voxels, read_series};

use super::build::{File, PATIENT, PIXELS, group, named, stored};
use super::series::{enhanced, expected, message, read, rle, series};

const DIRECTORY: &str = uids::MEDIA_STORAGE_DIRECTORY_STORAGE;

/// What a case does to a good file.
type Change = fn(&mut File);

#[test]
fn files_that_are_no_image_are_skipped_and_listed() {
    let mut files = series(&[0.0, 1.0]);
    files.push(named("LICENSE", b"terms".to_vec()));
    files.push(named("a.xml", [b"<a/>".repeat(100)].concat()));
    files.push(named("empty.txt", Vec::new()));
    let directory = File::slice(0, 0.0).without(tags::SOP_CLASS_UID).bytes_of_class(DIRECTORY);
    files.push(named("DICOMDIR", directory));
    let series = read(&files).unwrap();
    assert_eq!(series.geometry.skipped, ["DICOMDIR", "LICENSE", "a.xml", "empty.txt"]);
    assert_eq!(series.geometry.files, 2);
    assert!(message(&files[2..]).contains("no CT image among 4 files"));
    assert!(message(&[]).contains("no CT image among 0 files"));
}

#[test]
fn a_slice_that_was_lost_on_the_way_is_named() {
    let whole = File::slice(2, 2.0).bytes();
    let mut without_preamble = File::slice(2, 2.0);
    without_preamble.syntax = uids::IMPLICIT_VR_LITTLE_ENDIAN;
    let implicit = without_preamble.bytes();
    let data_set = implicit.windows(8).position(|window| window == [8, 0, 8, 0, 22, 0, 0, 0]).unwrap();
    for (bytes, expected) in [
        (Vec::new(), "the file is empty"),
        (whole[..100].to_vec(), "the file ends too early: 132 bytes expected at byte 0, of 100 in all"),
        (whole[..131].to_vec(), "the file ends too early: 132 bytes expected at byte 0, of 131 in all"),
        (vec![0; 4096], "no DICOM file, though its name"),
        (implicit[data_set..].to_vec(), "DICOM without its preamble"),
    ] {
        for name in ["9.dcm", "folder/9", "part"] {
            let mut files = series(&[0.0, 1.0]);
            files.push(named(name, bytes.clone()));
            let message = message(&files);
            assert!(message.starts_with(&format!("{name}: {expected}")), "{message}");
        }
    }
}

#[test]
fn values_that_are_no_hounsfield_units_are_refused_by_attribute() {
    for accepted in ["HU", "US", "HU ", ""] {
        let mut file = File::slice(0, 0.0);
        file.text(tags::RESCALE_TYPE, VR::LO, accepted);
        assert!(read(&[file.named("a")]).is_ok(), "{accepted}");
    }
    let expected = "expected HU: its values are no Hounsfield units";
    for other in ["MGML", "HU_MOD", "Z_EFF", "OD", "PCT", "ED"] {
        let mut file = File::slice(0, 0.0);
        file.text(tags::RESCALE_TYPE, VR::LO, other);
        let message = message(&[file.named("a")]);
        assert!(message.starts_with("a: (0028,1054) RescaleType (byte"), "{message}");
        assert!(message.contains(&format!("is {other}, {expected}")), "{message}");
    }
    // An enhanced CT says so once for all frames.
    let mut shared = enhanced();
    let mut groups = InMemDicomObject::new_empty();
    group(&mut groups, tags::PIXEL_MEASURES_SEQUENCE, &[(tags::PIXEL_SPACING, "0.75\\0.5")]);
    let orientation = [(tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\1\\0")];
    group(&mut groups, tags::PLANE_ORIENTATION_SEQUENCE, &orientation);
    group(&mut groups, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, &[(tags::RESCALE_TYPE, "MGML")]);
    shared.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![groups]);
    assert!(message(&[shared.named("a")]).contains("is MGML, expected HU"));
    let mut table = File::slice(0, 0.0);
    let mut item = InMemDicomObject::new_empty();
    item.put(dicom_core::DataElement::new(tags::LUT_EXPLANATION, VR::LO, "films"));
    table.sequence(tags::MODALITY_LUT_SEQUENCE, vec![item]);
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
        table.syntax = syntax;
        assert!(message(&[table.named("a")]).contains("(0028,3000) ModalityLUTSequence"), "{syntax}");
    }
    for (kind, is_read) in [
        ("DERIVED\\SECONDARY\\AXIAL\\VMI", true),
        ("DERIVED\\SECONDARY\\MPR", true),
        ("DERIVED\\PRIMARY\\AXIAL\\MAT_SPECIFIC", false),
        ("DERIVED\\PRIMARY\\AXIAL\\EFF_ATOMIC_NUM", false),
    ] {
        let mut file = File::slice(0, 0.0);
        file.text(tags::IMAGE_TYPE, VR::CS, kind);
        let result = read(&[file.named("a")]);
        assert_eq!(result.is_ok(), is_read, "{kind}");
        if let Err(error) = result {
            assert!(error.to_string().contains("(0008,0008) ImageType (byte"), "{error}");
        }
    }
}

#[test]
fn what_all_slices_share_must_not_differ() {
    let cases: [(&str, Change); 7] = [
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
fn slices_without_an_image_are_refused_within_and_told_at_the_ends() {
    let blank = |at: &[usize]| -> Vec<_> {
        (0..5)
            .map(|index| {
                let mut file = File::slice(index, index as f64);
                if at.contains(&index) {
                    file.words(vec![0; PIXELS]);
                }
                file.named(&format!("{index}.dcm"))
            })
            .collect()
    };
    assert_eq!(
        message(&blank(&[2])),
        "2.dcm: all pixels of the slice are -1024 HU, where its neighbours hold an image"
    );
    assert!(message(&blank(&[0, 3])).starts_with("3.dcm: all pixels"));
    let remarks = |at: &[usize]| read(&blank(at)).unwrap().remarks;
    assert_eq!(remarks(&[0, 4]), ["2 slices at the ends hold one value and no image, 0.dcm among them"]);
    assert_eq!(remarks(&[0, 1, 2, 3, 4]), ["each slice holds one value and no image"]);
    assert!(remarks(&[]).is_empty());
}

#[test]
fn a_slice_that_is_scaled_otherwise_than_most_is_told() {
    let with = |scalings: &[&str]| {
        let file = |(index, intercept): (usize, &&str)| {
            let mut file = File::slice(index, index as f64);
            file.text(tags::RESCALE_INTERCEPT, VR::DS, intercept);
            file.named(&format!("{index}.dcm"))
        };
        read(&scalings.iter().enumerate().map(file).collect::<Vec<_>>()).unwrap().geometry.remarks
    };
    assert_eq!(
        with(&["-1024", "-1024", "0", "-1024"]),
        [
            "1 of 4 slices are scaled otherwise than the others, 2.dcm among them: slope 1 and intercept 0 for 1 and -1024"
        ]
    );
    assert!(with(&["-1024", "-1023", "-1022", "-1021"]).is_empty(), "each by its own values");
    assert_eq!(with(&["-1024", "0"].repeat(4)).len(), 1, "half and half");
}

#[test]
fn unacceptable_files_are_refused_by_attribute() {
    let cases: Vec<(&str, Change)> = vec![
        ("(0008,0060) Modality", |f| {
            f.text(tags::MODALITY, VR::CS, "PT");
        }),
        ("(0008,0008) ImageType (byte", |f| {
            f.text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\AXIAL\\MIP");
        }),
        ("found a projection", |f| {
            f.text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\AXIAL\\CSA MIP");
        }),
        ("found a projection", |f| {
            f.text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY\\MAX_IP\\NONE");
        }),
        ("found a localizer", |f| {
            f.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\SCOUT");
        }),
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
    let mut fraction = File::slice(0, 0.0);
    fraction.text(tags::RESCALE_SLOPE, VR::DS, "0.5");
    let error = read_series(&[fraction.named("a")], &ReadOptions { memory_bytes: 47, ..options });
    let message = error.expect_err("too large in single precision").to_string();
    assert_eq!(message, "4×3 voxels in 1 slices need 48 bytes; the limit is 47");
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
