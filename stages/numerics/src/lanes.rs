//! Loops over lanes of vector registers: sums in a fixed order, and the exponential.

/// Lanes that are worked on together: two registers of AVX2, one of AVX-512.
pub const LANES: usize = 16;

/// Runs a loop with the widest instructions there are. No result depends on which: none of them are fused.
#[inline(always)]
pub fn widest<R>(run: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Run<F> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _instructions: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(run))
}

/// The sum of `term` over two slices of the same length.
#[inline(always)]
pub fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_whole.iter().zip(b_whole) {
        sums = std::array::from_fn(|lane| sums[lane] + term(a[lane], b[lane]));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    a_rest.iter().zip(b_rest).fold(sums[0], |sum, (&a, &b)| sum + term(a, b))
}

/// eˣ to 2 units in the last place; below the smallest normal number it stays there, and NaN stays NaN.
///
/// Cody and Waite's reduction to |r| ≤ ln 2 / 2 and a polynomial of degree 6 (minimax coefficients of Cephes' `expf`).
#[inline(always)]
pub fn exponential(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        polynomial = polynomial * r + coefficient;
    }
    let mantissa = polynomial * (r * r) + r + 1.0;
    // The low bits of `shifted` are the exponent; of NaN they are anything, and the product stays NaN.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    mantissa * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_a_few_units_in_the_last_place() {
        for step in -8700..=8800 {
            let x = step as f32 * 0.01;
            let (found, expected) = (f64::from(exponential(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 2.5e-7, "{x}: {found} {expected}");
        }
        assert_eq!(exponential(0.0), 1.0);
        assert!(exponential(f32::NAN).is_nan());
        assert!(exponential(f32::NEG_INFINITY) < 2e-38);
        assert!(exponential(f32::INFINITY).is_finite());
    }

    #[test]
    fn sums_take_every_element() {
        for length in [0, 1, 15, 16, 17, 50] {
            let a: Vec<f32> = (0..length).map(|x| x as f32).collect();
            let expected: f32 = a.iter().map(|x| x * x).sum();
            assert_eq!(widest(|| sum(&a, &a, |a, b| a * b)), expected);
        }
    }
}
