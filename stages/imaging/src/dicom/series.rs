//! From the facts of all files to one volume: which slices belong together, in which order they lie,
//! and the affine from voxels to the patient.
//!
//! Only ImagePositionPatient orders slices: file names and InstanceNumber may say anything. Pixels are
//! not read here.
//!
//! **Even spacing.** Neighbours must be apart by the median distance of all neighbours, and every slice
//! must lie where the affine puts it, both within the tolerance. A tolerance on the neighbours alone
//! would let small errors add up; one on the places alone would name the wrong slice when one is missing.
//!
//! **Tilt.** With a tilted gantry each slice is shifted in its own plane, and the volume is sheared. The
//! step from slice to slice is then the true one, (last − first) / (n − 1). A shift so small that rounded
//! cosines explain it counts as none, and the step is along the normal: otherwise every second series
//! would be sheared by a hair, and no qform could describe it.

use std::collections::BTreeMap;

use super::Tolerance;
use super::error::{Attribute, DicomError};
use super::slice::{Facts, Frame, PixelFormat};
use crate::affine::Affine;
use dicom_dictionary_std::tags;

/// Directions that differ by less are the same (rounding in the sixth decimal and below, and in the fourth).
const SAME_DIRECTION: f64 = 1e-3;
/// Spacings that differ by a smaller share are the same.
const SAME_SPACING: f64 = 1e-4;
/// Slices nearer to each other are at the same place, in mm.
const SAME_POSITION: f64 = 1e-3;
/// A shift in the plane below this share of the distance between first and last slice…
const NO_TILT: f64 = 1e-4;
/// … or below this many mm counts as none.
const NO_SHIFT: f64 = 0.01;

/// A file with an image.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub name: &'a str,
    /// Index among the files given.
    pub file: usize,
    pub facts: Facts,
}

/// A slice in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice<'a> {
    pub image: &'a Image<'a>,
    /// The frame in its file, from 0 on.
    pub index: usize,
    pub frame: &'a Frame,
    /// Millimetres along the normal.
    along: f64,
}

/// The slices in order, and where they are.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    pub slices: Vec<Slice<'a>>,
    pub affine: Affine,
    /// Distance of neighbouring slices along the normal, in mm.
    pub step: f64,
    /// Shift within the plane from one slice to the next, in mm; 0 without tilt.
    pub shift: f64,
}

/// Orders the slices of one series and checks that they make a volume.
pub(super) fn stack<'a>(images: &'a [Image<'a>], tolerance: Tolerance) -> Result<Stack<'a>, DicomError> {
    one_series(images)?;
    let mut slices = slices(images);
    let Some(first) = slices.first().copied() else { return Err(DicomError::NoImage { files: 0 }) };
    same_kind(&slices, &first)?;
    let axes = Axes::of(first.frame);
    for slice in &mut slices {
        slice.along = dot(axes.normal, slice.frame.position);
    }
    slices.sort_by(|a, b| a.along.total_cmp(&b.along).then(a.image.name.cmp(b.image.name)));
    let step = even_step(&slices, tolerance)?;
    let (step_vector, shift) = step_vector(&slices, &axes, step);
    on_line(&slices, step_vector, tolerance.of(step))?;
    Ok(Stack { affine: affine(&slices, &axes, step_vector), slices, step, shift })
}

fn one_series(images: &[Image]) -> Result<(), DicomError> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for image in images {
        if !seen.iter().any(|&(series, _)| series == image.facts.series) {
            seen.push((&image.facts.series, image.name));
        }
    }
    match seen.as_slice() {
        [(_, first), (_, second), ..] => Err(DicomError::SeveralSeries {
            count: seen.len(),
            first: (*first).to_owned(),
            second: (*second).to_owned(),
        }),
        _ => Ok(()),
    }
}

