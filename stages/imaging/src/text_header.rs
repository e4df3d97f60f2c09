//! Scans whose header is text: NRRD and MetaImage. The voxels follow in the same file, or are in another one that the header names.
//!
//! Each format says what a header's fields mean; this module finds them, and opens the data.

mod metaimage;
mod nrrd;

use std::path::{Path, PathBuf};

use super::affine::Affine;
use super::error::ScanError;
use super::layout::Layout;
use super::orientation::OrientationError;
use super::scan::{Placement, Scan};
use super::source::{Encoding, File};

/// A header has no more bytes. 3D Slicer writes a few lines for each segment.
pub const HEADER_BYTES: usize = 1 << 20;

/// A format whose header is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFormat {
    Nrrd,
    MetaImage,
}

/// What is wrong with a header, and in which line, counted from 1; 0 for what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    line: usize,
    text: String,
}

impl Problem {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }

    fn missing(field: &str) -> Self {
        Self::new(0, format!("the header has no `{field}`"))
    }

    fn about(self, path: &Path) -> ScanError {
        ScanError::Text { path: path.to_owned(), line: self.line, problem: self.text }
    }
}

/// A field of a header.
#[derive(Clone, Copy, Debug)]
struct Field<'a> {
    line: usize,
    /// As it is written.
    name: &'a str,
    value: &'a str,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq)]
struct Described {
    layout: Layout,
    placed: Placed,
    encoding: Encoding,
    data: Data,
    /// Whether the data is the end of its file, whatever stands before.
    is_last: bool,
}

/// Where the voxels lie.
#[derive(Clone, Debug, PartialEq)]
enum Placed {
    /// A map from voxel indices to RAS millimetres.
    Stated(Affine),
    /// The header leaves open what its axes mean; ITK takes this.
    Assumed(Affine, &'static str),
}

/// Where the bytes of the voxels are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    /// Behind the header, from this byte on.
    Here(usize),
    /// In a file of that name beside the header.
    File(String),
}

/// The file that a header says to hold its voxels, by its name beside the header; `None` for one that holds them itself, or is no such
/// header. `head` are the first [`HEADER_BYTES`] of the file.
///
/// # Errors
/// What is wrong with the header, in words.
pub fn data_file_of(head: &[u8]) -> Result<Option<String>, String> {
    let Some(format) = TextFormat::of(head) else { return Ok(None) };
    let described = format.describe(head).map_err(|problem| problem.text)?;
    Ok(match described.data {
        Data::Here(_) => None,
        Data::File(name) => Some(name),
    })
}

impl TextFormat {
    /// The format that a file begins as.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"NRRD000") {
            return Some(Self::Nrrd);
        }
        let first = head.trim_ascii_start();
        let is_first = |name: &str| {
            let rest = first.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name.as_bytes()));
            rest.is_some() && first[name.len()..].trim_ascii_start().starts_with(b"=")
        };
        ["ObjectType", "Comment", "ObjectSubType", "NDims"]
            .into_iter()
            .any(is_first)
            .then_some(Self::MetaImage)
    }

    fn describe(self, head: &[u8]) -> Result<Described, Problem> {
        match self {
            Self::Nrrd => nrrd::describe(head),
            Self::MetaImage => metaimage::describe(head),
        }
    }

    /// Opens a scan; `data` is the file with the voxels where that is another one.
    pub(super) fn open(self, mut header: File, data: Option<File>) -> Result<Scan, ScanError> {
        let path = header.path().to_owned();
        let head = header.head(HEADER_BYTES)?;
        let described = self.describe(&head).map_err(|problem| problem.about(&path))?;
        let file = match (&described.data, data) {
            (Data::Here(start), None) => header.behind(*start as u64)?,
            (Data::File(_), Some(data)) => data,
            (Data::File(name), None) => return Err(ScanError::Detached { path, data: name.clone() }),
            (Data::Here(_), Some(data)) => {
                let text = format!(
                    "the header holds its voxels itself, expected one whose voxels are in {}",
                    data.path().display()
                );
                return Err(Problem::new(0, text).about(&path));
            }
        };
        scan(path, described, file)
    }
}

