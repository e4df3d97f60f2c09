//! Reading a NIfTI-1 scan (`.nii`, `.nii.gz`) as a stream.
//!
//! The header is read when a [`Scan`] is opened; the voxels pass by once, row by row, and only the
//! regions asked for stay in memory. No memory is taken on the header's word alone: the declared
//! extent is held against the file's size, and the regions against a limit. Whether a file is
//! compressed is seen from its first bytes, not from its name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::affine::Affine;
use super::header::{FieldError, HEADER_BYTES, ScanHeader};
use super::orientation::{Orientation, OrientationError};
use super::voxels::{Block, BlockBuilder, Region};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate expands by at most this factor (RFC 1951: 258 bytes for two bits).
const LARGEST_EXPANSION: u64 = 1032;
const BUFFER_BYTES: usize = 128 * 1024;

/// Why a scan cannot be read. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum NiftiError {
    /// The file cannot be opened or looked at.
    #[error("{}: cannot open: {cause}", path.display())]
    Open {
        /// The scan.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Reading failed, or the compressed stream is damaged.
    #[error("{}: cannot read at byte {offset} of the uncompressed data: {cause}", path.display())]
    Read {
        /// The scan.
        path: PathBuf,
        /// Position in the uncompressed data.
        offset: u64,
        /// What the system or the decompressor said.
        cause: io::Error,
    },
    /// The file ends before its last voxel.
    #[error("{}: truncated: {expected} bytes of uncompressed data expected, ends near byte {found}", path.display())]
    Truncated {
        /// The scan.
        path: PathBuf,
        /// Bytes that a header takes, or that this one declares.
        expected: u64,
        /// Where the data ends, as far as can be told.
        found: u64,
    },
    /// A header field is not acceptable.
    #[error("{}: {cause}", path.display())]
    Header {
        /// The scan.
        path: PathBuf,
        /// The field, its byte and its value.
        cause: FieldError,
    },
    /// The header gives no usable orientation.
    #[error("{}: {cause}", path.display())]
    Orientation {
        /// The scan.
        path: PathBuf,
        /// What is wrong with it.
        cause: OrientationError,
    },
    /// The regions asked for need more memory than allowed, or than there is.
    #[error("{}: needs {needed} bytes of memory, above the limit of {limit}", path.display())]
    TooLarge {
        /// The scan.
        path: PathBuf,
        /// Bytes needed for the voxels.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

/// How much of a scan is read when its last slices are not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// To the end of the file, so that truncation and the checksum of a compressed file are
    /// noticed wherever they lie.
    #[default]
    WholeFile,
    /// To the last slice that is needed. Damage behind it goes unnoticed, and the checksum of a
    /// compressed file is not reached.
    LastSlice,
}

/// What reading may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// How far to read.
    pub reach: Reach,
    /// Bytes that the regions of one scan may take in memory.
    pub memory_bytes: u64,
}

impl Default for ReadLimits {
    /// The whole file, and 4 GiB.
    fn default() -> Self {
        Self { reach: Reach::default(), memory_bytes: 4 << 30 }
    }
}

