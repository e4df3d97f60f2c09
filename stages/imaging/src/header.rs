//! A NIfTI header: what a CT reader needs of it, checked.
//!
//! Fields come from `fields`; this module decides which values are acceptable. It knows
//! neither files nor streams, so its errors name field and byte, and the reader adds the path.

use super::fields::{self, Fields};
use super::layout::Layout;
use super::orientation::{Forms, Offsets};
use super::voxels::DataType;

pub use super::fields::{HEADER_2_BYTES, HEADER_BYTES, Storage, Version};

/// The largest extent of an axis in NIfTI-1, where dimensions are signed 16-bit integers.
const LARGEST_EXTENT: i64 = i16::MAX as i64;
/// The largest extent in NIfTI-2: far beyond any scanner, and no sum of sizes can overflow below it.
const LARGEST_EXTENT_2: i64 = 1 << 20;
/// Above 2²⁴ neighbouring integers share one f32, so that the offset would be a guess.
const LARGEST_OFFSET: f64 = (1 << 24) as f64;
/// More than any extension takes; skipping costs time in a compressed file.
const LARGEST_OFFSET_2: f64 = (1 << 30) as f64;

/// A header field with a value that no CT scan can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} (byte {offset}) is {found}, expected {expected}")]
pub struct FieldError {
    /// The field's name in the NIfTI standard.
    pub field: String,
    /// The field's byte offset in the header.
    pub offset: usize,
    /// The value found.
    pub found: String,
    /// What would have been acceptable.
    pub expected: &'static str,
}

impl FieldError {
    pub(super) fn new(field: &str, offset: usize, found: impl ToString, expected: &'static str) -> Self {
        Self { field: field.to_owned(), offset, found: found.to_string(), expected }
    }
}

/// What a header says of a three-dimensional scan.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanHeader {
    /// Which layout the header has.
    pub version: Version,
    /// Whether the voxels follow in the same file.
    pub storage: Storage,
    /// How the voxels lie in the file that holds them.
    pub layout: Layout,
    /// The orientation fields.
    pub forms: Forms,
}

impl ScanHeader {
    /// Reads and checks a header of either version; `bytes` may go on behind it.
    ///
    /// # Errors
    /// [`FieldError`] naming the first field that is not acceptable.
    pub fn parse(bytes: &[u8]) -> Result<Self, FieldError> {
        let fields = Fields::read(bytes)?;
        let shape = shape(&fields)?;
        let (slope, intercept) = scaling(&fields)?;
        Ok(Self {
            version: fields.version,
            storage: fields.storage,
            layout: Layout {
                shape,
                data_type: data_type(&fields)?,
                big_endian: fields.big_endian,
                slope,
                intercept,
                data_offset: data_offset(&fields)?,
            },
            forms: forms(&fields)?,
        })
    }
}

/// Three extents; further axes must be singletons. A picture of two axes is a scan of one slice, and
/// extents that `dim[0]` does not count are not looked at.
fn shape(fields: &Fields) -> Result<[usize; 3], FieldError> {
    let fields::Layout { dim: offset, dim_bytes, .. } = fields.layout;
    let [axes, extents @ ..] = fields.dim;
    let counted = usize::try_from(axes).ok().filter(|axes| (2..=7).contains(axes));
    let counted = counted.ok_or_else(|| FieldError::new("dim[0]", offset, axes, "2 to 7 axes"))?;
    let mut shape = [1; 3];
    for (axis, &extent) in extents.iter().enumerate().take(counted) {
        let (largest, expected) = match (fields.version, shape.get(axis)) {
            (_, None) => (1, "1: a single volume"),
            (Version::One, _) => (LARGEST_EXTENT, "1 to 32767"),
            (Version::Two, _) => (LARGEST_EXTENT_2, "1 to 1048576"),
        };
        let accepted = usize::try_from(extent).ok().filter(|_| (1..=largest).contains(&extent));
        let byte = offset + dim_bytes * (axis + 1);
        let accepted =
            accepted.ok_or_else(|| FieldError::new(&format!("dim[{}]", axis + 1), byte, extent, expected))?;
        if let Some(place) = shape.get_mut(axis) {
            *place = accepted;
        }
    }
    Ok(shape)
}

