//! JPEG-LS, lossless and near-lossless, by CharLS (C++, behind the cargo feature `jpeg-ls`).

use charls::CharLS;

use super::super::error::PixelError;
use super::super::slice::PixelFormat;
use super::jpeg::Header;
use super::{damaged, expect, guarded, plausible};

const CODEC: &str = "JPEG-LS";
/// Start of frame of JPEG-LS.
const JPEG_LS: u8 = 0xF7;

/// Decodes a frame.
pub(super) fn decode(bytes: &[u8], format: &PixelFormat) -> Result<Vec<u32>, PixelError> {
    // Long runs cost next to nothing; this bounds memory only.
    plausible(CODEC, bytes, format, 1 << 16)?;
    let header = Header::read(CODEC, bytes)?;
    header.check(CODEC, JPEG_LS, format)?;
    let pixels = guarded(CODEC, || CharLS::default().decode(bytes).map_err(|error| damaged(CODEC, error)))?;
    let width = if header.precision <= 8 { 1 } else { 2 };
    expect(CODEC, "bytes", pixels.len(), format.pixels() * width)?;
    Ok(if width == 1 {
        pixels.into_iter().map(u32::from).collect()
    } else {
        pixels.chunks_exact(2).map(|b| u32::from(u16::from_ne_bytes([b[0], b[1]]))).collect()
    })
}
