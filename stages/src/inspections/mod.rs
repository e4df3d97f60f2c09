//! A glance at scans before any work: damaged headers, implausible geometry and values, masks and nodules elsewhere.
//!
//! Stands beside the kinds whose tables it looks at: what it finds goes to people and into no result.

mod mirrored;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe_plugin::stage::{Finding, InspectedFile, InspectedRow, Preview};
use serde::Deserialize as _;
use serde_json::Value;

use crate::cohort::scans::{self, COORDINATES};
use crate::crop::geometry::{LpsPoint, ScanSpace};
use crate::kinds::centroid::{CentroidParams, MASK, SCAN};
use crate::kinds::crop::CropParams;
use crate::kinds::dicom::{DicomParams, SERIES};
use pipe_imaging::dicom::error::DicomError;
use pipe_imaging::dicom::{Content, SeriesFile, Tolerance, read_geometry};
use pipe_imaging::orientation::Orientation;
use pipe_imaging::placement::{Grid, displaced};
use pipe_imaging::plausibility::{self, Implausible};
use pipe_imaging::scan::{Scan, ScanError};

/// Points nearer to each other than this are taken for one, in millimetres.
const SAME_POINT: f64 = 1.0;
const REPLACE: &str = "replace the scan, or take its rows out of the table";
const REPLACE_FILE: &str = "replace the file, or take its row out of the table";

/// Looks at the rows of one scan, for kind `crop`.
pub fn crop(params: &Value, group: &[InspectedRow]) -> Vec<Finding> {
    let params = CropParams::deserialize(params);
    params.map(|params| scan(group, scans::COLUMN.name, params.orientation.into())).unwrap_or_default()
}

/// Looks at the rows of one series, for kind `dicom`.
pub fn dicom(params: &Value, group: &[InspectedRow]) -> Vec<Finding> {
    let params = DicomParams::deserialize(params);
    params.map(|params| series(group, SERIES, params.tolerance())).unwrap_or_default()
}

/// Looks at the points of a cohort in its scans, for kind `crop`.
pub fn points(params: &Value, preview: &Preview<'_>) -> Vec<Finding> {
    let params = CropParams::deserialize(params);
    let look = |params: CropParams| {
        mirrored::look(preview, "dataset", mirrored::Reading::Nifti(params.orientation.into()))
    };
    params.map(look).unwrap_or_default()
}

/// Looks at the points of a cohort in its series, for kind `dicom`.
pub fn points_in_series(params: &Value, preview: &Preview<'_>) -> Vec<Finding> {
    let params = DicomParams::deserialize(params);
    let look = |params: DicomParams| {
        mirrored::look(preview, "dataset", mirrored::Reading::Series(params.tolerance()))
    };
    params.map(look).unwrap_or_default()
}

/// Looks at the masks of rows and whether they lie in their scans, for kind `centroid`.
pub fn centroid(params: &Value, group: &[InspectedRow]) -> Vec<Finding> {
    let Ok(params) = CentroidParams::deserialize(params) else { return Vec::new() };
    group.iter().flat_map(|one| mask(one, params.orientation.into())).collect()
}

/// What looks wrong with a row's mask.
fn mask(one: &InspectedRow, orientation: Orientation) -> Option<Finding> {
    let mask = match space(one, MASK.name, orientation) {
        Ok(mask) => mask?,
        Err(finding) => return Some(*finding),
    };
    let scan = match space(one, SCAN.name, orientation) {
        Ok(scan) => scan?,
        Err(finding) => return Some(*finding),
    };
    let (mask_shown, scan_shown) = (shown(one, MASK.name), shown(one, SCAN.name));
    let grid = |space: &ScanSpace| Grid { shape: space.shape, affine: space.affine };
    if let Some(displaced) = displaced(&grid(&mask), &grid(&scan)) {
        let message = format!("{mask_shown}: {displaced} ({scan_shown})");
        let finding = if displaced.within_a_voxel {
            Finding::warning(&one.place, message)
        } else {
            Finding::error(&one.place, message)
        };
        return Some(finding.advise(displaced.advice()).of_kind("masks that lie elsewhere than their scans"));
    }
    if overlap(&mask, &scan) {
        return None;
    }
    let message = format!("{mask_shown} and {scan_shown} do not overlap in space");
    Some(
        Finding::error(&one.place, message)
            .advise("correct the mask's affine, or the row's paths")
            .of_kind("masks that do not overlap their scans"),
    )
}

