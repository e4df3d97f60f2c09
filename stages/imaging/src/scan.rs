//! Reading a scan as a stream: NIfTI, NRRD and MetaImage, in one file or in two, compressed or not.
//!
//! The header is read when a [`Scan`] is opened; the voxels pass by once, row by row, and only the
//! regions asked for stay in memory. No memory is taken on the header's word alone: the declared
//! extent is held against the file's size, and the regions against a limit.
//!
//! By default a file is read up to the last row that some region needs ([`Reach::LastSlice`]). A
//! truncated file, or one with something behind its voxels, is noticed all the same. Of a plain file
//! the length is known. A gzip file ends in the length of its last member: when that is the length
//! which the header declares, the file is one member that was written to its end, and the part that is
//! needed is inflated without looking further. Otherwise (several members, padding, truncation, other compression) the
//! file is read through to its end, where cut-off data and wrong checksums show. What a trusted prefix leaves open
//! is its CRC-32, which covers the whole member; it protects against bytes that changed on their way,
//! and that is what hashing a file for its identity is for. A caller without such a hash asks for
//! [`Reach::WholeFile`].

use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use pipe_plugin::foreign::{Foreign, HEAD_BYTES, what_is};

use super::affine::Affine;
use super::layout::Layout;
use super::nifti;
use super::orientation::{Forms, Orientation, OrientationError};
use super::source::{BUFFER_BYTES, File, Source};
use super::text_header::TextFormat;
use super::voxels::{Block, BlockBuilder, Region};

pub use super::error::ScanError;
pub use super::gzip::GzipError;
pub use super::nifti::pair_of;
pub use super::text_header::{HEADER_BYTES as TEXT_HEADER_BYTES, data_file_of};

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

/// A scan whose header has been read and whose voxels have not.
pub struct Scan {
    /// The file that holds the header.
    path: PathBuf,
    layout: Layout,
    placement: Placement,
    /// The data that holds the voxels.
    voxels: Source,
}

/// What a header says of where the voxels lie.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Placement {
    /// NIfTI's two forms, of which one is chosen.
    Forms(Box<Forms>),
    /// One map from voxel indices to RAS millimetres.
    Stated(Affine),
    /// The map that ITK takes, where the header leaves it open.
    Assumed(Affine, OrientationError),
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Scan")
            .field("path", &self.path)
            .field("layout", &self.layout)
            .field("voxels", &self.voxels.path())
            .finish_non_exhaustive()
    }
}

impl Scan {
    /// Opens a file and reads its header: NIfTI, NRRD or MetaImage, which is seen from its first bytes.
    ///
    /// # Errors
    /// [`ScanError`] when the file cannot be read, is no acceptable scan or of another format, is too short for
    /// what it declares, or is a header whose voxels are in another file ([`ScanError::NoImage`], [`ScanError::Detached`]).
    pub fn open(path: &Path) -> Result<Self, ScanError> {
        Self::of(File::open_stored(path)?).map_err(|error| told_as_foreign(path, error))
    }

    /// Opens a header file and the file with its voxels: NIfTI's `.hdr` and `.img`, each of them
    /// compressed or not, a `.nhdr` or `.mhd` with its data, under whatever names.
    ///
    /// # Errors
    /// As [`Scan::open`]; [`ScanError::NoPair`] when the header has its voxels in its own file.
    pub fn open_pair(header: &Path, image: &Path) -> Result<Self, ScanError> {
        Self::of_pair(File::open_stored(header)?, File::open_stored(image)?)
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
    ) -> Result<Self, ScanError> {
        Self::of(File::new(path, reader, length))
    }

