//! Why a DICOM series cannot be read.
//!
//! Messages name files (as the caller named them), attributes, byte offsets and geometry. No value of
//! an attribute that could tell of a patient is in them.

use std::fmt;
use std::io;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use pipe_plugin::foreign::Foreign;

/// Why a series cannot be read. Files are named as the caller named them.
#[derive(Debug, thiserror::Error)]
pub enum DicomError {
    /// One file will not do.
    #[error("{file}: {cause}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        cause: FileError,
    },
    /// No file is a DICOM image.
    #[error("no CT image among {files} files: none begins with a DICOM preamble and holds an image")]
    NoImage {
        /// Files given.
        files: usize,
    },
    /// Files of more than one series.
    #[error("files of {count} series (SeriesInstanceUID), such as {first} and {second}; expected one series")]
    SeveralSeries {
        /// Number of series.
        count: usize,
        /// A file of one.
        first: String,
        /// A file of another.
        second: String,
    },
    /// An attribute that all slices share differs.
    #[error("{file}: {what} differs from that of {reference}")]
    Differs {
        /// The file.
        file: String,
        /// The file that the others are compared with.
        reference: String,
        /// The attribute.
        what: Attribute,
    },
    /// Two slices at one place.
    #[error("{first} and {second} are at the same position, {position:.3} mm along the slice normal")]
    Duplicate {
        /// A file.
        first: String,
        /// Another file (the same one for frames of one file).
        second: String,
        /// Millimetres along the slice normal.
        position: f64,
    },
    /// A distance between neighbours that is not the series' own.
    #[error(
        "the slices are not evenly spaced: {gap:.3} mm between {before} (at {position:.3} mm along the \
         slice normal) and {after}, where {expected:.3} mm is usual{}",
        missing_slices(*.missing)
    )]
    Gap {
        /// The file before the gap.
        before: String,
        /// The file after it.
        after: String,
        /// Where the gap begins, in mm along the slice normal.
        position: f64,
        /// The distance found, in mm.
        gap: f64,
        /// The median distance, in mm.
        expected: f64,
        /// How many slices of the median distance would fill the gap.
        missing: u64,
    },
    /// A slice away from the line on which the series lies.
    #[error(
        "{file}: ImagePositionPatient is {distance:.3} mm away from the straight and even line between the \
         first and the last slice (tolerance {tolerance:.3} mm)"
    )]
    OffLine {
        /// The file.
        file: String,
        /// Distance in mm.
        distance: f64,
        /// What would be accepted, in mm.
        tolerance: f64,
    },
    /// A slice without an image, between slices that have one.
    #[error("{file}: all pixels of the slice are {value} HU, where its neighbours hold an image")]
    Blank {
        /// The file.
        file: String,
        /// Its only value.
        value: f32,
    },
    /// More memory than allowed.
    #[error("{columns}×{rows} voxels in {slices} slices need {needed} bytes; the limit is {limit}")]
    TooLarge {
        /// Columns of a slice.
        columns: usize,
        /// Rows of a slice.
        rows: usize,
        /// Slices.
        slices: usize,
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
}

fn missing_slices(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => ": about 1 slice seems to be missing".to_owned(),
        _ => format!(": about {count} slices seem to be missing"),
    }
}

impl DicomError {
    /// What to do about it, where more can be said than that the series has to be replaced.
    pub fn advice(&self) -> Option<&'static str> {
        let cause = match self {
            Self::File { cause, .. } => cause,
            Self::Blank { .. } => return Some("copy the file again from where it came from"),
            _ => return None,
        };
        match cause {
            FileError::Empty | FileError::NoDicom { .. } | FileError::Truncated { .. } => Some(
                "copy the file again from where it came from; move it out of the folder if it is none of the series",
            ),
            FileError::NoPreamble => Some(
                "write the file again with its preamble: `dcmconv IN OUT`, or in pydicom \
                 `dcmread(IN, force=True).save_as(OUT, enforce_file_format=True)`",
            ),
            FileError::Units { .. } => Some(
                "give the series of CT numbers of this examination; maps of iodine, density or atomic number have no HU",
            ),
            _ => None,
        }
    }
}

fn but(what: Option<Foreign>) -> String {
    what.map_or(", though its name or its beginning is that of one".to_owned(), |what| format!(" but {what}"))
}