/// A scan whose header has been read and whose voxels have not.
pub struct Scan {
    path: PathBuf,
    header: ScanHeader,
    stream: Box<dyn BufRead + Send>,
    compressed: bool,
    /// Position in the uncompressed data.
    position: u64,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Scan")
            .field("path", &self.path)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Scan {
    /// Opens a `.nii` or `.nii.gz` file and reads its header.
    ///
    /// # Errors
    /// [`NiftiError`] when the file cannot be read, is no acceptable NIfTI-1 scan, or is too short
    /// for what it declares.
    pub fn open(path: &Path) -> Result<Self, NiftiError> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::Error::other("not a file")) }
        };
        let (file, length) = open().map_err(|cause| NiftiError::Open { path: path.to_owned(), cause })?;
        Self::from_reader(path, file, length)
    }

    /// Reads the header from a stream of `length` bytes; `path` serves messages only.
    ///
    /// # Errors
    /// As [`Scan::open`].
    pub fn from_reader(
        path: &Path,
        reader: impl Read + Send + 'static,
        length: u64,
    ) -> Result<Self, NiftiError> {
        let failed = |cause| read_error(path, 0, HEADER_BYTES as u64, cause);
        let (mut stream, compressed) = uncompressed(reader).map_err(failed)?;
        let mut bytes = [0; HEADER_BYTES];
        stream.read_exact(&mut bytes).map_err(failed)?;
        let header =
            ScanHeader::parse(&bytes).map_err(|cause| NiftiError::Header { path: path.to_owned(), cause })?;
        let expected = header.data_end();
        let found = if compressed { length.saturating_mul(LARGEST_EXPANSION) } else { length };
        if expected > found {
            return Err(NiftiError::Truncated { path: path.to_owned(), expected, found });
        }
        Ok(Self { path: path.to_owned(), header, stream, compressed, position: HEADER_BYTES as u64 })
    }

    /// What the header says.
    pub fn header(&self) -> &ScanHeader {
        &self.header
    }

    /// The map from voxel indices to RAS millimetres.
    ///
    /// # Errors
    /// [`NiftiError::Orientation`], see [`super::orientation::Forms::affine`].
    pub fn affine(&self, orientation: Orientation) -> Result<Affine, NiftiError> {
        let forms = &self.header.forms;
        forms.affine(orientation).map_err(|cause| NiftiError::Orientation { path: self.path.clone(), cause })
    }

    /// Reads the voxels of each region, cut to the scan, in one pass over the file.
    ///
    /// # Errors
    /// [`NiftiError`] when the regions exceed the memory limit or the file cannot be read through.
    pub fn read_blocks(mut self, regions: &[Region], limits: ReadLimits) -> Result<Vec<Block>, NiftiError> {
        let mut builders = self.builders(regions, limits.memory_bytes)?;
        self.read_rows(&mut builders)?;
        // An uncompressed file has no checksum, and its length is known to suffice.
        if limits.reach == Reach::WholeFile && self.compressed {
            self.skip_to(self.header.data_end())?;
            io::copy(&mut self.stream, &mut io::sink()).map_err(|cause| self.failed(cause))?;
        }
        Ok(builders.into_iter().map(BlockBuilder::finish).collect())
    }

    fn builders(&self, regions: &[Region], limit: u64) -> Result<Vec<BlockBuilder>, NiftiError> {
        let regions: Vec<Region> = regions.iter().map(|region| region.within(self.header.shape)).collect();
        let bytes = self.header.data_type.bytes_in_memory() as u64;
        let needed = regions.iter().map(|region| region.voxels() as u64 * bytes).sum::<u64>();
        let too_large = || NiftiError::TooLarge { path: self.path.clone(), needed, limit };
        if needed > limit {
            return Err(too_large());
        }
        let builder = |region| BlockBuilder::new(region, &self.header).ok_or_else(too_large);
        regions.into_iter().map(builder).collect()
    }

    /// Passes every row that some region needs to the builders, skipping the others.
    fn read_rows(&mut self, builders: &mut [BlockBuilder]) -> Result<(), NiftiError> {
        let [_, rows, slices] = self.header.shape;
        let mut bytes = vec![0; self.header.row_bytes()];
        let mut row_start = self.header.data_offset;
        for slice in 0..slices {
            for row in 0..rows {
                if builders.iter().any(|builder| builder.region().has_row(row, slice)) {
                    self.skip_to(row_start)?;
                    self.read_exact(&mut bytes)?;
                    builders.iter_mut().for_each(|builder| builder.take_row(row, slice, &bytes));
                }
                row_start += bytes.len() as u64;
            }
        }
        Ok(())
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), NiftiError> {
        self.stream.read_exact(bytes).map_err(|cause| self.failed(cause))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn skip_to(&mut self, target: u64) -> Result<(), NiftiError> {
        let missing = target.saturating_sub(self.position);
        let skipped = io::copy(&mut self.stream.by_ref().take(missing), &mut io::sink());
        self.position += skipped.map_err(|cause| self.failed(cause))?;
        if self.position < target { Err(self.failed(io::ErrorKind::UnexpectedEof.into())) } else { Ok(()) }
    }

    fn failed(&self, cause: io::Error) -> NiftiError {
        read_error(&self.path, self.position, self.header.data_end(), cause)
    }
}

/// The uncompressed stream, and whether it is compressed in the file.
fn uncompressed(mut reader: impl Read + Send + 'static) -> io::Result<(Box<dyn BufRead + Send>, bool)> {
    let mut first = Vec::new();
    reader.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut first)?;
    let compressed = first == GZIP_MAGIC;
    let stored = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(first).chain(reader));
    if !compressed {
        return Ok((Box::new(stored), false));
    }
    Ok((Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(stored))), true))
}