    /// As [`Scan::open_pair`], from two streams, each with its path for messages and its length.
    ///
    /// # Errors
    /// As [`Scan::open_pair`].
    pub fn from_pair_of_readers(
        (header_path, header, header_length): (&Path, impl Read + Seek + Send + 'static, u64),
        (image_path, image, image_length): (&Path, impl Read + Seek + Send + 'static, u64),
    ) -> Result<Self, ScanError> {
        Self::of_pair(
            File::new(header_path, header, header_length),
            File::new(image_path, image, image_length),
        )
    }

    fn of(mut file: File) -> Result<Self, ScanError> {
        match TextFormat::of(&file.head(HEAD_BYTES)?) {
            Some(format) => format.open(file, None),
            None => nifti::open(file.plain()?),
        }
    }

    fn of_pair(mut header: File, image: File) -> Result<Self, ScanError> {
        match TextFormat::of(&header.head(HEAD_BYTES)?) {
            Some(format) => format.open(header, Some(image)),
            None => nifti::open_pair(header.plain()?, image.plain()?),
        }
    }

    pub(super) fn new(
        path: PathBuf,
        layout: Layout,
        placement: Placement,
        mut voxels: Source,
    ) -> Result<Self, ScanError> {
        voxels.expect(layout.data_end())?;
        Ok(Self { path, layout, placement, voxels })
    }

    /// How its voxels are stored.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The map from voxel indices to RAS millimetres. `orientation` chooses among what a NIfTI header says twice; other
    /// headers say it once.
    ///
    /// # Errors
    /// [`ScanError::Orientation`], see [`super::orientation::Forms::affine`].
    pub fn affine(&self, orientation: Orientation) -> Result<Affine, ScanError> {
        let affine = match &self.placement {
            Placement::Forms(forms) => forms.affine(orientation),
            Placement::Stated(affine) => Ok(*affine),
            Placement::Assumed(affine, _) if orientation == Orientation::Itk => Ok(*affine),
            Placement::Assumed(_, cause) => Err(cause.clone()),
        };
        affine.map_err(|cause| ScanError::Orientation { path: self.path.clone(), cause })
    }

    /// Reads the voxels of each region, cut to the scan, in one pass over the file.
    ///
    /// # Errors
    /// [`ScanError`] when the regions exceed the memory limit or the file cannot be read through.
    pub fn read_blocks(mut self, regions: &[Region], limits: ReadLimits) -> Result<Vec<Block>, ScanError> {
        let mut builders = self.builders(regions, limits.memory_bytes)?;
        let last_slice = builders.iter().map(|builder| builder.region().end[2]).max().unwrap_or(0);
        let to_the_end = limits.reach == Reach::WholeFile
            || last_slice == self.layout.shape[2]
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
    /// [`ScanError`] when a slice exceeds the memory limit or the file cannot be read through; what `take` returns.
    pub fn for_each_slice<E: From<ScanError>>(
        mut self,
        limits: ReadLimits,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let [columns, rows, slices] = self.layout.shape;
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

    fn builders(&self, regions: &[Region], limit: u64) -> Result<Vec<BlockBuilder>, ScanError> {
        let regions: Vec<Region> = regions.iter().map(|region| region.within(self.layout.shape)).collect();
        let bytes = self.layout.data_type.bytes_in_memory() as u64;
        let needed = regions
            .iter()
            .fold(0_u64, |sum, region| sum.saturating_add((region.voxels() as u64).saturating_mul(bytes)));
        let too_large = || ScanError::TooLarge { path: self.path.clone(), needed, limit };
        if needed > limit {
            return Err(too_large());
        }
        let builder = |region| BlockBuilder::new(region, &self.layout).ok_or_else(too_large);
        regions.into_iter().map(builder).collect()
    }

    /// Passes every row that some region needs to the builders, skipping the others.
    fn read_rows(&mut self, builders: &mut [BlockBuilder]) -> Result<(), ScanError> {
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
    ) -> Result<(), ScanError> {
        let row_bytes = self.layout.row_bytes();
        let rows_at_once = (BUFFER_BYTES / row_bytes).max(1);
        self.voxels.skip_to(self.layout.row_start(rows.start, slice))?;
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

/// The error of a file that is of another format, for that of a header which is none.
fn told_as_foreign(path: &Path, error: ScanError) -> ScanError {
    if !matches!(error, ScanError::Header { .. } | ScanError::Truncated { .. } | ScanError::Gzip { .. }) {
        return error;
    }
    let own = |what: &Foreign| {
        matches!(
            what,
            Foreign::Nifti
                | Foreign::Analyze
                | Foreign::Nrrd
                | Foreign::MetaImage
                | Foreign::Compressed("gzip", _)
        )
    };
    let head = File::open_stored(path)
        .and_then(File::plain)
        .map(|mut file| file.head(HEAD_BYTES))
        .unwrap_or_default();
    match what_is(path, &head).filter(|what| !own(what)) {
        Some(what) => ScanError::Foreign { path: path.to_owned(), what },
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
