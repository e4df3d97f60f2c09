//! Points in RAS where LPS is read, found by looking at the voxels of a cohort.
//!
//! Where a scan holds both a point and its mirrored twin (x and y of opposite sign), no geometry tells which is the
//! nodule; voxels do. A nodule is tissue, and its twin lies in the other lung, in air or outside, now and then in the
//! wall of the chest. One nodule proves nothing, a cohort does.
//!
//! | looked at | said |
//! |---|---|
//! | at least 80 % of the twins in tissue, at least half of the points not | an error: the points are RAS |
//! | at least 30 % of the points of ten nodules or more not in tissue | a warning with both shares |
//!
//! "Tissue" is a mean of 3 × 3 × 3 voxels above −750 HU: solid nodules are near 0, ground glass near −600, lung is near
//! −850. What it cannot see: points that are mirrored in a few rows only, and cohorts of fewer than five nodules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pipe_plugin::stage::{Finding, Given, Preview};
use pipe_plugin::table::Table;
use rayon::prelude::*;

use crate::cohort::scans::{COORDINATES, open_outside};
use crate::crop::geometry::{LpsPoint, ScanSpace};
use pipe_imaging::dicom::{Content, Geometry, SeriesFile, Tolerance, read_slices};
use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::ReadLimits;
use pipe_imaging::voxels::Region;

/// So many nodules are looked at, evenly over the table.
const LOOKED_AT: usize = 40;
/// Fewer points than this say nothing.
const FEWEST: usize = 3;
/// Fewer prove nothing.
const FEWEST_PROVING: usize = 5;
/// From so many points on, a smaller share out of tissue is told.
const MANY: usize = 10;
/// The share of points out of tissue that is told where there are fewer.
const DOUBTFUL_OF_FEW: f64 = 0.5;
/// The share of points out of tissue whose twins lie in it that is told.
const DOUBTFUL_TURNED: f64 = 0.2;
/// Means above this are tissue, in HU.
const TISSUE: f64 = -750.0;
/// The shares of twins in tissue, and of points out of it, that prove points to be RAS. Not all need be so: nodules may
/// lie in a cavity or in faint ground glass.
const PROVING: [f64; 2] = [0.8, 0.5];
/// The share of points out of tissue that is told.
const DOUBTFUL: f64 = 0.3;
/// Memory for the voxels around the points of one scan.
const MEMORY_BYTES: u64 = 64 << 20;

/// How the scans of a table are read.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// As NIfTI.
    Nifti(Orientation),
    /// As folders of DICOM series.
    Series(Tolerance),
}

/// What the voxels say of the points of the table that an input is given. What cannot be read is left to others to tell.
pub(super) fn look(preview: &Preview<'_>, input: &str, reading: Reading) -> Vec<Finding> {
    let Some(path) = preview.one(input).and_then(Given::outside) else { return Vec::new() };
    let Ok(table) = preview.table(path) else { return Vec::new() };
    let points = evenly(&points(&table), LOOKED_AT);
    if points.len() < FEWEST {
        return Vec::new();
    }
    let mut by_scan: BTreeMap<&str, Vec<LpsPoint>> = BTreeMap::new();
    for (scan, point) in &points {
        by_scan.entry(scan).or_default().push(*point);
    }
    let by_scan: Vec<(&str, Vec<LpsPoint>)> = by_scan.into_iter().collect();
    let pairs: Vec<Pair> = by_scan
        .par_iter()
        .flat_map_iter(|(scan, points)| pairs(preview.root, scan, points, reading).unwrap_or_default())
        .collect();
    judged(&pairs).map(|verdict| verdict.finding(&table.source)).into_iter().collect()
}

/// The scan and the point of each row that has both.
fn points(table: &Table) -> Vec<(&str, LpsPoint)> {
    let of_row = |row| {
        let [x, y, z] = COORDINATES.map(|column| table.get(row, column)?.parse::<f64>().ok());
        let point = LpsPoint { x: x?, y: y?, z: z? };
        Some((table.get(row, "image_path")?, point)).filter(|_| point.is_finite())
    };
    table.rows().iter().filter_map(of_row).collect()
}

