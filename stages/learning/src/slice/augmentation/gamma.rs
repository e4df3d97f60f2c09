//! Powers of many numbers: the same on every processor, and simple enough for vector instructions.

use std::f32::consts::{LOG2_E, SQRT_2};

/// sign(value) · |value|^exponent, to 2·10⁻⁶ of the result for exponents near 1; values below 10⁻³⁰ count as 0.
#[inline(always)]
pub(super) fn signed_power(value: f32, exponent: f32) -> f32 {
    let size = value.abs();
    let power = exp2(exponent * log2(size.max(1e-30)));
    let power = if size > 1e-30 { power } else { 0.0 };
    if value < 0.0 { -power } else { power }
}

/// Of a positive normal number: its exponent, and the series of the logarithm for the mantissa in [√½, √2).
#[inline(always)]
fn log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    let exponent = (bits >> 23) as i32 - 127;
    let large = mantissa > SQRT_2;
    let mantissa = if large { 0.5 * mantissa } else { mantissa };
    let exponent = if large { exponent + 1 } else { exponent };
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let t2 = t * t;
    let series = t * (1.0 + t2 * (1.0 / 3.0 + t2 * (1.0 / 5.0 + t2 * (1.0 / 7.0 + t2 * (1.0 / 9.0)))));
    exponent as f32 + 2.0 * LOG2_E * series
}

/// Of numbers from −126 to 127; others count as the nearest of these.
#[inline(always)]
fn exp2(value: f32) -> f32 {
    let value = value.clamp(-126.0, 127.0);
    // Adding 1.5 · 2²³ rounds to a whole number, whose bits then end the sum's.
    const ROUND: f32 = 12_582_912.0;
    let rounded = value + ROUND;
    let whole = rounded - ROUND;
    let x = (value - whole) * std::f32::consts::LN_2;
    let tail = 1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0 + x * (1.0 / 5040.0)));
    let part = 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x * tail)));
    part * f32::from_bits((rounded.to_bits() + 127 - ROUND.to_bits()) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_right_but_for_rounding() {
        for exponent in [0.8_f32, 0.9, 1.0, 1.1, 1.2214] {
            for step in 0..20_000 {
                let value = -0.2 + step as f32 * 1e-4;
                let expected = f64::from(value).abs().powf(exponent.into()).copysign(value.into());
                let found = f64::from(signed_power(value, exponent));
                assert!((found - expected).abs() <= 2e-6 * expected.abs(), "{value} {exponent}: {found}");
            }
        }
        assert_eq!(signed_power(0.0, 0.9), 0.0);
        assert_eq!(signed_power(-0.0, 1.1), 0.0);
        assert!(signed_power(1e-20, 1.2) < 1e-23 && signed_power(1e10, 1.0) > 0.99e10);
    }

    #[test]
    fn an_exponent_of_one_changes_only_the_last_bits() {
        for value in [1e-5_f32, 0.1, 0.5, 0.999, 1.0, 1.5] {
            assert!((signed_power(value, 1.0) - value).abs() <= 1e-6 * value);
        }
    }
}
