//! From stored pixels to HU: bits taken out, sign extended, slope and intercept applied.
//!
//! Values keep what the file says, those of PixelPaddingValue included: they are rescaled like any other.

use super::error::PixelError;
use super::slice::{Frame, PixelFormat};

/// Whether all values were whole and in range, so that 16-bit integers hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    Not,
}

impl PixelFormat {
    /// The number that the stored bits of a cell mean.
    fn value(&self, cell: u32) -> f64 {
        let aligned = cell << (31 - u32::from(self.high_bit));
        let unused = 32 - u32::from(self.bits_stored);
        if self.signed { f64::from(aligned.cast_signed() >> unused) } else { f64::from(aligned >> unused) }
    }
}

/// Rescales to 16-bit integers, and stops at the first value that is not one.
#[allow(clippy::cast_possible_truncation, reason = "compared with what it was")]
pub(super) fn to_integers(cells: &[u32], format: &PixelFormat, frame: &Frame, out: &mut [i16]) -> Fit {
    for (cell, out) in cells.iter().zip(out) {
        let value = format.value(*cell) * frame.slope + frame.intercept;
        let whole = value as i16;
        if f64::from(whole) != value {
            return Fit::Not;
        }
        *out = whole;
    }
    Fit::Whole
}

/// Rescales to single precision.
#[allow(clippy::cast_possible_truncation, reason = "rounded to f32; what does not fit is refused")]
pub(super) fn to_reals(
    cells: &[u32],
    format: &PixelFormat,
    frame: &Frame,
    out: &mut [f32],
) -> Result<(), PixelError> {
    for (cell, out) in cells.iter().zip(out) {
        let value = (format.value(*cell) * frame.slope + frame.intercept) as f32;
        if !value.is_finite() {
            return Err(PixelError::Overflow);
        }
        *out = value;
    }
    Ok(())
}
