//! Writing NIfTI-1 scans, always with the same bytes.
//!
//! Little-endian, one file, no scaling, millimetres, no text in any header field. The sform is coded 1;
//! so is an equal qform, except when voxels are sheared (a tilted gantry): no qform can say that, and
//! its code is 0. The gzip
//! form carries neither name nor time and is compressed at one fixed level by a compressor whose
//! output does not depend on the machine.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use super::affine::Affine;
use super::header::HEADER_BYTES;

/// Voxels start after the header and four bytes that say that no extension follows.
const DATA_OFFSET: usize = HEADER_BYTES + 4;
const GZIP_LEVEL: u32 = 6;
/// "Unknown" in the operating system field of a gzip header, whatever the system.
const GZIP_SYSTEM: u8 = 255;
/// The largest |cosine| between voxel axes that a qform still expresses well enough.
const RECTANGULAR: f64 = 1e-6;

/// Why a scan cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum NiftiWriteError {
    /// Creating or writing the file failed.
    #[error("{}: cannot write: {cause}", path.display())]
    Write {
        /// The scan.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file's name ends neither in `.nii` nor in `.nii.gz`.
    #[error("{}: expected a name ending in .nii or .nii.gz", path.display())]
    Name {
        /// The scan.
        path: PathBuf,
    },
    /// An extent that a header cannot hold.
    #[error("a scan of shape {shape:?} cannot be written: extents are 1 to 32767")]
    Shape {
        /// Extents asked for.
        shape: [usize; 3],
    },
    /// A number of voxels that is not the shape's.
    #[error("a scan of shape {shape:?} cannot have {voxels} voxels")]
    Voxels {
        /// Extents asked for.
        shape: [usize; 3],
        /// Voxels given.
        voxels: usize,
    },
    /// The affine is singular or not finite.
    #[error("an affine that is singular or not finite cannot be written: {affine:?}")]
    Affine {
        /// The affine given.
        affine: Affine,
    },
}

/// A type of voxels that can be written.
pub trait Voxel: Copy {
    /// NIfTI's `datatype`.
    const CODE: i16;
    /// Its little-endian bytes.
    type Bytes: IntoIterator<Item = u8>;
    /// This voxel's bytes.
    fn bytes(self) -> Self::Bytes;
}

impl Voxel for i16 {
    const CODE: i16 = 4;
    type Bytes = [u8; 2];

    fn bytes(self) -> Self::Bytes {
        self.to_le_bytes()
    }
}

impl Voxel for f32 {
    const CODE: i16 = 16;
    type Bytes = [u8; 4];

    fn bytes(self) -> Self::Bytes {
        self.to_le_bytes()
    }
}

/// A scan to be written.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a, T = i16> {
    /// Voxels along the stored axes; the first varies fastest.
    pub shape: [usize; 3],
    /// Voxel indices to RAS millimetres.
    pub affine: Affine,
    /// Values in HU, as many as the shape says.
    pub voxels: &'a [T],
}

/// Writes a scan to `path`, compressed when the name ends in `.nii.gz`.
///
/// # Errors
/// [`NiftiWriteError`] when shape, affine or name will not do, or when writing fails.
pub fn write<T: Voxel>(path: &Path, volume: &Volume<T>) -> Result<(), NiftiWriteError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let compressed = name.ends_with(".nii.gz");
    if !compressed && !name.ends_with(".nii") {
        return Err(NiftiWriteError::Name { path: path.to_owned() });
    }
    let header = volume_header(volume)?;
    let save = || {
        let mut file = BufWriter::new(File::create(path)?);
        if compressed {
            write_gzip(&mut file, &header, volume)
        } else {
            write_plain(&mut file, &header, volume)
        }?;
        file.flush()
    };
    save().map_err(|cause| NiftiWriteError::Write { path: path.to_owned(), cause })
}

/// The bytes of the uncompressed file (`.nii`).
///
/// # Errors
/// [`NiftiWriteError`] when shape, number of voxels or affine will not do.
pub fn nii_bytes<T: Voxel>(volume: &Volume<T>) -> Result<Vec<u8>, NiftiWriteError> {
    let header = volume_header(volume)?;
    in_memory(|bytes| write_plain(bytes, &header, volume))
}

/// The bytes of the compressed file (`.nii.gz`).
///
/// # Errors
/// [`NiftiWriteError`] when shape, number of voxels or affine will not do.
pub fn nii_gz_bytes<T: Voxel>(volume: &Volume<T>) -> Result<Vec<u8>, NiftiWriteError> {
    let header = volume_header(volume)?;
    in_memory(|bytes| write_gzip(bytes, &header, volume))
}

