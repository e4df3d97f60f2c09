//! Which files of a series' folder may be left out, and which are a slice that was lost on the way.
//!
//! An interrupted copy leaves files that are empty, cut off or something else altogether. At an end of the series no gap
//! shows that one is missing, so a file may be left out only when it cannot be a slice: one that its name tells to be
//! something else. What has the name or the beginning of a slice is named as a fault.

use std::fs::File;
use std::io::Read as _;

use pipe_plugin::foreign::{HEAD_BYTES, is_bare_dicom, what_is};

use super::error::FileError;
use super::{Content, SeriesFile};

/// Preamble and magic.
const BEGINNING: usize = 132;
/// Extensions that DICOM files have.
const DICOM: [&str; 4] = ["dcm", "dicom", "ima", "dic"];
/// Extensions of compressed files.
const COMPRESSED: [&str; 7] = ["gz", "bz2", "xz", "zst", "lz4", "z", "zip"];
/// Extensions of what lies beside series: notes, tables, pictures, other formats of scans, files of systems.
const OTHER: [&str; 52] = [
    "txt", "md", "rtf", "doc", "docx", "pdf", "log", "xml", "json", "csv", "tsv", "xls", "xlsx", "yaml",
    "yml", "toml", "ini", "cfg", "inf", "htm", "html", "css", "js", "ico", "png", "jpg", "jpeg", "gif",
    "bmp", "tif", "tiff", "svg", "db", "exe", "dll", "sh", "bat", "py", "zip", "gz", "tar", "nii", "nrrd",
    "mhd", "mha", "raw", "bval", "bvec", "md5", "sha256", "lock", "jar",
];
/// Names without an extension of what lies beside series.
const NAMES: [&str; 9] =
    ["dicomdir", "license", "licence", "readme", "version", "changelog", "notice", "md5sums", "checksums"];

/// What is wrong with a file that holds no image, where others of the folder do; `None` when it may be left out.
///
/// # Errors
/// When it cannot be read.
pub(super) fn fault(file: &SeriesFile, images: &[&str]) -> Result<Option<FileError>, FileError> {
    let name = Name::of(uncompressed(&file.name));
    let images: Vec<Name> = images.iter().map(|image| Name::of(image)).collect();
    if name.is_hidden || NAMES.contains(&name.base.as_str()) {
        return Ok(None);
    }
    let has_extension = |other: &Name| !name.extension.is_empty() && other.extension == name.extension;
    if OTHER.contains(&name.extension.as_str()) && !images.iter().any(has_extension) {
        return Ok(None);
    }
    let (head, length) = head(&file.content)?;
    if head.get(BEGINNING - 4..BEGINNING) == Some(b"DICM") {
        // A directory of files under another name.
        return Ok(None);
    }
    if length == 0 {
        return Ok(Some(FileError::Empty));
    }
    if is_bare_dicom(&head) {
        return Ok(Some(FileError::NoPreamble));
    }
    let is_like = |other: &Name| has_extension(other) || other.pattern == name.pattern;
    let is_alike = DICOM.contains(&name.extension.as_str()) || images.iter().any(is_like);
    let is_bare_name = name.extension.is_empty() && images.iter().all(|other| other.extension.is_empty());
    let begins_alike = head.iter().take(BEGINNING - 4).all(|byte| *byte == 0);
    if !(is_alike || begins_alike || (is_bare_name && !is_text(&head))) {
        return Ok(None);
    }
    let what = what_is(file.name.as_ref(), &head);
    Ok(Some(match what {
        None if length < BEGINNING as u64 => {
            FileError::Truncated { offset: 0, wanted: BEGINNING as u64, length }
        }
        what => FileError::NoDicom { what },
    }))
}

/// The name that a compressed file had before, if it was a slice's.
fn uncompressed(name: &str) -> &str {
    let before =
        name.rsplit_once('.').filter(|(_, last)| COMPRESSED.contains(&last.to_ascii_lowercase().as_str()));
    match before {
        Some((before, _)) if DICOM.contains(&Name::of(before).extension.as_str()) => before,
        _ => name,
    }
}

/// What a file's name says.
struct Name {
    /// The last part, in lower case.
    base: String,
    is_hidden: bool,
    /// In lower case; empty for none, and for a number, as at the end of a UID.
    extension: String,
    /// The last part with each run of digits as one sign.
    pattern: String,
}

