//! What can be wrong with a scan. Every message names the file.

use std::io;
use std::path::{Path, PathBuf};

use pipe_plugin::foreign::{Foreign, Wanted};

use super::gzip::GzipError;
use super::header::FieldError;
use super::orientation::OrientationError;

/// Why a scan cannot be read. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file cannot be opened or looked at.
    #[error("{}: cannot open: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Reading failed.
    #[error("{}: cannot read at byte {offset} of the uncompressed data: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Position in the uncompressed data.
        offset: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// The compressed data is damaged.
    #[error("{}: cannot read at byte {offset} of the uncompressed data: {cause}", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Position in the uncompressed data.
        offset: u64,
        /// What is wrong, and where in the compressed file.
        cause: GzipError,
    },
    /// The file ends before its last voxel.
    #[error("{}: truncated: {expected} bytes of uncompressed data expected, ends near byte {found}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that a header takes, or that this one declares.
        expected: u64,
        /// Where the data ends, as far as can be told.
        found: u64,
    },
    /// A compressed file goes on and on behind its last voxel.
    #[error("{}: more than {allowed} bytes behind the {expected} bytes of uncompressed data that its header declares", path.display())]
    Surplus {
        /// The file.
        path: PathBuf,
        /// Bytes that the header declares.
        expected: u64,
        /// Bytes that may follow.
        allowed: u64,
    },
    /// A header field is not acceptable.
    #[error("{}: {cause}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The field, its byte and its value.
        cause: FieldError,
    },
    /// A header alone: its voxels are in another file, which was not given.
    #[error("{}: magic (byte {offset}) says that the voxels are in a file of their own: its image file (.img) is missing", path.display())]
    NoImage {
        /// The header.
        path: PathBuf,
        /// The magic's byte in the header.
        offset: usize,
    },
    /// A file that holds header and voxels was given as one of two.
    #[error("{}: magic (byte {offset}) says that the voxels are in this file, expected a header whose voxels are in {}", path.display(), image.display())]
    NoPair {
        /// The supposed header.
        path: PathBuf,
        /// The supposed voxels.
        image: PathBuf,
        /// The magic's byte in the header.
        offset: usize,
    },
    /// A header that is text says something that no scan can have.
    #[error("{}{}: {problem}", path.display(), if *line == 0 { String::new() } else { format!(":{line}") })]
    Text {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 for what is missing.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A header alone: it names the file with its voxels, which was not given.
    #[error("{}: its voxels are in {data}, which is missing beside it", path.display())]
    Detached {
        /// The header.
        path: PathBuf,
        /// The file that it names.
        data: String,
    },
    /// It is of no format that is read.
    #[error("{}: is {what}, expected NIfTI (.nii, .nii.gz, .hdr with .img), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd)", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: Foreign,
    },
    /// The header gives no usable orientation.
    #[error("{}: {cause}", path.display())]
    Orientation {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: OrientationError,
    },
    /// The regions asked for need more memory than allowed, or than there is.
    #[error("{}: needs {needed} bytes of memory, above the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes needed for the voxels.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

impl ScanError {
    /// What to do about a file of this name, where more can be said than that it has to be replaced.
    pub fn advice(&self, name: &Path) -> Option<String> {
        match self {
            Self::Foreign { what, .. } => Some(what.fix(Wanted::Scan, name)),
            Self::Orientation { cause, .. } => cause.advice().map(str::to_string),
            Self::Detached { data, .. } => Some(format!(
                "put {data} beside it, and name the header (.nhdr, .mhd) in the table; or write both as one file (.nrrd, .mha)"
            )),
            Self::Text { .. } => Some(
                "write it again, as with `python3 -c \"import SimpleITK as s; s.WriteImage(s.ReadImage('IN'), 'OUT.nii.gz')\"`"
                    .to_string(),
            ),
            _ => None,
        }
    }

    pub(super) fn header(path: &Path, cause: FieldError) -> Self {
        Self::Header { path: path.to_owned(), cause }
    }
}
