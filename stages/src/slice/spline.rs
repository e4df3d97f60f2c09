//! Cubic B-spline interpolation of square planes with mirrored borders.
//!
//! Unser, Aldroubi and Eden, "B-spline signal processing" (1993): a recursive filter turns samples
//! into spline coefficients, once for each plane; any point is then a weighted sum of sixteen of them.
//! This equals `scipy.ndimage` with `order=3`, `mode="constant"` inside the plane.

/// The pole of the cubic B-spline's inverse filter, √3 − 2.
const POLE: f64 = -0.267_949_192_431_122_7;
/// The filter's gain for each axis, (1 − pole)(1 − 1/pole).
const GAIN: f64 = 6.0;

/// Replaces a square plane of samples by its spline coefficients **transposed**: coefficient
/// (row, column) comes to stand at (column, row), as [`Taps`] reads it. `edge` is at least 2.
pub fn prefilter(plane: &mut [f64], edge: usize) {
    // Rows of the plane are contiguous, so filtering down the columns works on whole rows at once;
    // transposing in between saves the other direction from running along single numbers.
    filter_columns(plane, edge);
    transpose(plane, edge);
    filter_columns(plane, edge);
}

/// Filters every column of a plane in place.
fn filter_columns(plane: &mut [f64], edge: usize) {
    plane.iter_mut().for_each(|value| *value *= GAIN);
    start_causal(plane, edge);
    for row in 1..edge {
        add_scaled(plane, edge, row, row - 1);
    }
    end_anticausal(plane, edge);
    for row in (0..edge - 1).rev() {
        let (upper, lower) = plane.split_at_mut((row + 1) * edge);
        for (value, next) in upper[row * edge..].iter_mut().zip(lower) {
            *value = POLE * (*next - *value);
        }
    }
}

/// `row += POLE · source`, for a source row above.
fn add_scaled(plane: &mut [f64], edge: usize, row: usize, source: usize) {
    let (upper, lower) = plane.split_at_mut(row * edge);
    for (value, source) in lower[..edge].iter_mut().zip(&upper[source * edge..][..edge]) {
        *value += POLE * source;
    }
}

/// The first causal coefficient of each column: the infinite mirrored sum, in closed form.
fn start_causal(plane: &mut [f64], edge: usize) {
    let last = edge - 1;
    let (first_row, others) = plane.split_at_mut(edge);
    let far = power(last);
    let mut weight = POLE;
    for row in 1..edge {
        // Each inner sample is met on the way down and again on the way back.
        let mirrored = if row == last { 0.0 } else { power(2 * last - row) };
        for (sum, value) in first_row.iter_mut().zip(&others[(row - 1) * edge..]) {
            *sum += (weight + mirrored) * value;
        }
        weight *= POLE;
    }
    let scale = 1.0 / (1.0 - far * far);
    first_row.iter_mut().for_each(|sum| *sum *= scale);
}

/// The last coefficient of each column, from the two last causal ones.
fn end_anticausal(plane: &mut [f64], edge: usize) {
    let (upper, last_row) = plane.split_at_mut((edge - 1) * edge);
    let scale = POLE / (POLE * POLE - 1.0);
    for (value, before) in last_row.iter_mut().zip(&upper[(edge - 2) * edge..]) {
        *value = scale * (POLE * before + *value);
    }
}

/// A power of the pole by repeated multiplication: the same bits everywhere.
fn power(exponent: usize) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * POLE)
}

fn transpose(plane: &mut [f64], edge: usize) {
    for row in 1..edge {
        for column in 0..row {
            plane.swap(row * edge + column, column * edge + row);
        }
    }
}

/// The sixteen coefficients that a point of the plane depends on; the same for every plane of an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taps {
    rows: [usize; 4],
    columns: [usize; 4],
    row_weights: [f64; 4],
    column_weights: [f64; 4],
}

impl Taps {
    /// The taps of a point; `None` where it lies outside `[0, edge − 1]` on either axis.
    pub fn at(row: f64, column: f64, edge: usize) -> Option<Self> {
        let last = edge as f64 - 1.0;
        if !((0.0..=last).contains(&row) && (0.0..=last).contains(&column)) {
            return None;
        }
        Some(Self {
            rows: neighbours(row, edge),
            columns: neighbours(column, edge),
            row_weights: weights(row - row.floor()),
            column_weights: weights(column - column.floor()),
        })
    }

    /// The spline's value, from the coefficients that [`prefilter`] made.
    pub fn value(&self, coefficients: &[f64], edge: usize) -> f64 {
        let mut value = 0.0;
        for (column, column_weight) in self.columns.iter().zip(self.column_weights) {
            let line = &coefficients[column * edge..][..edge];
            let terms = self.rows.iter().zip(self.row_weights).map(|(&row, weight)| weight * line[row]);
            value += column_weight * terms.sum::<f64>();
        }
        value
    }
}

/// The indices of the four coefficients around a coordinate, mirrored at the borders.
fn neighbours(coordinate: f64, edge: usize) -> [usize; 4] {
    let period = 2 * (edge - 1);
    let floor = coordinate as usize;
    // One period is added so that the lowest neighbour is not negative.
    std::array::from_fn(|offset| {
        let index = (floor + offset + period - 1) % period;
        index.min(period - index)
    })
}

/// The cubic B-spline at the four neighbours of a point that lies `fraction` behind the second.
fn weights(fraction: f64) -> [f64; 4] {
    let inner = |t: f64| (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0;
    let outer = |t: f64| t * t * t / 6.0;
    let rest = 1.0 - fraction;
    [outer(rest), inner(fraction), inner(rest), outer(fraction)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(edge: usize) -> Vec<f64> {
        (0..edge * edge).map(|index| ((index * index) % 97) as f64 - 40.0).collect()
    }

    fn value(samples: &[f64], edge: usize, row: f64, column: f64) -> f64 {
        let mut coefficients = samples.to_vec();
        prefilter(&mut coefficients, edge);
        Taps::at(row, column, edge).expect("inside").value(&coefficients, edge)
    }

    #[test]
    fn the_spline_passes_through_its_samples() {
        for edge in [2, 3, 4, 9, 41] {
            let samples = plane(edge);
            for (index, expected) in samples.iter().enumerate() {
                let found = value(&samples, edge, (index / edge) as f64, (index % edge) as f64);
                assert!((found - expected).abs() < 1e-9, "edge {edge}, sample {index}: {found} {expected}");
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
            assert!((found - expected).abs() < 1e-12, "({row}, {column}): {found} {expected}");
        }
    }

    #[test]
    fn points_outside_have_no_taps() {
        for (row, column) in [(-1e-9, 1.0), (1.0, 4.000_001), (f64::NAN, 1.0), (9.0, 9.0)] {
            assert!(Taps::at(row, column, 5).is_none(), "({row}, {column})");
        }
        assert!(Taps::at(0.0, 4.0, 5).is_some());
    }

    #[test]
    fn weights_sum_to_one() {
        for fraction in [0.0, 0.1, 0.5, 0.999] {
            assert!((weights(fraction).iter().sum::<f64>() - 1.0).abs() < 1e-15);
        }
    }
}
