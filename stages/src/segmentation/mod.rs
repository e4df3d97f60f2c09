//! Nodules of a label mask: connected pieces of equal values, with their centres of mass in the patient.
//!
//! The mask passes by slice by slice; what stays in memory are the runs of two slices and one sum for each
//! piece. Knows nothing of the scan that the mask was drawn on, nor of tables.

mod growing;
mod runs;

#[cfg(test)]
mod properties;

use std::collections::BTreeMap;

use crate::crop::geometry::LpsPoint;
use pipe_imaging::affine::Affine;
use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::{ReadLimits, Scan, ScanError};

use growing::{Growing, Sums};
use runs::SliceRuns;

/// How many pieces a mask may fall into while it is read.
pub const MOST_PIECES: usize = 1_000_000;
/// Labels are below this, where single precision still tells whole numbers apart.
const LABELS_END: f32 = 16_777_216.0;
/// How far a value may be from a whole number, for masks that are stored scaled.
const WHOLE: f32 = 1e-4;

/// What makes a nodule of a mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Each {
    /// Each connected piece of a label value.
    #[default]
    Component,
    /// All voxels of a label value.
    Label,
}

/// Which neighbours of a voxel belong to its piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connectivity {
    /// The 6 that share a face.
    Faces,
    /// The 18 that share at least an edge.
    Edges,
    /// The 26 that share at least a corner.
    #[default]
    Corners,
}

/// How nodules are found.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentationParameters {
    /// What makes a nodule.
    pub each: Each,
    /// Which voxels are neighbours.
    pub connectivity: Connectivity,
    /// Pieces of fewer voxels are left out.
    pub min_voxels: u64,
    /// The values that mark nodules; all but 0 when not given.
    pub labels: Option<Vec<u32>>,
    /// Which of the header's orientations counts.
    pub orientation: Orientation,
    /// What reading may cost.
    pub limits: ReadLimits,
}

impl Default for SegmentationParameters {
    fn default() -> Self {
        Self {
            each: Each::default(),
            connectivity: Connectivity::default(),
            min_voxels: 1,
            labels: None,
            orientation: Orientation::default(),
            limits: ReadLimits::default(),
        }
    }
}

/// One nodule of a mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its label value.
    pub label: u32,
    /// Its number among the pieces of its label, from 1, in the order of their first voxels in the file.
    pub piece: usize,
    /// Its voxels.
    pub voxels: u64,
    /// Its volume.
    pub volume_mm3: f64,
    /// Its centre of mass.
    pub centre: LpsPoint,
}

/// Why a mask gives no nodules.
#[derive(Debug, thiserror::Error)]
pub enum SegmentationError {
    /// A value is no label.
    #[error("voxel {voxel:?} is {value}, expected whole label values of 0 and above, below {}", LABELS_END as u32)]
    NotALabel {
        /// Index of the voxel.
        voxel: [usize; 3],
        /// Its value.
        value: f32,
    },
    /// There is nothing but background.
    #[error("no voxel has a label{}", labels_in_words(labels.as_deref()))]
    Empty {
        /// The labels that were looked for.
        labels: Option<Vec<u32>>,
    },
    /// All pieces are left out for their size.
    #[error(
        "all {pieces} pieces have fewer than min_voxels = {min_voxels} voxels: the largest has {largest}"
    )]
    TooSmall {
        /// How many there are.
        pieces: usize,
        /// What is asked for.
        min_voxels: u64,
        /// The largest one's voxels.
        largest: u64,
    },
    /// The mask falls into too many pieces.
    #[error("the mask falls into more than {MOST_PIECES} pieces")]
    Pieces,
    /// The mask cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

fn labels_in_words(labels: Option<&[u32]>) -> String {
    labels.map(|labels| format!(" of {labels:?}")).unwrap_or_default()
}

/// The nodules of a mask, by label, then in the order of their first voxels.
///
/// # Errors
/// [`SegmentationError`] when the mask cannot be read, holds values that are no labels, or no label at
/// all, or none of the size asked for.
pub fn pieces(mask: Scan, parameters: &SegmentationParameters) -> Result<Vec<Piece>, SegmentationError> {
    pieces_and_left_out(mask, parameters).map(|(pieces, _)| pieces)
}

