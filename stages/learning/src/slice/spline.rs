//! Cubic B-spline interpolation along the two axes of a square plane, with mirrored borders.
//!
//! Unser, Aldroubi and Eden, "B-spline signal processing" (1993). Down the rows a recursive filter turns samples
//! into spline coefficients, whole rows at a time, and a point takes four of them ([`RowTaps`]). Along a row
//! that filter would run from number to number, so there a point takes its weights from the samples themselves
//! ([`Window`]): the spline through a single 1, which falls by 0.27 with each step and is cut where it is below
//! 10⁻⁶. This equals `scipy.ndimage` with `order=3`, `mode="constant"` inside the plane to 10⁻⁶ of the samples'
//! range.

/// The pole of the cubic B-spline's inverse filter, √3 − 2.
const POLE: f64 = -0.267_949_192_431_122_7;
/// The inverse filter's gain for each axis, (1 − pole)(1 − 1/pole). The filter leaves it to the taps.
const GAIN: f64 = 6.0;
/// Weights below this are left out where borders are mirrored.
const NEGLIGIBLE: f64 = 1e-10;

/// Values that are worked on at once. Rows are as long as a multiple of it, for what is left over is slow.
pub const LANES: usize = 8;
/// Samples that a point takes along a row.
pub const WINDOW: usize = 24;
/// Steps from a coefficient to the farthest sample that counts for it.
const REACH: isize = 10;

/// The filter that turns the samples of a column into its spline coefficients, short of the gain.
pub struct ColumnFilter {
    rows: usize,
    /// The first causal coefficient is the sum over the mirrored column without end. In closed form: a factor for
    /// the first row, and the other rows that count with theirs.
    first: f32,
    others: Vec<(usize, f32)>,
}

impl ColumnFilter {
    /// A filter for columns of that many samples, at least 2.
    pub fn new(rows: usize) -> Self {
        let last = rows - 1;
        let scale = 1.0 / (1.0 - power(last) * power(last));
        let weight = |row| {
            // Each inner sample is met on the way down and again on the way back.
            let mirrored = if row == last { 0.0 } else { power(2 * last - row) };
            scale * (power(row) + mirrored)
        };
        let others = (1..rows).map(|row| (row, weight(row)));
        let others = others.filter(|(_, weight)| weight.abs() > NEGLIGIBLE);
        Self { rows, first: scale as f32, others: others.map(|(row, weight)| (row, weight as f32)).collect() }
    }

    /// Filters each of the `width` columns of a plane in place; its rows begin `stride` apart. The width is a
    /// multiple of [`LANES`].
    #[inline(always)]
    pub fn apply(&self, plane: &mut [f32], stride: usize, width: usize) {
        self.start(plane, stride, width);
        for row in 1..self.rows {
            let (upper, lower) = plane.split_at_mut(row * stride);
            each(&mut lower[..width], &upper[(row - 1) * stride..][..width], |value, above| {
                value + POLE as f32 * above
            });
        }
        self.turn(plane, stride, width);
        for row in (0..self.rows - 1).rev() {
            let (upper, lower) = plane.split_at_mut((row + 1) * stride);
            each(&mut upper[row * stride..][..width], &lower[..width], |value, below| {
                POLE as f32 * (below - value)
            });
        }
    }

    /// The first causal coefficients.
    #[inline(always)]
    fn start(&self, plane: &mut [f32], stride: usize, width: usize) {
        let (first_row, others) = plane.split_at_mut(stride);
        let first_row = &mut first_row[..width];
        first_row.iter_mut().for_each(|sum| *sum *= self.first);
        for &(row, weight) in &self.others {
            each(first_row, &others[(row - 1) * stride..][..width], |sum, value| sum + weight * value);
        }
    }

    /// The last coefficients, from the two last causal ones.
    #[inline(always)]
    fn turn(&self, plane: &mut [f32], stride: usize, width: usize) {
        let scale = (POLE / (POLE * POLE - 1.0)) as f32;
        let (upper, last_row) = plane.split_at_mut((self.rows - 1) * stride);
        each(&mut last_row[..width], &upper[(self.rows - 2) * stride..][..width], |value, before| {
            scale * (POLE as f32 * before + value)
        });
    }
}

/// Replaces each value by what `change` makes of it and its partner, [`LANES`] of them at a time.
#[inline(always)]
fn each(values: &mut [f32], partners: &[f32], change: impl Fn(f32, f32) -> f32) {
    let partners = partners.as_chunks::<LANES>().0;
    for (values, partners) in values.as_chunks_mut::<LANES>().0.iter_mut().zip(partners) {
        let old = *values;
        *values = std::array::from_fn(|lane| change(old[lane], partners[lane]));
    }
}

/// A power of the pole by repeated multiplication: the same bits everywhere.
fn power(exponent: usize) -> f64 {
    // Beyond this it is 0 to any precision.
    (0..exponent.min(600)).fold(1.0, |product, _| product * POLE)
}

/// The four filtered rows that a point depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowTaps {
    /// Their indices; those beyond the plane's last row repeat it, with weight 0.
    pub rows: [usize; 4],
    /// Their weights.
    pub weights: [f32; 4],
}

impl RowTaps {
    /// The taps at a coordinate in `[0, edge − 1]`.
    pub fn at(coordinate: f64, edge: usize) -> Self {
        let first = start(coordinate, 1, 4, edge);
        let mut weights = [0.0; 4];
        for (index, weight) in spline(coordinate) {
            weights[mirror(index, edge) - first] += GAIN * weight;
        }
        Self {
            rows: std::array::from_fn(|tap| (first + tap).min(edge - 1)),
            weights: weights.map(|weight| weight as f32),
        }
    }
}

