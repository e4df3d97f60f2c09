//! A glance at scans before any work: damaged headers, implausible geometry and values, nodules outside.
//!
//! Stands beside the kinds whose tables it looks at: what it finds goes to people and into no result.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipe_engine::stage::{Finding, Sighted, SightedFile};
use serde::Deserialize as _;
use serde_json::Value;

use crate::cohort::scans::{self, COORDINATES};
use crate::crop::geometry::{LpsPoint, ScanSpace};
use crate::imaging::dicom::{Content, SeriesFile, Tolerance, read_geometry};
use crate::imaging::nifti::{NiftiError, Scan};
use crate::imaging::orientation::Orientation;
use crate::imaging::plausibility::{self, Implausible};
use crate::kinds::centroid::{CentroidParams, MASK, SCAN};
use crate::kinds::crop::CropParams;
use crate::kinds::dicom::{DicomParams, SERIES};

/// Points nearer to each other than this are taken for one, in millimetres.
const SAME_POINT: f64 = 1.0;
const REPLACE: &str = "replace the scan, or take its rows out of the table";

/// Looks at the rows of one scan, for kind `crop`.
pub fn crop(params: &Value, group: &[Sighted]) -> Vec<Finding> {
    let params = CropParams::deserialize(params);
    params.map(|params| scan(group, scans::COLUMN.name, params.orientation.into())).unwrap_or_default()
}

/// Looks at the rows of one series, for kind `dicom`.
pub fn dicom(params: &Value, group: &[Sighted]) -> Vec<Finding> {
    let params = DicomParams::deserialize(params);
    params.map(|params| series(group, SERIES, params.tolerance())).unwrap_or_default()
}

/// Looks at the masks of rows and whether they lie in their scans, for kind `centroid`.
pub fn centroid(params: &Value, group: &[Sighted]) -> Vec<Finding> {
    let Ok(params) = CentroidParams::deserialize(params) else { return Vec::new() };
    group.iter().flat_map(|one| mask(one, params.orientation.into())).collect()
}

/// What looks wrong with a row's mask.
fn mask(one: &Sighted, orientation: Orientation) -> Option<Finding> {
    let mask = space(one.files.get(MASK.name)?, orientation);
    let scan = one.files.get(SCAN.name).map(|file| space(file, orientation)).transpose();
    match (mask, scan) {
        (Err(error), _) | (_, Err(error)) => Some(
            Finding::error(&one.place, error).advise("replace the file, or take its row out of the table"),
        ),
        (Ok(mask), Ok(Some(scan))) if !overlap(&mask, &scan) => {
            let message =
                format!("{} and {} do not overlap in space", shown(one, MASK.name), shown(one, SCAN.name));
            let advice = "correct the mask's affine, or the row's paths";
            Some(Finding::error(&one.place, message).advise(advice))
        }
        _ => None,
    }
}

/// Where a scan's or a series' voxels lie.
fn space(file: &SightedFile, orientation: Orientation) -> Result<ScanSpace, String> {
    let (shape, affine) = match opened(file) {
        Opened::Series(files) => {
            let geometry = read_geometry(&files, Tolerance::default()).map_err(|error| error.to_string())?;
            (geometry.shape, geometry.affine)
        }
        Opened::Scan(scan) => {
            let scan = scan.map_err(|error| error.to_string())?;
            (scan.header().shape, scan.affine(orientation).map_err(|error| error.to_string())?)
        }
    };
    ScanSpace::new(shape, &affine).ok_or_else(|| format!("the affine of its {shape:?} voxels has no inverse"))
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
    Scan(Box<Result<Scan, NiftiError>>),
    Series(Vec<SeriesFile>),
}