/// The same, and how many pieces were left out because they have too few voxels.
///
/// # Errors
/// Those of [`pieces`].
pub fn pieces_and_left_out(
    mask: Scan,
    parameters: &SegmentationParameters,
) -> Result<(Vec<Piece>, usize), SegmentationError> {
    let affine = mask.affine(parameters.orientation)?;
    let [columns, rows, _] = mask.layout().shape;
    let mut growing = Growing::new(parameters.each, parameters.connectivity);
    mask.for_each_slice(parameters.limits, |slice, values| {
        let mut runs = SliceRuns::new(rows);
        for (row, values) in values.chunks_exact(columns.max(1)).enumerate() {
            let wanted = |label: u32| parameters.labels.as_ref().is_none_or(|labels| labels.contains(&label));
            runs.add_row(values, wanted).map_err(|column| SegmentationError::NotALabel {
                voxel: [column, row, slice],
                value: values.get(column).copied().unwrap_or_default(),
            })?;
        }
        growing.add_slice(slice, runs)
    })?;
    let found = growing.finish();
    if found.is_empty() {
        return Err(SegmentationError::Empty { labels: parameters.labels.clone() });
    }
    let largest = found.iter().map(|sums| sums.voxels).max().unwrap_or(0);
    let (all, min_voxels) = (found.len(), parameters.min_voxels);
    if largest < min_voxels {
        return Err(SegmentationError::TooSmall { pieces: all, min_voxels, largest });
    }
    let kept = numbered(found, min_voxels, &affine);
    let left_out = all - kept.len();
    Ok((kept, left_out))
}

/// The label of a value; `None` for one that is no label.
fn label_of(value: f32) -> Option<u32> {
    let whole = value.round();
    let fits = (value - whole).abs() <= WHOLE && (0.0..LABELS_END).contains(&whole);
    fits.then_some(whole as u32)
}

