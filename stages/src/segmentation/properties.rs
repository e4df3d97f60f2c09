//! Against a flood fill of the whole mask, on masks of all kinds.

use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use pipe_imaging::nifti_write::{Volume, nii_bytes};

/// (label, first voxel, voxels, sums of the indices) of each piece, by filling from each voxel that is left.
fn filled(shape: [usize; 3], voxels: &[i16], connectivity: Connectivity) -> Vec<(u32, usize, u64, [f64; 3])> {
    let [columns, rows, _] = shape;
    let at = |index: usize| [index % columns, index / columns % rows, index / columns / rows];
    let farthest = match connectivity {
        Connectivity::Faces => 1,
        Connectivity::Edges => 2,
        Connectivity::Corners => 3,
    };
    let mut left: Vec<i16> = voxels.to_vec();
    let mut found = Vec::new();
    for first in 0..left.len() {
        let label = left[first];
        if label == 0 {
            continue;
        }
        left[first] = 0;
        let (mut open, mut count, mut sums) = (vec![first], 0_u64, [0.0; 3]);
        while let Some(index) = open.pop() {
            count += 1;
            let voxel = at(index);
            for axis in 0..3 {
                sums[axis] += voxel[axis] as f64;
            }
            for (other, value) in left.iter_mut().enumerate() {
                let steps: Vec<usize> = (0..3).map(|axis| at(other)[axis].abs_diff(voxel[axis])).collect();
                let near = steps.iter().all(|step| *step <= 1) && steps.iter().sum::<usize>() <= farthest;
                if near && *value == label {
                    *value = 0;
                    open.push(other);
                }
            }
        }
        found.push((label as u32, first, count, sums));
    }
    found.sort_by_key(|(label, first, ..)| (*label, *first));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn pieces_are_those_of_a_flood_fill(
        shape in (1..6_usize, 1..6_usize, 1..5_usize),
        draws in proptest::collection::vec(0..10_u8, 6 * 6 * 5),
        background in 0..9_u8,
        connectivity in prop::sample::select(vec![Connectivity::Faces, Connectivity::Edges, Connectivity::Corners]),
    ) {
        let shape = [shape.0, shape.1, shape.2];
        let count = shape.iter().product();
        let voxels: Vec<i16> =
            draws.iter().take(count).map(|&draw| if draw <= background { 0 } else { 1 + i16::from(draw) % 2 }).collect();
        let bytes = nii_bytes(&Volume { shape, affine: Affine::from_spacing([1.0; 3]), voxels: &voxels }).expect("valid");
        let length = bytes.len() as u64;
        let mask = Scan::from_reader(Path::new("mask.nii"), Cursor::new(bytes), length).expect("readable");
        let parameters = SegmentationParameters { connectivity, ..SegmentationParameters::default() };
        let expected = filled(shape, &voxels, connectivity);
        match pieces(mask, &parameters) {
            Err(error) => {
                prop_assert!(expected.is_empty(), "{}", error);
            }
            Ok(found) => {
                prop_assert_eq!(found.len(), expected.len());
                for (piece, (label, _, count, sums)) in found.iter().zip(expected) {
                    prop_assert_eq!((piece.label, piece.voxels), (label, count));
                    let centre = [-piece.centre.x, -piece.centre.y, piece.centre.z];
                    for axis in 0..3 {
                        prop_assert!((centre[axis] - sums[axis] / count as f64).abs() < 1e-9);
                    }
                }
            }
        }
    }
}
