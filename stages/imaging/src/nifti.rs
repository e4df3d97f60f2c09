//! Opening NIfTI-1 and NIfTI-2, in one file or as a pair.

use super::error::ScanError;
use super::fields::{self, SIZE_BYTES};
use super::header::{HEADER_BYTES, ScanHeader, Storage};
use super::scan::{Placement, Scan};
use super::source::Source;

/// The name of the image file that belongs to a header file's name, and the other way round:
/// `.hdr` and `.img`, `.hdr.gz` and `.img.gz`, in lower or upper case. `None` for any other name.
///
/// ```
/// use pipe_imaging::scan::pair_of;
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

/// Opens a file that holds header and voxels.
pub(super) fn open(mut file: Source) -> Result<Scan, ScanError> {
    let header = read_header(&mut file)?;
    match header.storage {
        Storage::SingleFile => scan(header, file.path().to_owned(), file),
        Storage::Pair => {
            let path = file.path().to_owned();
            Err(ScanError::NoImage { path, offset: header.version.magic_offset() })
        }
    }
}

/// Opens a header and the file with its voxels.
pub(super) fn open_pair(mut header_file: Source, image: Source) -> Result<Scan, ScanError> {
    let header = read_header(&mut header_file)?;
    header_file.finish()?;
    let path = header_file.path().to_owned();
    match header.storage {
        Storage::Pair => scan(header, path, image),
        Storage::SingleFile => {
            let (image, offset) = (image.path().to_owned(), header.version.magic_offset());
            Err(ScanError::NoPair { path, image, offset })
        }
    }
}

fn scan(header: ScanHeader, path: std::path::PathBuf, voxels: Source) -> Result<Scan, ScanError> {
    Scan::new(path, header.layout, Placement::Forms(Box::new(header.forms)), voxels)
}

fn read_header(file: &mut Source) -> Result<ScanHeader, ScanError> {
    let path = file.path().to_owned();
    let refused = |cause| ScanError::header(&path, cause);
    file.expect(HEADER_BYTES as u64)?;
    let mut bytes = file.read(SIZE_BYTES)?.to_vec();
    let size = bytes.first_chunk().copied().unwrap_or_default();
    let length = fields::version(size).map_err(refused)?.0.header_bytes();
    file.expect(length as u64)?;
    bytes.extend(file.read(length - SIZE_BYTES)?);
    ScanHeader::parse(&bytes).map_err(refused)
}