/// At most `most` of the values, spread evenly.
fn evenly<T: Clone>(values: &[T], most: usize) -> Vec<T> {
    let count = values.len().min(most);
    (0..count).filter_map(|position| values.get(position * values.len() / count.max(1)).cloned()).collect()
}

/// Whether a point and its twin lie in tissue.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair {
    point: bool,
    twin: bool,
}

/// Looks at the points of one scan; `None` when it cannot be read.
fn pairs(root: &Path, scan: &str, points: &[LpsPoint], reading: Reading) -> Option<Vec<Pair>> {
    let twins = points.iter().map(|point| LpsPoint { x: -point.x, y: -point.y, z: point.z });
    let both: Vec<LpsPoint> = points.iter().copied().chain(twins).collect();
    let means = match reading {
        Reading::Nifti(orientation) => in_nifti(root, scan, &both, orientation)?,
        Reading::Series(tolerance) => in_series(&root.join(scan), &both, tolerance)?,
    };
    let (own, twins) = means.split_at_checked(points.len())?;
    let is_tissue = |mean: &Option<f64>| mean.is_some_and(|mean| mean > TISSUE);
    Some(own.iter().zip(twins).map(|(a, b)| Pair { point: is_tissue(a), twin: is_tissue(b) }).collect())
}

/// The mean around each point; `None` for one outside.
fn in_nifti(
    root: &Path,
    scan: &str,
    points: &[LpsPoint],
    orientation: Orientation,
) -> Option<Vec<Option<f64>>> {
    let scan = open_outside(&root.join(scan)).ok()?;
    let space = ScanSpace::new(scan.layout().shape, &scan.affine(orientation).ok()?)?;
    let regions: Vec<Region> = points.iter().map(|point| around(&space, *point)).collect();
    let limits = ReadLimits { memory_bytes: MEMORY_BYTES, ..ReadLimits::default() };
    let blocks = scan.read_blocks(&regions, limits).ok()?;
    Some(blocks.iter().map(|block| mean(block.values().into_iter().map(f64::from))).collect())
}

fn in_series(folder: &Path, points: &[LpsPoint], tolerance: Tolerance) -> Option<Vec<Option<f64>>> {
    let mut files = Vec::new();
    list(folder, 0, &mut files);
    let regions = |geometry: &Geometry| -> Option<Vec<Region>> {
        let space = ScanSpace::new(geometry.shape, &geometry.affine)?;
        Some(points.iter().map(|point| around(&space, *point)).collect())
    };
    let wanted = |geometry: &Geometry| -> BTreeSet<usize> {
        let regions = regions(geometry).unwrap_or_default();
        regions.into_iter().flat_map(|region| region.start[2]..region.end[2]).collect()
    };
    let (geometry, slices) = read_slices(&files, tolerance, wanted).ok()?;
    let [columns, ..] = geometry.shape;
    let value =
        |x: usize, y: usize, z: usize| slices.get(&z).and_then(|slice| slice.get(columns * y + x)).copied();
    let of_region = |region: &Region| {
        let along = |axis: usize| region.start[axis]..region.end[axis];
        let rows = || along(2).flat_map(|z| along(1).map(move |y| (y, z)));
        mean(rows().flat_map(|(y, z)| along(0).filter_map(move |x| value(x, y, z))).map(f64::from))
    };
    Some(regions(&geometry)?.iter().map(of_region).collect())
}

