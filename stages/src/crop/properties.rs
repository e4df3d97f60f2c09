//! What holds for any scan: the two ways of sampling against the space they claim to be in, and the fast
//! way of interpolating against the plain one.

use proptest::prelude::*;

use super::exact;
use super::geometry::{CropBox, LpsPoint, ScanSpace};
use super::reference::Grid;
use super::sample::{sample, sample_each};
use pipe_imaging::affine::Affine;
use pipe_imaging::voxels::{Block, Region, Voxels};

/// A scan's space and a point in it.
fn placed(shape: [usize; 3], affine: Affine, share: [f64; 3]) -> (ScanSpace, LpsPoint) {
    let space = ScanSpace::new(shape, &affine).expect("regular");
    let voxel = std::array::from_fn(|axis| share[axis] * (shape[axis] as f64 - 1.0));
    let [x, y, z] = affine.apply(voxel);
    (space, LpsPoint { x: -x, y: -y, z })
}

/// The part of a scan that is in `region`, from a value for each voxel.
fn block(region: Region, value: impl Fn([usize; 3]) -> f64, integers: bool) -> Block {
    let [x, y, z] = [0, 1, 2].map(|axis| region.start[axis]..region.end[axis]);
    let mut values = Vec::new();
    for z in z {
        for y in y.clone() {
            values.extend(x.clone().map(|x| value([x, y, z])));
        }
    }
    let voxels = if integers {
        Voxels::Stored(values.into_iter().map(|value| value as i16).collect())
    } else {
        Voxels::Scaled(values.into_iter().map(|value| value as f32).collect())
    };
    Block { region, voxels, slope: 0.75, intercept: -1024.0 }
}

fn noise([x, y, z]: [usize; 3]) -> f64 {
    ((x * 7919 + y * 104_729 + z * 1_299_709) % 4001) as f64 - 1000.0
}

fn share() -> impl Strategy<Value = [f64; 3]> {
    [0.0..=1.0, 0.0..=1.0, 0.0..=1.0]
}

fn spacing() -> impl Strategy<Value = [f64; 3]> {
    [0.2..4.0, 0.2..4.0, 0.2..4.0]
}

prop_compose! {
    /// Axes of a scan that run along those of the patient, in any order and direction.
    fn straight()(
        spacing in spacing(),
        order in prop::sample::select(vec![[0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]]),
        flipped in [any::<bool>(), any::<bool>(), any::<bool>()],
        translation in [-200.0..200.0, -200.0..200.0, -200.0..200.0],
        is_1_mm in any::<bool>(),
    ) -> Affine {
        let mut affine = Affine { linear: [[0.0; 3]; 3], translation };
        for axis in 0..3 {
            let step = if is_1_mm { 1.0 } else { spacing[axis] };
            affine.linear[order[axis]][axis] = if flipped[axis] { -step } else { step };
        }
        affine
    }
}

prop_compose! {
    fn oblique()(
        spacing in spacing(),
        turn in [-0.5..0.5, -0.5..0.5, -0.5..0.5],
        mirrored in any::<bool>(),
        translation in [-200.0..200.0, -200.0..200.0, -200.0..200.0],
    ) -> Affine {
        Affine::from_quaternion(turn, spacing, mirrored, translation)
    }
}

fn bits(volume: &[f32]) -> Vec<u32> {
    volume.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    /// Also that a box's region holds all that its interpolation touches.
    #[test]
    fn sampling_axis_by_axis_gives_the_bits_of_sampling_each_voxel(
        affine in prop_oneof![4 => straight(), 1 => oblique()],
        shape in [1usize..14, 1usize..14, 1usize..14],
        share in share(),
        size in 1usize..26,
        is_exact in any::<bool>(),
        outside in prop::sample::select(vec![0.0, -1000.0, 17.3]),
        integers in any::<bool>(),
    ) {
        let (space, point) = placed(shape, affine, share);
        let crop_box = if is_exact {
            exact::crop_box(&space, point, size)
        } else {
            Grid::new(&space).crop_box(point, size)
        };
        let whole = sample_each(&crop_box, &block(Region::whole(shape), noise, integers), outside);
        let part = sample(&crop_box, &block(crop_box.region(), noise, integers), outside);
        prop_assert_eq!(whole.len(), size * size * size);
        prop_assert_eq!(bits(&part), bits(&whole));
    }

    #[test]
    fn exact_sampling_reads_a_ramp_where_each_voxel_lies(
        affine in prop_oneof![straight(), oblique()],
        shape in [2usize..16, 2usize..16, 2usize..16],
        share in share(),
        size in 1usize..20,
        slope in [-20.0..20.0, -20.0..20.0, -20.0..20.0],
    ) {
        let (space, point) = placed(shape, affine, share);
        let ramp = |[x, y, z]: [f64; 3]| slope[0] * x + slope[1] * y + slope[2] * z - 300.0;
        let crop_box = exact::crop_box(&space, point, size);
        let voxel = |index: [usize; 3]| ramp(affine.apply(index.map(|index| index as f64)));
        let volume = sample(&crop_box, &block(Region::whole(shape), voxel, false), -5000.0);
        for (index, &found) in volume.iter().enumerate() {
            let offset = [index % size, index / size % size, index / (size * size)]
                .map(|index| index as f64 - (size / 2) as f64);
            let lps = [point.x + offset[0], point.y + offset[1], point.z + offset[2]];
            let world = [-lps[0], -lps[1], lps[2]];
            let position = space.inverse.apply(world);
            let beyond = |axis: usize| {
                let last = shape[axis] as f64 - 1.0;
                (-position[axis]).max(position[axis] - last)
            };
            let farthest = (0..3).map(beyond).fold(f64::MIN, f64::max);
            if farthest < -1e-9 {
                let expected = ramp(world);
                let tolerance = 1e-3 * expected.abs().max(1.0);
                prop_assert!((f64::from(found) - expected).abs() < tolerance, "{index}: {found} {expected}");
            } else if farthest > 0.5 + 1e-9 {
                prop_assert_eq!(found, -5000.0, "{}", index);
            } else if farthest < 0.5 - 1e-9 {
                prop_assert_ne!(found, -5000.0, "{}", index);
            }
        }
    }
}

