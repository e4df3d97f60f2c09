//! Nine planes through the centre of a cube: three along its axes, six along its diagonals.
//!
//! Cubic splines overshoot, so diagonal planes can leave [0, 1] slightly, as they do in the published models'
//! input.

use std::cell::RefCell;

use super::cube::Cube;
use super::diagonals::Lines;
use super::spline::LANES;

/// Number of planes.
pub const PLANES: usize = 9;

/// Why a volume has no planes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanesError {
    /// The values do not form a cube of the given edge.
    #[error("a volume of {found} values is not a cube of edge {edge}")]
    NotCubic {
        /// Edge given.
        edge: usize,
        /// Values given.
        found: usize,
    },
    /// The cube is too small to be rotated.
    #[error("a cube of edge {edge} is too small, expected at least 2")]
    TooSmall {
        /// Edge given.
        edge: usize,
    },
    /// A value is NaN or infinite.
    #[error("voxel (z, y, x) = {voxel:?} is {value}")]
    NotFinite {
        /// Indices of the first such voxel.
        voxel: [usize; 3],
        /// Its value.
        value: f32,
    },
    /// The intensity window is empty or not finite.
    #[error("the intensity window from {minimum} to {maximum} is empty or not finite")]
    Window {
        /// `clip_min`.
        minimum: f32,
        /// `clip_max`.
        maximum: f32,
    },
}

/// The nine planes of a cube (SPEC section 2), each windowed to [0, 1] before it is rotated.
///
/// `volume` holds `edge³` values in HU, C order over (z, y, x); values are clipped to
/// `[clip_min, clip_max]` and mapped linearly to [0, 1]. The result is `9 · edge²` values, C order
/// over (plane, row, column); it is the same on every processor.
///
/// # Errors
/// [`PlanesError`] when the volume is not a finite cube of at least 2³ or the window is empty.
pub fn planes(volume: &[f32], edge: usize, clip_min: f32, clip_max: f32) -> Result<Vec<f32>, PlanesError> {
    planes_with(Instructions::Widest, volume, edge, clip_min, clip_max)
}

/// Which of a processor's instructions are used. No result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// The widest there are.
    Widest,
    /// Those that every processor of the architecture has.
    Baseline,
}

/// As [`planes`], with the instructions chosen.
///
/// # Errors
/// As [`planes`].
pub fn planes_with(
    instructions: Instructions,
    volume: &[f32],
    edge: usize,
    clip_min: f32,
    clip_max: f32,
) -> Result<Vec<f32>, PlanesError> {
    check_edge(volume, edge)?;
    check_window(clip_min, clip_max)?;
    let window =
        Intensities { lowest: clip_min, highest: clip_max, zero: clip_min, width: clip_max - clip_min };
    compute(instructions, volume, edge, window)
}

/// The nine planes of a cube whose values are in [0, 1], or near it, already. They are taken as they are.
///
/// # Errors
/// As [`planes`].
pub fn planes_of_windowed(volume: &[f32], edge: usize) -> Result<Vec<f32>, PlanesError> {
    check_edge(volume, edge)?;
    let all = Intensities { lowest: f32::NEG_INFINITY, highest: f32::INFINITY, zero: 0.0, width: 1.0 };
    compute(Instructions::Widest, volume, edge, all)
}

/// How values are clipped and mapped: those of `zero` to 0, those of `zero + width` to 1.
#[derive(Clone, Copy)]
pub(super) struct Intensities {
    pub(super) lowest: f32,
    pub(super) highest: f32,
    pub(super) zero: f32,
    pub(super) width: f32,
}

fn compute(
    instructions: Instructions,
    volume: &[f32],
    edge: usize,
    window: Intensities,
) -> Result<Vec<f32>, PlanesError> {
    let mut planes = vec![0.0; PLANES * edge * edge];
    let finite = SCRATCH.with_borrow_mut(|scratch| {
        let scratch = Scratch::of(scratch, edge);
        let work = Work { volume, scratch, window, planes: &mut planes };
        match instructions {
            Instructions::Widest => pulp::Arch::new().dispatch(work),
            Instructions::Baseline => pulp::Arch::Scalar.dispatch(work),
        }
    });
    if finite { Ok(planes) } else { Err(first_not_finite(volume, edge)) }
}

fn check_edge(volume: &[f32], edge: usize) -> Result<(), PlanesError> {
    if edge.checked_pow(3) != Some(volume.len()) {
        return Err(PlanesError::NotCubic { edge, found: volume.len() });
    }
    if edge < 2 {
        return Err(PlanesError::TooSmall { edge });
    }
    Ok(())
}

