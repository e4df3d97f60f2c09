//! Nine planes through the centre of a cube: three along its axes, six along its diagonals.
//!
//! A diagonal plane is one line of each layer of the cube after a rotation by 45°. Only those lines
//! are computed: the two diagonal planes of one rotation share the spline of each layer, and the
//! rotated cube is never made. Cubic splines overshoot, so diagonal planes can leave [0, 1] slightly,
//! as they do in the published models' input.

use std::f64::consts::FRAC_1_SQRT_2;

use super::spline::{Taps, prefilter};

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
/// over (plane, row, column).
///
/// # Errors
/// [`PlanesError`] when the volume is not a finite cube of at least 2³ or the window is empty.
pub fn planes(volume: &[f32], edge: usize, clip_min: f32, clip_max: f32) -> Result<Vec<f32>, PlanesError> {
    let cube = Cube { values: windowed(volume, edge, clip_min, clip_max)?, edge };
    let middle = edge / 2;
    let mut planes = Vec::with_capacity(PLANES * edge * edge);
    planes.extend(cube.plane(|row, column| [middle, row, column]));
    planes.extend(cube.plane(|row, column| [row, middle, column]));
    planes.extend(cube.plane(|row, column| [row, column, middle]));
    // The layer's index comes first or second in a diagonal plane, as it does in the rotated cube.
    let [row, column] = cube.diagonals(|layer, a, b| [a, layer, b]);
    planes.extend(row);
    planes.extend(transposed(&column, edge));
    let [row, column] = cube.diagonals(|layer, a, b| [a, b, layer]);
    planes.extend(transposed(&row, edge));
    planes.extend(transposed(&column, edge));
    let [row, column] = cube.diagonals(|layer, a, b| [layer, a, b]);
    planes.extend(row);
    planes.extend(column);
    Ok(planes)
}

/// Clips to the window and maps it to [0, 1].
fn windowed(volume: &[f32], edge: usize, minimum: f32, maximum: f32) -> Result<Vec<f32>, PlanesError> {
    if edge.checked_pow(3) != Some(volume.len()) {
        return Err(PlanesError::NotCubic { edge, found: volume.len() });
    }
    if edge < 2 {
        return Err(PlanesError::TooSmall { edge });
    }
    let width = maximum - minimum;
    if !(width > 0.0 && width.is_finite()) {
        return Err(PlanesError::Window { minimum, maximum });
    }
    if let Some((index, &value)) = volume.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let voxel = [index / (edge * edge), index / edge % edge, index % edge];
        return Err(PlanesError::NotFinite { voxel, value });
    }
    Ok(volume.iter().map(|value| (value.clamp(minimum, maximum) - minimum) / width).collect())
}

/// A cube of windowed values, C order over (z, y, x).
struct Cube {
    values: Vec<f32>,
    edge: usize,
}

impl Cube {
    fn at(&self, [z, y, x]: [usize; 3]) -> f32 {
        self.values[(z * self.edge + y) * self.edge + x]
    }

    /// The plane of the voxels that `index` gives for (row, column).
    fn plane(&self, index: impl Fn(usize, usize) -> [usize; 3]) -> impl Iterator<Item = f32> {
        let pixel = move |pixel| self.at(index(pixel / self.edge, pixel % self.edge));
        (0..self.edge * self.edge).map(pixel)
    }

    /// The middle row and the middle column of every layer after a rotation by 45°, each as a plane
    /// over (layer, position). `index` gives the voxel at (layer, row, column).
    fn diagonals(&self, index: impl Fn(usize, usize, usize) -> [usize; 3]) -> [Vec<f32>; 2] {
        let middle = self.edge / 2;
        let lines = [self.line(|position| [middle, position]), self.line(|position| [position, middle])];
        let mut diagonals = [(); 2].map(|()| Vec::with_capacity(self.edge * self.edge));
        let mut layer_values = Vec::with_capacity(self.edge * self.edge);
        for layer in 0..self.edge {
            layer_values.clear();
            layer_values.extend(self.plane(|row, column| index(layer, row, column)).map(f64::from));
            prefilter(&mut layer_values, self.edge);
            for (diagonal, line) in diagonals.iter_mut().zip(&lines) {
                let value = |taps: &Option<Taps>| {
                    taps.map_or(0.0, |taps| taps.value(&layer_values, self.edge) as f32)
                };
                diagonal.extend(line.iter().map(value));
            }
        }
        diagonals
    }

    /// Where one line of the rotated layer comes from: source = M · target + (centre − M · centre),
    /// M = [[cos, sin], [−sin, cos]] at 45°. `None` outside the layer.
    fn line(&self, target: impl Fn(usize) -> [usize; 2]) -> Vec<Option<Taps>> {
        let centre = (self.edge as f64 - 1.0) / 2.0;
        let taps = |position| {
            let [row, column] = target(position).map(|index| index as f64 - centre);
            let source = [FRAC_1_SQRT_2 * (row + column), FRAC_1_SQRT_2 * (column - row)];
            Taps::at(source[0] + centre, source[1] + centre, self.edge)
        };
        (0..self.edge).map(taps).collect()
    }
}

fn transposed(plane: &[f32], edge: usize) -> impl Iterator<Item = f32> {
    (0..edge * edge).map(move |pixel| plane[pixel % edge * edge + pixel / edge])
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
                ((planes[start + offset] - planes[start]) * 100.0 / FRAC_1_SQRT_2 as f32).round() as i32
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