/// Where the voxels lie of the scan, mask or series that a row has in a column; `None` when it has none.
fn space(
    one: &InspectedRow,
    column: &str,
    orientation: Orientation,
) -> Result<Option<ScanSpace>, Box<Finding>> {
    let Some(file) = one.files.get(column) else { return Ok(None) };
    let (shape, affine) = match opened(file) {
        Opened::Series(files) => {
            let geometry = read_geometry(&files, Tolerance::default());
            let geometry = geometry.map_err(|error| unreadable_series(one, column, &error))?;
            (geometry.shape, geometry.affine)
        }
        Opened::Scan(scan) => {
            let read = scan.and_then(|scan| Ok((scan.layout().shape, scan.affine(orientation)?)));
            read.map_err(|error| unreadable(one, column, &error))?
        }
    };
    let no_inverse = || {
        let message = format!("{}: the affine of its {shape:?} voxels has no inverse", shown(one, column));
        Box::new(Finding::error(&one.place, message).advise(REPLACE))
    };
    ScanSpace::new(shape, &affine).ok_or_else(no_inverse).map(Some)
}

/// A scan or a mask that cannot be read.
fn unreadable(one: &InspectedRow, column: &str, error: &ScanError) -> Box<Finding> {
    let general = if column == MASK.name { REPLACE_FILE } else { REPLACE };
    let advice = error.advice(Path::new(shown(one, column))).unwrap_or_else(|| general.to_string());
    let kind = "scans or masks that cannot be read";
    Box::new(Finding::error(&one.place, error.to_string()).advise(advice).of_kind(kind))
}

fn unreadable_series(one: &InspectedRow, column: &str, error: &DicomError) -> Box<Finding> {
    let message = format!("{}: {error}", shown(one, column));
    let finding = Finding::error(&one.place, message).advise(error.advice().unwrap_or(REPLACE));
    Box::new(finding.of_kind("series that cannot be read"))
}

/// Whether the boxes around two scans' voxels have something in common.
fn overlap(a: &ScanSpace, b: &ScanSpace) -> bool {
    let (a, b) = (extent(a), extent(b));
    a.iter().zip(&b).all(|(a, b)| a[0] <= b[1] && b[0] <= a[1])
}

/// The lowest and highest RAS millimetres along each axis.
fn extent(space: &ScanSpace) -> [[f64; 2]; 3] {
    let mut extent = [[f64::INFINITY, f64::NEG_INFINITY]; 3];
    for corner in 0..8_usize {
        let at = |axis: usize| if corner >> axis & 1 == 0 { -0.5 } else { space.shape[axis] as f64 - 0.5 };
        for (range, at) in extent.iter_mut().zip(space.affine.apply([at(0), at(1), at(2)])) {
            *range = [range[0].min(at), range[1].max(at)];
        }
    }
    extent
}

enum Opened {
    Scan(Box<Result<Scan, ScanError>>),
    Series(Vec<SeriesFile>),
}

fn opened(file: &InspectedFile) -> Opened {
    let in_series = |(name, path): &(String, PathBuf)| SeriesFile {
        name: name.clone(),
        content: Content::Path(path.clone()),
    };
    match file {
        InspectedFile::One(path) => Opened::Scan(Box::new(Scan::open(path))),
        InspectedFile::Pair(header, image) => Opened::Scan(Box::new(Scan::open_pair(header, image))),
        InspectedFile::Folder(files) => Opened::Series(files.iter().map(in_series).collect()),
    }
}

/// What looks wrong with the NIfTI scan that all rows of a group name, and with their points in it.
fn scan(group: &[InspectedRow], column: &str, orientation: Orientation) -> Vec<Finding> {
    let Some(first) = group.first() else { return Vec::new() };
    let refuse = |error: &ScanError| vec![*unreadable(first, column, error)];
    let scan = match first.files.get(column).map(opened) {
        Some(Opened::Scan(opened)) => match *opened {
            Ok(scan) => scan,
            Err(error) => return refuse(&error),
        },
        _ => return Vec::new(),
    };
    let shape = scan.layout().shape;
    let affine = match scan.affine(orientation) {
        Ok(affine) => affine,
        Err(error) => return refuse(&error),
    };
    let mut findings = in_space(group, column, shape, ScanSpace::new(shape, &affine).as_ref());
    let mut implausible = plausibility::geometry(shape, affine.spacing());
    match plausibility::look(scan) {
        Ok(looked) => implausible.extend(plausibility::values(&looked)),
        Err(error) => findings.extend(refuse(&error)),
    }
    findings.extend(warnings(first, column, implausible));
    findings
}

