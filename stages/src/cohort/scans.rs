//! The scans that a table's rows name: NIfTI in one file, or a header and its image in two.

use std::path::Path;

use pipe_plugin::stage::{FileColumn, Item, ItemFile, LeadsTo, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pipe_imaging::nifti::{NiftiError, Scan, pair_of};
use pipe_imaging::orientation;

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

/// The header's and the image's name, of a name that is one of them.
pub(crate) fn halves(name: &str) -> Option<(String, String)> {
    let other = pair_of(name)?;
    let stem =
        name.get(..name.len().saturating_sub(3)).filter(|_| name.to_ascii_lowercase().ends_with(".gz"));
    let is_header = stem.unwrap_or(name).to_ascii_lowercase().ends_with(".hdr");
    Some(if is_header { (name.to_string(), other) } else { (other, name.to_string()) })
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
pub(crate) fn advice(shown: &str, error: &NiftiError, general: &str) -> String {
    error.advice(Path::new(shown)).unwrap_or_else(|| general.to_string())
}

/// Opens the scan that an item has in a column.
///
/// # Errors
/// When there is none, or it has changed; within, what is wrong with the scan itself.
pub(crate) fn open(item: &Item, column: &str) -> Result<Result<Scan, NiftiError>, StageError> {
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
        for name in ["a/1.hdr", "a/1.img"] {
            assert_eq!(halves(name), Some(("a/1.hdr".to_string(), "a/1.img".to_string())));
        }
        for name in ["1.HDR.gz", "1.IMG.gz"] {
            assert_eq!(halves(name), Some(("1.HDR.gz".to_string(), "1.IMG.gz".to_string())));
        }
        assert_eq!(halves("1.nii.gz"), None);
    }
}