/// The 348 header bytes of a scan of 16-bit integers.
///
/// # Errors
/// [`NiftiWriteError::Shape`] and [`NiftiWriteError::Affine`].
pub fn header_bytes(shape: [usize; 3], affine: &Affine) -> Result<[u8; HEADER_BYTES], NiftiWriteError> {
    header_of::<i16>(shape, affine)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "348, and the bits of a number of eight bytes at most"
)]
fn header_of<T: Voxel>(shape: [usize; 3], affine: &Affine) -> Result<[u8; HEADER_BYTES], NiftiWriteError> {
    let extents = extents(shape).ok_or(NiftiWriteError::Shape { shape })?;
    if !affine.is_finite() || affine.is_singular() {
        return Err(NiftiWriteError::Affine { affine: *affine });
    }
    let qform = rigid(affine);
    let (quaternion, mirrored) = qform.unwrap_or_default();
    let mut header = HeaderWriter([0; HEADER_BYTES]);
    header.put(0, (HEADER_BYTES as i32).to_le_bytes());
    header.put(38, *b"r");
    header.put_each(40, [3, extents[0], extents[1], extents[2], 1, 1, 1, 1].map(i16::to_le_bytes));
    header.put(70, T::CODE.to_le_bytes());
    header.put(72, (8 * size_of::<T>() as i16).to_le_bytes());
    let [x, y, z] = affine.spacing();
    header.put_each(76, [if mirrored { -1.0 } else { 1.0 }, x, y, z, 1.0, 1.0, 1.0, 1.0].map(single));
    header.put(108, (DATA_OFFSET as f32).to_le_bytes());
    header.put_each(112, [1.0, 0.0].map(single));
    header.put(123, [2]);
    header.put_each(252, [i16::from(qform.is_some()), 1].map(i16::to_le_bytes));
    header.put_each(256, quaternion.map(single));
    header.put_each(268, affine.translation.map(single));
    for (row, offset) in [280, 296, 312].into_iter().enumerate() {
        header.put_each(offset, affine.linear[row].map(single));
        header.put(offset + 12, single(affine.translation[row]));
    }
    header.put(344, *b"n+1\0");
    Ok(header.0)
}

/// Quaternion and handedness of an affine that is a rotation and a spacing.
fn rigid(affine: &Affine) -> Option<([f64; 3], bool)> {
    if affine.shear() < RECTANGULAR { affine.quaternion() } else { None }
}

fn extents(shape: [usize; 3]) -> Option<[i16; 3]> {
    let [x, y, z] = shape.map(|extent| i16::try_from(extent).ok().filter(|&extent| extent > 0));
    Some([x?, y?, z?])
}

fn volume_header<T: Voxel>(volume: &Volume<T>) -> Result<[u8; HEADER_BYTES], NiftiWriteError> {
    let Volume { shape, affine, voxels } = *volume;
    let header = header_of::<T>(shape, &affine)?;
    if shape.iter().product::<usize>() != voxels.len() {
        return Err(NiftiWriteError::Voxels { shape, voxels: voxels.len() });
    }
    Ok(header)
}

fn write_plain<T: Voxel>(
    out: &mut impl Write,
    header: &[u8; HEADER_BYTES],
    volume: &Volume<T>,
) -> io::Result<()> {
    out.write_all(header)?;
    out.write_all(&[0; DATA_OFFSET - HEADER_BYTES])?;
    // Whole rows at a time: the compressor sees the same pieces on every host.
    let mut row = Vec::with_capacity(size_of::<T>() * volume.shape[0]);
    for voxels in volume.voxels.chunks(volume.shape[0]) {
        row.clear();
        row.extend(voxels.iter().flat_map(|voxel| voxel.bytes()));
        out.write_all(&row)?;
    }
    Ok(())
}

fn write_gzip<T: Voxel>(
    out: &mut impl Write,
    header: &[u8; HEADER_BYTES],
    volume: &Volume<T>,
) -> io::Result<()> {
    let level = Compression::new(GZIP_LEVEL);
    let mut encoder = GzBuilder::new().mtime(0).operating_system(GZIP_SYSTEM).write(out, level);
    write_plain(&mut encoder, header, volume)?;
    encoder.finish()?;
    Ok(())
}