fn numbered(mut found: Vec<Sums>, min_voxels: u64, affine: &Affine) -> Vec<Piece> {
    found.retain(|sums| sums.voxels >= min_voxels);
    found.sort_unstable_by_key(|sums| (sums.label, sums.first));
    let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
    let piece = |sums: &Sums| {
        let number = numbers.entry(sums.label).or_insert(0);
        *number += 1;
        let [x, y, z] = affine.apply(sums.index.map(|sum| sum as f64 / sums.voxels as f64));
        Piece {
            label: sums.label,
            piece: *number,
            voxels: sums.voxels,
            volume_mm3: sums.voxels as f64 * affine.determinant().abs(),
            // Not −0, which nobody expects in a table.
            centre: LpsPoint { x: 0.0 - x, y: 0.0 - y, z },
        }
    };
    found.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::*;
    use pipe_imaging::nifti_write::{Volume, nii_gz_bytes};

    /// A mask of 5 × 4 × 3 voxels of 2 × 3 × 4 mm whose first voxel lies at RAS (10, 20, 30).
    fn mask(labelled: &[([usize; 3], f32)]) -> Scan {
        let mut voxels = vec![0.0_f32; 60];
        for &([x, y, z], value) in labelled {
            voxels[x + 5 * (y + 4 * z)] = value;
        }
        let affine = Affine::from_rows([[2.0, 0.0, 0.0, 10.0], [0.0, 3.0, 0.0, 20.0], [0.0, 0.0, 4.0, 30.0]]);
        let bytes = nii_gz_bytes(&Volume { shape: [5, 4, 3], affine, voxels: &voxels }).expect("valid");
        let length = bytes.len() as u64;
        Scan::from_reader(Path::new("mask.nii.gz"), Cursor::new(bytes), length).expect("readable")
    }

    #[test]
    fn centres_are_in_lps_millimetres() {
        let labelled = [([1, 1, 1], 2.0), ([2, 1, 1], 2.0), ([2, 2, 1], 2.0), ([4, 3, 2], 7.0)];
        let found = pieces(mask(&labelled), &SegmentationParameters::default()).expect("pieces");
        let mean = |a: f64, b: f64, c: f64| (a + b + c) / 3.0;
        let first = Piece {
            label: 2,
            piece: 1,
            voxels: 3,
            volume_mm3: 72.0,
            centre: LpsPoint {
                x: -(10.0 + 2.0 * mean(1.0, 2.0, 2.0)),
                y: -(20.0 + 3.0 * mean(1.0, 1.0, 2.0)),
                z: 34.0,
            },
        };
        let second = Piece {
            label: 7,
            piece: 1,
            voxels: 1,
            volume_mm3: 24.0,
            centre: LpsPoint { x: -18.0, y: -29.0, z: 38.0 },
        };
        assert_eq!(found.len(), 2);
        for (found, expected) in found.iter().zip([first, second]) {
            assert_eq!(
                (found.label, found.piece, found.voxels),
                (expected.label, expected.piece, expected.voxels)
            );
            assert!((found.volume_mm3 - expected.volume_mm3).abs() < 1e-9);
            for (a, b) in [found.centre.x, found.centre.y, found.centre.z].iter().zip([
                expected.centre.x,
                expected.centre.y,
                expected.centre.z,
            ]) {
                assert!((a - b).abs() < 1e-9, "{found:?}");
            }
        }
    }

    #[test]
    fn connectivity_decides_what_hangs_together() {
        // Two voxels that share a corner, and two of the other label that share an edge.
        let labelled = [([0, 0, 0], 1.0), ([1, 1, 1], 1.0), ([3, 0, 1], 2.0), ([3, 1, 2], 2.0)];
        for (connectivity, expected) in
            [(Connectivity::Faces, 4), (Connectivity::Edges, 3), (Connectivity::Corners, 2)]
        {
            let parameters = SegmentationParameters { connectivity, ..SegmentationParameters::default() };
            assert_eq!(pieces(mask(&labelled), &parameters).expect("pieces").len(), expected);
        }
        let parameters = SegmentationParameters { each: Each::Label, ..SegmentationParameters::default() };
        assert_eq!(
            pieces(mask(&[([0, 0, 0], 1.0), ([4, 3, 2], 1.0)]), &parameters).expect("pieces").len(),
            1
        );
    }

    #[test]
    fn small_pieces_and_other_labels_are_left_out_and_the_rest_is_numbered() {
        let labelled = [
            ([0, 0, 0], 1.0),
            ([2, 0, 0], 1.0),
            ([3, 0, 0], 1.0),
            ([0, 3, 2], 1.0),
            ([1, 3, 2], 1.0),
            ([4, 3, 0], 9.0),
        ];
        let told = |parameters: &SegmentationParameters| -> Vec<(u32, usize, u64)> {
            let found = pieces(mask(&labelled), parameters).expect("pieces");
            found.iter().map(|piece| (piece.label, piece.piece, piece.voxels)).collect()
        };
        let all = SegmentationParameters::default();
        assert_eq!(told(&all), [(1, 1, 1), (1, 2, 2), (1, 3, 2), (9, 1, 1)]);
        let parameters = SegmentationParameters { min_voxels: 2, ..all.clone() };
        assert_eq!(told(&parameters), [(1, 1, 2), (1, 2, 2)]);
        let parameters = SegmentationParameters { labels: Some(vec![9]), ..all };
        assert_eq!(told(&parameters), [(9, 1, 1)]);
    }

    #[test]
    fn a_mask_of_noise_is_refused_before_its_pieces_fill_the_memory() {
        let shape = [160, 160, 90];
        let odd = |index: usize| (index + index / 160 + index / (160 * 160)) % 2;
        let voxels: Vec<i16> = (0..shape.iter().product()).map(|index| odd(index) as i16).collect();
        let bytes = nii_gz_bytes(&Volume { shape, affine: Affine::from_spacing([1.0; 3]), voxels: &voxels });
        let bytes = bytes.expect("valid");
        let open = || {
            let length = bytes.len() as u64;
            Scan::from_reader(Path::new("mask.nii.gz"), Cursor::new(bytes.clone()), length).expect("readable")
        };
        let faces =
            SegmentationParameters { connectivity: Connectivity::Faces, ..SegmentationParameters::default() };
        assert!(matches!(pieces(open(), &faces), Err(SegmentationError::Pieces)));
        assert_eq!(pieces(open(), &SegmentationParameters::default()).expect("one piece").len(), 1);
    }

    #[test]
    fn what_is_no_label_mask_is_refused() {
        let told = |value: f32| {
            pieces(mask(&[([3, 2, 1], value)]), &SegmentationParameters::default())
                .expect_err("refused")
                .to_string()
        };
        for value in [0.5, -1.0, f32::NAN, f32::INFINITY, 2e7] {
            let expected = format!(
                "voxel [3, 2, 1] is {value}, expected whole label values of 0 and above, below 16777216"
            );
            assert_eq!(told(value), expected);
        }
        assert_eq!(told(0.0), "no voxel has a label");
        let parameters =
            SegmentationParameters { labels: Some(vec![2]), ..SegmentationParameters::default() };
        let error = pieces(mask(&[([0, 0, 0], 1.0)]), &parameters).expect_err("refused");
        assert_eq!(error.to_string(), "no voxel has a label of [2]");
    }
}
