//! Matrix products whose bits do not depend on the processor, the size of its caches or the number of threads.
//!
//! The blocked products of `gemm` add along the inner dimension in one order, whatever the width of the vector registers,
//! as long as a block is not cut. It cuts at 512, or later where caches are larger, so here products are cut at 512 before.
//! Products with a side of one, with few numbers or with an inner dimension of 1 or 2 take ways of `gemm` that do depend on
//! registers; these are computed here.

use std::borrow::Cow;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::lanes;

/// `gemm` cuts no inner dimension that is not longer.
const BLOCK: usize = 512;

/// A product of so few numbers, `gemm` takes lane by lane.
const FEW: usize = 256;

/// Values that a thread works on at once.
const PART: usize = 4096;

/// A matrix in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The matrix whose element (r, c) is `values[r · row_stride + c · column_stride]`; `None` where the slice does not hold
    /// all of it.
    pub fn new(
        values: &'a [f32],
        (rows, columns): (usize, usize),
        (row_stride, column_stride): (usize, usize),
    ) -> Option<Self> {
        let matrix = Self { values, rows, columns, row_stride, column_stride };
        matrix.is_held().then_some(matrix)
    }

    /// Whether the slice holds its last element, and so all of them. Strides of what is held fit a signed number, but for those
    /// along a side of one, which nobody goes along.
    fn is_held(&self) -> bool {
        let last = |count: usize, stride: usize| count.checked_sub(1)?.checked_mul(stride);
        match (last(self.rows, self.row_stride), last(self.columns, self.column_stride)) {
            (Some(row), Some(column)) => row.checked_add(column).is_some_and(|last| last < self.values.len()),
            _ => self.rows == 0 || self.columns == 0,
        }
    }

    fn signed_strides(&self) -> (isize, isize) {
        let signed = |stride: usize| isize::try_from(stride).unwrap_or(0);
        (signed(self.row_stride), signed(self.column_stride))
    }

    /// The matrix in rows without gaps.
    pub fn in_rows(values: &'a [f32], (rows, columns): (usize, usize)) -> Option<Self> {
        Self::new(values, (rows, columns), (columns, 1))
    }

    /// Its transpose.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.row_stride + column * self.column_stride]
    }

    /// Columns from `start` on, `count` of them.
    fn columns(self, start: usize, count: usize) -> Self {
        let values = self.values.get(start * self.column_stride..).unwrap_or_default();
        Self { values, columns: count, ..self }
    }

    fn rows(self, start: usize, count: usize) -> Self {
        self.transposed().columns(start, count).transposed()
    }

    /// Its values in rows without gaps, where they are not so already.
    fn packed(&self) -> Cow<'a, [f32]> {
        let count = self.rows * self.columns;
        if self.column_stride == 1 && self.row_stride == self.columns {
            return self.values[..count].into();
        }
        let mut packed = Vec::with_capacity(count);
        for row in 0..self.rows {
            packed.extend((0..self.columns).map(|column| self.at(row, column)));
        }
        packed.into()
    }
}

/// `A · B` of (m, k) and (k, n), in rows without gaps; `None` where the inner dimensions differ.
pub fn product(a: Matrix<'_>, b: Matrix<'_>) -> Option<Vec<f32>> {
    if a.columns != b.rows {
        return None;
    }
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let mut c = vec![0.0; m.checked_mul(n)?];
    if c.is_empty() || k == 0 {
        return Some(c);
    }
    if k <= 2 || (m == 1 && b.column_stride == 1) {
        by_rows(a, b, &mut c);
    } else if m == 1 || n == 1 || m.saturating_mul(n) <= FEW {
        by_lanes(a, b, &mut c);
    } else {
        blocked(a, b, &mut c);
    }
    Some(c)
}

/// Each row of the product as a sum of rows of B, added in their order.
fn by_rows(a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    let n = b.columns;
    let (rows, stride) = match b.column_stride {
        1 => (Cow::Borrowed(b.values), b.row_stride),
        _ => (b.packed(), n),
    };
    // Part of a row of the product, from a column on.
    let part = |c: &mut [f32], row: usize, start: usize| {
        lanes::widest(|| {
            for step in 0..a.columns {
                let factor = a.at(row, step);
                let of_b = &rows[step * stride + start..][..c.len()];
                c.iter_mut().zip(of_b).for_each(|(c, b)| *c += factor * b);
            }
        });
    };
    if a.rows == 1 {
        c.par_chunks_mut(PART).enumerate().for_each(|(number, c)| part(c, 0, number * PART));
        return;
    }
    let together = (PART / n).max(1);
    c.par_chunks_mut(together * n).enumerate().for_each(|(number, c)| {
        c.chunks_exact_mut(n).enumerate().for_each(|(row, c)| part(c, number * together + row, 0));
    });
}

/// Each element as a sum over lanes, in the order of [`lanes::sum`].
fn by_lanes(a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    let (k, n) = (a.columns, b.columns);
    let (rows, columns) = (a.packed(), b.transposed().packed());
    let of_row = |(c, row): (&mut [f32], &[f32])| {
        lanes::widest(|| {
            for (c, column) in c.iter_mut().zip(columns.chunks_exact(k)) {
                *c = lanes::sum(row, column, |x, y| x * y);
            }
        });
    };
    let together = (PART / (k * n)).max(1);
    c.par_chunks_exact_mut(n).zip(rows.par_chunks_exact(k)).with_min_len(together).for_each(of_row);
}