fn data_type(fields: &Fields) -> Result<DataType, FieldError> {
    let (code, bits) = (fields.datatype, fields.bitpix);
    let data_type = DataType::from_code(code).ok_or_else(|| {
        let found = DataType::refused(code).map_or(code.to_string(), |name| format!("{code} ({name})"));
        let expected = "a real scalar type: 2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280";
        FieldError::new("datatype", fields.layout.datatype, found, expected)
    })?;
    // Some writers leave bitpix unset; a value that contradicts the type means a damaged header.
    if bits != 0 && usize::try_from(bits) != Ok(8 * data_type.bytes()) {
        return Err(FieldError::new("bitpix", fields.layout.bitpix, bits, "the size of datatype in bits"));
    }
    Ok(data_type)
}

/// A slope of zero or NaN means that stored values are not scaled.
fn scaling(fields: &Fields) -> Result<(f64, f64), FieldError> {
    let (slope, intercept) = (fields.scl_slope, fields.scl_inter);
    if slope == 0.0 || slope.is_nan() {
        return Ok((1.0, 0.0));
    }
    if !slope.is_finite() {
        return Err(FieldError::new("scl_slope", fields.layout.scl_slope, slope, "a finite number"));
    }
    if !intercept.is_finite() {
        let expected = "a finite number beside a slope";
        return Err(FieldError::new("scl_inter", fields.layout.scl_inter, intercept, expected));
    }
    Ok((slope, intercept))
}

/// Behind the header in a single file; anywhere in a file of voxels alone.
fn data_offset(fields: &Fields) -> Result<u64, FieldError> {
    let (least, largest, expected) = match (fields.storage, fields.version) {
        (Storage::SingleFile, Version::One) => {
            (HEADER_BYTES as f64, LARGEST_OFFSET, "a whole number from 348 to 16777216")
        }
        (Storage::SingleFile, Version::Two) => {
            (HEADER_2_BYTES as f64, LARGEST_OFFSET_2, "a whole number from 540 to 1073741824")
        }
        (Storage::Pair, Version::One) => (0.0, LARGEST_OFFSET, "a whole number from 0 to 16777216"),
        (Storage::Pair, Version::Two) => (0.0, LARGEST_OFFSET_2, "a whole number from 0 to 1073741824"),
    };
    let offset = fields.vox_offset;
    if (least..=largest).contains(&offset) && offset.fract() == 0.0 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number of these bounds"
        )]
        return Ok(offset as u64);
    }
    Err(FieldError::new("vox_offset", fields.layout.vox_offset, offset, expected))
}

fn forms(fields: &Fields) -> Result<Forms, FieldError> {
    let layout = fields.layout;
    let [handedness, x, y, z, ..] = fields.pixdim;
    // A picture has no third spacing to give; as in the NIfTI reference library it counts as 1.
    let z = if fields.dim[0] == 2 && !(z > 0.0 && z.is_finite()) { 1.0 } else { z };
    Ok(Forms {
        sform_code: fields.sform_code,
        qform_code: fields.qform_code,
        sform_rows: fields.sform_rows,
        quaternion: fields.quaternion,
        offset: fields.quaternion_offset,
        mirrored: handedness < 0.0,
        spacing: [x, y, z],
        millimetres: millimetres(fields)?,
        offsets: Offsets {
            codes: [layout.sform_code, layout.qform_code],
            sform: layout.srow_x,
            quaternion: layout.quatern_b,
            spacing: std::array::from_fn(|axis| layout.pixdim + layout.pixdim_bytes * (axis + 1)),
        },
    })
}

