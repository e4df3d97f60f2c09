//! Reading a NIfTI scan as a stream: NIfTI-1 and NIfTI-2, in one file or as a pair, compressed or not.
//!
//! The header is read when a [`Scan`] is opened; the voxels pass by once, row by row, and only the
//! regions asked for stay in memory. No memory is taken on the header's word alone: the declared
//! extent is held against the file's size, and the regions against a limit.
//!
//! By default a file is read up to the last row that some region needs ([`Reach::LastSlice`]). A
//! truncated file, or one with something behind its voxels, is noticed all the same. Of a plain file
//! the length is known. A gzip file ends in the length of its last member: when that is the length
//! which the header declares, the file is one member that was written to its end, and the part that is
//! needed is inflated without looking further. Otherwise (several members, padding, truncation) the
//! file is read through to its end, where cut-off data and wrong checksums show. What a trusted prefix leaves open
//! is its CRC-32, which covers the whole member; it protects against bytes that changed on their way,
//! and that is what hashing a file for its identity is for. A caller without such a hash asks for
//! [`Reach::WholeFile`].

use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use pipe_plugin::foreign::{Foreign, HEAD_BYTES, what_is};

use super::affine::Affine;
use super::fields::{self, SIZE_BYTES};
use super::header::{HEADER_BYTES, ScanHeader, Storage};
use super::orientation::Orientation;
use super::source::{BUFFER_BYTES, Source};
use super::voxels::{Block, BlockBuilder, Region};

pub use super::error::NiftiError;
pub use super::gzip::GzipError;

/// How much of a scan is read when its last slices are not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// To the end of the file, so that truncation and the checksum of a compressed file are
    /// noticed wherever they lie.
    WholeFile,
    /// To the last row that is needed, unless the end of a compressed file is not as the header lets
    /// expect. Changed bytes may go unnoticed: the checksum of a compressed file is not reached.
    #[default]
    LastSlice,
}

/// What reading may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// How far to read.
    pub reach: Reach,
    /// Bytes that the regions of one scan may take in memory, beside a buffer that holds at least a
    /// row of voxels and is no larger than 8 MiB.
    pub memory_bytes: u64,
}

impl Default for ReadLimits {
    /// To the last row needed, and 4 GiB.
    fn default() -> Self {
        Self { reach: Reach::default(), memory_bytes: 4 << 30 }
    }
}

/// The name of the image file that belongs to a header file's name, and the other way round:
/// `.hdr` and `.img`, `.hdr.gz` and `.img.gz`, in lower or upper case. `None` for any other name.
///
/// ```
/// use pipe_imaging::nifti::pair_of;
/// assert_eq!(pair_of("scans/0001.hdr.gz").as_deref(), Some("scans/0001.img.gz"));
/// assert_eq!(pair_of("0001.IMG").as_deref(), Some("0001.HDR"));
/// assert_eq!(pair_of("0001.nii.gz"), None);
/// ```
pub fn pair_of(name: &str) -> Option<String> {
    let (stem, compression) = match name.rsplit_once('.') {
        Some((stem, last)) if last.eq_ignore_ascii_case("gz") => name.split_at(stem.len()),
        _ => (name, ""),
    };
    let (base, extension) = stem.rsplit_once('.')?;
    let pairs = [("hdr", "img"), ("HDR", "IMG"), ("Hdr", "Img")];
    let other = pairs.iter().find_map(|&(header, image)| match extension {
        found if found == header => Some(image),
        found if found == image => Some(header),
        _ => None,
    })?;
    Some(format!("{base}.{other}{compression}"))
}

/// A scan whose header has been read and whose voxels have not.
pub struct Scan {
    /// The file that holds the header.
    path: PathBuf,
    header: ScanHeader,
    /// The file that holds the voxels.
    voxels: Source,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Scan")
            .field("path", &self.path)
            .field("header", &self.header)
            .field("voxels", &self.voxels.path())
            .finish_non_exhaustive()
    }
}