impl RowTaps {
    /// The weighted sum of one value of each row.
    #[inline(always)]
    pub fn sum(&self, [a, b, c, d]: [f32; 4]) -> f32 {
        let [of_a, of_b, of_c, of_d] = self.weights;
        (of_a * a + of_b * b) + (of_c * c + of_d * d)
    }
}

/// The samples of a row that a point depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The first of them. A row of fewer than [`WINDOW`] samples counts as continued by anything, with weight 0.
    pub start: usize,
    /// Their weights.
    pub weights: [f32; WINDOW],
}

impl Window {
    /// The window at a coordinate in `[0, edge − 1]`.
    pub fn at(coordinate: f64, edge: usize) -> Self {
        let first = start(coordinate, REACH as usize + 1, WINDOW, edge);
        let scale = -GAIN * POLE / (1.0 - POLE * POLE);
        let mut weights = [0.0; WINDOW];
        for (index, weight) in spline(coordinate) {
            for step in -REACH..=REACH {
                let sample = mirror(index + step, edge);
                weights[sample - first] += weight * scale * power(step.unsigned_abs());
            }
        }
        // What was cut off is shared out, so that equal samples give themselves.
        let total: f64 = weights.iter().sum();
        Self { start: first, weights: weights.map(|weight| (weight / total) as f32) }
    }
}

/// Where a run of `length` indices begins that goes back `before` from a coordinate, moved to lie in the plane.
fn start(coordinate: f64, before: usize, length: usize, edge: usize) -> usize {
    (coordinate as usize).saturating_sub(before).min(edge.saturating_sub(length))
}

/// The index in `[0, edge)` that an index beyond the borders mirrors, at the middle of the border samples.
fn mirror(index: isize, edge: usize) -> usize {
    let period = 2 * (edge - 1);
    let index = index.rem_euclid(period as isize) as usize;
    index.min(period - index)
}

/// The four coefficients around a coordinate, by index before mirroring, and the cubic B-spline at each.
fn spline(coordinate: f64) -> [(isize, f64); 4] {
    let inner = |t: f64| (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0;
    let outer = |t: f64| t * t * t / 6.0;
    let fraction = coordinate - coordinate.floor();
    let rest = 1.0 - fraction;
    let weights = [outer(rest), inner(fraction), inner(rest), outer(fraction)];
    let floor = coordinate as isize;
    std::array::from_fn(|tap| (floor + tap as isize - 1, weights[tap]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(edge: usize) -> Vec<f32> {
        (0..edge * edge).map(|index| ((index * index) % 97) as f32 - 40.0).collect()
    }

    fn value(samples: &[f32], edge: usize, row: f64, column: f64) -> f64 {
        let width = edge.next_multiple_of(LANES);
        let mut filtered = vec![0.0; edge * width];
        for (row, samples) in filtered.chunks_mut(width).zip(samples.chunks(edge)) {
            row[..edge].copy_from_slice(samples);
        }
        ColumnFilter::new(edge).apply(&mut filtered, width, width);
        let (taps, window) = (RowTaps::at(row, edge), Window::at(column, edge));
        let of_row = |row: usize| -> f64 {
            let line = filtered[row * width..][..edge].iter().skip(window.start);
            line.zip(window.weights).map(|(sample, weight)| f64::from(sample * weight)).sum()
        };
        taps.rows.iter().zip(taps.weights).map(|(&row, weight)| of_row(row) * f64::from(weight)).sum()
    }

    #[test]
    fn the_spline_passes_through_its_samples() {
        for edge in [2, 3, 4, 5, 9, 23, 24, 25, 41] {
            let samples = plane(edge);
            for (index, expected) in samples.iter().enumerate() {
                let found = value(&samples, edge, (index / edge) as f64, (index % edge) as f64);
                assert!(
                    (found - f64::from(*expected)).abs() < 2e-4,
                    "edge {edge}, sample {index}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn values_between_samples_are_those_of_scipy() {
        // plane = np.array([(i * i) % 97 - 40.0 for i in range(25)]).reshape(5, 5)
        // scipy.ndimage.map_coordinates(plane, [[row], [column]], order=3, mode="constant")
        let samples = plane(5);
        for (row, column, expected) in [
            (0.25, 0.5, -35.648_804_333_745_21),
            (1.7, 3.9, -16.127_419_904_017_856),
            (4.0, 2.5, 26.618_303_571_428_566),
            (2.5, 2.5, 24.742_750_518_176_03),
        ] {
            let found = value(&samples, 5, row, column);
            assert!((found - expected).abs() < 1e-4, "({row}, {column}): {found} {expected}");
        }
    }

    #[test]
    fn what_stands_between_the_rows_stays() {
        let mut plane = vec![1.0; 3 * 11];
        ColumnFilter::new(3).apply(&mut plane, 11, 8);
        for row in plane.chunks(11) {
            assert!(row[..8].iter().all(|value| (value * GAIN as f32 - 1.0).abs() < 1e-5));
            assert_eq!(row[8..], [1.0; 3]);
        }
    }

    #[test]
    fn weights_of_a_point_sum_to_one() {
        for edge in [2, 3, 30, 200] {
            for coordinate in [0.0, 0.4, 0.999, (edge - 1) as f64] {
                let window: f32 = Window::at(coordinate, edge).weights.iter().sum();
                // A column of equal samples has coefficients of a sixth of them before the gain.
                let taps: f32 = RowTaps::at(coordinate, edge).weights.iter().sum();
                assert!((window - 1.0).abs() < 3e-6 && (taps - 6.0).abs() < 1e-5, "{edge} {coordinate}");
            }
        }
    }
}
