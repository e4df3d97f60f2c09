//! A cube of clipped values, laid out for rows to be worked on whole.

use super::planes::Intensities;
use super::spline::{ColumnFilter, LANES, WINDOW};

/// Values of an `edge³` cube in C order over (z, y, x). Rows are continued by zeros to a multiple of
/// [`LANES`] and at least to a spline's window.
pub struct Cube {
    values: Vec<f32>,
    edge: usize,
    width: usize,
    filter: ColumnFilter,
}

impl Cube {
    pub fn zeros(edge: usize) -> Self {
        let width = edge.next_multiple_of(LANES).max(WINDOW);
        Self { values: vec![0.0; edge * edge * width], edge, width, filter: ColumnFilter::new(edge) }
    }

    /// Values from one row to the next.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values of all rows with one z.
    pub fn slice_values(&self) -> usize {
        self.edge * self.width
    }

    /// The rows with one z.
    pub fn slice(&self, z: usize) -> &[f32] {
        &self.values[z * self.slice_values()..][..self.slice_values()]
    }

    /// Takes one z from a volume without gaps between rows, clipped to the window, as what exceeds its zero, and
    /// gives a copy of it. False where a value is not finite.
    #[inline(always)]
    pub fn set_slice(&mut self, z: usize, volume: &[f32], window: Intensities, copy: &mut [f32]) -> bool {
        let (edge, width) = (self.edge, self.width);
        let Intensities { lowest, highest, zero, .. } = window;
        // A finite value times 0 is 0, any other is NaN.
        let mut odd = [0.0; LANES];
        let rows = volume[z * edge * edge..][..edge * edge].chunks_exact(edge);
        let targets =
            self.values[z * edge * width..].chunks_exact_mut(width).zip(copy.chunks_exact_mut(width));
        for ((row, copy), source) in targets.zip(rows) {
            let (whole, rest) = source.as_chunks::<LANES>();
            let mut last = [zero; LANES];
            last[..rest.len()].copy_from_slice(rest);
            let sources = whole.iter().chain(std::iter::once(&last));
            let targets = row.as_chunks_mut::<LANES>().0.iter_mut().zip(copy.as_chunks_mut::<LANES>().0);
            for ((values, copy), source) in targets.zip(sources) {
                odd = std::array::from_fn(|lane| odd[lane] + 0.0 * source[lane]);
                *values = std::array::from_fn(|lane| {
                    let raised = if source[lane] > lowest { source[lane] } else { lowest };
                    let clipped = if raised < highest { raised } else { highest };
                    clipped - zero
                });
                *copy = *values;
            }
        }
        odd == [0.0; LANES]
    }

    /// Filters a slice, as [`Cube::slice`] gives it, along y.
    #[inline(always)]
    pub fn filter_along_y(&self, slice: &mut [f32]) {
        self.filter.apply(slice, self.width, self.width);
    }

    /// Filters the cube along z at one y. Gives what begins with the first row of that y, and the values from one z
    /// to the next.
    #[inline(always)]
    pub fn filter_along_z(&mut self, y: usize) -> (&[f32], usize) {
        let stride = self.edge * self.width;
        let layer = &mut self.values[y * self.width..];
        self.filter.apply(layer, stride, self.width);
        (layer, stride)
    }

    /// Copies the planes at the middle of each axis: over (y, x), (z, x) and (z, y).
    pub fn middle_planes(&self, axial: &mut [f32], coronal: &mut [f32], sagittal: &mut [f32]) {
        let (edge, middle) = (self.edge, self.edge / 2);
        for first in 0..edge {
            let place = first * edge..(first + 1) * edge;
            axial[place.clone()].copy_from_slice(self.row(middle, first));
            coronal[place.clone()].copy_from_slice(self.row(first, middle));
            for (y, value) in sagittal[place].iter_mut().enumerate() {
                *value = self.row(first, y)[middle];
            }
        }
    }

    fn row(&self, z: usize, y: usize) -> &[f32] {
        &self.values[(z * self.edge + y) * self.width..][..self.edge]
    }
}
