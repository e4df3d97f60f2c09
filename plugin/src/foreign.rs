//! What a file is that was given where another format is read, told from its first bytes, and what to do about it.
//!
//! A program that meets a web page where it expects a scan can say more than that a number is wrong. Names of files
//! count only where bytes say too little. Knows nothing of what is inside, and refuses nothing.

use std::fmt;
use std::path::Path;

/// How many bytes of a file tell all formats apart.
pub const HEAD_BYTES: usize = 1024;

/// The formats of scans.
const READ: &str =
    "NIfTI (.nii, .nii.gz, .hdr with .img), NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd) are read";

/// What was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A scan or a mask.
    Scan,
    /// A table in CSV.
    Table,
}

/// A format that is not read where a scan or a table is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// The few lines that git keeps in place of a large file.
    GitLfsPointer,
    /// The path that git-annex keeps in place of a large file.
    GitAnnexPointer,
    /// A web page, as a failed download leaves it.
    WebPage,
    /// NRRD, as 3D Slicer writes it.
    Nrrd,
    /// MetaImage: a header with its voxels, or with their file's name.
    MetaImage,
    /// MINC, in either of its containers.
    Minc,
    /// HDF5 of unknown content.
    Hdf5,
    /// MGH, compressed or not.
    Mgh,
    /// One DICOM file.
    Dicom,
    /// NIfTI.
    Nifti,
    /// Analyze 7.5: a header like NIfTI's without an orientation.
    Analyze,
    /// A workbook.
    Workbook,
    /// Parquet.
    Parquet,
    /// A checkpoint of PyTorch.
    Checkpoint,
    /// An array of NumPy, or several.
    NumPy,
    /// MATLAB.
    Matlab,
    /// SQLite.
    Sqlite,
    /// A picture: its format's name.
    Picture(&'static str),
    /// PDF.
    Pdf,
    /// Files packed together: the format's name.
    Archive(&'static str),
    /// One compressed file: the format's name, and the command that unpacks it.
    Compressed(&'static str, &'static str),
}

impl fmt::Display for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::GitLfsPointer => "a git-lfs pointer, not the file itself",
            Self::GitAnnexPointer => "a git-annex pointer, not the file itself",
            Self::WebPage => "a web page",
            Self::Nrrd => "an NRRD file",
            Self::MetaImage => "a MetaImage file (.mhd, .mha)",
            Self::Minc => "a MINC file",
            Self::Hdf5 => "an HDF5 file",
            Self::Mgh => "an MGH file (.mgh, .mgz)",
            Self::Dicom => "a DICOM file",
            Self::Nifti => "a NIfTI file",
            Self::Analyze => "an Analyze 7.5 file, which has no orientation",
            Self::Workbook => "an Excel or OpenDocument workbook",
            Self::Parquet => "a Parquet file",
            Self::Checkpoint => "a PyTorch file",
            Self::NumPy => "a NumPy file",
            Self::Matlab => "a MATLAB file",
            Self::Sqlite => "an SQLite database",
            Self::Picture(name) => return write!(formatter, "a {name} picture"),
            Self::Pdf => "a PDF document",
            Self::Archive(name) => return write!(formatter, "a {name} archive"),
            Self::Compressed(name, _) => return write!(formatter, "compressed by {name}"),
        };
        formatter.write_str(text)
    }
}