fn check_window(minimum: f32, maximum: f32) -> Result<(), PlanesError> {
    let width = maximum - minimum;
    if !(width > 0.0 && width.is_finite()) {
        return Err(PlanesError::Window { minimum, maximum });
    }
    Ok(())
}

fn first_not_finite(volume: &[f32], edge: usize) -> PlanesError {
    let found = volume.iter().enumerate().find(|(_, value)| !value.is_finite());
    let (index, &value) = found.unwrap_or((0, &f32::NAN));
    PlanesError::NotFinite { voxel: [index / (edge * edge), index / edge % edge, index % edge], value }
}

thread_local! {
    /// Kept from one cube to the next: it does not depend on their values.
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// What does not depend on the values of a cube of some edge, and room for them.
struct Scratch {
    edge: usize,
    lines: Lines,
    cube: Cube,
    slice: Vec<f32>,
    sums: Vec<[f32; LANES]>,
}

impl Scratch {
    /// The one for this edge.
    fn of(kept: &mut Option<Self>, edge: usize) -> &mut Self {
        if kept.as_ref().is_some_and(|kept| kept.edge != edge) {
            *kept = None;
        }
        kept.get_or_insert_with(|| {
            let cube = Cube::zeros(edge);
            let lines = Lines::new(edge);
            Self { edge, slice: vec![0.0; cube.slice_values()], sums: lines.partial_sums(), lines, cube }
        })
    }
}

/// What is compiled for each kind of processor and chosen when it runs. Wider instructions do the same
/// operations, none of them fused, so the results are the same.
struct Work<'a> {
    volume: &'a [f32],
    scratch: &'a mut Scratch,
    window: Intensities,
    planes: &'a mut [f32],
}

impl pulp::WithSimd for Work<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _instructions: S) -> bool {
        fill(self.volume, self.scratch, self.window, self.planes)
    }
}

/// Computes all planes in their order; false where a voxel is not finite.
///
/// Of each rotation only the lines that the planes show are computed. A rotation in the plane of two axes takes
/// spline coefficients along the first of them and a window of samples along the second. R01 and R02 share the
/// coefficients along z.
#[inline(always)]
fn fill(volume: &[f32], scratch: &mut Scratch, window: Intensities, planes: &mut [f32]) -> bool {
    let Scratch { edge, ref lines, ref mut cube, ref mut slice, ref mut sums } = *scratch;
    let [axial, coronal, sagittal, r02_row, r02_column, r01_row, r01_column, r12_row, r12_column] =
        split(planes, edge);
    let mut finite = true;
    for z in 0..edge {
        finite &= cube.set_slice(z, volume, window, slice);
        cube.filter_along_y(slice);
        lines.of_layer(slice, cube.width(), sums, |line, position, value| {
            let plane = if line == 0 { &mut *r12_row } else { &mut *r12_column };
            plane[z * edge + position] = value;
        });
    }
    cube.middle_planes(axial, coronal, sagittal);
    for y in 0..edge {
        let (layer, stride) = cube.filter_along_z(y);
        lines.of_layer(layer, stride, sums, |line, position, value| match line {
            0 => r02_row[y * edge + position] = value,
            _ => r02_column[position * edge + y] = value,
        });
    }
    lines.of_all_layers(cube, [r01_row, r01_column]);
    // Splines are linear: what is mapped to [0, 1] here need not be mapped voxel by voxel.
    planes.iter_mut().for_each(|value| *value /= window.width);
    finite
}

