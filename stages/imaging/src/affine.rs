//! Affine maps of three-dimensional space in f64, as NIfTI headers describe them.
//!
//! The arithmetic is plain multiplication and addition in a fixed order, so that a map has the same
//! bits on every host.

/// Below this share of the product of its column lengths a determinant counts as zero.
const SINGULAR: f64 = 1e-9;
/// The quaternion of the NIfTI standard counts as a half turn when 1 − (b² + c² + d²) is below this.
const HALF_TURN: f64 = 1e-7;

/// An affine map `x ↦ linear · x + translation`: voxel indices to world millimetres, or back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The linear part, row by row; column `k` is the step from one voxel to the next along axis `k`.
    pub linear: [[f64; 3]; 3],
    /// The image of the origin: the world position of the centre of voxel (0, 0, 0).
    pub translation: [f64; 3],
}

impl Affine {
    /// From the first three rows of a 4×4 matrix, such as `srow_x`, `srow_y`, `srow_z`.
    pub fn from_rows(rows: [[f64; 4]; 3]) -> Self {
        Self { linear: rows.map(|[x, y, z, _]| [x, y, z]), translation: rows.map(|row| row[3]) }
    }

    /// Axis-aligned voxels of the given spacing in millimetres, voxel (0, 0, 0) at the world's origin.
    pub fn from_spacing([x, y, z]: [f64; 3]) -> Self {
        Self { linear: [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]], translation: [0.0; 3] }
    }

    /// A rotation by the unit quaternion (a, b, c, d) with a ≥ 0 left out, the voxel spacing, a mirrored
    /// third axis when `mirrored`, and a translation: the "method 2" of the NIfTI-1 standard.
    pub fn from_quaternion(bcd: [f64; 3], spacing: [f64; 3], mirrored: bool, translation: [f64; 3]) -> Self {
        let rotation = rotation_of(bcd);
        let step = [spacing[0], spacing[1], if mirrored { -spacing[2] } else { spacing[2] }];
        let linear = rotation.map(|row| [row[0] * step[0], row[1] * step[1], row[2] * step[2]]);
        Self { linear, translation }
    }

    /// The image of a point.
    pub fn apply(&self, point: [f64; 3]) -> [f64; 3] {
        let [x, y, z] = self.apply_linear(point);
        [x + self.translation[0], y + self.translation[1], z + self.translation[2]]
    }

    /// The image of a difference of points: the linear part alone.
    pub fn apply_linear(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        self.linear.map(|row| row[0] * x + row[1] * y + row[2] * z)
    }

    /// The columns of the linear part: the world steps along the three voxel axes.
    pub fn columns(&self) -> [[f64; 3]; 3] {
        let [a, b, c] = self.linear;
        [[a[0], b[0], c[0]], [a[1], b[1], c[1]], [a[2], b[2], c[2]]]
    }

    /// Voxel spacing in millimetres: the lengths of the columns.
    pub fn spacing(&self) -> [f64; 3] {
        self.columns().map(|column| dot(column, column).sqrt())
    }

    /// The determinant of the linear part: the signed volume of a voxel.
    pub fn determinant(&self) -> f64 {
        let [first, second, third] = self.columns();
        dot(first, cross(second, third))
    }

    /// Whether every entry is finite.
    pub fn is_finite(&self) -> bool {
        self.linear.as_flattened().iter().chain(&self.translation).all(|entry| entry.is_finite())
    }

    /// Whether the map has no usable inverse: a column that is zero, or columns in one plane.
    pub fn is_singular(&self) -> bool {
        let [x, y, z] = self.spacing();
        let volume = x * y * z;
        // Written so that a determinant or volume that is not a number counts as singular too.
        !(volume > 0.0 && self.determinant().abs() > SINGULAR * volume)
    }

    /// The largest |cosine| between two columns: 0 for rectangular voxels, above it for sheared ones.
    pub fn shear(&self) -> f64 {
        let columns = self.columns();
        let length = self.spacing();
        [(0, 1), (0, 2), (1, 2)]
            .map(|(a, b)| (dot(columns[a], columns[b]) / (length[a] * length[b])).abs())
            .into_iter()
            .fold(0.0, f64::max)
    }

    /// The inverse map, or `None` when the linear part is singular or not finite.
    pub fn inverse(&self) -> Option<Self> {
        if self.is_singular() {
            return None;
        }
        let determinant = self.determinant();
        let [first, second, third] = self.columns();
        let linear = [cross(second, third), cross(third, first), cross(first, second)]
            .map(|row| row.map(|entry| entry / determinant));
        let mut inverse = Self { linear, translation: [0.0; 3] };
        inverse.translation = inverse.apply_linear(self.translation).map(|entry| -entry);
        inverse.is_finite().then_some(inverse)
    }

    /// The same map with world lengths multiplied by `factor`: a change of the world's unit.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            linear: self.linear.map(|row| row.map(|entry| entry * factor)),
            translation: self.translation.map(|entry| entry * factor),
        }
    }

    /// The quaternion (b, c, d) of the rotation and whether the third axis is mirrored, so that
    /// [`Affine::from_quaternion`] with [`Affine::spacing`] gives the map back. `None` when the
    /// map is singular. A shear is lost: check [`Affine::shear`] first.
    pub fn quaternion(&self) -> Option<([f64; 3], bool)> {
        if self.is_singular() {
            return None;
        }
        let mirrored = self.determinant() < 0.0;
        let [x, y, z] = self.spacing();
        let step = [x, y, if mirrored { -z } else { z }];
        let rotation = self.linear.map(|row| [row[0] / step[0], row[1] / step[1], row[2] / step[2]]);
        Some((quaternion_of(rotation), mirrored))
    }
}

