//! The 348 bytes of a NIfTI-1 header: what a CT reader needs of them, checked.
//!
//! The field layout comes from the `nifti` crate; this module decides which values are acceptable.
//! It knows neither files nor streams, so its errors name field and byte, and the reader adds the path.

use nifti::{Endianness, NiftiHeader};

use super::orientation::Forms;
use super::voxels::DataType;

/// Length of a NIfTI-1 header in bytes.
pub const HEADER_BYTES: usize = 348;
/// The largest extent of an axis: dimensions are stored as signed 16-bit integers.
const LARGEST_DIMENSION: u16 = i16::MAX as u16;
const SINGLE_FILE_MAGIC: [u8; 4] = *b"n+1\0";

/// A header field with a value that no CT scan can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} (byte {offset}) is {found}, expected {expected}")]
pub struct FieldError {
    /// The field's name in the NIfTI-1 standard.
    pub field: String,
    /// The field's byte offset in the header.
    pub offset: usize,
    /// The value found.
    pub found: String,
    /// What would have been acceptable.
    pub expected: &'static str,
}

/// What a header says of a three-dimensional scan.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanHeader {
    /// Voxels along the stored axes; the first varies fastest.
    pub shape: [usize; 3],
    /// How a voxel is stored.
    pub data_type: DataType,
    /// Whether voxels are stored with the most significant byte first.
    pub big_endian: bool,
    /// Factor of a stored value (`scl_slope`).
    pub slope: f64,
    /// Summand of a stored value (`scl_inter`).
    pub intercept: f64,
    /// Where the voxels begin, in bytes from the start of the uncompressed file.
    pub data_offset: u64,
    /// The orientation fields.
    pub forms: Forms,
}

impl ScanHeader {
    /// Reads and checks a header.
    ///
    /// # Errors
    /// [`FieldError`] naming the first field that is not acceptable.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FieldError> {
        check_size(bytes)?;
        let fields = NiftiHeader::from_reader(bytes.as_slice())
            .map_err(|_| error("magic", 344, bytes[344..].escape_ascii(), "\"n+1\\0\""))?;
        if fields.magic != SINGLE_FILE_MAGIC {
            let expected = "\"n+1\\0\" (header and voxels in one file)";
            return Err(error("magic", 344, fields.magic.escape_ascii(), expected));
        }
        let shape = shape(&fields.dim)?;
        let (slope, intercept) = scaling(fields.scl_slope, fields.scl_inter)?;
        Ok(Self {
            shape,
            data_type: data_type(fields.datatype, fields.bitpix)?,
            big_endian: fields.endianness == Endianness::Big,
            slope,
            intercept,
            data_offset: data_offset(fields.vox_offset)?,
            forms: forms(&fields)?,
        })
    }

    /// Bytes of one row of voxels (along the first axis).
    pub fn row_bytes(&self) -> usize {
        self.shape[0] * self.data_type.bytes()
    }

    /// Length of the uncompressed file up to the end of the last voxel. Cannot overflow: three
    /// 15-bit extents and a 24-bit-exact offset.
    pub fn data_end(&self) -> u64 {
        let [_, rows, slices] = self.shape;
        self.data_offset + self.row_bytes() as u64 * rows as u64 * slices as u64
    }
}

fn error(field: &str, offset: usize, found: impl ToString, expected: &'static str) -> FieldError {
    FieldError { field: field.to_owned(), offset, found: found.to_string(), expected }
}

fn check_size(bytes: &[u8; HEADER_BYTES]) -> Result<(), FieldError> {
    let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let expected = "348 in either byte order (a NIfTI-1 header)";
    match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
        (348, _) | (_, 348) => Ok(()),
        (540, _) | (_, 540) => Err(error("sizeof_hdr", 0, "540 (NIfTI-2)", expected)),
        (found, _) => Err(error("sizeof_hdr", 0, found, expected)),
    }
}

/// Three extents; further axes must be singletons.
fn shape(dim: &[u16; 8]) -> Result<[usize; 3], FieldError> {
    let axes = dim[0];
    if !(3..=7).contains(&axes) {
        return Err(error("dim[0]", 40, axes, "3 to 7 axes"));
    }
    for (axis, &extent) in dim.iter().enumerate().take(usize::from(axes) + 1).skip(1) {
        let (largest, expected) =
            if axis <= 3 { (LARGEST_DIMENSION, "1 to 32767") } else { (1, "1: a single volume") };
        if !(1..=largest).contains(&extent) {
            // Stored as a signed number: show a negative extent as such.
            return Err(error(&format!("dim[{axis}]"), 40 + 2 * axis, extent.cast_signed(), expected));
        }
    }
    Ok([dim[1], dim[2], dim[3]].map(usize::from))
}

fn data_type(code: i16, bits: i16) -> Result<DataType, FieldError> {
    let data_type = DataType::from_code(code).ok_or_else(|| {
        error("datatype", 70, code, "a real scalar type: 2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280")
    })?;
    // Some writers leave bitpix unset; a value that contradicts the type means a damaged header.
    if bits != 0 && usize::try_from(bits) != Ok(8 * data_type.bytes()) {
        return Err(error("bitpix", 72, bits, "the size of datatype in bits"));
    }
    Ok(data_type)
}