fn split(planes: &mut [f32], edge: usize) -> [&mut [f32]; PLANES] {
    let mut parts = planes.chunks_exact_mut(edge * edge);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: (f32, f32) = (-1000.0, 500.0);

    fn of(volume: &[f32], edge: usize) -> Result<Vec<f32>, PlanesError> {
        planes(volume, edge, WINDOW.0, WINDOW.1)
    }

    #[test]
    fn axis_planes_pass_through_the_middle() {
        let edge = 5;
        let volume: Vec<f32> = (0..125).map(|index| index as f32).collect();
        let planes = of(&volume, edge).expect("a cube");
        assert_eq!(planes.len(), PLANES * 25);
        let pixel = |plane: usize, row: usize, column: usize| planes[plane * 25 + row * 5 + column];
        let windowed = |z: usize, y: usize, x: usize| ((z * 25 + y * 5 + x) as f32 + 1000.0) / 1500.0;
        assert_eq!(pixel(0, 1, 3), windowed(2, 1, 3));
        assert_eq!(pixel(1, 1, 3), windowed(1, 2, 3));
        assert_eq!(pixel(2, 1, 3), windowed(1, 3, 2));
    }

    #[test]
    fn values_are_clipped_to_the_window() {
        let planes =
            of(&[-3000.0, 4000.0, -1000.0, 500.0, -250.0, -250.0, -250.0, -250.0], 2).expect("a cube");
        assert_eq!(planes[4..8], [0.0, 1.0, 0.5, 0.5]);
    }

    #[test]
    fn diagonal_planes_of_a_constant_cube_are_constant() {
        let edge = 21;
        let planes = of(&vec![500.0; edge * edge * edge], edge).expect("a cube");
        // A line through the rotated cube's middle never leaves the cube.
        for (index, value) in planes[3 * edge * edge..].iter().enumerate() {
            assert!((value - 1.0).abs() < 1e-6, "{index}: {value}");
        }
    }

    #[test]
    fn lines_that_leave_a_tiny_cube_are_zero_there() {
        // Edge 2: the middle row lies half a voxel off the centre, and each of its ends leaves the layer.
        let planes = of(&[500.0; 8], 2).expect("a cube");
        assert_eq!(planes[3 * 4..], [0.0; 6 * 4]);
    }

    #[test]
    fn each_diagonal_plane_runs_along_its_own_directions() {
        // A ramp along one axis: in a rotated plane it rises by 1/√2 a step or stays the same.
        let edge = 11;
        let step = |axis: usize, direction: &str| {
            let ramp: Vec<f32> = (0..edge * edge * edge)
                .map(|index| [index / (edge * edge), index / edge % edge, index % edge][axis] as f32 * 15.0)
                .collect();
            let planes = of(&ramp, edge).expect("a cube");
            let offset = if direction == "row" { edge } else { 1 };
            let middle = 5 * edge + 5;
            let slope = |plane: usize| {
                let start = plane * edge * edge + middle;
                ((planes[start + offset] - planes[start]) * 100.0 * std::f32::consts::SQRT_2).round() as i32
            };
            [3, 4, 5, 6, 7, 8].map(slope)
        };
        // Planes: R02[m,:,:], R02[:,:,m], R01[m,:,:], R01[:,m,:], R12[:,m,:], R12[:,:,m].
        // A full voxel a step is √2 · 1/√2 and rounds to 1.
        assert_eq!((step(0, "row"), step(0, "column")), ([0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]));
        assert_eq!((step(1, "row"), step(1, "column")), ([1, 0, 1, -1, 0, 0], [0, 1, 0, 0, 1, 1]));
        assert_eq!((step(2, "row"), step(2, "column")), ([0, -1, 0, 0, 0, 0], [1, 0, 1, 1, 1, -1]));
    }

    #[test]
    fn every_processor_gives_the_same_bytes() {
        for edge in [2, 5, 31, 64] {
            let volume: Vec<f32> =
                (0..edge * edge * edge).map(|index| ((index * 7919) % 1601) as f32 - 1050.0).collect();
            let with = |instructions| planes_with(instructions, &volume, edge, WINDOW.0, WINDOW.1);
            let bits = |planes: Vec<f32>| planes.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let widest = with(Instructions::Widest).map(bits);
            assert_eq!(widest, with(Instructions::Baseline).map(bits), "edge {edge}");
        }
    }

    #[test]
    fn unusable_volumes_are_refused() {
        let mut bad = vec![0.0; 27];
        bad[16] = f32::NAN;
        let cases = [
            (of(&[0.0; 26], 3), PlanesError::NotCubic { edge: 3, found: 26 }),
            (of(&[], usize::MAX), PlanesError::NotCubic { edge: usize::MAX, found: 0 }),
            (of(&[0.0], 1), PlanesError::TooSmall { edge: 1 }),
            (of(&[], 0), PlanesError::TooSmall { edge: 0 }),
            (planes(&[0.0; 8], 2, 5.0, 5.0), PlanesError::Window { minimum: 5.0, maximum: 5.0 }),
        ];
        for (found, expected) in cases {
            assert_eq!(found, Err(expected));
        }
        let message = of(&bad, 3).expect_err("a NaN").to_string();
        assert_eq!(message, "voxel (z, y, x) = [1, 2, 1] is NaN");
    }
}
