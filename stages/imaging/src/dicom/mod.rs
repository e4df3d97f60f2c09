//! A DICOM CT series: files of slices in, one volume in HU with its affine out.
//!
//! Slices are ordered by where they lie in the patient, checked to make one evenly spaced volume, and
//! decoded in parallel. What cannot be read right is an error that names file, attribute and byte;
//! nothing is guessed. Of a file only geometry and pixels are read: attributes that tell of the patient
//! never come into memory.
//!
//! Nothing here knows of folders, stages or the files' names, which serve messages only. GantryDetectorTilt
//! is not used, positions say it all; overlays and presentation (windowing) are not either.
//!
//! | read | not read, and refused by name |
//! |---|---|
//! | implicit and explicit little endian, explicit big endian, deflated | JPEG baseline and extended, HTJ2K, JPEG XL, video |
//! | RLE, JPEG lossless, JPEG 2000, JPEG-LS (feature `jpeg-ls`) | JPEG lossless with restart intervals or a point transform |
//! | single-frame CT; enhanced CT with its frames' places | frames without places; colour; MONOCHROME1 |
//! | RescaleType HU, unspecified (US) or absent | other RescaleType; lookup tables; maps of materials by ImageType |

mod attributes;
mod codec;
mod elements;
pub mod error;
mod files;
mod input;
mod pixels;
mod series;
mod slice;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use self::error::{DicomError, FileError, PixelError};
use self::pixels::Fit;
use self::series::{Image, Slice, Stack};
use super::affine::Affine;
use super::nifti_write::{self, NiftiWriteError, Volume};

/// Headers of a compressed image, in bytes.
const LARGEST_OVERHEAD: u64 = 1 << 20;

/// One file of a series folder.
#[derive(Clone, Debug)]
pub struct SeriesFile {
    /// What messages call it.
    pub name: String,
    /// Where its bytes are.
    pub content: Content,
}

/// The bytes of a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// On disk.
    Path(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
}

/// How far slices may be from where an evenly spaced series would have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// In millimetres…
    pub millimetres: f64,
    /// … or as a share of the distance between slices, whichever is larger.
    pub share: f64,
}

impl Default for Tolerance {
    /// 0.01 mm or 1 %: above the rounding of decimal positions (three decimals and more; with one decimal
    /// it must be larger), far below the least gap that a missing slice makes (100 %), and below what
    /// matters to a measurement: 1 % of the step is 25 µm at 2.5 mm.
    fn default() -> Self {
        Self { millimetres: 0.01, share: 0.01 }
    }
}

impl Tolerance {
    /// In millimetres, for slices that are `step` mm apart.
    fn of(self, step: f64) -> f64 {
        self.millimetres.max(self.share * step)
    }
}

/// How a series is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadOptions {
    /// Evenness asked of the slices.
    pub tolerance: Tolerance,
    /// What the voxels may take in memory, at two bytes each, or four in single precision.
    pub memory_bytes: u64,
}

impl Default for ReadOptions {
    /// The default tolerance, and 4 GiB.
    fn default() -> Self {
        Self { tolerance: Tolerance::default(), memory_bytes: 4 << 30 }
    }
}

/// The voxels of a series in HU, the column index varying fastest, then the row, then the slice.
#[derive(Clone, Debug, PartialEq)]
pub enum Voxels {
    /// All values are whole and fit.
    Integers(Vec<i16>),
    /// Some are not.
    Reals(Vec<f32>),
}

/// A series as one volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Where its voxels lie.
    pub geometry: Geometry,
    /// HU.
    pub voxels: Voxels,
    /// What is odd about the voxels, and refused nowhere.
    pub remarks: Vec<String>,
}