fn scan(path: PathBuf, described: Described, file: File) -> Result<Scan, ScanError> {
    let Described { layout, placed, encoding, is_last, .. } = described;
    let file = match is_last {
        true => {
            let start = file.length().checked_sub(layout.data_end());
            let missing = || ScanError::Truncated {
                path: path.clone(),
                expected: layout.data_end(),
                found: file.length(),
            };
            let start = start.ok_or_else(missing)?;
            file.behind(start)?
        }
        false => file,
    };
    let placement = match placed {
        Placed::Stated(affine) => Placement::Stated(affine),
        Placed::Assumed(affine, why) => Placement::Assumed(affine, OrientationError::NotStated { why }),
    };
    Scan::new(path, layout, placement, file.encoded(encoding)?)
}

/// A header's text as lines, each with its number and where the next begins; lines end with a line feed, or a carriage return before it.
fn lines(head: &[u8]) -> impl Iterator<Item = (usize, &[u8], usize)> {
    let mut at = 0;
    let parts = head.split_inclusive(|byte| *byte == b'\n').enumerate();
    parts.map(move |(number, line)| {
        at += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        (number + 1, line.strip_suffix(b"\r").unwrap_or(line), at)
    })
}

/// The numbers in a field, which are separated by white space.
fn numbers<T: std::str::FromStr>(field: &Field<'_>, count: usize) -> Result<Vec<T>, Problem> {
    let read = field.value.split_whitespace().map(str::parse).collect::<Result<Vec<T>, _>>();
    read.ok().filter(|numbers| numbers.len() == count).ok_or_else(|| {
        Problem::new(field.line, format!("`{}` is {:?}, expected {count} numbers", field.name, field.value))
    })
}

/// Extents of three axes, of as many as there are; others must have one voxel.
fn shape(field: &Field<'_>, sizes: &[usize]) -> Result<([usize; 3], [usize; 3]), Problem> {
    const LARGEST: usize = 1 << 20;
    if let Some(size) = sizes.iter().find(|size| !(1..=LARGEST).contains(*size)) {
        return Err(Problem::new(
            field.line,
            format!("`{}` has {size}, expected 1 to {LARGEST}", field.name),
        ));
    }
    let refuse = || {
        let problem = format!("`{}` is {:?}, expected one volume of three axes", field.name, field.value);
        Problem::new(field.line, problem)
    };
    let mut axes: Vec<usize> = (0..sizes.len()).collect();
    // Of more than three axes those of one voxel are no axes of space.
    while axes.len() > 3 {
        let single = axes.iter().position(|axis| sizes[*axis] == 1).ok_or_else(refuse)?;
        axes.remove(single);
    }
    let axes: [usize; 3] = axes.try_into().map_err(|_| refuse())?;
    Ok((axes.map(|axis| sizes[axis]), axes))
}

/// The map of LPS directions and origin, as RAS.
fn from_lps(directions: [[f64; 3]; 3], origin: [f64; 3]) -> Affine {
    let sign = [-1.0, -1.0, 1.0];
    let linear = std::array::from_fn(|row| std::array::from_fn(|axis| sign[row] * directions[axis][row]));
    Affine { linear, translation: std::array::from_fn(|row| sign[row] * origin[row]) }
}

/// Refuses a map that is not finite, or gives voxels no volume.
fn checked(affine: Affine, line: usize) -> Result<Affine, Problem> {
    let all = affine.linear.iter().flatten().chain(&affine.translation);
    if !all.clone().all(|entry| entry.is_finite()) {
        return Err(Problem::new(line, "directions and origin are not finite"));
    }
    if affine.inverse().is_none() {
        return Err(Problem::new(line, "the directions are singular: voxels have no volume"));
    }
    Ok(affine)
}

/// The name of a data file beside its header, which must not lead elsewhere.
fn beside(name: &str, line: usize) -> Result<String, Problem> {
    let name = name.trim();
    let is_plain = !name.is_empty()
        && !name.starts_with('/')
        && !name.contains(['\\', ':'])
        && name.split('/').all(|part| !part.is_empty() && part != "..");
    let plain = name.strip_prefix("./").unwrap_or(name);
    match is_plain {
        true => Ok(plain.to_string()),
        false => {
            Err(Problem::new(line, format!("the data file {name:?} is not beside the header or below it")))
        }
    }
}