impl Name {
    fn of(name: &str) -> Self {
        let is_hidden = name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
        let base = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        let extension = base.rsplit_once('.').map(|(_, extension)| extension.to_string());
        let is_word = |extension: &String| extension.bytes().any(|byte| !byte.is_ascii_digit());
        let mut pattern = String::new();
        for sign in base.chars() {
            let sign = if sign.is_ascii_digit() { '#' } else { sign };
            if !(sign == '#' && pattern.ends_with('#')) {
                pattern.push(sign);
            }
        }
        Self { base, is_hidden, extension: extension.filter(is_word).unwrap_or_default(), pattern }
    }
}

fn is_text(head: &[u8]) -> bool {
    head.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..) && *byte != 0x7f)
}

/// The first bytes of a file, and its length.
fn head(content: &Content) -> Result<(Vec<u8>, u64), FileError> {
    match content {
        Content::Bytes(bytes) => Ok((bytes.get(..HEAD_BYTES).unwrap_or(bytes).to_vec(), bytes.len() as u64)),
        Content::Path(path) => {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            let mut head = Vec::new();
            file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
            Ok((head, length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file beside slices of these names.
    fn said(name: &str, bytes: &[u8], images: &[&str]) -> String {
        let file = SeriesFile { name: name.to_string(), content: Content::Bytes(bytes.to_vec()) };
        fault(&file, images).expect("readable").map_or("left out".to_string(), |fault| fault.to_string())
    }

    #[test]
    fn what_may_be_a_slice_is_never_left_out() {
        let zeros = [0; 200];
        let bare = [&[8, 0, 5, 0, 10, 0, 0, 0][..], b"ISO_IR 100", &zeros].concat();
        let page = b"<!DOCTYPE html><html><body>503</body></html>".as_slice();
        let empty = "the file is empty";
        let cut = "the file ends too early: 132 bytes expected at byte 0";
        let none = "no DICOM file";
        let table: &[(&str, &[u8], &[&str], &str)] = &[
            ("IM009.dcm", b"", &["IM001.dcm"], empty),
            ("IM009", b"", &["IM001"], empty),
            ("whatever", b"", &["IM001.dcm"], empty),
            ("a/IM009.dcm", &zeros[..100], &["a/IM001.dcm"], cut),
            ("1.2.840.9", &zeros[..131], &["1.2.840.1"], cut),
            ("odd", &zeros[..7], &["IM001.dcm"], cut),
            ("IM009.dcm", &zeros, &["IM001.dcm"], none),
            ("IM009.dcm", page, &["IM001.dcm"], "no DICOM file but a web page"),
            ("IM009", page, &["IM001"], "no DICOM file but a web page"),
            ("IM009.DCM", b"noise", &[], cut),
            ("IM009.img", b"some words", &["IM001.img"], cut),
            ("E5F1", b"\x01\x02\x03", &["A7C2"], cut),
            ("IM009", &bare, &["IM001"], "DICOM without its preamble"),
            ("IM009.dcm.gz", b"\x1f\x8b\x08", &["IM001.dcm"], "no DICOM file but"),
            ("IM009.DCM.zip", b"PK\x03\x04", &["IM001.dcm"], "no DICOM file but"),
        ];
        for (name, bytes, images, expected) in table {
            let said = said(name, bytes, images);
            assert!(said.starts_with(expected), "{name}: {said}");
        }
    }

    #[test]
    fn what_is_something_else_is_left_out() {
        let mut directory = vec![0; 128];
        directory.extend(b"DICM");
        let table: &[(&str, &[u8])] = &[
            (".DS_Store", b""),
            ("._IM001.dcm", b"\0\x05\x16\x07"),
            ("__MACOSX/IM001.dcm", b""),
            ("DICOMDIR", b""),
            ("index", &directory),
            ("LICENSE", b"terms"),
            ("notes.txt", b""),
            ("a.xml", b"<a/>"),
            ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
            ("preview.PNG", b"\x89PNG"),
            ("segmentation.nii.gz", b"\x1f\x8b"),
            ("annotations.xyz", b"whatever"),
        ];
        for (name, bytes) in table {
            assert_eq!(said(name, bytes, &["IM001.dcm", "IM002.dcm"]), "left out", "{name}");
        }
    }
}