/// Where the voxels of a series lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// Columns, rows, slices.
    pub shape: [usize; 3],
    /// Voxel indices (column, row, slice) to RAS mm. Sheared when the gantry was tilted.
    pub affine: Affine,
    /// Between columns, between rows, and between slices along their normal, in mm.
    pub spacing: [f64; 3],
    /// The angle of the gantry's tilt in degrees, from the slices' positions; 0 for rectangular voxels.
    pub tilt_degrees: f64,
    /// Files that hold the slices.
    pub files: usize,
    /// Files that are something else, by name in order.
    pub skipped: Vec<String>,
    /// What headers say that is odd, and refused nowhere.
    pub remarks: Vec<String>,
}

impl Series {
    /// What to say of slices of one value, all of them or those at the ends: padding, or slices that were lost.
    ///
    /// # Errors
    /// When such a slice lies between others that hold an image.
    fn blank_ends(&self, stack: &Stack) -> Result<Option<String>, DicomError> {
        let [columns, rows, _] = self.geometry.shape;
        let values = match &self.voxels {
            Voxels::Integers(voxels) => only_values(voxels, columns * rows),
            Voxels::Reals(voxels) => only_values(voxels, columns * rows),
        };
        let named = || values.iter().zip(&stack.slices);
        let (Some(first), Some(last)) =
            (values.iter().position(Option::is_none), values.iter().rposition(Option::is_none))
        else {
            return Ok(Some("each slice holds one value and no image".to_string()));
        };
        let inside = named().take(last).skip(first).find_map(|(value, slice)| Some(((*value)?, slice)));
        if let Some((value, slice)) = inside {
            return Err(DicomError::Blank { file: slice.image.name.to_owned(), value });
        }
        let blank: Vec<&str> =
            named().filter(|(value, _)| value.is_some()).map(|(_, slice)| slice.image.name).collect();
        Ok(blank.first().map(|first| {
            format!("{} slices at the ends hold one value and no image, {first} among them", blank.len())
        }))
    }

    /// The bytes of the volume as `.nii.gz`, the same on every host. The sform is the affine; a qform is
    /// there when voxels are rectangular.
    ///
    /// # Errors
    /// [`NiftiWriteError`] when an extent is above 32767.
    pub fn nii_gz_bytes(&self) -> Result<Vec<u8>, NiftiWriteError> {
        let Geometry { shape, affine, .. } = self.geometry;
        match &self.voxels {
            Voxels::Integers(voxels) => nifti_write::nii_gz_bytes(&Volume { shape, affine, voxels }),
            Voxels::Reals(voxels) => nifti_write::nii_gz_bytes(&Volume { shape, affine, voxels }),
        }
    }
}

/// Reads the files of one series folder, in any order. DICOMDIR and files whose names tell that they are something else
/// are skipped; what has the name or the beginning of a slice and cannot be read is an error.
///
/// # Errors
/// [`DicomError`]: the first file by name that will not do, several series, slices that make no evenly
/// spaced volume, too large a volume, or no image at all.
pub fn read_series(files: &[SeriesFile], options: &ReadOptions) -> Result<Series, DicomError> {
    let files = sorted(files);
    let (images, skipped) = images(&files)?;
    let stack = series::stack(&images, options.tolerance)?;
    let geometry = geometry(&stack, images.len(), skipped)?;
    let voxels = voxels(&files, &stack, geometry.shape, options.memory_bytes)?;
    let mut series = Series { geometry, voxels, remarks: Vec::new() };
    series.remarks.extend(series.blank_ends(&stack)?);
    Ok(series)
}

/// As [`read_series`], but for the pixels, of which none are read.
///
/// # Errors
/// As [`read_series`], as far as headers show it.
pub fn read_geometry(files: &[SeriesFile], tolerance: Tolerance) -> Result<Geometry, DicomError> {
    let files = sorted(files);
    let (images, skipped) = images(&files)?;
    geometry(&series::stack(&images, tolerance)?, images.len(), skipped)
}

