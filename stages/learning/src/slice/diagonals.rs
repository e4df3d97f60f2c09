//! The lines of a plane rotated by 45° that the diagonal planes show: its middle row and its middle column.

use std::f64::consts::FRAC_1_SQRT_2;

use super::cube::Cube;
use super::spline::{LANES, RowTaps, WINDOW, Window};

/// A point of the plane: filtered rows around it, and a window of samples along them.
#[derive(Clone, Copy)]
struct Point {
    taps: RowTaps,
    window: Window,
}

/// Both lines, each with the points that it shows; `None` outside the plane.
pub struct Lines {
    lines: [Vec<Option<Point>>; 2],
}

impl Lines {
    /// Where the lines of a plane of that edge come from: source = M · target + (centre − M · centre),
    /// M = [[cos, sin], [−sin, cos]] at 45°.
    pub fn new(edge: usize) -> Self {
        let centre = (edge as f64 - 1.0) / 2.0;
        let middle = (edge / 2) as f64 - centre;
        let point = |row: f64, column: f64| {
            let row_source = FRAC_1_SQRT_2 * (row + column) + centre;
            let column_source = FRAC_1_SQRT_2 * (column - row) + centre;
            let inside = |coordinate: f64| (0.0..=edge as f64 - 1.0).contains(&coordinate);
            (inside(row_source) && inside(column_source)).then(|| Point {
                taps: RowTaps::at(row_source, edge),
                window: Window::at(column_source, edge),
            })
        };
        let along = |position: usize| position as f64 - centre;
        Self {
            lines: [
                (0..edge).map(|position| point(middle, along(position))).collect(),
                (0..edge).map(|position| point(along(position), middle)).collect(),
            ],
        }
    }

    /// Room for [`Lines::of_layer`].
    pub fn partial_sums(&self) -> Vec<[f32; LANES]> {
        vec![[0.0; LANES]; self.lines[0].len()]
    }

    /// Gives (line, position, value) of one layer, whose filtered rows begin `stride` apart.
    ///
    /// Lanes are summed in a loop of their own: in one with the rest, compilers take the sums apart into pairs.
    #[inline(always)]
    pub fn of_layer(
        &self,
        layer: &[f32],
        stride: usize,
        sums: &mut [[f32; LANES]],
        mut give: impl FnMut(usize, usize, f32),
    ) {
        for (line, points) in self.lines.iter().enumerate() {
            for (sums, point) in sums.iter_mut().zip(points) {
                *sums = if let Some(point) = point { point.lanes(layer, stride) } else { [0.0; LANES] };
            }
            for (position, sums) in sums.iter().enumerate() {
                // Always in this order, so that no processor rounds differently.
                let [s0, s1, s2, s3, s4, s5, s6, s7] = *sums;
                give(line, position, ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)));
            }
        }
    }

    /// Both lines of all layers of a cube that is filtered along z: rotated in the plane of z and y, a layer for
    /// each x. Each result is over (position, x).
    #[inline(always)]
    pub fn of_all_layers(&self, cube: &Cube, results: [&mut [f32]; 2]) {
        let mut row = vec![0.0; cube.width()];
        let edge = self.lines[0].len();
        for (points, result) in self.lines.iter().zip(results) {
            for (point, result) in points.iter().zip(result.chunks_exact_mut(edge)) {
                match point {
                    Some(point) => point.values(cube, &mut row),
                    None => row.fill(0.0),
                }
                result.copy_from_slice(&row[..edge]);
            }
        }
    }
}

impl Point {
    /// Parts of the value in one layer, whose filtered rows begin `stride` apart.
    #[inline(always)]
    fn lanes(&self, layer: &[f32], stride: usize) -> [f32; LANES] {
        let mut sums = [0.0; LANES];
        let [a, b, c, d] = self.taps.rows;
        let row = |row: usize| layer[row * stride + self.window.start..][..WINDOW].as_chunks::<LANES>().0;
        let rows = row(a).iter().zip(row(b)).zip(row(c)).zip(row(d));
        for ((((a, b), c), d), weights) in rows.zip(self.window.weights.as_chunks::<LANES>().0) {
            let value = |lane: usize| self.taps.sum([a[lane], b[lane], c[lane], d[lane]]) * weights[lane];
            sums = std::array::from_fn(|lane| sums[lane] + value(lane));
        }
        sums
    }

    /// The values in all layers: along z by filtered slices, along y by the window.
    #[inline(always)]
    fn values(&self, cube: &Cube, row: &mut [f32]) {
        let width = cube.width();
        let last = cube.slice_values() / width - 1;
        let [a, b, c, d] = self.taps.rows;
        let slice = |z: usize| cube.slice(z).as_chunks::<LANES>().0;
        let (a, b, c, d) = (slice(a), slice(b), slice(c), slice(d));
        for (part, row) in row.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            for (step, weight) in self.window.weights.iter().enumerate() {
                let at = (self.window.start + step).min(last) * (width / LANES) + part;
                let (a, b, c, d) = (&a[at], &b[at], &c[at], &d[at]);
                let value = |lane: usize| self.taps.sum([a[lane], b[lane], c[lane], d[lane]]) * weight;
                sums = std::array::from_fn(|lane| sums[lane] + value(lane));
            }
            *row = sums;
        }
    }
}