/// A slope of zero or NaN means that stored values are not scaled.
fn scaling(slope: f32, intercept: f32) -> Result<(f64, f64), FieldError> {
    if slope == 0.0 || slope.is_nan() {
        return Ok((1.0, 0.0));
    }
    if !slope.is_finite() {
        return Err(error("scl_slope", 112, slope, "a finite number"));
    }
    if !intercept.is_finite() {
        return Err(error("scl_inter", 116, intercept, "a finite number beside a slope"));
    }
    Ok((f64::from(slope), f64::from(intercept)))
}

fn data_offset(offset: f32) -> Result<u64, FieldError> {
    // Above 2^24 neighbouring integers share one f32, so that the offset would be a guess.
    if (HEADER_BYTES as f32..=16_777_216.0).contains(&offset) && offset.fract() == 0.0 {
        return Ok(offset as u64);
    }
    Err(error("vox_offset", 108, offset, "a whole number from 348 to 16777216"))
}

fn forms(fields: &NiftiHeader) -> Result<Forms, FieldError> {
    let pixdim = fields.pixdim.map(f64::from);
    Ok(Forms {
        sform_code: fields.sform_code,
        qform_code: fields.qform_code,
        sform_rows: [fields.srow_x, fields.srow_y, fields.srow_z].map(|row| row.map(f64::from)),
        quaternion: [fields.quatern_b, fields.quatern_c, fields.quatern_d].map(f64::from),
        offset: [fields.quatern_x, fields.quatern_y, fields.quatern_z].map(f64::from),
        mirrored: pixdim[0] < 0.0,
        spacing: [pixdim[1], pixdim[2], pixdim[3]],
        millimetres: millimetres(fields.xyzt_units)?,
    })
}

/// Millimetres in the header's length unit; an unknown unit is taken as the millimetre, as ITK does.
fn millimetres(units: u8) -> Result<f64, FieldError> {
    match units & 0b111 {
        0 | 2 => Ok(1.0),
        1 => Ok(1000.0),
        3 => Ok(0.001),
        other => Err(error("xyzt_units", 123, other, "0, 1 (metre), 2 (millimetre) or 3 (micrometre)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::affine::Affine;
    use crate::imaging::nifti_write::header_bytes;

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
        assert_eq!(found.shape, [4, 5, 6]);
        assert_eq!(found.data_type, DataType::Int16);
        assert_eq!((found.slope, found.intercept), (1.0, 0.0));
        assert_eq!(found.data_offset, 352);
        assert_eq!(found.row_bytes(), 8);
        assert_eq!(found.data_end(), 352 + 240);
        assert_eq!((found.forms.sform_code, found.forms.qform_code), (1, 1));
        assert!(!found.big_endian);
    }

    #[test]
    fn every_unacceptable_field_is_named_with_its_byte() {
        for (offset, value, expected) in [
            (0, &540_i32.to_le_bytes()[..], "sizeof_hdr (byte 0) is 540 (NIfTI-2)"),
            (0, &[9, 9, 9, 9], "sizeof_hdr (byte 0) is 151587081"),
            (344, b"ni1\0", "magic (byte 344) is ni1\\x00"),
            (344, b"zip\0", "magic (byte 344) is zip\\x00"),
            (40, &0_i16.to_le_bytes(), "dim[0] (byte 40) is 0"),
            (40, &2_i16.to_le_bytes(), "dim[0] (byte 40) is 2"),
            (42, &0_i16.to_le_bytes(), "dim[1] (byte 42) is 0"),
            (46, &(-6_i16).to_le_bytes(), "dim[3] (byte 46) is -6"),
            (70, &128_i16.to_le_bytes(), "datatype (byte 70) is 128"),
            (70, &32_i16.to_le_bytes(), "datatype (byte 70) is 32"),
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
    fn trailing_axes_must_be_singletons() {
        let four_axes = |extent: i16| {
            let mut bytes = with(40, &4_i16.to_le_bytes());
            bytes[48..50].copy_from_slice(&extent.to_le_bytes());
            ScanHeader::parse(&bytes)
        };
        assert_eq!(four_axes(1).expect("one volume").shape, [4, 5, 6]);
        assert!(four_axes(2).expect_err("two volumes").to_string().starts_with("dim[4] (byte 48) is 2"));
    }

    #[test]
    fn a_missing_slope_means_no_scaling() {
        for slope in [0.0, f32::NAN] {
            let mut bytes = with(112, &slope.to_le_bytes());
            bytes[116..120].copy_from_slice(&7_f32.to_le_bytes());
            let found = ScanHeader::parse(&bytes).expect("valid");
            assert_eq!((found.slope, found.intercept), (1.0, 0.0));
        }
    }

    #[test]
    fn units_give_millimetres() {
        for (units, expected) in [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001), (0b1010, 1.0)] {
            assert_eq!(ScanHeader::parse(&with(123, &[units])).expect("valid").forms.millimetres, expected);
        }
    }
}