fn read_error(path: &Path, offset: u64, expected: u64, cause: io::Error) -> NiftiError {
    let path = path.to_owned();
    if cause.kind() == io::ErrorKind::UnexpectedEof {
        return NiftiError::Truncated { path, expected, found: offset };
    }
    NiftiError::Read { path, offset, cause }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::imaging::nifti_write::{Volume, header_bytes, nii_bytes, nii_gz_bytes};

    const SHAPE: [usize; 3] = [3, 2, 4];
    const VOXELS: [i16; 24] = [
        -1024, -1000, 0, 1, 2, 3, 40, 41, 42, 43, 44, 45, 400, 500, 600, 700, 800, 900, -5, -6, -7, -8, 3000,
        3071,
    ];

    fn volume() -> Volume<'static> {
        Volume { shape: SHAPE, affine: Affine::from_spacing([0.7, 0.8, 2.0]), voxels: &VOXELS }
    }

    fn plain() -> Vec<u8> {
        nii_bytes(&volume()).expect("valid")
    }

    fn compressed() -> Vec<u8> {
        nii_gz_bytes(&volume()).expect("valid")
    }

    /// A file of the given type whose header is patched and whose voxels are these bytes.
    fn typed(code: i16, bits: i16, voxels: &[u8]) -> Vec<u8> {
        let mut bytes = plain();
        bytes.truncate(352);
        put(&mut bytes, 70, &code.to_le_bytes());
        put(&mut bytes, 72, &bits.to_le_bytes());
        bytes.extend(voxels);
        bytes
    }

    fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
        bytes[offset..offset + value.len()].copy_from_slice(value);
    }

    /// Turns a little-endian file of 16-bit voxels into a big-endian one.
    fn big_endian(mut bytes: Vec<u8>) -> Vec<u8> {
        let fields = [(0, 1, 4), (32, 1, 4), (36, 1, 2), (40, 8, 2), (56, 3, 4), (68, 4, 2), (76, 11, 4)];
        let more = [(120, 1, 2), (124, 6, 4), (252, 2, 2), (256, 18, 4), (352, VOXELS.len(), 2)];
        for (offset, count, size) in fields.into_iter().chain(more) {
            bytes[offset..offset + count * size].chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        bytes
    }

    fn scan(bytes: Vec<u8>) -> Result<Scan, NiftiError> {
        let length = bytes.len() as u64;
        Scan::from_reader(Path::new("scan.nii"), Cursor::new(bytes), length)
    }

    fn values(bytes: Vec<u8>) -> Result<Vec<f32>, NiftiError> {
        let blocks = scan(bytes)?.read_blocks(&[Region::whole(SHAPE)], ReadLimits::default())?;
        Ok(blocks[0].values())
    }

    fn message(bytes: Vec<u8>) -> String {
        values(bytes).expect_err("not readable").to_string()
    }

    fn expected() -> Vec<f32> {
        VOXELS.map(f32::from).to_vec()
    }

    #[test]
    fn plain_compressed_and_big_endian_files_read_alike() {
        for bytes in [plain(), compressed(), big_endian(plain())] {
            assert_eq!(values(bytes).expect("readable"), expected());
        }
        let scan = scan(big_endian(plain())).expect("readable");
        assert!(scan.header().big_endian);
        let affine = scan.affine(Orientation::Qform).expect("given");
        assert_eq!(affine.spacing().map(|spacing| spacing as f32), [0.7, 0.8, 2.0]);
    }

    #[test]
    fn every_scalar_type_is_read_and_scaled() {
        fn stored<const N: usize>(bytes: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
            (0..24).flat_map(bytes).collect()
        }
        for (code, bits, voxels) in [
            (2, 8, stored(|v| [v])),
            (256, 8, stored(|v| (v as i8).to_le_bytes())),
            (4, 16, stored(|v| i16::from(v).to_le_bytes())),
            (512, 16, stored(|v| u16::from(v).to_le_bytes())),
            (8, 32, stored(|v| i32::from(v).to_le_bytes())),
            (768, 32, stored(|v| u32::from(v).to_le_bytes())),
            (16, 32, stored(|v| f32::from(v).to_le_bytes())),
            (1024, 64, stored(|v| i64::from(v).to_le_bytes())),
            (1280, 64, stored(|v| u64::from(v).to_le_bytes())),
            (64, 64, stored(|v| f64::from(v).to_le_bytes())),
        ] {
            let mut bytes = typed(code, bits, &voxels);
            put(&mut bytes, 112, &2.5_f32.to_le_bytes());
            put(&mut bytes, 116, &(-1024_f32).to_le_bytes());
            let expected: Vec<f32> = (0..24).map(|v| v as f32 * 2.5 - 1024.0).collect();
            assert_eq!(values(bytes).expect("readable"), expected, "datatype {code}");
        }
        // The top half of the unsigned types is not negative, nor is the signed types' sign lost.
        let extreme =
            |code, bits, bytes: &[u8]| values(typed(code, bits, &bytes.repeat(24))).expect("readable")[0];
        assert_eq!(extreme(2, 8, &[255]), 255.0);
        assert_eq!(extreme(256, 8, &[255]), -1.0);
        assert_eq!(extreme(512, 16, &[255, 255]), 65535.0);
        assert_eq!(extreme(8, 32, &[255; 4]), -1.0);
        assert_eq!(extreme(768, 32, &[0, 0, 0, 128]), 2_147_483_648.0);
    }

    #[test]
    fn regions_come_out_of_one_pass() {
        let regions = [
            Region { start: [1, 0, 1], end: [3, 2, 2] },
            Region::EMPTY,
            Region { start: [0, 1, 1], end: [1, 9, 9] },
            Region { start: [7, 7, 7], end: [9, 9, 9] },
        ];
        for bytes in [plain(), compressed()] {
            let blocks = scan(bytes).expect("readable").read_blocks(&regions, ReadLimits::default());
            let found: Vec<_> = blocks.expect("readable").iter().map(Block::values).collect();
            assert_eq!(found, [vec![41.0, 42.0, 44.0, 45.0], vec![], vec![43.0, 700.0, -8.0], vec![]]);
        }
    }

    #[test]
    fn truncated_files_are_refused_wherever_they_end() {
        for bytes in [plain(), compressed()] {
            for length in [0, 1, 2, 100, 347, 351, 360, bytes.len() - 1] {
                let cut = bytes[..length.min(bytes.len() - 1)].to_vec();
                let message = message(cut);
                assert!(message.starts_with("scan.nii: truncated: "), "{length}: {message}");
            }
        }
        let declared = message(plain()[..380].to_vec());
        assert_eq!(
            declared,
            "scan.nii: truncated: 400 bytes of uncompressed data expected, ends near byte 380"
        );
    }

    #[test]
    fn voxels_that_begin_past_the_end_are_truncation() {
        for mut bytes in [plain(), plain()] {
            put(&mut bytes, 108, &4000_f32.to_le_bytes());
            assert!(message(bytes.clone()).contains("truncated: 4048 bytes"));
            assert!(message(gzip(&bytes)).contains("truncated: 4048 bytes"));
        }
    }

    #[test]
    fn a_declared_size_beyond_what_the_file_can_hold_is_refused_on_opening() {
        let mut bytes = header_bytes([32767; 3], &volume().affine).expect("valid").to_vec();
        bytes.resize(10_000, 0);
        for bytes in [gzip(&bytes), bytes] {
            let message = scan(bytes).expect_err("35 terabytes").to_string();
            assert!(message.contains("truncated: 70362301923678 bytes"), "{message}");
        }
    }

    #[test]
    fn memory_above_the_limit_is_refused() {
        let limits = ReadLimits { memory_bytes: 47, ..ReadLimits::default() };
        let found = scan(plain()).expect("readable").read_blocks(&[Region::whole(SHAPE)], limits);
        let message = found.expect_err("48 bytes").to_string();
        assert_eq!(message, "scan.nii: needs 48 bytes of memory, above the limit of 47");
    }

    #[test]
    fn damage_in_a_compressed_file_is_noticed_up_to_its_end() {
        let mut bytes = compressed();
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        assert!(
            message(bytes.clone()).starts_with("scan.nii: cannot read at byte 400 of the uncompressed data")
        );
        // Unless the caller does without.
        let limits = ReadLimits { reach: Reach::LastSlice, ..ReadLimits::default() };
        let first_slice = Region { end: [3, 2, 1], ..Region::whole(SHAPE) };
        let found = scan(bytes).expect("readable").read_blocks(&[first_slice], limits);
        assert_eq!(found.expect("readable")[0].values(), expected()[..6]);
    }

    #[test]
    fn several_gzip_members_are_one_file() {
        let bytes = plain();
        let members = [gzip(&bytes[..200]), gzip(&bytes[200..380]), gzip(&bytes[380..])].concat();
        assert_eq!(values(members).expect("readable"), expected());
    }

    #[test]
    fn bad_headers_and_orientations_name_the_file() {
        let mut bytes = plain();
        put(&mut bytes, 42, &0_i16.to_le_bytes());
        assert_eq!(message(bytes), "scan.nii: dim[1] (byte 42) is 0, expected 1 to 32767");
        let mut bytes = plain();
        put(&mut bytes, 280, &f32::NAN.to_le_bytes());
        let error = scan(bytes).expect("a readable header").affine(Orientation::Auto).expect_err("a NaN");
        assert_eq!(error.to_string(), "scan.nii: the sform (srow_x, byte 280) is not finite");
    }

    #[test]
    fn what_is_no_file_cannot_be_opened() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for path in [folder.path().to_owned(), folder.path().join("none.nii")] {
            let error = Scan::open(&path).expect_err("no file");
            assert!(matches!(error, NiftiError::Open { .. }), "{error}");
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }
}