/// What looks wrong with the DICOM series that all rows of a group name, and with their points in it.
fn series(group: &[InspectedRow], column: &str, tolerance: Tolerance) -> Vec<Finding> {
    let Some(first) = group.first() else { return Vec::new() };
    let Some(Opened::Series(files)) = first.files.get(column).map(opened) else { return Vec::new() };
    match read_geometry(&files, tolerance) {
        Err(error) => vec![*unreadable_series(first, column, &error)],
        Ok(geometry) => {
            let space = ScanSpace::new(geometry.shape, &geometry.affine);
            let mut findings = in_space(group, column, geometry.shape, space.as_ref());
            let implausible = plausibility::geometry(geometry.shape, geometry.spacing);
            findings.extend(warnings(first, column, implausible));
            findings.extend(geometry.remarks.iter().map(|remark| {
                Finding::warning(&first.place, format!("{}: {remark}", shown(first, column)))
                    .advise("look at these slices")
                    .of_kind("series with odd slices")
            }));
            findings
        }
    }
}

fn warnings(first: &InspectedRow, column: &str, implausible: Vec<Implausible>) -> Vec<Finding> {
    let warn = |what: Implausible| {
        Finding::warning(&first.place, format!("{}: {what}", shown(first, column)))
            .advise("look at the scan; take its rows out of the table if it is no chest CT in HU")
            .of_kind(what.kind())
    };
    implausible.into_iter().map(warn).collect()
}

fn shown<'a>(one: &'a InspectedRow, column: &str) -> &'a str {
    one.values.get(column).map_or("the scan", String::as_str)
}

/// Points outside the scan, points that are there twice, and patients who share the scan.
fn in_space(
    group: &[InspectedRow],
    column: &str,
    shape: [usize; 3],
    space: Option<&ScanSpace>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(first) = group.first() else { return findings };
    let Some(space) = space else {
        let message = format!("{}: the affine of its {shape:?} voxels has no inverse", shown(first, column));
        return vec![Finding::error(&first.place, message).advise(REPLACE)];
    };
    let points: Vec<(&InspectedRow, LpsPoint)> =
        group.iter().filter_map(|one| Some((one, point(&one.values)?))).collect();
    for (one, point) in &points {
        findings.extend(outside(one, column, *point, space));
    }
    for (position, (one, point)) in points.iter().enumerate() {
        let near = |other: &&(&InspectedRow, LpsPoint)| distance(*point, other.1) < SAME_POINT;
        if let Some((other, at)) = points.iter().take(position).find(near) {
            let message = format!(
                "{} and {} ({}) are {:.2} mm apart in {}",
                one.name,
                other.name,
                other.place,
                distance(*point, *at),
                shown(one, column)
            );
            findings.push(
                Finding::warning(&one.place, message)
                    .advise("take one of the rows out, if they are one nodule")
                    .of_kind("points that are there twice"),
            );
        }
    }
    let patient = |one: &InspectedRow| one.values.get("pid").cloned();
    if let Some(other) = group.iter().find(|one| patient(one) != patient(first)) {
        let (a, b) = (patient(first).unwrap_or_default(), patient(other).unwrap_or_default());
        let message = format!("patient {b} has the scan of patient {a} ({})", first.place);
        findings.push(
            Finding::warning(&other.place, message)
                .advise("correct image_path or pid: folds are split by patient")
                .of_kind("scans of two patients"),
        );
    }
    findings
}

fn outside(one: &InspectedRow, column: &str, point: LpsPoint, space: &ScanSpace) -> Option<Finding> {
    let distance = space.distance_outside(point);
    if distance <= 0.0 {
        return None;
    }
    let message = format!(
        "nodule {}: the point {point} lies {distance:.1} mm outside the scan {}",
        one.name,
        shown(one, column)
    );
    let mirrored = LpsPoint { x: -point.x, y: -point.y, ..point };
    let advice = if space.distance_outside(mirrored) <= 0.0 {
        "the point is inside when it is taken as RAS: change the sign of coordX and coordY"
    } else {
        "coordinates must be LPS millimetres of this scan; correct the row or its image_path"
    };
    Some(Finding::error(&one.place, message).advise(advice).of_kind("points outside their scans"))
}

/// The point of a row, if it has one.
fn point(values: &BTreeMap<String, String>) -> Option<LpsPoint> {
    let [x, y, z] = COORDINATES.map(|column| values.get(column).and_then(|text| text.parse::<f64>().ok()));
    Some(LpsPoint { x: x?, y: y?, z: z? }).filter(|point| point.is_finite())
}

fn distance(a: LpsPoint, b: LpsPoint) -> f64 {
    let squares = [a.x - b.x, a.y - b.y, a.z - b.z].map(|part| part * part);
    squares.iter().sum::<f64>().sqrt()
}