fn slices<'a>(images: &'a [Image<'a>]) -> Vec<Slice<'a>> {
    let of_image = |image: &'a Image<'a>| {
        let frames = image.facts.frames.iter().enumerate();
        frames.map(move |(index, frame)| Slice { image, index, frame, along: 0.0 })
    };
    images.iter().flat_map(of_image).collect()
}

/// Checks what all slices must share.
fn same_kind(slices: &[Slice], first: &Slice) -> Result<(), DicomError> {
    for slice in slices {
        let (facts, reference) = (&slice.image.facts, &first.image.facts);
        let (frame, first_frame) = (slice.frame, first.frame);
        let differing = if facts.frame_of_reference != reference.frame_of_reference {
            tags::FRAME_OF_REFERENCE_UID
        } else if size(&facts.format) != size(&reference.format) {
            if facts.format.rows == reference.format.rows { tags::COLUMNS } else { tags::ROWS }
        } else if frame.image_type != first_frame.image_type {
            tags::IMAGE_TYPE
        } else if !close(&frame.orientation, &first_frame.orientation, |_| SAME_DIRECTION) {
            tags::IMAGE_ORIENTATION_PATIENT
        } else if !close(&frame.spacing, &first_frame.spacing, |spacing| SAME_SPACING * spacing) {
            tags::PIXEL_SPACING
        } else {
            continue;
        };
        return Err(DicomError::Differs {
            file: slice.image.name.to_owned(),
            reference: first.image.name.to_owned(),
            what: Attribute(differing),
        });
    }
    Ok(())
}

/// Slices whose stored values become HU otherwise than those of most: right if their files are, which other programs that
/// wrote a part of a series anew may have forgotten.
pub(super) fn other_scaling(slices: &[Slice]) -> Option<String> {
    let scaling = |slice: &Slice| (slice.frame.slope.to_bits(), slice.frame.intercept.to_bits());
    let mut counts: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    slices.iter().for_each(|slice| *counts.entry(scaling(slice)).or_default() += 1);
    let (usual, most) = counts.iter().max_by_key(|(_, count)| **count)?;
    // Some scanners scale each slice by its own values.
    let is_usual = *most * 2 > slices.len() || counts.len() * 4 <= slices.len();
    if !is_usual || *most == slices.len() {
        return None;
    }
    let other = slices.iter().find(|slice| scaling(slice) != *usual)?;
    let Frame { slope, intercept, .. } = other.frame;
    let [usual_slope, usual_intercept] = [usual.0, usual.1].map(f64::from_bits);
    Some(format!(
        "{} of {} slices are scaled otherwise than the others, {} among them: slope {slope} and intercept {intercept} \
         for {usual_slope} and {usual_intercept}",
        slices.len() - most,
        slices.len(),
        other.image.name
    ))
}

fn size(format: &PixelFormat) -> (u16, u16) {
    (format.rows, format.columns)
}

fn close<const N: usize>(a: &[f64; N], b: &[f64; N], tolerance: impl Fn(f64) -> f64) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance(*b))
}

/// Checks the distances between neighbours and returns the usual one; the declared one of a single slice.
fn even_step(slices: &[Slice], tolerance: Tolerance) -> Result<f64, DicomError> {
    let gaps: Vec<f64> = slices.windows(2).map(|pair| pair[1].along - pair[0].along).collect();
    if let Some(index) = gaps.iter().position(|&gap| gap < SAME_POSITION) {
        return Err(DicomError::Duplicate {
            first: slices[index].image.name.to_owned(),
            second: slices[index + 1].image.name.to_owned(),
            position: slices[index].along,
        });
    }
    let mut ordered = gaps.clone();
    ordered.sort_by(f64::total_cmp);
    let Some(&expected) = ordered.get(ordered.len() / 2) else { return declared_step(slices) };
    let uneven = |&gap: &f64| (gap - expected).abs() > tolerance.of(expected);
    if let Some(index) = gaps.iter().position(uneven) {
        let gap = gaps[index];
        return Err(DicomError::Gap {
            before: slices[index].image.name.to_owned(),
            after: slices[index + 1].image.name.to_owned(),
            position: slices[index].along,
            gap,
            expected,
            missing: whole(gap / expected - 0.5),
        });
    }
    Ok(gaps.iter().sum::<f64>() / gaps.len() as f64)
}

