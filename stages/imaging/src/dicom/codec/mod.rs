//! The bytes of a frame to the cells of its pixels, one `u32` for each, by rows.
//!
//! A cell is what BitsAllocated says, whatever its bits mean. Before a decoder is called, the
//! compressed image must say the same of itself as the DICOM header does: decoders take memory by
//! their own header. A decoder that panics on damaged data is caught.

mod jpeg;
mod jpeg2000;
#[cfg(feature = "jpeg-ls")]
mod jpeg_ls;
mod rle;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::PixelError;
use super::slice::PixelFormat;
use super::syntax::Syntax;

/// Decodes a frame.
pub(super) fn cells(
    syntax: Syntax,
    format: &PixelFormat,
    swapped_words: bool,
    bytes: &mut [u8],
) -> Result<Vec<u32>, PixelError> {
    let cells = match syntax {
        Syntax::ImplicitLittle | Syntax::ExplicitLittle | Syntax::Deflated => native(bytes, format, false),
        Syntax::ExplicitBig => {
            if swapped_words {
                bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            }
            native(bytes, format, true)
        }
        Syntax::Rle => rle::decode(bytes, format)?,
        Syntax::JpegLossless => jpeg::decode(bytes, format)?,
        Syntax::Jpeg2000 => jpeg2000::decode(bytes, format)?,
        #[cfg(feature = "jpeg-ls")]
        Syntax::JpegLs => jpeg_ls::decode(bytes, format)?,
    };
    expect("decoded image", "pixels", cells.len(), format.pixels())?;
    Ok(cells)
}

fn native(bytes: &[u8], format: &PixelFormat, big_endian: bool) -> Vec<u32> {
    let pixel = format.pixel_bytes();
    let cell = |bytes: &[u8]| {
        let add = |cell: u32, &byte: &u8| cell << 8 | u32::from(byte);
        if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    };
    bytes.chunks_exact(pixel).take(format.pixels()).map(cell).collect()
}

/// Fails when the compressed image contradicts the DICOM header.
fn expect(
    codec: &'static str,
    what: &'static str,
    found: impl TryInto<u64>,
    expected: impl TryInto<u64>,
) -> Result<(), PixelError> {
    let [found, expected] = [found.try_into().unwrap_or(u64::MAX), expected.try_into().unwrap_or(u64::MAX)];
    if found == expected { Ok(()) } else { Err(PixelError::Mismatch { codec, what, found, expected }) }
}

/// A compressed image of fewer bits than BitsStored leaves open where a sign would be.
fn expect_precision(
    codec: &'static str,
    precision: u8,
    signed: bool,
    format: &PixelFormat,
) -> Result<(), PixelError> {
    let precision = u16::from(precision);
    let clear = precision >= format.bits_stored || signed == format.signed;
    if clear && precision <= format.bits_allocated {
        return Ok(());
    }
    expect(codec, "bits per pixel", precision, format.bits_stored)
}

/// Fails when even the best compression needs more bytes: `largest` is in pixels per byte.
fn plausible(
    codec: &'static str,
    bytes: &[u8],
    format: &PixelFormat,
    largest: usize,
) -> Result<(), PixelError> {
    let (bytes, pixels) = (bytes.len(), format.pixels());
    if bytes.saturating_mul(largest) >= pixels {
        Ok(())
    } else {
        Err(PixelError::Implausible { codec, bytes, pixels })
    }
}

fn damaged(codec: &'static str, message: impl ToString) -> PixelError {
    PixelError::Damaged { codec, message: message.to_string() }
}

/// Calls a decoder that is known to panic on some damaged data.
fn guarded<T>(codec: &'static str, decode: impl FnOnce() -> Result<T, PixelError>) -> Result<T, PixelError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(damaged(codec, "the decoder gave up unexpectedly")))
}