/// The rotation matrix of the unit quaternion (a, b, c, d), a ≥ 0 following from the others.
fn rotation_of([mut b, mut c, mut d]: [f64; 3]) -> [[f64; 3]; 3] {
    let vector = b * b + c * c + d * d;
    let a = if 1.0 - vector < HALF_TURN {
        let length = vector.sqrt();
        (b, c, d) = (b / length, c / length, d / length);
        0.0
    } else {
        (1.0 - vector).sqrt()
    };
    [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
}

/// The vector part (b, c, d) of the quaternion of a rotation, signed so that a ≥ 0.
///
/// Of the four components the largest is taken from the diagonal, the others by dividing by it
/// (Shepperd 1978): no difference of nearly equal numbers decides a component.
fn quaternion_of(r: [[f64; 3]; 3]) -> [f64; 3] {
    let [x, y, z] = [r[0][0], r[1][1], r[2][2]];
    let four_squares = [1.0 + x + y + z, 1.0 + x - y - z, 1.0 - x + y - z, 1.0 - x - y + z];
    let minus = [r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]];
    let plus = [r[1][0] + r[0][1], r[0][2] + r[2][0], r[2][1] + r[1][2]];
    let largest = (0..4).fold(0, |best, k| if four_squares[k] > four_squares[best] { k } else { best });
    let four_times = 2.0 * four_squares[largest].sqrt();
    let [a, b, c, d] = match largest {
        0 => [four_times / 4.0, minus[0] / four_times, minus[1] / four_times, minus[2] / four_times],
        1 => [minus[0] / four_times, four_times / 4.0, plus[0] / four_times, plus[1] / four_times],
        2 => [minus[1] / four_times, plus[0] / four_times, four_times / 4.0, plus[2] / four_times],
        _ => [minus[2] / four_times, plus[1] / four_times, plus[2] / four_times, four_times / 4.0],
    };
    if a < 0.0 { [-b, -c, -d] } else { [b, c, d] }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest_difference(a: &Affine, b: &Affine) -> f64 {
        let entries = |m: &Affine| [m.linear.as_flattened(), &m.translation].concat();
        entries(a).iter().zip(entries(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
    }

    fn oblique() -> Affine {
        Affine::from_quaternion([0.1, -0.2, 0.3], [0.7, 0.8, 2.5], false, [-30.0, 12.0, 400.0])
    }

    #[test]
    fn the_inverse_undoes_the_map() {
        let affine = oblique();
        let inverse = affine.inverse().expect("regular");
        let back = inverse.apply(affine.apply([3.0, -5.0, 7.0]));
        for (found, expected) in back.iter().zip([3.0, -5.0, 7.0]) {
            assert!((found - expected).abs() < 1e-12, "{back:?}");
        }
    }

    #[test]
    fn singular_and_non_finite_maps_have_no_inverse() {
        let flat = Affine::from_spacing([1.0, 0.0, 1.0]);
        let parallel = Affine::from_rows([[1.0, 2.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        let nan = Affine::from_spacing([f64::NAN, 1.0, 1.0]);
        for affine in [flat, parallel, nan] {
            assert!(affine.is_singular() && affine.inverse().is_none(), "{affine:?}");
        }
        // Small voxels are not singular: the criterion has no unit.
        assert!(Affine::from_spacing([1e-6; 3]).inverse().is_some());
    }

    #[test]
    fn quaternions_rotate_as_the_standard_says() {
        // A quarter turn about z takes the x axis to y; a half turn (a = 0) mirrors x and y.
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let quarter = Affine::from_quaternion([0.0, 0.0, half], [2.0, 1.0, 1.0], false, [0.0; 3]);
        let turned = quarter.apply([1.0, 0.0, 0.0]);
        assert!(turned[0].abs() < 1e-12 && (turned[1] - 2.0).abs() < 1e-12, "{turned:?}");
        let flipped = Affine::from_quaternion([0.0, 0.0, 1.0], [1.0; 3], true, [0.0; 3]);
        assert_eq!(flipped.apply([1.0, 2.0, 3.0]), [-1.0, -2.0, -3.0]);
    }

    #[test]
    fn quaternion_and_matrix_agree_in_every_branch() {
        let cases =
            [[0.1, -0.2, 0.3], [0.9, 0.1, -0.2], [0.1, -0.95, 0.2], [-0.2, 0.1, 0.9], [0.0, 0.0, 1.0]];
        for bcd in cases {
            for mirrored in [false, true] {
                let affine = Affine::from_quaternion(bcd, [0.7, 0.8, 2.5], mirrored, [1.0, 2.0, 3.0]);
                let (found, found_mirrored) = affine.quaternion().expect("regular");
                assert_eq!(found_mirrored, mirrored);
                let again = Affine::from_quaternion(found, affine.spacing(), mirrored, affine.translation);
                assert!(largest_difference(&affine, &again) < 1e-9, "{bcd:?}: {affine:?} {again:?}");
            }
        }
    }

    #[test]
    fn spacing_shear_and_determinant_describe_the_voxel() {
        let affine = oblique();
        for (found, expected) in affine.spacing().iter().zip([0.7, 0.8, 2.5]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!(affine.shear() < 1e-12);
        assert!((affine.determinant() - 0.7 * 0.8 * 2.5).abs() < 1e-12);
        let sheared = Affine::from_rows([[1.0, 0.1, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        assert!(sheared.shear() > 0.09);
    }
}
