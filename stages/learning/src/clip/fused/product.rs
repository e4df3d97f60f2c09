//! Products of small matrices that lie in a cache, for one core.

use pipe_numerics::lanes::LANES;

/// Rows that share what is loaded of the right factor.
const ROWS: usize = 4;

/// `C = A · B`: A (m, k), B (k, n), C (m, n), all in rows without gaps; n a multiple of [`LANES`].
#[inline(always)]
pub(super) fn product(a: &[f32], b: &[f32], c: &mut [f32], k: usize, n: usize) {
    let whole = ROWS * k;
    let mut a_rows = a.chunks_exact(whole.max(1));
    let mut c_rows = c.chunks_exact_mut((ROWS * n).max(1));
    for (a, c) in a_rows.by_ref().zip(c_rows.by_ref()) {
        rows::<ROWS>(a, b, c, k, n);
    }
    let rest = a_rows.remainder().chunks_exact(k.max(1));
    for (a, c) in rest.zip(c_rows.into_remainder().chunks_exact_mut(n.max(1))) {
        rows::<1>(a, b, c, k, n);
    }
}

#[inline(always)]
fn rows<const M: usize>(a: &[f32], b: &[f32], c: &mut [f32], k: usize, n: usize) {
    for part in 0..n / LANES {
        let start = part * LANES;
        let mut sums = [[0.0_f32; LANES]; M];
        for (step, b) in b.chunks_exact(n).take(k).enumerate() {
            let Some(b) = b[start..].first_chunk::<LANES>() else { continue };
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = a[row * k + step];
                *sums = std::array::from_fn(|lane| sums[lane] + factor * b[lane]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            c[row * n + start..][..LANES].copy_from_slice(sums);
        }
    }
}

/// The transpose of (rows, columns) in rows of `stride`; what the rows do not fill stays.
#[inline(always)]
pub(super) fn transpose(from: &[f32], columns: usize, to: &mut [f32], stride: usize) {
    for (row, values) in from.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            to[column * stride + row] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        for (m, k, n) in [(1, 1, 16), (4, 3, 16), (7, 20, 32), (9, 64, 64)] {
            let a: Vec<f32> = (0..m * k).map(|x| (x % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..k * n).map(|x| (x % 5) as f32 - 2.0).collect();
            let mut c = vec![f32::NAN; m * n];
            product(&a, &b, &mut c, k, n);
            for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
                let expected: f32 = (0..k).map(|step| a[row * k + step] * b[step * n + column]).sum();
                assert_eq!(c[row * n + column], expected, "({m}, {k}, {n}) at ({row}, {column})");
            }
        }
    }

    #[test]
    fn a_transpose_leaves_the_padding() {
        let mut to = [9.0; 8];
        transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &mut to, 4);
        assert_eq!(to, [1.0, 3.0, 5.0, 9.0, 2.0, 4.0, 6.0, 9.0]);
    }
}