/// The files of a series' folder, hidden ones left out.
fn list(folder: &Path, depth: usize, files: &mut Vec<SeriesFile>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| !is_hidden(path)) {
        if path.is_file() {
            files.push(SeriesFile { name: path.display().to_string(), content: Content::Path(path) });
        } else if depth < 8 {
            list(&path, depth + 1, files);
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The voxel at a point with its neighbours; nothing for a point outside.
fn around(space: &ScanSpace, point: LpsPoint) -> Region {
    if space.distance_outside(point) > 0.0 {
        return Region::EMPTY;
    }
    let nearest = space.inverse.apply(point.ras()).map(|at| at.round().max(0.0) as usize);
    Region { start: nearest.map(|at| at.saturating_sub(1)), end: nearest.map(|at| at + 2) }
        .within(space.shape)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

/// What the pairs of a cohort say.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Verdict {
    looked_at: usize,
    /// Points that lie in air, in lung or outside.
    points_out: usize,
    /// Twins that lie in tissue.
    twins_in: usize,
    is_proof: bool,
}

/// `None` where points lie in tissue, as nodules do, or where there are too few.
fn judged(pairs: &[Pair]) -> Option<Verdict> {
    let looked_at = pairs.len();
    let points_out = pairs.iter().filter(|pair| !pair.point).count();
    let twins_in = pairs.iter().filter(|pair| pair.twin).count();
    let share = |count: usize| count as f64 / looked_at as f64;
    let turned = pairs.iter().filter(|pair| !pair.point && pair.twin).count();
    let is_proof =
        looked_at >= FEWEST_PROVING && share(twins_in) >= PROVING[0] && share(points_out) >= PROVING[1];
    let is_doubtful = share(points_out) >= if looked_at >= MANY { DOUBTFUL } else { DOUBTFUL_OF_FEW }
        || (turned >= FEWEST && share(turned) >= DOUBTFUL_TURNED);
    let is_told = looked_at >= FEWEST && (is_proof || is_doubtful);
    is_told.then_some(Verdict { looked_at, points_out, twins_in, is_proof })
}

impl Verdict {
    fn finding(self, table: &str) -> Finding {
        let Self { looked_at, points_out, twins_in, is_proof } = self;
        let percent = |count: usize| (100.0 * count as f64 / looked_at as f64).round();
        let shares = format!(
            "of {looked_at} nodules looked at, {points_out} ({} %) have their point in air, in lung or outside the scan; \
             with x and y of opposite sign, {twins_in} ({} %) lie in tissue",
            percent(points_out),
            percent(twins_in)
        );
        if is_proof {
            Finding::error(table, format!("{shares}: the coordinates are RAS, expected LPS"))
                .advise("change the sign of coordX and coordY in every row")
        } else {
            Finding::warning(table, format!("{shares}: expected points in nodules")).advise(
                "look at some of the points in their scans: coordinates must be LPS millimetres of the scan in \
                 image_path, in every row",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(counts: &[(usize, bool, bool)]) -> Vec<Pair> {
        counts.iter().flat_map(|&(count, point, twin)| vec![Pair { point, twin }; count]).collect()
    }

    #[test]
    fn a_cohort_is_judged_by_its_shares() {
        let (proof, doubt) = (Some(true), Some(false));
        type Points = &'static [(usize, bool, bool)];
        let table: [(&str, Points, Option<bool>); 14] = [
            (
                "LPS: some twins meet tissue, too",
                &[(26, true, false), (12, true, true), (2, false, false)],
                None,
            ),
            ("RAS", &[(27, false, true), (12, true, true), (1, false, false)], proof),
            ("RAS, all points in air", &[(40, false, true)], proof),
            ("half of the rows RAS", &[(15, false, true), (15, true, false)], doubt),
            ("another scan's points", &[(24, false, false), (6, true, true)], doubt),
            ("both in tissue, as in a mass", &[(40, true, true)], None),
            ("too few for a proof", &[(4, false, true)], doubt),
            ("too few", &[(2, false, true)], None),
            ("a few rows turned", &[(3, false, true), (9, true, false)], doubt),
            ("nodules with cavities", &[(4, false, true), (36, true, false)], None),
            ("RAS, nodules with cavities", &[(33, false, true), (7, false, false)], proof),
            ("few, all RAS", &[(5, false, true)], proof),
            ("few, some off", &[(2, false, false), (4, true, false)], None),
            ("none", &[], None),
        ];
        for (what, counts, expected) in table {
            assert_eq!(judged(&cohort(counts)).map(|verdict| verdict.is_proof), expected, "{what}");
        }
    }

    #[test]
    fn rows_are_chosen_evenly() {
        let all: Vec<usize> = (0..100).collect();
        let chosen = evenly(&all, 40);
        assert_eq!((chosen.len(), chosen.first(), chosen.last()), (40, Some(&0), Some(&97)));
        assert_eq!(evenly(&all[..7], 40), [0, 1, 2, 3, 4, 5, 6]);
        assert!(evenly::<usize>(&[], 40).is_empty());
    }
}