/// As `gemm` computes it, cut along the inner dimension at places of our own.
#[allow(unsafe_code, reason = "gemm takes pointers and strides")]
fn blocked(a: Matrix<'_>, b: Matrix<'_>, c: &mut [f32]) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let block = k.div_ceil(k.div_ceil(BLOCK));
    let threads = match rayon::current_num_threads() {
        1 => Parallelism::None,
        many => Parallelism::Rayon(many),
    };
    for start in (0..k).step_by(block) {
        let inner = block.min(k - start);
        let (a, b) = (a.columns(start, inner), b.rows(start, inner));
        assert!(a.is_held() && b.is_held() && c.len() == m * n, "matrices are held by their slices");
        let [(a_row, a_column), (b_row, b_column)] = [a, b].map(|one| one.signed_strides());
        // SAFETY: each element of A (m, inner) and B (inner, n) that gemm reads, and each of C (m, n) that it reads and writes, lies in
        // its slice, as was just asserted; C is not shared. C is read where something was written to it before.
        unsafe {
            gemm::gemm(
                m,
                n,
                inner,
                c.as_mut_ptr(),
                1,
                n as isize,
                start > 0,
                a.values.as_ptr(),
                a_column,
                a_row,
                b.values.as_ptr(),
                b_column,
                b_row,
                1.0,
                1.0,
                false,
                false,
                false,
                threads,
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::random::RandomKey;

    fn values(name: &str, count: usize) -> Vec<f32> {
        let mut generator = RandomKey::new(3, "product").text("values", name).generator();
        (0..count).map(|_| generator.normal() as f32).collect()
    }

    /// The matrix in rows, or as a transpose of rows.
    fn matrix(values: &[f32], (rows, columns): (usize, usize), is_transposed: bool) -> Matrix<'_> {
        match is_transposed {
            true => Matrix::in_rows(values, (columns, rows)).unwrap().transposed(),
            false => Matrix::in_rows(values, (rows, columns)).unwrap(),
        }
    }

    /// Shapes (m, k, n) of every way that a product is computed.
    const SHAPES: [(usize, usize, usize); 18] = [
        (1, 1, 1),
        (1, 40, 1),
        (1, 700, 33),
        (33, 700, 1),
        (4, 512, 2),
        (16, 100, 16),
        (17, 100, 16),
        (200, 1, 50),
        (50, 2, 300),
        (50, 3, 300),
        (300, 768, 2),
        (300, 768, 3),
        (64, 513, 64),
        (65, 512, 65),
        (70, 1024, 96),
        (36, 1025, 200),
        (131, 1800, 24),
        (9, 3072, 768),
    ];

    #[test]
    fn products_are_those_of_the_definition_whatever_lies_how() {
        for (m, k, n) in SHAPES {
            let (a, b) = (values("a", m * k), values("b", k * n));
            for (of_a, of_b) in [(false, false), (false, true), (true, false), (true, true)] {
                let (a, b) = (matrix(&a, (m, k), of_a), matrix(&b, (k, n), of_b));
                let c = product(a, b).unwrap();
                for (row, column) in [(0, 0), (m / 2, n / 3), (m - 1, n - 1)] {
                    let terms = (0..k).map(|step| f64::from(a.at(row, step)) * f64::from(b.at(step, column)));
                    let expected: f64 = terms.sum();
                    let found = f64::from(c[row * n + column]);
                    let close = 1e-5 * (k as f64).sqrt().max(1.0);
                    assert!((found - expected).abs() < close, "({m}, {k}, {n}): {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn the_bits_are_the_same_for_any_number_of_threads_and_on_every_processor_with_fma() {
        let bits = || {
            let mut hasher = blake3::Hasher::new();
            for (m, k, n) in SHAPES {
                let (a, b) = (values("a", m * k), values("b", k * n));
                for (of_a, of_b) in [(false, false), (false, true), (true, false), (true, true)] {
                    let c = product(matrix(&a, (m, k), of_a), matrix(&b, (k, n), of_b)).unwrap();
                    for x in c {
                        hasher.update(&x.to_bits().to_le_bytes());
                    }
                }
            }
            hasher.finalize().to_hex().to_string()
        };
        let with_threads =
            |count| rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap().install(bits);
        let one = with_threads(1);
        assert_eq!(one, with_threads(3));
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            assert_eq!(one, "2326d998764c5e568150963d5148ac287b73ff38a7b2cbe1192f85ebf2c4ab83");
        }
    }

    #[test]
    fn matrices_that_their_slices_do_not_hold_are_refused() {
        let values = [0.0; 12];
        assert!(Matrix::in_rows(&values, (3, 4)).is_some());
        assert!(Matrix::in_rows(&values, (4, 4)).is_none());
        assert!(Matrix::new(&values, (3, 2), (5, 1)).is_some());
        assert!(Matrix::new(&values, (3, 3), (5, 1)).is_none());
        assert!(Matrix::new(&values, (2, 2), (usize::MAX, 1)).is_none());
        assert!(Matrix::new(&[], (0, 7), (7, 1)).is_some());
        let (a, b) = (Matrix::in_rows(&values, (3, 4)).unwrap(), Matrix::in_rows(&values, (3, 4)).unwrap());
        assert!(product(a, b).is_none());
        assert_eq!(product(a, b.transposed()).map(|c| c.len()), Some(9));
        let none = Matrix::new(&[], (0, 4), (4, 1)).unwrap();
        assert_eq!(product(none, b.transposed()), Some(Vec::new()));
        let inner = Matrix::new(&[], (2, 0), (0, 1)).unwrap();
        assert_eq!(product(inner, inner.transposed()), Some(vec![0.0; 4]));
    }
}