impl Scan {
    /// Opens a `.nii` or `.nii.gz` file and reads its header.
    ///
    /// # Errors
    /// [`NiftiError`] when the file cannot be read, is no acceptable NIfTI scan or of another format, is too short for
    /// what it declares, or is a header whose voxels are in another file ([`NiftiError::NoImage`]).
    pub fn open(path: &Path) -> Result<Self, NiftiError> {
        Source::open(path).and_then(Self::single).map_err(|error| told_as_foreign(path, error))
    }

    /// Opens a header file and the image file that belongs to it (`.hdr` and `.img`), each of them
    /// compressed or not, under whatever names.
    ///
    /// # Errors
    /// As [`Scan::open`]; [`NiftiError::NoPair`] when the header has its voxels in its own file.
    pub fn open_pair(header: &Path, image: &Path) -> Result<Self, NiftiError> {
        Self::pair(Source::open(header)?, Source::open(image)?)
            .map_err(|error| told_as_foreign(header, error))
    }

    /// As [`Scan::open`], from a stream of `length` bytes; `path` serves messages only.
    ///
    /// # Errors
    /// As [`Scan::open`].
    pub fn from_reader(
        path: &Path,
        reader: impl Read + Seek + Send + 'static,
        length: u64,
    ) -> Result<Self, NiftiError> {
        Self::single(Source::new(path, reader, length)?)
    }

