//! DICOM series that a table's rows name, and where the voxels of scans of either format lie.

use pipe_plugin::input::Files;
use pipe_plugin::stage::{Item, ItemFile, StageError};

use super::scans::{Orientation, REPLACE, about, advice, open};
use crate::crop::geometry::ScanSpace;
use pipe_imaging::affine::Affine;
use pipe_imaging::dicom::{Content, SeriesFile, Tolerance, read_geometry};

/// The files of a series' folder.
///
/// # Errors
/// When one of them has changed.
pub(crate) fn series_files(folder: &Files) -> Result<Vec<SeriesFile>, StageError> {
    let file = |name: &str| {
        let content = folder.get(name).map(|file| file.path()).transpose()?;
        Ok(content.map(|path| SeriesFile { name: name.to_string(), content: Content::Path(path) }))
    };
    folder.names().filter_map(|name| file(name).transpose()).collect()
}

/// Where the voxels lie of the scan or series that an item has in a column; `None` when it has none.
///
/// # Errors
/// What is wrong with the scan, with its place in the table.
pub(crate) fn space(
    item: &Item,
    column: &str,
    orientation: Orientation,
) -> Result<Option<ScanSpace>, StageError> {
    let Some((shape, affine)) = voxels(item, column, orientation)? else { return Ok(None) };
    let no_inverse = || {
        let shown = item.files.get(column).map_or("the scan", |file| file.shown());
        refused(item, shown, &format!("the affine of its {shape:?} voxels has no inverse"))
    };
    ScanSpace::new(shape, &affine).ok_or_else(no_inverse).map(Some)
}

/// Shape and voxel-to-RAS affine of the scan or series that an item has in a column; `None` when it has none.
///
/// # Errors
/// What is wrong with the scan, with its place in the table.
pub(crate) fn voxels(
    item: &Item,
    column: &str,
    orientation: Orientation,
) -> Result<Option<([usize; 3], Affine)>, StageError> {
    let Some(file) = item.files.get(column) else { return Ok(None) };
    let refuse = |problem: &dyn std::fmt::Display| refused(item, file.shown(), problem);
    Ok(Some(match file {
        ItemFile::Folder(folder) => {
            let geometry = read_geometry(&series_files(folder)?, Tolerance::default());
            let geometry = geometry.map_err(|error| refuse(&error))?;
            (geometry.shape, geometry.affine)
        }
        _ => {
            let unusable = |error| refuse(&error).advise(advice(file.shown(), &error, REPLACE));
            let scan = open(item, column)?.map_err(unusable)?;
            (scan.layout().shape, scan.affine(orientation.into()).map_err(unusable)?)
        }
    }))
}

fn refused(item: &Item, shown: &str, problem: &dyn std::fmt::Display) -> StageError {
    StageError::message(format!("{}: {}", item.place(), about(shown, problem))).advise(REPLACE)
}