impl Foreign {
    /// What to do with a file of this format, where another is wanted.
    pub fn fix(self, wanted: Wanted, path: &Path) -> String {
        let name = path.file_name().map_or_else(|| "FILE".into(), |name| name.to_string_lossy());
        match (self, wanted) {
            (Self::GitLfsPointer, _) => "fetch the file itself: `git lfs pull`".to_string(),
            (Self::GitAnnexPointer, _) => {
                "fetch the file itself: `git annex get` or `datalad get`".to_string()
            }
            (Self::WebPage, _) => {
                "a failed download leaves such a page (log-in, error): open it, and download the file again"
                    .to_string()
            }
            (Self::Archive(_), _) => "unpack it, and give the path of the file within".to_string(),
            (Self::Compressed(_, command), _) => format!("unpack it first: `{command} {name}`"),
            (Self::Workbook, Wanted::Table) => format!(
                "save its sheet as CSV: `python3 -c \"import pandas; pandas.read_excel('{name}', \
                 dtype=str).to_csv('{}.csv', index=False)\"`",
                stem(&name)
            ),
            (Self::Parquet, Wanted::Table) => format!(
                "save it as CSV: `python3 -c \"import pandas; pandas.read_parquet('{name}').to_csv('{}.csv', \
                 index=False)\"`",
                stem(&name)
            ),
            (_, Wanted::Table) => "give a table as CSV in UTF-8, with a header in its first line".to_string(),
            (Self::Minc, Wanted::Scan) => format!(
                "{READ}; convert it: `python3 -c \"import SimpleITK as s; s.WriteImage(s.ReadImage('{name}'), '{}.nii.gz')\"`",
                stem(&name)
            ),
            (Self::Mgh, Wanted::Scan) => format!(
                "{READ}; convert it: `python3 -c \"import nibabel as n; \
                 n.save(n.load('{name}'), '{}.nii.gz')\"`",
                stem(&name)
            ),
            (Self::Dicom, Wanted::Scan) => {
                "give the folder of the whole series to a stage of kind `dicom`, and its table to this one"
                    .to_string()
            }
            (Self::NumPy | Self::Checkpoint | Self::Hdf5 | Self::Matlab, Wanted::Scan) => {
                "such a file does not say where its voxels lie in the patient: give the NIfTI or DICOM that it was \
                 made of"
                    .to_string()
            }
            (Self::Analyze, Wanted::Scan) => {
                "convert the scan to NIfTI again from where it came from: which side is left is not in this file"
                    .to_string()
            }
            (_, Wanted::Scan) => READ.to_string(),
        }
    }
}

/// A name without its extension.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty()).unwrap_or("out")
}