fn in_memory(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<Vec<u8>, NiftiWriteError> {
    let mut bytes = Vec::new();
    write(&mut bytes).map_err(|cause| NiftiWriteError::Write { path: PathBuf::from("memory"), cause })?;
    Ok(bytes)
}

#[allow(clippy::cast_possible_truncation, reason = "the standard has no more")]
fn single(value: f64) -> [u8; 4] {
    (value as f32).to_le_bytes()
}

/// A header under construction; offsets are those of the NIfTI-1 standard.
struct HeaderWriter([u8; HEADER_BYTES]);

impl HeaderWriter {
    fn put<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) {
        self.0[offset..offset + N].copy_from_slice(&bytes);
    }

    fn put_each<const N: usize, const M: usize>(&mut self, offset: usize, fields: [[u8; M]; N]) {
        for (index, field) in fields.into_iter().enumerate() {
            self.put(offset + index * M, field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::ScanHeader;
    use crate::orientation::Orientation;
    use crate::scan::{ReadLimits, Scan};
    use crate::voxels::Region;

    fn voxels() -> Vec<i16> {
        (0..3 * 4 * 5).map(|index| index * 37 - 1000).collect()
    }

    fn volume(voxels: &[i16]) -> Volume<'_> {
        let affine = Affine::from_quaternion([0.1, -0.2, 0.3], [0.75, 0.8, 2.5], true, [-30.0, 12.0, 400.0]);
        Volume { shape: [3, 4, 5], affine, voxels }
    }

    #[test]
    fn what_is_written_reads_back_plain_and_compressed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let voxels = voxels();
        for name in ["scan.nii", "scan.nii.gz"] {
            let path = folder.path().join(name);
            write(&path, &volume(&voxels)).expect("written");
            let scan = Scan::open(&path).expect("readable");
            for orientation in [Orientation::Auto, Orientation::Sform, Orientation::Qform] {
                let found = scan.affine(orientation).expect("both forms agree").apply([2.0, 3.0, 4.0]);
                let expected = volume(&voxels).affine.apply([2.0, 3.0, 4.0]);
                assert!(
                    found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4),
                    "{found:?} {expected:?}"
                );
            }
            let region = Region::whole(scan.layout().shape);
            let blocks = scan.read_blocks(&[region], ReadLimits::default()).expect("read through");
            let expected: Vec<f32> = voxels.iter().map(|&voxel| f32::from(voxel)).collect();
            assert_eq!(blocks[0].values(), expected, "{name}");
        }
    }

    #[test]
    fn the_compressed_bytes_are_pinned() {
        let bytes = nii_gz_bytes(&volume(&voxels())).expect("valid");
        assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, GZIP_SYSTEM]);
        let hash = blake3::hash(&bytes).to_hex();
        assert_eq!(&hash[..32], "df4f531172d2499ed222570cc59e68e7");
        let ramp: Vec<i16> =
            (0..64 * 64 * 16).map(|index: i32| (index % 1009 * (index % 977) % 1531) as i16).collect();
        let large = Volume { shape: [64, 64, 16], affine: Affine::from_spacing([1.0; 3]), voxels: &ramp };
        let hash = blake3::hash(&nii_gz_bytes(&large).expect("valid")).to_hex();
        assert_eq!(&hash[..32], "7fd836ef321690d781b4b471b62b75af");
    }

    #[test]
    fn unwritable_scans_are_refused() {
        let voxels = voxels();
        let valid = volume(&voxels);
        let flat = Affine::from_spacing([1.0, 1.0, 0.0]);
        let infinite = Affine::from_spacing([1.0, 1.0, f64::INFINITY]);
        for affine in [flat, infinite] {
            let error = nii_bytes(&Volume { affine, ..valid }).expect_err("no map of voxels");
            assert!(matches!(error, NiftiWriteError::Affine { .. }), "{error}");
        }
        for shape in [[0, 4, 5], [60_000, 1, 1], [usize::MAX; 3]] {
            let error = nii_bytes(&Volume { shape, ..valid }).expect_err("wrong shape");
            assert!(matches!(error, NiftiWriteError::Shape { .. }), "{error}");
        }
        let error = nii_bytes(&Volume { shape: [3, 4, 6], ..valid }).expect_err("voxels missing");
        assert!(matches!(error, NiftiWriteError::Voxels { voxels: 60, .. }), "{error}");
        let error = write(Path::new("scan.dcm"), &valid).expect_err("wrong name");
        assert!(matches!(error, NiftiWriteError::Name { .. }), "{error}");
    }

    #[test]
    fn sheared_voxels_have_an_sform_alone() {
        let affine = Affine::from_rows([[1.0, 0.1, 0.0, 3.0], [0.0, 1.0, 0.0, 4.0], [0.0, 0.0, 1.0, 5.0]]);
        let bytes = header_bytes([3, 4, 5], &affine).expect("valid");
        assert_eq!(bytes[252..256], [0, 0, 1, 0], "codes of qform and sform");
        assert_eq!(bytes[256..268], [0; 12], "no quaternion");
        let forms = ScanHeader::parse(&bytes).expect("valid").forms;
        let found = forms.affine(Orientation::Sform).expect("asked for").apply([1.0, 2.0, 3.0]);
        assert!(found.iter().zip([4.2, 6.0, 8.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn single_precision_is_written_as_such() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("scan.nii.gz");
        let voxels = [0.25, -1000.5, 40_000.0, 3.0];
        let affine = Affine::from_spacing([1.0; 3]);
        write(&path, &Volume { shape: [2, 2, 1], affine, voxels: &voxels }).expect("written");
        let scan = Scan::open(&path).expect("readable");
        let blocks = scan.read_blocks(&[Region::whole([2, 2, 1])], ReadLimits::default()).expect("whole");
        assert_eq!(blocks[0].values(), voxels);
    }

    #[test]
    fn the_header_says_what_was_asked() {
        let header =
            ScanHeader::parse(&header_bytes([3, 4, 5], &volume(&[]).affine).expect("valid")).expect("valid");
        assert_eq!(header.layout.shape, [3, 4, 5]);
        assert_eq!(header.layout.data_offset, DATA_OFFSET as u64);
        assert!(header.forms.mirrored);
    }
}
