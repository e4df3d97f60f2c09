//! The scans that a table's rows name: NIfTI, NRRD or MetaImage, in one file, or a header and its voxels in two.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pipe_plugin::stage::{FileColumn, Item, ItemFile, LeadsTo, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pipe_imaging::orientation;
use pipe_imaging::scan::{Scan, ScanError, TEXT_HEADER_BYTES, data_file_of, pair_of};

/// The column that names a row's scan.
pub(crate) const COLUMN: FileColumn = FileColumn::new("image_path", LeadsTo::File).pair_of(halves);

/// The columns of a point in LPS millimetres.
pub(crate) const COORDINATES: [&str; 3] = ["coordX", "coordY", "coordZ"];

/// Which of a NIfTI header's two forms places the scan.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// The one that ITK takes; forms that disagree are an error, and so is a header without codes.
    Auto,
    /// The sform.
    Sform,
    /// The qform.
    Qform,
    /// As `auto`, and where both codes are 0, ITK's placement: axes along L, P and S, the first voxel at the origin.
    Itk,
}

impl From<Orientation> for orientation::Orientation {
    fn from(chosen: Orientation) -> Self {
        match chosen {
            Orientation::Auto => Self::Auto,
            Orientation::Itk => Self::Itk,
            Orientation::Sform => Self::Sform,
            Orientation::Qform => Self::Qform,
        }
    }
}

/// The header's name and that of the file with its voxels, of a name that is one of them. NRRD's and MetaImage's headers say it
/// themselves.
///
/// # Errors
/// A header that cannot be read.
pub(crate) fn halves(
    name: &str,
    beginning: &dyn Fn(usize) -> Option<Vec<u8>>,
) -> Result<Option<(String, String)>, String> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".nhdr") || lower.ends_with(".mhd") {
        let data = data_file_of(&beginning(TEXT_HEADER_BYTES).unwrap_or_default())?;
        let folder = name.rfind('/').map_or("", |end| &name[..=end]);
        return Ok(data.map(|data| (name.to_string(), format!("{folder}{data}"))));
    }
    let Some(other) = pair_of(name) else { return Ok(None) };
    let stem = lower.strip_suffix(".gz").unwrap_or(&lower);
    let is_header = stem.ends_with(".hdr");
    Ok(Some(if is_header { (name.to_string(), other) } else { (other, name.to_string()) }))
}

/// Opens the scan that a path outside the store leads to, with its other half where it has one.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn open_outside(path: &Path) -> Result<Scan, ScanError> {
    let beginning = |length: usize| {
        let mut bytes = Vec::new();
        let file = File::open(path).ok()?;
        file.take(length as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    match path.to_str().and_then(|name| halves(name, &beginning).ok()?) {
        Some((header, data)) => Scan::open_pair(Path::new(&header), Path::new(&data)),
        None => Scan::open(path),
    }
}

/// An error about a file, which is named once: readers name the path, and that is what a file of the project is shown
/// as, but not one of the store.
pub(crate) fn about(shown: &str, error: &dyn std::fmt::Display) -> String {
    let error = error.to_string();
    if error.starts_with(shown) { error } else { format!("{shown}: {error}") }
}

/// What to do about a scan that cannot be used, where nothing else is known.
pub(crate) const REPLACE: &str = "replace the scan, or take its rows out of the table";

/// What to do about a scan or a mask that cannot be read, by the name that the table gives it.
pub(crate) fn advice(shown: &str, error: &ScanError, general: &str) -> String {
    error.advice(Path::new(shown)).unwrap_or_else(|| general.to_string())
}

/// Opens the scan that an item has in a column.
///
/// # Errors
/// When there is none, or it has changed; within, what is wrong with the scan itself.
pub(crate) fn open(item: &Item, column: &str) -> Result<Result<Scan, ScanError>, StageError> {
    Ok(match item.files.get(column) {
        Some(ItemFile::Pair(header, image)) => Scan::open_pair(&header.path()?, &image.path()?),
        _ => Scan::open(&item.file(column)?.path()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_half_leads_to_both() {
        let found = |name: &str, text: &'static str| halves(name, &|_| Some(text.as_bytes().to_vec()));
        let pair = |first: &str, second: &str| Ok(Some((first.to_string(), second.to_string())));
        for name in ["a/1.hdr", "a/1.img"] {
            assert_eq!(found(name, ""), pair("a/1.hdr", "a/1.img"));
        }
        for name in ["1.HDR.gz", "1.IMG.gz"] {
            assert_eq!(found(name, ""), pair("1.HDR.gz", "1.IMG.gz"));
        }
        assert_eq!(found("1.nii.gz", ""), Ok(None));
        let header = "NDims = 3\nDimSize = 1 1 1\nElementType = MET_CHAR\nElementSpacing = 1 1 1\nElementDataFile = 1.raw\n";
        assert_eq!(found("a/1.mhd", header), pair("a/1.mhd", "a/1.raw"));
        assert!(found("a/1.mhd", "NDims = 3\n").is_err());
    }
}