fn opened(file: &SightedFile) -> Opened {
    let in_series = |(name, path): &(String, PathBuf)| SeriesFile {
        name: name.clone(),
        content: Content::Path(path.clone()),
    };
    match file {
        SightedFile::One(path) => Opened::Scan(Box::new(Scan::open(path))),
        SightedFile::Pair(header, image) => Opened::Scan(Box::new(Scan::open_pair(header, image))),
        SightedFile::Folder(files) => Opened::Series(files.iter().map(in_series).collect()),
    }
}

/// What looks wrong with the NIfTI scan that all rows of a group name, and with their points in it.
fn scan(group: &[Sighted], column: &str, orientation: Orientation) -> Vec<Finding> {
    let Some(first) = group.first() else { return Vec::new() };
    let refuse =
        |error: &dyn std::fmt::Display| vec![Finding::error(&first.place, error.to_string()).advise(REPLACE)];
    let scan = match first.files.get(column).map(opened) {
        Some(Opened::Scan(opened)) => match *opened {
            Ok(scan) => scan,
            Err(error) => return refuse(&error),
        },
        _ => return Vec::new(),
    };
    let shape = scan.header().shape;
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
fn series(group: &[Sighted], column: &str, tolerance: Tolerance) -> Vec<Finding> {
    let Some(first) = group.first() else { return Vec::new() };
    let Some(Opened::Series(files)) = first.files.get(column).map(opened) else { return Vec::new() };
    match read_geometry(&files, tolerance) {
        Err(error) => {
            let message = format!("{}: {error}", shown(first, column));
            vec![Finding::error(&first.place, message).advise(REPLACE)]
        }
        Ok(geometry) => {
            let space = ScanSpace::new(geometry.shape, &geometry.affine);
            let mut findings = in_space(group, column, geometry.shape, space.as_ref());
            findings.extend(warnings(
                first,
                column,
                plausibility::geometry(geometry.shape, geometry.spacing),
            ));
            findings
        }
    }
}

fn warnings(first: &Sighted, column: &str, implausible: Vec<Implausible>) -> Vec<Finding> {
    let warn = |what: Implausible| {
        Finding::warning(&first.place, format!("{}: {what}", shown(first, column)))
            .advise("look at the scan; take its rows out of the table if it is no chest CT in HU")
    };
    implausible.into_iter().map(warn).collect()
}

fn shown<'a>(one: &'a Sighted, column: &str) -> &'a str {
    one.values.get(column).map_or("the scan", String::as_str)
}

/// Points outside the scan, points that are there twice, and patients who share the scan.
fn in_space(group: &[Sighted], column: &str, shape: [usize; 3], space: Option<&ScanSpace>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(first) = group.first() else { return findings };
    let Some(space) = space else {
        let message = format!("{}: the affine of its {shape:?} voxels has no inverse", shown(first, column));
        return vec![Finding::error(&first.place, message).advise(REPLACE)];
    };
    let points: Vec<(&Sighted, LpsPoint)> =
        group.iter().filter_map(|one| Some((one, point(&one.values)?))).collect();
    for (one, point) in &points {
        findings.extend(outside(one, column, *point, space));
    }
    for (position, (one, point)) in points.iter().enumerate() {
        let near = |other: &&(&Sighted, LpsPoint)| distance(*point, other.1) < SAME_POINT;
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
                    .advise("take one of the rows out, if they are one nodule"),
            );
        }
    }
    let patient = |one: &Sighted| one.values.get("pid").cloned();
    if let Some(other) = group.iter().find(|one| patient(one) != patient(first)) {
        let (a, b) = (patient(first).unwrap_or_default(), patient(other).unwrap_or_default());
        let message = format!("patient {b} has the scan of patient {a} ({})", first.place);
        findings.push(
            Finding::warning(&other.place, message)
                .advise("correct image_path or pid: folds are split by patient"),
        );
    }
    findings
}

fn outside(one: &Sighted, column: &str, point: LpsPoint, space: &ScanSpace) -> Option<Finding> {
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
    Some(Finding::error(&one.place, message).advise(advice))
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
