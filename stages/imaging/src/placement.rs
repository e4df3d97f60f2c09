//! Whether two grids of as many voxels lie at the same place, as a mask and its scan must.
//!
//! A program that forgets to hand on the affine writes a mask whose voxels are the scan's and whose place is not. The
//! numbers of voxels give this away: a mask that was resampled or cropped has others. Reading order does not matter: a
//! grid whose axes are exchanged or turned round together with its affine lies where it lay.
//!
//! What cannot be seen: voxels that were turned round without their affine, or a mirrored affine of a grid that lies
//! evenly about the origin, since both give the scan's own place.

use super::affine::Affine;

/// Corners may differ by this share of a voxel's edge: far above the rounding of headers in single precision, and below
/// what any shift of the voxels would be.
const ROUNDING: f64 = 0.1;
/// A shift of more than this share of a voxel's edge is none of conventions (a corner for a centre).
const CONVENTION: f64 = 1.0;

/// A grid: voxels along the stored axes, and where they lie in RAS millimetres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Voxels along the stored axes.
    pub shape: [usize; 3],
    /// Voxel indices to RAS millimetres.
    pub affine: Affine,
}

/// How two grids of as many voxels differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Displaced {
    /// Voxels of the second grid along its axes.
    pub shape: [usize; 3],
    /// Whether the first grid has other voxels, and an affine that programs write where they know none.
    pub has_no_place: bool,
    /// The largest distance of a corner from the other grid's nearest one, in millimetres.
    pub distance: f64,
    /// Whether this is at most a voxel's edge, as when two programs differ in what they call a voxel's place.
    pub within_a_voxel: bool,
    /// Whether the first grid fits when x and y change their sign.
    pub mirrored: bool,
}

impl std::fmt::Display for Displaced {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [x, y, z] = self.shape;
        let distance = self.distance;
        if self.has_no_place {
            return write!(
                formatter,
                "the mask's affine is the identity, which programs write where they know none, and the scan's is not: \
                 corners are up to {distance:.1} mm apart"
            );
        }
        write!(
            formatter,
            "the mask has the scan's {x} x {y} x {z} voxels, but lies elsewhere: corners are up to {distance:.1} mm apart"
        )
    }
}

impl Displaced {
    /// The next step.
    pub fn advice(&self) -> &'static str {
        if self.mirrored {
            "the mask fits when x and y of its affine change their sign: it was written in LPS, and NIfTI has RAS; write \
             it again with the scan's affine"
        } else {
            "write the mask again with the scan's affine (nibabel: Nifti1Image(mask, scan.affine); SimpleITK: \
             mask.CopyInformation(scan)), or give the scan that it was drawn on"
        }
    }
}

/// How a mask's grid differs from that of its scan; `None` where it lies at the same place, or has other voxels.
pub fn displaced(mask: &Grid, scan: &Grid) -> Option<Displaced> {
    let sorted = |mut shape: [usize; 3]| {
        shape.sort_unstable();
        shape
    };
    let is_resampled = sorted(mask.shape) != sorted(scan.shape);
    let has_no_place = is_resampled && is_default(&mask.affine) && !is_default(&scan.affine);
    if is_resampled && !has_no_place {
        return None;
    }
    let edge = scan.affine.spacing().into_iter().fold(f64::INFINITY, f64::min);
    let distance = farthest(mask, scan);
    // Written so that a distance that is not a number counts as one.
    if distance <= ROUNDING * edge {
        return None;
    }
    let mirrored = mirrored(&mask.affine);
    Some(Displaced {
        shape: scan.shape,
        distance,
        has_no_place,
        within_a_voxel: !has_no_place && distance <= CONVENTION * edge,
        mirrored: farthest(&Grid { affine: mirrored, ..*mask }, scan) <= ROUNDING * edge,
    })
}

/// The identity, in RAS or in LPS.
fn is_default(affine: &Affine) -> bool {
    let Affine { linear, translation } = affine;
    let is_diagonal = |x: f64| *linear == [[x, 0.0, 0.0], [0.0, x, 0.0], [0.0, 0.0, 1.0]];
    *translation == [0.0; 3] && (is_diagonal(1.0) || is_diagonal(-1.0))
}

/// The affine with x and y of opposite sign: RAS read as LPS, or the other way round.
fn mirrored(affine: &Affine) -> Affine {
    let Affine { linear: [x, y, z], translation: [at_x, at_y, at_z] } = *affine;
    let opposite = |row: [f64; 3]| row.map(|entry| -entry);
    Affine { linear: [opposite(x), opposite(y), z], translation: [-at_x, -at_y, at_z] }
}

/// The largest distance of a corner of either grid from the nearest corner of the other.
fn farthest(a: &Grid, b: &Grid) -> f64 {
    let (a, b) = (corners(a), corners(b));
    farthest_of(&a, &b).max(farthest_of(&b, &a))
}

