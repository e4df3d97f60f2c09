//! RLE lossless (PS3.5, annex G): one run-length coded segment for each byte of a pixel, the most
//! significant first.

use super::super::error::PixelError;
use super::super::slice::PixelFormat;
use super::{damaged, expect, plausible};

const CODEC: &str = "RLE";
/// The number of segments and fifteen offsets.
const HEADER_BYTES: usize = 64;

/// Decodes a frame.
pub(super) fn decode(bytes: &[u8], format: &PixelFormat) -> Result<Vec<u32>, PixelError> {
    // Two bytes make at most 128.
    plausible(CODEC, bytes, format, 64)?;
    let header = bytes.get(..HEADER_BYTES).ok_or_else(|| damaged(CODEC, "the header is cut off"))?;
    let mut fields = header.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    expect(CODEC, "segments", fields.next().unwrap_or(0), format.pixel_bytes())?;
    let starts: Vec<usize> = fields.take(format.pixel_bytes()).collect();
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    let mut cells = vec![0; format.pixels()];
    for (start, end) in starts.iter().copied().zip(ends) {
        let segment =
            bytes.get(start..end).ok_or_else(|| damaged(CODEC, "a segment is outside the frame"))?;
        add_byte(segment, &mut cells)?;
    }
    Ok(cells)
}

/// Shifts the next byte into each cell.
fn add_byte(mut segment: &[u8], cells: &mut [u32]) -> Result<(), PixelError> {
    let cut_off = || damaged(CODEC, "a segment ends before the image is full");
    let mut left = cells;
    while !left.is_empty() {
        let (&control, rest) = segment.split_first().ok_or_else(cut_off)?;
        segment = rest;
        // 0 to 127: that many and one more bytes follow. 129 to 255: one byte, 257 − control times.
        let count = match control {
            0..=127 => usize::from(control) + 1,
            128 => continue,
            129.. => 257 - usize::from(control),
        };
        let stored = if control < 128 { count } else { 1 };
        let (values, rest) = segment.split_at_checked(stored).ok_or_else(cut_off)?;
        segment = rest;
        // Some writers let the last run pass the end of the image.
        let (run, after) = left.split_at_mut(count.min(left.len()));
        for (cell, byte) in run.iter_mut().zip(values.iter().cycle()) {
            *cell = *cell << 8 | u32::from(*byte);
        }
        left = after;
    }
    Ok(())
}