/// What a file is by its first [`HEAD_BYTES`] (all of them, or as many as it has); `None` for any other format.
///
/// A reader of compressed files gives the head of what is inside.
pub fn what_is(path: &Path, head: &[u8]) -> Option<Foreign> {
    let extension = path.extension().map(|text| text.to_string_lossy().to_ascii_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let zip = at(0, b"PK\x03\x04") || at(0, b"PK\x05\x06");
    let plain: &[(usize, &[u8], Foreign)] = &[
        (0, b"version https://git-lfs", Foreign::GitLfsPointer),
        (0, b"/annex/objects/", Foreign::GitAnnexPointer),
        (0, b"NRRD0", Foreign::Nrrd),
        (0, b"\x93NUMPY", Foreign::NumPy),
        (0, b"PAR1", Foreign::Parquet),
        (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign::Workbook),
        (0, b"SQLite format 3\0", Foreign::Sqlite),
        (0, b"MATLAB 5.0 MAT-file", Foreign::Matlab),
        (0, b"%PDF-", Foreign::Pdf),
        (0, b"\x89PNG\r\n", Foreign::Picture("PNG")),
        (0, b"\xff\xd8\xff", Foreign::Picture("JPEG")),
        (0, b"GIF8", Foreign::Picture("GIF")),
        (0, b"II*\0", Foreign::Picture("TIFF")),
        (0, b"MM\0*", Foreign::Picture("TIFF")),
        (0, b"7z\xbc\xaf\x27\x1c", Foreign::Archive("7z")),
        (0, b"Rar!", Foreign::Archive("RAR")),
        (257, b"ustar", Foreign::Archive("tar")),
        (0, b"BZh", Foreign::Compressed("bzip2", "bunzip2")),
        (0, b"\xfd7zXZ\0", Foreign::Compressed("xz", "unxz")),
        (0, b"\x28\xb5\x2f\xfd", Foreign::Compressed("zstd", "unzstd")),
        (0, b"CDF\x01", Foreign::Minc),
        (0, b"CDF\x02", Foreign::Minc),
        (128, b"DICM", Foreign::Dicom),
        (344, b"n+1\0", Foreign::Nifti),
        (344, b"ni1\0", Foreign::Nifti),
        (4, b"n+2\0", Foreign::Nifti),
        (4, b"ni2\0", Foreign::Nifti),
    ];
    if let Some((.., found)) = plain.iter().find(|(offset, magic, _)| at(*offset, magic)) {
        return Some(*found);
    }
    match extension {
        "pt" | "pth" | "ckpt" if zip || at(0, b"\x80\x02") => return Some(Foreign::Checkpoint),
        "xlsx" | "xlsm" | "ods" if zip => return Some(Foreign::Workbook),
        "npz" if zip => return Some(Foreign::NumPy),
        "mhd" | "mha" => return Some(Foreign::MetaImage),
        "mnc" if at(0, b"\x89HDF\r\n") => return Some(Foreign::Minc),
        "nii" | "gz" if at(0, b"\x1f\x8b") && stem_is_nifti(path) => return Some(Foreign::Nifti),
        "mgz" if at(0, b"\x1f\x8b") => return Some(Foreign::Mgh),
        _ => {}
    }
    if zip {
        return Some(in_zip(head));
    }
    if at(0, b"\x89HDF\r\n") {
        return Some(Foreign::Hdf5);
    }
    if at(0, b"\x1f\x8b") {
        return Some(Foreign::Compressed("gzip", "gunzip"));
    }
    if is_mgh(head) {
        return Some(Foreign::Mgh);
    }
    if is_bare_dicom(head) {
        return Some(Foreign::Dicom);
    }
    if is_analyze(head) {
        return Some(Foreign::Analyze);
    }
    in_text(head)
}

fn stem_is_nifti(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    name.ends_with(".nii.gz") || name.ends_with(".nii")
}

/// What a zip holds, by the names that stand near its start.
fn in_zip(head: &[u8]) -> Foreign {
    let has = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    if has(b"[Content_Types].xml") || has(b"xl/") || has(b"opendocument.spreadsheet") {
        Foreign::Workbook
    } else if has(b"/data.pkl") || has(b"/version") {
        Foreign::Checkpoint
    } else if has(b".npy") {
        Foreign::NumPy
    } else {
        Foreign::Archive("zip")
    }
}

/// MGH: version 1, three extents and a number of frames, and a type, all big-endian.
fn is_mgh(head: &[u8]) -> bool {
    let Some(words) = head.get(..24).map(|bytes| bytes.as_chunks::<4>().0) else { return false };
    let words: Vec<i32> = words.iter().map(|word| i32::from_be_bytes(*word)).collect();
    match words.as_slice() {
        [1, extents @ .., kind] => {
            extents.iter().all(|extent| (1..=1 << 15).contains(extent)) && [0, 1, 3, 4].contains(kind)
        }
        _ => false,
    }
}

/// DICOM without the preamble: it begins with an element of group 0002 or 0008, in order, with a plausible length.
pub fn is_bare_dicom(head: &[u8]) -> bool {
    let Some(&[group, 0, element, 0, a, b, c, d]) = head.first_chunk::<8>() else { return false };
    let explicit = [a, b].iter().all(u8::is_ascii_uppercase);
    let implicit = u32::from_le_bytes([a, b, c, d]) <= 128;
    matches!(group, 0x02 | 0x08) && element <= 0x18 && (explicit || implicit)
}

/// A header of 348 bytes in either byte order, without a magic.
fn is_analyze(head: &[u8]) -> bool {
    let size = head.first_chunk::<4>().copied().unwrap_or_default();
    let sized = i32::from_le_bytes(size) == 348 || i32::from_be_bytes(size) == 348;
    sized && head.get(344..348) == Some(&[0; 4])
}

/// Formats whose head is text.
fn in_text(head: &[u8]) -> Option<Foreign> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let starts = |word: &[u8]| head.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts(b"<!doctype html") || starts(b"<html") || starts(b"<head") {
        return Some(Foreign::WebPage);
    }
    let meta = starts(b"ObjectType") || starts(b"NDims");
    let annex = head.len() < 512 && head.windows(15).any(|part| part == b".git/annex/obje");
    (meta && head.contains(&b'=')).then_some(Foreign::MetaImage).or(annex.then_some(Foreign::GitAnnexPointer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(offset: usize, magic: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; offset];
        bytes.extend(magic);
        bytes
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let mgh: Vec<u8> = [1_i32, 256, 256, 256, 1, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        let analyze = [&348_i32.to_le_bytes()[..], &[0; 600]].concat();
        let table: &[(&str, &[u8], Option<Foreign>)] = &[
            (
                "a.nii.gz",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:",
                Some(Foreign::GitLfsPointer),
            ),
            ("a.csv", b"/annex/objects/MD5E-s10--00.csv\n", Some(Foreign::GitAnnexPointer)),
            ("a.nii", b"\n<!DOCTYPE HTML><html>", Some(Foreign::WebPage)),
            ("a.csv", b"<html lang=\"en\">", Some(Foreign::WebPage)),
            ("a", b"NRRD0005\n# Complete", Some(Foreign::Nrrd)),
            ("a.mhd", b"NDims = 3\nDimSize = 4 4 4", Some(Foreign::MetaImage)),
            ("a", b"ObjectType = Image\nNDims = 3\n", Some(Foreign::MetaImage)),
            ("a.mnc", b"\x89HDF\r\n\x1a\n", Some(Foreign::Minc)),
            ("a.mnc", b"CDF\x01\0\0", Some(Foreign::Minc)),
            ("a.h5", b"\x89HDF\r\n\x1a\n", Some(Foreign::Hdf5)),
            ("a", &mgh, Some(Foreign::Mgh)),
            ("a.mgz", b"\x1f\x8b\x08", Some(Foreign::Mgh)),
            ("a", &behind(128, b"DICM"), Some(Foreign::Dicom)),
            ("a", b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100", Some(Foreign::Dicom)),
            ("a", b"\x08\0\x05\0CS\x0a\0ISO_IR 100", Some(Foreign::Dicom)),
            ("a.csv", &behind(344, b"n+1\0"), Some(Foreign::Nifti)),
            ("a.nii.gz", b"\x1f\x8b\x08", Some(Foreign::Nifti)),
            ("a.hdr", &analyze, Some(Foreign::Analyze)),
            ("a.xlsx", b"PK\x03\x04\x14\0", Some(Foreign::Workbook)),
            ("a.csv", b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml", Some(Foreign::Workbook)),
            ("a.pt", b"PK\x03\x04", Some(Foreign::Checkpoint)),
            ("a", b"PK\x03\x04\0\0archive/data.pkl", Some(Foreign::Checkpoint)),
            ("a.zip", b"PK\x03\x04\0\0scans/1.nii", Some(Foreign::Archive("zip"))),
            ("a", &behind(257, b"ustar\0"), Some(Foreign::Archive("tar"))),
            ("a.npy", b"\x93NUMPY\x01\0", Some(Foreign::NumPy)),
            ("a.png", b"\x89PNG\r\n\x1a\n", Some(Foreign::Picture("PNG"))),
            ("a.csv.gz", b"\x1f\x8b\x08", Some(Foreign::Compressed("gzip", "gunzip"))),
            ("a.csv", b"pid,nodule_id,image_path\n", None),
            ("a.csv", b"ObjectType,NDims\n", None),
            ("a.csv", b"", None),
        ];
        for (name, head, expected) in table {
            assert_eq!(what_is(Path::new(name), head), *expected, "{name} {head:?}");
        }
    }

    #[test]
    fn a_fix_is_a_command_with_the_name_of_the_file() {
        let path = Path::new("/data/P1.scan.mnc");
        let fix = Foreign::Minc.fix(Wanted::Scan, path);
        assert!(fix.ends_with("s.WriteImage(s.ReadImage('P1.scan.mnc'), 'P1.scan.nii.gz')\"`"), "{fix}");
        let fix = Foreign::Workbook.fix(Wanted::Table, Path::new("t.xlsx"));
        assert!(fix.contains("read_excel('t.xlsx', dtype=str).to_csv('t.csv', index=False)"), "{fix}");
        assert_eq!(Foreign::GitLfsPointer.fix(Wanted::Table, path), "fetch the file itself: `git lfs pull`");
    }
}