/// The whole part; none of what is less than one, and the most that fits of what is more.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

fn declared_step(slices: &[Slice]) -> Result<f64, DicomError> {
    let missing = |slice: &Slice| DicomError::File {
        file: slice.image.name.to_owned(),
        cause: super::error::FileError::Missing(Attribute(tags::SLICE_THICKNESS)),
    };
    match slices {
        [slice, ..] => slice.frame.declared_step.ok_or_else(|| missing(slice)),
        [] => Err(DicomError::NoImage { files: 0 }),
    }
}

/// Rows, columns and normal as perpendicular unit vectors in LPS.
struct Axes {
    row: [f64; 3],
    column: [f64; 3],
    normal: [f64; 3],
}

impl Axes {
    /// The direction of rows decides; that of columns is made exactly perpendicular to it.
    fn of(frame: &Frame) -> Self {
        let [a, b, c, d, e, f] = frame.orientation;
        let row = unit([a, b, c]);
        let along = dot(row, [d, e, f]);
        let column = unit([d - along * row[0], e - along * row[1], f - along * row[2]]);
        Self { row, column, normal: cross(row, column) }
    }
}

/// The step from slice to slice in LPS mm, and its part within the plane.
fn step_vector(slices: &[Slice], axes: &Axes, step: f64) -> ([f64; 3], f64) {
    let straight = axes.normal.map(|component| component * step);
    let [first, .., last] = slices else { return (straight, 0.0) };
    let steps = (slices.len() - 1) as f64;
    let whole = minus(last.frame.position, first.frame.position);
    let shift = length(minus(whole, axes.normal.map(|component| component * (step * steps))));
    if shift <= (NO_TILT * step * steps).max(NO_SHIFT) {
        (straight, 0.0)
    } else {
        (whole.map(|component| component / steps), shift / steps)
    }
}

fn on_line(slices: &[Slice], step: [f64; 3], tolerance: f64) -> Result<(), DicomError> {
    let [first, ..] = slices else { return Ok(()) };
    // What counts as no tilt may add up to this much at the far end.
    let reach = NO_TILT * length(step) * slices.len() as f64;
    let tolerance = tolerance.max(reach);
    for (index, slice) in slices.iter().enumerate() {
        let expected = [0, 1, 2].map(|axis| first.frame.position[axis] + step[axis] * index as f64);
        let distance = length(minus(slice.frame.position, expected));
        if distance > tolerance {
            return Err(DicomError::OffLine { file: slice.image.name.to_owned(), distance, tolerance });
        }
    }
    Ok(())
}

/// Voxel (column, row, slice) to RAS: DICOM's own axes are LPS, so that the first two change sign.
fn affine(slices: &[Slice], axes: &Axes, step: [f64; 3]) -> Affine {
    let (spacing, origin) = match slices.first() {
        Some(slice) => (slice.frame.spacing, slice.frame.position),
        None => ([1.0; 2], [0.0; 3]),
    };
    let [between_rows, between_columns] = spacing;
    let row = |axis: usize, sign: f64| {
        let column_step = axes.row[axis] * between_columns;
        let row_step = axes.column[axis] * between_rows;
        // Adding 0 makes −0 plain 0.
        [column_step, row_step, step[axis], origin[axis]].map(|entry| sign * entry + 0.0)
    };
    Affine::from_rows([row(0, -1.0), row(1, -1.0), row(2, 1.0)])
}

fn unit(vector: [f64; 3]) -> [f64; 3] {
    let length = length(vector);
    vector.map(|component| component / length)
}

fn length(vector: [f64; 3]) -> f64 {
    dot(vector, vector).sqrt()
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