    /// As [`Scan::open_pair`], from two streams, each with its path for messages and its length.
    ///
    /// # Errors
    /// As [`Scan::open_pair`].
    pub fn from_pair_of_readers(
        (header_path, header, header_length): (&Path, impl Read + Seek + Send + 'static, u64),
        (image_path, image, image_length): (&Path, impl Read + Seek + Send + 'static, u64),
    ) -> Result<Self, NiftiError> {
        Self::pair(
            Source::new(header_path, header, header_length)?,
            Source::new(image_path, image, image_length)?,
        )
    }

    fn single(mut file: Source) -> Result<Self, NiftiError> {
        let header = read_header(&mut file)?;
        let path = file.path().to_owned();
        match header.storage {
            Storage::SingleFile => Self::new(path, header, file),
            Storage::Pair => Err(NiftiError::NoImage { path, offset: header.version.magic_offset() }),
        }
    }

    fn pair(mut header_file: Source, image: Source) -> Result<Self, NiftiError> {
        let header = read_header(&mut header_file)?;
        header_file.finish()?;
        let path = header_file.path().to_owned();
        match header.storage {
            Storage::Pair => Self::new(path, header, image),
            Storage::SingleFile => {
                let (image, offset) = (image.path().to_owned(), header.version.magic_offset());
                Err(NiftiError::NoPair { path, image, offset })
            }
        }
    }

    fn new(path: PathBuf, header: ScanHeader, mut voxels: Source) -> Result<Self, NiftiError> {
        voxels.expect(header.data_end())?;
        Ok(Self { path, header, voxels })
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
        let last_slice = builders.iter().map(|builder| builder.region().end[2]).max().unwrap_or(0);
        let to_the_end = limits.reach == Reach::WholeFile
            || last_slice == self.header.shape[2]
            || !self.voxels.ends_as_expected();
        if !to_the_end {
            self.voxels.without_checksum();
        }
        self.read_rows(&mut builders)?;
        if to_the_end {
            self.voxels.finish()?;
        }
        Ok(builders.into_iter().map(BlockBuilder::finish).collect())
    }

    /// Hands over the values of all slices in order, each as rows of columns, and reads the file to its end.
    ///
    /// # Errors
    /// [`NiftiError`] when a slice exceeds the memory limit or the file cannot be read through; what `take` returns.
    pub fn for_each_slice<E: From<NiftiError>>(
        mut self,
        limits: ReadLimits,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let [columns, rows, slices] = self.header.shape;
        for slice in 0..slices {
            let region = Region { start: [0, 0, slice], end: [columns, rows, slice + 1] };
            let mut builders = self.builders(&[region], limits.memory_bytes)?;
            self.read_span(slice, 0..rows, &mut builders)?;
            for builder in builders {
                take(slice, &builder.finish().values())?;
            }
        }
        Ok(self.voxels.finish()?)
    }

    fn builders(&self, regions: &[Region], limit: u64) -> Result<Vec<BlockBuilder>, NiftiError> {
        let regions: Vec<Region> = regions.iter().map(|region| region.within(self.header.shape)).collect();
        let bytes = self.header.data_type.bytes_in_memory() as u64;
        let needed = regions
            .iter()
            .fold(0_u64, |sum, region| sum.saturating_add((region.voxels() as u64).saturating_mul(bytes)));
        let too_large = || NiftiError::TooLarge { path: self.path.clone(), needed, limit };
        if needed > limit {
            return Err(too_large());
        }
        let builder = |region| BlockBuilder::new(region, &self.header).ok_or_else(too_large);
        regions.into_iter().map(builder).collect()
    }

    /// Passes every row that some region needs to the builders, skipping the others.
    fn read_rows(&mut self, builders: &mut [BlockBuilder]) -> Result<(), NiftiError> {
        let regions: Vec<Region> = builders.iter().map(|builder| *builder.region()).collect();
        for slice in spans(regions.iter().map(|region| along(region, 2))).into_iter().flatten() {
            let in_slice = regions.iter().filter(|region| along(region, 2).contains(&slice));
            for rows in spans(in_slice.map(|region| along(region, 1))) {
                self.read_span(slice, rows, builders)?;
            }
        }
        Ok(())
    }

    /// Reads neighbouring rows of a slice, a buffer of whole rows at a time.
    fn read_span(
        &mut self,
        slice: usize,
        rows: Range<usize>,
        builders: &mut [BlockBuilder],
    ) -> Result<(), NiftiError> {
        let row_bytes = self.header.row_bytes();
        let rows_at_once = (BUFFER_BYTES / row_bytes).max(1);
        self.voxels.skip_to(self.header.row_start(rows.start, slice))?;
        for start in rows.clone().step_by(rows_at_once) {
            let count = rows_at_once.min(rows.end - start);
            let bytes = self.voxels.read(count * row_bytes)?;
            for (row, bytes) in (start..).zip(bytes.chunks_exact(row_bytes)) {
                builders.iter_mut().for_each(|builder| builder.take_row(row, slice, bytes));
            }
        }
        Ok(())
    }
}

fn read_header(file: &mut Source) -> Result<ScanHeader, NiftiError> {
    let path = file.path().to_owned();
    let refused = |cause| NiftiError::header(&path, cause);
    file.expect(HEADER_BYTES as u64)?;
    let mut bytes = file.read(SIZE_BYTES)?.to_vec();
    let size = bytes.first_chunk().copied().unwrap_or_default();
    let length = fields::version(size).map_err(refused)?.0.header_bytes();
    file.expect(length as u64)?;
    bytes.extend(file.read(length - SIZE_BYTES)?);
    ScanHeader::parse(&bytes).map_err(refused)
}

/// The error of a file that is of another format, for that of a header which is none.
fn told_as_foreign(path: &Path, error: NiftiError) -> NiftiError {
    if !matches!(error, NiftiError::Header { .. } | NiftiError::Truncated { .. } | NiftiError::Gzip { .. }) {
        return error;
    }
    let own =
        |what: &Foreign| matches!(what, Foreign::Nifti | Foreign::Analyze | Foreign::Compressed("gzip", _));
    let head = Source::open(path).map(|mut file| file.head(HEAD_BYTES)).unwrap_or_default();
    match what_is(path, &head).filter(|what| !own(what)) {
        Some(what) => NiftiError::Foreign { path: path.to_owned(), what },
        None => error,
    }
}

/// What a region covers of an axis; nothing for one without voxels.
fn along(region: &Region, axis: usize) -> Range<usize> {
    if region.voxels() == 0 { 0..0 } else { region.start[axis]..region.end[axis] }
}

/// The union of ranges, as ranges in order that neither overlap nor touch.
fn spans(ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut union: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}

#[cfg(test)]
mod tests;
