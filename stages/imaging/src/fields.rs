//! The header fields that a CT reader uses, as they are stored in NIfTI-1 and NIfTI-2 headers.
//!
//! The two versions hold the same fields in different places and widths; here they are brought into
//! one form, together with the byte where each field lies. The layout of NIfTI-1 comes from the
//! `nifti` crate, which does not know NIfTI-2. Which values are acceptable is not decided here, but
//! for those that tell the version, the byte order, and where the voxels are.

use nifti::{Endianness, NiftiHeader};

use super::header::FieldError;

/// Length of a NIfTI-1 header in bytes.
pub const HEADER_BYTES: usize = 348;
/// Length of a NIfTI-2 header in bytes.
pub const HEADER_2_BYTES: usize = 540;
/// Bytes that tell a header's length and byte order.
pub(super) const SIZE_BYTES: usize = 4;

const MAGIC_OFFSET: usize = 344;
const MAGIC_2_OFFSET: usize = 4;
/// The end of a NIfTI-2 magic: bytes that a transfer as text would change.
const TEXT_GUARD: [u8; 4] = *b"\r\n\x1a\n";

/// The two layouts of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 348 bytes, 16-bit dimensions, f32 affines.
    One,
    /// 540 bytes, 64-bit dimensions, f64 affines.
    Two,
}

/// Where a header's voxels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Behind the header, in the same file.
    SingleFile,
    /// In a file of their own (`.hdr` and `.img`).
    Pair,
}

/// Byte offsets of fields in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub header_bytes: usize,
    pub dim: usize,
    /// Bytes of one dimension.
    pub dim_bytes: usize,
    pub datatype: usize,
    pub bitpix: usize,
    pub pixdim: usize,
    /// Bytes of one spacing.
    pub pixdim_bytes: usize,
    pub vox_offset: usize,
    pub scl_slope: usize,
    pub scl_inter: usize,
    pub xyzt_units: usize,
    pub qform_code: usize,
    pub sform_code: usize,
    pub quatern_b: usize,
    pub srow_x: usize,
}

const LAYOUT: Layout = Layout {
    header_bytes: HEADER_BYTES,
    dim: 40,
    dim_bytes: 2,
    datatype: 70,
    bitpix: 72,
    pixdim: 76,
    pixdim_bytes: 4,
    vox_offset: 108,
    scl_slope: 112,
    scl_inter: 116,
    xyzt_units: 123,
    qform_code: 252,
    sform_code: 254,
    quatern_b: 256,
    srow_x: 280,
};

const LAYOUT_2: Layout = Layout {
    header_bytes: HEADER_2_BYTES,
    dim: 16,
    dim_bytes: 8,
    datatype: 12,
    bitpix: 14,
    pixdim: 104,
    pixdim_bytes: 8,
    vox_offset: 168,
    scl_slope: 176,
    scl_inter: 184,
    xyzt_units: 500,
    qform_code: 344,
    sform_code: 348,
    quatern_b: 352,
    srow_x: 400,
};
const QOFFSET_X_2: usize = 376;

/// Stored values of either version, in types that hold both.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    pub version: Version,
    pub storage: Storage,
    pub big_endian: bool,
    pub layout: Layout,
    pub dim: [i64; 8],
    pub datatype: i16,
    pub bitpix: i16,
    pub pixdim: [f64; 8],
    pub vox_offset: f64,
    pub scl_slope: f64,
    pub scl_inter: f64,
    pub xyzt_units: i32,
    pub qform_code: i32,
    pub sform_code: i32,
    pub quaternion: [f64; 3],
    pub quaternion_offset: [f64; 3],
    pub sform_rows: [[f64; 4]; 3],
}

/// Version and byte order, from the length that a header's first four bytes declare.
pub(super) fn version(size: [u8; SIZE_BYTES]) -> Result<(Version, bool), FieldError> {
    match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
        (348, _) => Ok((Version::One, false)),
        (_, 348) => Ok((Version::One, true)),
        (540, _) => Ok((Version::Two, false)),
        (_, 540) => Ok((Version::Two, true)),
        (found, _) => {
            let expected = "348 (NIfTI-1) or 540 (NIfTI-2) in either byte order";
            Err(FieldError::new("sizeof_hdr", 0, found, expected))
        }
    }
}

impl Version {
    /// Bytes of a header.
    pub fn header_bytes(self) -> usize {
        self.layout().header_bytes
    }

    /// Byte of the header where the magic is.
    pub fn magic_offset(self) -> usize {
        match self {
            Self::One => MAGIC_OFFSET,
            Self::Two => MAGIC_2_OFFSET,
        }
    }

    fn layout(self) -> Layout {
        match self {
            Self::One => LAYOUT,
            Self::Two => LAYOUT_2,
        }
    }
}

impl Fields {
    /// Reads a header of either version; `bytes` may go on behind it.
    ///
    /// # Errors
    /// [`FieldError`] when `sizeof_hdr` or `magic` is that of no NIfTI header, or the header is cut off.
    pub fn read(bytes: &[u8]) -> Result<Self, FieldError> {
        let cut_off = || FieldError::new("header", bytes.len(), "cut off", "348 or 540 bytes");
        let size = bytes.first_chunk::<SIZE_BYTES>().ok_or_else(cut_off)?;
        let (version, big_endian) = version(*size)?;
        let bytes = bytes.get(..version.header_bytes()).ok_or_else(cut_off)?;
        match version {
            Version::One => Self::read_1(bytes, big_endian),
            Version::Two => Ok(Self::read_2(&Bytes { bytes, big_endian }, storage_2(bytes)?)),
        }
    }