/// As [`read_geometry`], and the values of those slices that are `wanted` of the geometry, in HU and by their numbers.
///
/// # Errors
/// As [`read_series`], as far as headers and those slices show it.
pub fn read_slices(
    files: &[SeriesFile],
    tolerance: Tolerance,
    wanted: impl Fn(&Geometry) -> BTreeSet<usize>,
) -> Result<(Geometry, BTreeMap<usize, Vec<f32>>), DicomError> {
    let files = sorted(files);
    let (images, skipped) = images(&files)?;
    let mut stack = series::stack(&images, tolerance)?;
    let geometry = geometry(&stack, images.len(), skipped)?;
    let wanted: Vec<usize> =
        wanted(&geometry).into_iter().filter(|slice| *slice < geometry.shape[2]).collect();
    stack.slices = wanted.iter().filter_map(|slice| stack.slices.get(*slice).copied()).collect();
    let [columns, rows, _] = geometry.shape;
    let mut volume = vec![0_f32; columns * rows * wanted.len()];
    each_slice(&files, &stack, &mut volume, |cells, slice, out: &mut [f32]| {
        pixels::to_reals(cells, &slice.image.facts.format, slice.frame, out)
    })?;
    let values = volume.chunks(columns * rows).map(<[f32]>::to_vec);
    Ok((geometry, wanted.into_iter().zip(values).collect()))
}

/// The value of each slice that holds only one.
fn only_values<T: Copy + PartialEq + Sync + Into<f32>>(voxels: &[T], pixels: usize) -> Vec<Option<f32>> {
    let only = |slice: &[T]| {
        let first = *slice.first()?;
        slice.iter().all(|value| *value == first).then(|| first.into())
    };
    voxels.par_chunks(pixels.max(1)).map(only).collect()
}

fn sorted(files: &[SeriesFile]) -> Vec<&SeriesFile> {
    let mut files: Vec<&SeriesFile> = files.iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn geometry(stack: &Stack, files: usize, skipped: Vec<String>) -> Result<Geometry, DicomError> {
    let [first, second, _] = stack.affine.spacing();
    Ok(Geometry {
        shape: shape(stack)?,
        affine: stack.affine,
        spacing: [first, second, stack.step],
        tilt_degrees: libm::atan2(stack.shift, stack.step).to_degrees(),
        files,
        skipped,
        remarks: series::other_scaling(&stack.slices).into_iter().collect(),
    })
}

/// The facts of all files, and the names of those that are no DICOM image.
fn images<'a>(files: &[&'a SeriesFile]) -> Result<(Vec<Image<'a>>, Vec<String>), DicomError> {
    let facts: Vec<_> = files.par_iter().map(|file| slice::read(&file.content)).collect();
    let is_image = |facts: &Result<Option<_>, _>| matches!(facts, Ok(Some(_)));
    let named = files.iter().zip(&facts).filter(|(_, facts)| is_image(facts));
    let names: Vec<&str> = named.map(|(file, _)| file.name.as_str()).collect();
    let (mut images, mut skipped) = (Vec::new(), Vec::new());
    for (index, (file, facts)) in files.iter().zip(facts).enumerate() {
        let failed = |cause| DicomError::File { file: file.name.clone(), cause };
        match facts.map_err(failed)? {
            Some(facts) => images.push(Image { name: &file.name, file: index, facts }),
            None => match files::fault(file, &names).map_err(failed)? {
                Some(fault) => return Err(failed(fault)),
                None => skipped.push(file.name.clone()),
            },
        }
    }
    if images.is_empty() {
        return Err(DicomError::NoImage { files: files.len() });
    }
    Ok((images, skipped))
}

fn shape(stack: &Stack) -> Result<[usize; 3], DicomError> {
    let Some(first) = stack.slices.first() else { return Err(DicomError::NoImage { files: 0 }) };
    let format = first.image.facts.format;
    Ok([usize::from(format.columns), usize::from(format.rows), stack.slices.len()])
}