/// Millimetres in the header's length unit; an unknown unit is taken as the millimetre, as ITK does.
fn millimetres(fields: &Fields) -> Result<f64, FieldError> {
    match fields.xyzt_units & 0b111 {
        0 | 2 => Ok(1.0),
        1 => Ok(1000.0),
        3 => Ok(0.001),
        other => {
            let expected = "0, 1 (metre), 2 (millimetre) or 3 (micrometre)";
            Err(FieldError::new("xyzt_units", fields.layout.xyzt_units, other, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Affine;
    use crate::nifti_write::header_bytes;

    /// A NIfTI-2 header of 4 × 5 × 6 16-bit integers, in either byte order.
    fn header_2(big_endian: bool) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_2_BYTES];
        let mut put = |offset: usize, little_endian: &[u8]| {
            let place = &mut bytes[offset..offset + little_endian.len()];
            place.copy_from_slice(little_endian);
            if big_endian {
                place.reverse();
            }
        };
        put(0, &540_i32.to_le_bytes());
        put(12, &4_i16.to_le_bytes());
        put(14, &16_i16.to_le_bytes());
        for (axis, extent) in [3_i64, 4, 5, 6, 1, 1, 1, 1].into_iter().enumerate() {
            put(16 + 8 * axis, &extent.to_le_bytes());
        }
        for (axis, spacing) in [-1.0, 0.7, 0.8, 2.0].into_iter().enumerate() {
            put(104 + 8 * axis, &f64::to_le_bytes(spacing));
        }
        put(168, &544_i64.to_le_bytes());
        put(176, &1.5_f64.to_le_bytes());
        put(184, &(-7.25_f64).to_le_bytes());
        put(344, &3_i32.to_le_bytes());
        put(348, &2_i32.to_le_bytes());
        for entry in 0..3 {
            put(352 + 8 * entry, &(0.125 * (entry + 1) as f64).to_le_bytes());
            put(376 + 8 * entry, &(10.5 * (entry + 1) as f64).to_le_bytes());
        }
        for entry in 0..12 {
            put(400 + 8 * entry, &(entry as f64 + 0.25).to_le_bytes());
        }
        put(500, &(2_i32 + 8).to_le_bytes());
        bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
        bytes
    }

    fn header() -> [u8; HEADER_BYTES] {
        header_bytes([4, 5, 6], &Affine::from_spacing([0.7, 0.8, 2.0])).expect("valid")
    }

    fn with(offset: usize, value: &[u8]) -> [u8; HEADER_BYTES] {
        let mut bytes = header();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        bytes
    }

    #[test]
    fn a_written_header_reads_back() {
        let found = ScanHeader::parse(&header()).expect("valid");
        assert_eq!(found.layout.shape, [4, 5, 6]);
        assert_eq!(found.layout.data_type, DataType::Int16);
        assert_eq!((found.layout.slope, found.layout.intercept), (1.0, 0.0));
        assert_eq!(found.layout.data_offset, 352);
        assert_eq!(found.layout.row_bytes(), 8);
        assert_eq!(found.layout.data_end(), 352 + 240);
        assert_eq!((found.forms.sform_code, found.forms.qform_code), (1, 1));
        assert!(!found.layout.big_endian);
    }

    #[test]
    fn every_unacceptable_field_is_named_with_its_byte() {
        for (offset, value, expected) in [
            (0, &540_i32.to_le_bytes()[..], "header (byte 348) is cut off, expected 348 or 540 bytes"),
            (0, &[9, 9, 9, 9], "sizeof_hdr (byte 0) is 151587081"),
            (0, &348_i32.to_be_bytes(), "dim[0] (byte 40) is \\x03\\x00, expected 1 to 7 in the byte order"),
            (344, b"zip\0", "magic (byte 344) is zip\\x00"),
            (344, b"n+2\0", "magic (byte 344) is n+2\\x00"),
            (344, &[0; 4], "magic (byte 344) is empty (an Analyze 7.5 header, which has no orientation)"),
            (40, &0_i16.to_le_bytes(), "dim[0] (byte 40) is 0, expected 2 to 7 axes"),
            (40, &1_i16.to_le_bytes(), "dim[0] (byte 40) is 1"),
            (40, &8_i16.to_le_bytes(), "dim[0] (byte 40) is \\x08\\x00"),
            (40, &(-3_i16).to_le_bytes(), "dim[0] (byte 40) is \\xfd\\xff"),
            (42, &0_i16.to_le_bytes(), "dim[1] (byte 42) is 0"),
            (46, &(-6_i16).to_le_bytes(), "dim[3] (byte 46) is -6"),
            (70, &128_i16.to_le_bytes(), "datatype (byte 70) is 128 (RGB colours), expected a real"),
            (70, &32_i16.to_le_bytes(), "datatype (byte 70) is 32 (complex64)"),
            (70, &1536_i16.to_le_bytes(), "datatype (byte 70) is 1536 (float128)"),
            (70, &77_i16.to_le_bytes(), "datatype (byte 70) is 77, expected"),
            (72, &8_i16.to_le_bytes(), "bitpix (byte 72) is 8"),
            (108, &347_f32.to_le_bytes(), "vox_offset (byte 108) is 347"),
            (108, &352.5_f32.to_le_bytes(), "vox_offset (byte 108) is 352.5"),
            (108, &f32::NAN.to_le_bytes(), "vox_offset (byte 108) is NaN"),
            (108, &1e30_f32.to_le_bytes(), "vox_offset (byte 108) is 1"),
            (112, &f32::INFINITY.to_le_bytes(), "scl_slope (byte 112) is inf"),
            (116, &f32::NAN.to_le_bytes(), "scl_inter (byte 116) is NaN"),
            (123, &[5], "xyzt_units (byte 123) is 5"),
        ] {
            let error = ScanHeader::parse(&with(offset, value)).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn nifti_2_headers_read_alike_in_both_byte_orders() {
        for big_endian in [false, true] {
            let found = ScanHeader::parse(&header_2(big_endian)).expect("valid");
            assert_eq!((found.version, found.storage), (Version::Two, Storage::SingleFile));
            assert_eq!((found.layout.shape, found.layout.data_type), ([4, 5, 6], DataType::Int16));
            assert_eq!((found.layout.slope, found.layout.intercept), (1.5, -7.25));
            assert_eq!((found.layout.data_offset, found.layout.big_endian), (544, big_endian));
            let forms = found.forms;
            assert_eq!((forms.qform_code, forms.sform_code, forms.millimetres), (3, 2, 1.0));
            assert_eq!((forms.mirrored, forms.spacing), (true, [0.7, 0.8, 2.0]));
            assert_eq!(forms.quaternion, [0.125, 0.25, 0.375]);
            assert_eq!(forms.offset, [10.5, 21.0, 31.5]);
            assert_eq!(
                forms.sform_rows,
                [0.0, 4.0, 8.0].map(|row| [0.25, 1.25, 2.25, 3.25].map(|v| row + v))
            );
        }
    }

    #[test]
    fn unacceptable_fields_of_nifti_2_are_named_with_its_own_bytes() {
        for (offset, value, expected) in [
            (4, &b"n+2\0\n\n\x1a\n"[..], "magic (byte 4) is n+2\\x00\\n\\n\\x1a\\n, expected"),
            (12, &1792_i16.to_le_bytes(), "datatype (byte 12) is 1792 (complex128)"),
            (14, &8_i16.to_le_bytes(), "bitpix (byte 14) is 8"),
            (16, &i64::MIN.to_le_bytes(), "dim[0] (byte 16) is -9223372036854775808"),
            (16, &(1_i64 << 32 | 3).to_le_bytes(), "dim[0] (byte 16) is 4294967299"),
            (24, &(-1_i64).to_le_bytes(), "dim[1] (byte 24) is -1, expected 1 to 1048576"),
            (40, &i64::MAX.to_le_bytes(), "dim[3] (byte 40) is 9223372036854775807"),
            (168, &539_i64.to_le_bytes(), "vox_offset (byte 168) is 539"),
            (168, &(-544_i64).to_le_bytes(), "vox_offset (byte 168) is -544"),
            (168, &i64::MAX.to_le_bytes(), "vox_offset (byte 168) is 922337203685477"),
            (176, &f64::NEG_INFINITY.to_le_bytes(), "scl_slope (byte 176) is -inf"),
            (184, &f64::NAN.to_le_bytes(), "scl_inter (byte 184) is NaN"),
            (500, &7_i32.to_le_bytes(), "xyzt_units (byte 500) is 7"),
        ] {
            let mut bytes = header_2(false);
            bytes[offset..offset + value.len()].copy_from_slice(value);
            let error = ScanHeader::parse(&bytes).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn the_largest_sizes_that_a_header_may_declare_do_not_overflow() {
        let mut bytes = header_2(false);
        for axis in 1..=3 {
            bytes[16 + 8 * axis..][..8].copy_from_slice(&(1_i64 << 20).to_le_bytes());
        }
        bytes[12..16].copy_from_slice(&[64, 0, 64, 0]);
        bytes[168..176].copy_from_slice(&(1_i64 << 30).to_le_bytes());
        let found = ScanHeader::parse(&bytes).expect("acceptable");
        assert_eq!(found.layout.data_end(), (1 << 63) + (1 << 30));
    }

    #[test]
    fn voxels_in_a_file_of_their_own_may_begin_at_its_start() {
        let mut bytes = with(344, b"ni1\0");
        for (offset, accepted) in [(0.0, true), (16.0, true), (352.0, true), (-1.0, false), (0.5, false)] {
            bytes[108..112].copy_from_slice(&f32::to_le_bytes(offset));
            let found =
                ScanHeader::parse(&bytes).map(|header| (header.storage, header.layout.data_offset as f32));
            assert_eq!(found.ok(), accepted.then_some((Storage::Pair, offset)));
        }
    }

    #[test]
    fn a_picture_is_a_scan_of_one_slice() {
        let mut bytes = with(40, &2_i16.to_le_bytes());
        // Extents and spacings that are not counted say nothing.
        bytes[46..48].copy_from_slice(&(-6_i16).to_le_bytes());
        bytes[88..92].copy_from_slice(&0_f32.to_le_bytes());
        let found = ScanHeader::parse(&bytes).expect("valid");
        assert_eq!((found.layout.shape, found.forms.spacing[2]), ([4, 5, 1], 1.0));
    }

    #[test]
    fn trailing_axes_must_be_singletons() {
        let four_axes = |extent: i16| {
            let mut bytes = with(40, &4_i16.to_le_bytes());
            bytes[48..50].copy_from_slice(&extent.to_le_bytes());
            ScanHeader::parse(&bytes)
        };
        assert_eq!(four_axes(1).expect("one volume").layout.shape, [4, 5, 6]);
        assert!(four_axes(2).expect_err("two volumes").to_string().starts_with("dim[4] (byte 48) is 2"));
    }

    #[test]
    fn a_missing_slope_means_no_scaling() {
        for slope in [0.0, f32::NAN] {
            let mut bytes = with(112, &slope.to_le_bytes());
            bytes[116..120].copy_from_slice(&7_f32.to_le_bytes());
            let found = ScanHeader::parse(&bytes).expect("valid");
            assert_eq!((found.layout.slope, found.layout.intercept), (1.0, 0.0));
        }
    }

    #[test]
    fn units_give_millimetres() {
        for (units, expected) in [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001), (0b1010, 1.0)] {
            assert_eq!(ScanHeader::parse(&with(123, &[units])).expect("valid").forms.millimetres, expected);
        }
    }
}