    fn read_1(bytes: &[u8], big_endian: bool) -> Result<Self, FieldError> {
        let storage = storage_1(bytes)?;
        let wrong_order = || {
            let found = bytes.get(LAYOUT.dim..LAYOUT.dim + 2).unwrap_or_default().escape_ascii();
            FieldError::new("dim[0]", LAYOUT.dim, found, "1 to 7 in the byte order of sizeof_hdr")
        };
        let fields = NiftiHeader::from_reader(bytes).map_err(|_| wrong_order())?;
        // The crate tells the byte order from dim[0], which in a damaged header contradicts sizeof_hdr.
        if (fields.endianness == Endianness::Big) != big_endian {
            return Err(wrong_order());
        }
        Ok(Self {
            version: Version::One,
            storage,
            big_endian,
            layout: LAYOUT,
            dim: fields.dim.map(|extent| i64::from(extent.cast_signed())),
            datatype: fields.datatype,
            bitpix: fields.bitpix,
            pixdim: fields.pixdim.map(f64::from),
            vox_offset: fields.vox_offset.into(),
            scl_slope: fields.scl_slope.into(),
            scl_inter: fields.scl_inter.into(),
            xyzt_units: fields.xyzt_units.into(),
            qform_code: fields.qform_code.into(),
            sform_code: fields.sform_code.into(),
            quaternion: [fields.quatern_b, fields.quatern_c, fields.quatern_d].map(f64::from),
            quaternion_offset: [fields.quatern_x, fields.quatern_y, fields.quatern_z].map(f64::from),
            sform_rows: [fields.srow_x, fields.srow_y, fields.srow_z].map(|row| row.map(f64::from)),
        })
    }

    fn read_2(bytes: &Bytes<'_>, storage: Storage) -> Self {
        let [row_x, row_y, row_z] = [0, 32, 64].map(|row| bytes.floats(LAYOUT_2.srow_x + row));
        Self {
            version: Version::Two,
            storage,
            big_endian: bytes.big_endian,
            layout: LAYOUT_2,
            dim: std::array::from_fn(|axis| i64::from_le_bytes(bytes.word(LAYOUT_2.dim + 8 * axis))),
            datatype: i16::from_le_bytes(bytes.word(LAYOUT_2.datatype)),
            bitpix: i16::from_le_bytes(bytes.word(LAYOUT_2.bitpix)),
            pixdim: bytes.floats(LAYOUT_2.pixdim),
            // Offsets that an f64 does not hold are far above any that is acceptable.
            vox_offset: i64::from_le_bytes(bytes.word(LAYOUT_2.vox_offset)) as f64,
            scl_slope: f64::from_le_bytes(bytes.word(LAYOUT_2.scl_slope)),
            scl_inter: f64::from_le_bytes(bytes.word(LAYOUT_2.scl_inter)),
            xyzt_units: i32::from_le_bytes(bytes.word(LAYOUT_2.xyzt_units)),
            qform_code: i32::from_le_bytes(bytes.word(LAYOUT_2.qform_code)),
            sform_code: i32::from_le_bytes(bytes.word(LAYOUT_2.sform_code)),
            quaternion: bytes.floats(LAYOUT_2.quatern_b),
            quaternion_offset: bytes.floats(QOFFSET_X_2),
            sform_rows: [row_x, row_y, row_z],
        }
    }
}

/// Reads words of a header whose length has been checked.
struct Bytes<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Bytes<'_> {
    /// The word at `offset`, least significant byte first; zero where the header does not reach.
    fn word<const N: usize>(&self, offset: usize) -> [u8; N] {
        let found = self.bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>());
        let mut word = found.copied().unwrap_or([0; N]);
        if self.big_endian {
            word.reverse();
        }
        word
    }

    fn floats<const N: usize>(&self, offset: usize) -> [f64; N] {
        std::array::from_fn(|index| f64::from_le_bytes(self.word(offset + 8 * index)))
    }
}

fn storage_1(bytes: &[u8]) -> Result<Storage, FieldError> {
    let magic = bytes.get(MAGIC_OFFSET..MAGIC_OFFSET + 4).unwrap_or_default();
    let wrong = |found: String| FieldError::new("magic", MAGIC_OFFSET, found, "\"n+1\\0\" or \"ni1\\0\"");
    match magic {
        b"n+1\0" => Ok(Storage::SingleFile),
        b"ni1\0" => Ok(Storage::Pair),
        [0, ..] => Err(wrong("empty (an Analyze 7.5 header, which has no orientation)".to_owned())),
        other => Err(wrong(other.escape_ascii().to_string())),
    }
}

fn storage_2(bytes: &[u8]) -> Result<Storage, FieldError> {
    let magic = bytes.get(MAGIC_2_OFFSET..MAGIC_2_OFFSET + 8).unwrap_or_default();
    let storage = match magic.strip_suffix(&TEXT_GUARD) {
        Some(b"n+2\0") => Some(Storage::SingleFile),
        Some(b"ni2\0") => Some(Storage::Pair),
        _ => None,
    };
    let expected = "\"n+2\\0\\r\\n\\x1a\\n\" or \"ni2\\0\\r\\n\\x1a\\n\"";
    storage.ok_or_else(|| FieldError::new("magic", MAGIC_2_OFFSET, magic.escape_ascii(), expected))
}
