//! JPEG lossless (process 14, any predictor), and the marker segments that JPEG-LS shares with it.

use jpeg_decoder::Decoder;

use super::super::error::PixelError;
use super::super::slice::PixelFormat;
use super::{damaged, expect, expect_precision, guarded, plausible};

const CODEC: &str = "JPEG lossless";
/// Start of frame: lossless, Huffman coded.
const LOSSLESS: u8 = 0xC3;

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const RESTART_INTERVAL: u8 = 0xDD;

/// Decodes a frame.
pub(super) fn decode(bytes: &[u8], format: &PixelFormat) -> Result<Vec<u32>, PixelError> {
    // At least one bit for each pixel.
    plausible(CODEC, bytes, format, 8)?;
    let header = Header::read(CODEC, bytes)?;
    header.check(CODEC, LOSSLESS, format)?;
    // The decoder gets both wrong, without an error.
    if header.restart_interval != 0 {
        return Err(PixelError::Unsupported { codec: CODEC, what: "restart intervals" });
    }
    if header.point_transform != 0 {
        return Err(PixelError::Unsupported { codec: CODEC, what: "a point transform" });
    }
    let scan = bytes.get(header.scan..).unwrap_or_default();
    if next_marker(scan) != Some(END_OF_IMAGE) {
        return Err(damaged(CODEC, "the scan does not end with the image"));
    }
    let pixels = guarded(CODEC, || Decoder::new(bytes).decode().map_err(|error| damaged(CODEC, error)))?;
    Ok(if header.precision <= 8 {
        pixels.into_iter().map(u32::from).collect()
    } else {
        pixels.chunks_exact(2).map(|b| u32::from(u16::from_ne_bytes([b[0], b[1]]))).collect()
    })
}

/// The first marker in entropy-coded data.
fn next_marker(scan: &[u8]) -> Option<u8> {
    scan.windows(2).find(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF)).map(|pair| pair[1])
}

/// What the segments before the first scan say.
#[derive(Debug, Default)]
pub(super) struct Header {
    start_of_frame: u8,
    /// Bits per pixel.
    pub precision: u8,
    width: u16,
    height: u16,
    components: u8,
    restart_interval: u16,
    point_transform: u8,
    /// Where entropy-coded data begin.
    scan: usize,
}

impl Header {
    /// Reads the segments up to the first scan.
    pub fn read(codec: &'static str, bytes: &[u8]) -> Result<Self, PixelError> {
        let mut header = Self::default();
        if bytes.get(..2) != Some(&[0xFF, START_OF_IMAGE]) {
            return Err(damaged(codec, "it does not begin with SOI"));
        }
        let cut_off = || damaged(codec, "its header is cut off");
        let mut position = 2;
        loop {
            let marker = *bytes.get(position + 1).ok_or_else(cut_off)?;
            if bytes.get(position) != Some(&0xFF) {
                return Err(damaged(codec, "its header has no marker where one is due"));
            }
            if marker == 0xFF {
                position += 1;
                continue;
            }
            let length = usize::from(short(bytes, position + 2).ok_or_else(cut_off)?);
            let segment = bytes.get(position + 4..position + 2 + length).ok_or_else(cut_off)?;
            position += 2 + length;
            match marker {
                // All starts of frame; C4, C8 and CC are tables. F7 is JPEG-LS.
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xF7 => {
                    if header.start_of_frame != 0 {
                        return Err(damaged(codec, "it has several frames"));
                    }
                    header.frame(marker, segment).ok_or_else(cut_off)?;
                }
                RESTART_INTERVAL => header.restart_interval = short(segment, 0).unwrap_or(u16::MAX),
                START_OF_SCAN => {
                    header.point_transform = segment.last().ok_or_else(cut_off)? & 0x0F;
                    header.scan = position;
                    return Ok(header);
                }
                _ => {}
            }
        }
    }

    fn frame(&mut self, marker: u8, segment: &[u8]) -> Option<()> {
        self.start_of_frame = marker;
        self.precision = *segment.first()?;
        self.height = short(segment, 1)?;
        self.width = short(segment, 3)?;
        self.components = *segment.get(5)?;
        Some(())
    }

    /// Fails when the image is not of the kind and size that the DICOM header says.
    pub fn check(
        &self,
        codec: &'static str,
        start_of_frame: u8,
        format: &PixelFormat,
    ) -> Result<(), PixelError> {
        expect(codec, "start of frame", self.start_of_frame, start_of_frame)?;
        expect(codec, "columns", self.width, format.columns)?;
        expect(codec, "rows", self.height, format.rows)?;
        expect(codec, "components", self.components, 1_u8)?;
        if !(2..=16).contains(&self.precision) {
            return Err(PixelError::Unsupported { codec, what: "other than 2 to 16 bits per pixel" });
        }
        expect_precision(codec, self.precision, false, format)
    }
}

fn short(bytes: &[u8], position: usize) -> Option<u16> {
    let bytes = bytes.get(position..position + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