/// What is wrong with one file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system could not read it.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It has the name or the beginning of a slice, and is none.
    #[error("no DICOM file{}", but(*.what))]
    NoDicom {
        /// What it is.
        what: Option<Foreign>,
    },
    /// It begins with elements.
    #[error("DICOM without its preamble and file meta information, which say how the file is to be read")]
    NoPreamble,
    /// Its values are no Hounsfield units.
    #[error("{attribute} (byte {offset}) is {found}, expected HU: its values are no Hounsfield units")]
    Units {
        /// The attribute that says so.
        attribute: Attribute,
        /// Where its value is.
        offset: u64,
        /// What the values are.
        found: String,
    },
    /// It ends too early.
    #[error("the file ends too early: {wanted} bytes expected at byte {offset}, of {length} in all")]
    Truncated {
        /// Where the bytes should begin.
        offset: u64,
        /// Bytes needed from there on.
        wanted: u64,
        /// Length of the file, after inflating.
        length: u64,
    },
    /// Its structure is not DICOM's.
    #[error("byte {offset}: expected {expected}")]
    Structure {
        /// Where.
        offset: u64,
        /// What should have been there.
        expected: &'static str,
    },
    /// An attribute is missing.
    #[error("{0} is missing")]
    Missing(Attribute),
    /// An attribute has a value that will not do. The value is not shown.
    #[error("{attribute} (byte {offset}): expected {expected}")]
    Value {
        /// The attribute.
        attribute: Attribute,
        /// Where its value is.
        offset: u64,
        /// What would be acceptable.
        expected: &'static str,
    },
    /// A transfer syntax that is not read.
    #[error(
        "transfer syntax {uid} is not supported; supported are uncompressed and deflated data, RLE, \
         JPEG lossless, JPEG-LS and JPEG 2000"
    )]
    TransferSyntax {
        /// Its UID.
        uid: String,
    },
    /// A transfer syntax that this build does not read.
    #[error("transfer syntax {uid} ({name}) needs a build with the cargo feature `{feature}` of pipe-stages")]
    Feature {
        /// Its UID.
        uid: &'static str,
        /// Its name.
        name: &'static str,
        /// The feature that is off.
        feature: &'static str,
    },
    /// The pixel data are not those that the header describes.
    #[error("pixel data of frame {frame}: {cause}")]
    Pixels {
        /// The frame, from 1 on.
        frame: usize,
        /// What is wrong.
        cause: PixelError,
    },
}

/// Why the pixels of a frame cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PixelError {
    /// The amount of data is not the frame's.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// Bytes there.
        found: u64,
        /// Bytes needed.
        expected: u64,
    },
    /// So few bytes cannot hold so many pixels.
    #[error("{bytes} bytes of {codec} cannot hold {pixels} pixels")]
    Implausible {
        /// Compression.
        codec: &'static str,
        /// Compressed bytes.
        bytes: usize,
        /// Pixels declared.
        pixels: usize,
    },
    /// The compressed image is not the one that the header describes.
    #[error("the {codec} image has {what} {found}, expected {expected}")]
    Mismatch {
        /// Compression.
        codec: &'static str,
        /// What differs.
        what: &'static str,
        /// In the compressed image.
        found: u64,
        /// By the DICOM header.
        expected: u64,
    },
    /// The compressed data use something that is not supported.
    #[error("{codec} with {what} is not supported")]
    Unsupported {
        /// Compression.
        codec: &'static str,
        /// What is used.
        what: &'static str,
    },
    /// The compressed data are damaged.
    #[error("damaged {codec} data: {message}")]
    Damaged {
        /// Compression.
        codec: &'static str,
        /// What the decoder says.
        message: String,
    },
    /// A value that single precision cannot hold.
    #[error("a rescaled value exceeds single precision")]
    Overflow,
}

/// A DICOM attribute, shown by tag and keyword: `(0028,0010) Rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute(pub Tag);

impl fmt::Display for Attribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tag(group, element) = self.0;
        write!(formatter, "({group:04X},{element:04X})")?;
        match StandardDataDictionary.by_tag(self.0) {
            Some(entry) => write!(formatter, " {}", entry.alias()),
            None => Ok(()),
        }
    }
}