/// Where the box reads the voxel at `index` on all three axes, in RAS millimetres.
fn world(space: &ScanSpace, crop_box: &CropBox, index: usize) -> [f64; 3] {
    let mut position = crop_box.base;
    for axis in &crop_box.axes {
        let step = axis.steps[index - axis.start];
        position = std::array::from_fn(|row| position[row] + step[row]);
    }
    space.affine.apply(position)
}

/// How far apart in RAS the two ways of sampling read, on the scan's first and last millimetre.
fn difference(spacing: f64, voxels: usize) -> [[f64; 3]; 2] {
    let affine = Affine { translation: [-40.0; 3], ..Affine::from_spacing([spacing; 3]) };
    let space = ScanSpace::new([voxels; 3], &affine).expect("regular");
    let grid = Grid::new(&space);
    [0.0, (spacing * (voxels as f64 - 1.0)).floor()].map(|at| {
        // A point of the grid, so that truncation moves nothing.
        let point = LpsPoint { x: 40.0 - at, y: 40.0 - at, z: at - 40.0 };
        let [reference, exact] = [grid.crop_box(point, 1), exact::crop_box(&space, point, 1)]
            .map(|crop_box| world(&space, &crop_box, 0));
        std::array::from_fn(|axis| reference[axis] - exact[axis])
    })
}

/// The table of [`super::exact`]'s documentation.
#[test]
fn the_published_sampling_drifts_by_half_of_what_the_spacing_lacks_or_exceeds_a_millimetre() {
    let table = [
        (0.5, 700),
        (0.5, 40),
        (0.7, 512),
        (0.8, 512),
        (1.0, 300),
        (1.25, 300),
        (2.5, 120),
        (2.5, 20),
        (5.0, 60),
    ];
    for (spacing, voxels) in table {
        let expected = (spacing - 1.0) / 2.0 * (voxels as f64 - 1.0) / voxels as f64;
        let [first, last] = difference(spacing, voxels);
        for axis in 0..3 {
            let (first, last) = (first[axis], last[axis]);
            assert!(
                (first - expected).abs() < 1e-3,
                "{spacing} mm × {voxels}: {first} mm at the first voxel"
            );
            // The grid's size is a whole number of millimetres, which stretches it a little.
            assert!((last + expected).abs() < 0.03, "{spacing} mm × {voxels}: {last} mm at the last voxel");
        }
    }
}

#[test]
fn the_published_middle_lies_up_to_a_millimetre_beside_the_point() {
    let affine = Affine { translation: [30.0, 30.0, -30.0], ..Affine::from_spacing([-1.0, -1.0, 1.0]) };
    let space = ScanSpace::new([60; 3], &affine).expect("regular");
    let grid = Grid::new(&space);
    for share in [0.0, 0.25, 0.5, 0.75, 0.999] {
        let point = LpsPoint { x: 3.0 + share, y: -5.0 + share, z: 7.0 + share };
        let [x, y, z] = world(&space, &grid.crop_box(point, 21), 10);
        for (found, asked) in [(-x, point.x), (-y, point.y), (z, point.z)] {
            assert!((asked - found - share).abs() < 1e-9, "{point}: {found}");
        }
        let middle = world(&space, &exact::crop_box(&space, point, 21), 10);
        assert!(middle.iter().zip(point.ras()).all(|(a, b)| (a - b).abs() < 1e-9), "{point}: {middle:?}");
    }
}