fn farthest_of(a: &[[f64; 3]; 8], b: &[[f64; 3]; 8]) -> f64 {
    let distance = |from: &[f64; 3], to: &[f64; 3]| {
        from.iter().zip(to).map(|(from, to)| (from - to) * (from - to)).sum::<f64>().sqrt()
    };
    let from =
        |corner: &[f64; 3]| b.iter().map(|other| distance(corner, other)).fold(f64::INFINITY, f64::min);
    a.iter().map(from).fold(0.0, f64::max)
}

/// The centres of the outermost voxels in RAS millimetres.
fn corners(grid: &Grid) -> [[f64; 3]; 8] {
    std::array::from_fn(|corner| {
        let at = |axis: usize| if corner >> axis & 1 == 0 { 0.0 } else { grid.shape[axis] as f64 - 1.0 };
        grid.affine.apply([at(0), at(1), at(2)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [40, 36, 30];

    /// A CT off the origin, stored as LPS.
    fn scan() -> Grid {
        let rows = [[-2.0, 0.0, 0.0, 47.0], [0.0, -2.0, 0.0, 31.0], [0.0, 0.0, 2.5, -37.5]];
        Grid { shape: SHAPE, affine: Affine::from_rows(rows) }
    }

    fn grid(shape: [usize; 3], rows: [[f64; 4]; 3]) -> Grid {
        Grid { shape, affine: Affine::from_rows(rows) }
    }

    #[test]
    fn the_same_place_in_any_order_of_reading_is_accepted() {
        let close = [[-2.000_001, 0.0, 0.0, 47.000_4], [0.0, -2.0, 1e-5, 31.0], [0.0, 0.0, 2.5, -37.5]];
        let canonical = [[2.0, 0.0, 0.0, -31.0], [0.0, 2.0, 0.0, -39.0], [0.0, 0.0, 2.5, -37.5]];
        let exchanged = [[0.0, 0.0, -2.0, 47.0], [0.0, -2.0, 0.0, 31.0], [2.5, 0.0, 0.0, -37.5]];
        for mask in [scan(), grid(SHAPE, close), grid(SHAPE, canonical), grid([30, 36, 40], exchanged)] {
            assert_eq!(displaced(&mask, &scan()), None, "{mask:?}");
        }
    }

    #[test]
    fn an_affine_that_was_lost_or_changed_is_told() {
        let table: [(&str, [[f64; 4]; 3], bool); 7] = [
            ("identity", [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], false),
            ("SimpleITK's own", [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], false),
            ("LPS for RAS", [[2.0, 0.0, 0.0, -47.0], [0.0, 2.0, 0.0, -31.0], [0.0, 0.0, 2.5, -37.5]], true),
            ("no translation", [[-2.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 2.5, 0.0]], false),
            ("no spacing", [[-1.0, 0.0, 0.0, 47.0], [0.0, -1.0, 0.0, 31.0], [0.0, 0.0, 1.0, -37.5]], false),
            (
                "a scan farther",
                [[-2.0, 0.0, 0.0, 47.0], [0.0, -2.0, 0.0, 31.0], [0.0, 0.0, 2.5, 37.5]],
                false,
            ),
            (
                "two voxels on",
                [[-2.0, 0.0, 0.0, 43.0], [0.0, -2.0, 0.0, 31.0], [0.0, 0.0, 2.5, -37.5]],
                false,
            ),
        ];
        for (what, rows, mirrored) in table {
            let found =
                displaced(&grid(SHAPE, rows), &scan()).unwrap_or_else(|| panic!("{what} was accepted"));
            assert_eq!((found.mirrored, found.within_a_voxel), (mirrored, false), "{what}: {found}");
        }
        let told = displaced(&grid(SHAPE, table[6].1), &scan()).map(|found| found.to_string());
        assert_eq!(
            told.as_deref(),
            Some(
                "the mask has the scan's 40 x 36 x 30 voxels, but lies elsewhere: corners are up to 4.0 mm apart"
            )
        );
    }

    #[test]
    fn half_a_voxel_is_told_apart_from_another_place() {
        let half = [[-2.0, 0.0, 0.0, 48.0], [0.0, -2.0, 0.0, 32.0], [0.0, 0.0, 2.5, -36.25]];
        let found = displaced(&grid(SHAPE, half), &scan()).expect("half a voxel");
        assert!(found.within_a_voxel && (found.distance - 1.887).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn other_voxels_are_no_matter_of_this() {
        let isotropic = [[1.0, 0.0, 0.0, -31.0], [0.0, 1.0, 0.0, -39.0], [0.0, 0.0, 1.0, -37.5]];
        assert_eq!(displaced(&grid([80, 72, 75], isotropic), &scan()), None);
        let identity = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let placed = displaced(&grid([40, 36, 29], identity), &scan());
        assert!(placed.is_some_and(|placed| placed.has_no_place), "{placed:?}");
    }
}