/// A volume of zeros, unless it exceeds the limit.
fn zeros<T: Copy + Default>(shape: [usize; 3], limit: u64) -> Result<Vec<T>, DicomError> {
    let [columns, rows, slices] = shape;
    let needed =
        shape.iter().fold(size_of::<T>() as u64, |bytes, &extent| bytes.saturating_mul(extent as u64));
    if needed > limit {
        return Err(DicomError::TooLarge { columns, rows, slices, needed, limit });
    }
    Ok(vec![T::default(); columns * rows * slices])
}

/// Decodes all slices: to integers, and once more to single precision if that does not do.
fn voxels(files: &[&SeriesFile], stack: &Stack, shape: [usize; 3], limit: u64) -> Result<Voxels, DicomError> {
    let mut integers = zeros(shape, limit)?;
    let stop = AtomicBool::new(false);
    each_slice(files, stack, &mut integers, |cells, slice, out: &mut [i16]| {
        // Once a value did not fit, what becomes of the others does not matter.
        if !stop.load(Ordering::Relaxed)
            && pixels::to_integers(cells, &slice.image.facts.format, slice.frame, out) == Fit::Not
        {
            stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    })?;
    if !stop.into_inner() {
        return Ok(Voxels::Integers(integers));
    }
    drop(integers);
    let mut reals = zeros(shape, limit)?;
    each_slice(files, stack, &mut reals, |cells, slice, out: &mut [f32]| {
        pixels::to_reals(cells, &slice.image.facts.format, slice.frame, out)
    })?;
    Ok(Voxels::Reals(reals))
}

/// Decodes slices in parallel, each into its part of the volume. Of several failures the first in
/// the volume is returned.
fn each_slice<T: Send>(
    files: &[&SeriesFile],
    stack: &Stack,
    volume: &mut [T],
    store: impl Fn(&[u32], &Slice, &mut [T]) -> Result<(), PixelError> + Sync,
) -> Result<(), DicomError> {
    let pixels = stack.slices.first().map_or(1, |slice| slice.image.facts.format.pixels());
    let failures: Vec<Option<DicomError>> = volume
        .par_chunks_mut(pixels)
        .zip(&stack.slices)
        .map(|(out, slice)| {
            let failed = |cause| DicomError::File { file: slice.image.name.to_owned(), cause };
            let pixels_failed = |cause| FileError::Pixels { frame: slice.index + 1, cause };
            let Some(file) = files.get(slice.image.file) else {
                return Some(DicomError::NoImage { files: files.len() });
            };
            cells(&file.content, slice)
                .and_then(|cells| store(&cells, slice, out).map_err(pixels_failed))
                .err()
                .map(failed)
        })
        .collect();
    failures.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Reads and decodes the pixels of a slice.
fn cells(content: &Content, slice: &Slice) -> Result<Vec<u32>, FileError> {
    let facts = &slice.image.facts;
    let changed = || FileError::Structure { offset: 0, expected: "the file that was there a moment ago" };
    let mut input = input::open(content)?.ok_or_else(changed)?.input;
    let length = slice.frame.data.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.length));
    let uncompressed = (facts.format.pixels() * facts.format.pixel_bytes()) as u64;
    // No compression makes an image so much larger, and a file may claim any length.
    if length > 2 * uncompressed + LARGEST_OVERHEAD {
        let cause = PixelError::Length { found: length, expected: uncompressed };
        return Err(FileError::Pixels { frame: slice.index + 1, cause });
    }
    let mut bytes = Vec::new();
    for extent in &slice.frame.data {
        input.skip(extent.offset.checked_sub(input.position()).ok_or_else(changed)?)?;
        input.append(extent.length, &mut bytes)?;
    }
    codec::cells(facts.syntax, &facts.format, facts.swapped_words, &mut bytes)
        .map_err(|cause| FileError::Pixels { frame: slice.index + 1, cause })
}
