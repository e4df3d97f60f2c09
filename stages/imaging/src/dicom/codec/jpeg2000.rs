//! JPEG 2000, lossless and lossy, by OpenJPEG in its Rust translation.

use jpeg2k::{DecodeParameters, Image};

use super::super::error::PixelError;
use super::super::slice::PixelFormat;
use super::{damaged, expect, expect_precision, guarded, plausible};

const CODEC: &str = "JPEG 2000";
/// Start of codestream, then the marker of the size segment.
const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
/// Tiles beyond this make decoders slow and say nothing of CT slices.
const LARGEST_TILE_COUNT: u64 = 4096;

/// Decodes a frame.
pub(super) fn decode(bytes: &[u8], format: &PixelFormat) -> Result<Vec<u32>, PixelError> {
    // A constant image costs next to nothing; this bounds memory only.
    plausible(CODEC, bytes, format, 1 << 16)?;
    check_size(bytes, format)?;
    guarded(CODEC, || {
        // Otherwise what is cut off comes out as an image with a blurred end.
        let strict = DecodeParameters::new().strict(true);
        let image = Image::from_bytes_with(bytes, strict).map_err(|error| damaged(CODEC, error))?;
        let [component] = image.components() else { return Err(damaged(CODEC, "no single component")) };
        expect(CODEC, "columns", component.width(), format.columns)?;
        expect(CODEC, "rows", component.height(), format.rows)?;
        Ok(component.data().iter().map(|value| value.cast_unsigned()).collect())
    })
}

/// Compares the size segment with the DICOM header.
fn check_size(bytes: &[u8], format: &PixelFormat) -> Result<(), PixelError> {
    if bytes.get(..4) != Some(&START) {
        return Err(damaged(CODEC, "it does not begin with SOC and SIZ"));
    }
    let cut_off = || damaged(CODEC, "its size segment is cut off");
    let number = |position: usize| {
        let bytes = bytes.get(position..position + 4).ok_or_else(cut_off)?;
        Ok(u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
    };
    // Extent, offset, tile extent and tile offset, each in x and y, after length and capabilities.
    let [x, y] = [8, 12].map(number);
    let [left, top] = [16, 20].map(number);
    let [tile_x, tile_y] = [24, 28].map(number);
    let (x, y, left, top) = (x?, y?, left?, top?);
    expect(CODEC, "columns", x.saturating_sub(left), format.columns)?;
    expect(CODEC, "rows", y.saturating_sub(top), format.rows)?;
    let tiles = x.div_ceil(tile_x?.max(1)).saturating_mul(y.div_ceil(tile_y?.max(1)));
    if tiles > LARGEST_TILE_COUNT {
        return Err(PixelError::Unsupported { codec: CODEC, what: "more than 4096 tiles" });
    }
    let component = bytes.get(40..45).ok_or_else(cut_off)?;
    expect(CODEC, "components", u16::from_be_bytes([component[0], component[1]]), 1_u16)?;
    expect(CODEC, "horizontal subsampling", component[3], 1_u8)?;
    expect(CODEC, "vertical subsampling", component[4], 1_u8)?;
    // The sign is the top bit, the rest the precision less one.
    expect_precision(CODEC, (component[2] & 0x7F) + 1, component[2] & 0x80 != 0, format)
}
