//! The nine planes of a nodule as one grey picture, three in a row, as a PNG file.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use pipe_plugin::stage::StageError;

/// Planes in a row, and rows.
const SIDE: usize = 3;
/// Pixels between planes.
const GAP: usize = 2;
/// The grey of what is between planes.
const BETWEEN: u8 = 255;

/// A picture of nine planes of `edge²` values from 0, black, to 1, white.
pub(super) fn montage(planes: &[f32], edge: usize) -> Result<Vec<u8>, StageError> {
    let width = SIDE * edge + (SIDE - 1) * GAP;
    let mut pixels = vec![BETWEEN; width * width];
    for (index, plane) in planes.chunks_exact((edge * edge).max(1)).take(SIDE * SIDE).enumerate() {
        let (top, left) = ((index / SIDE) * (edge + GAP), (index % SIDE) * (edge + GAP));
        for (row, values) in plane.chunks_exact(edge).enumerate() {
            let start = (top + row) * width + left;
            for (pixel, value) in pixels[start..start + edge].iter_mut().zip(values) {
                *pixel = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        }
    }
    png(&pixels, width)
}

/// A grey PNG file of 8 bits, its lines without filters.
fn png(pixels: &[u8], width: usize) -> Result<Vec<u8>, StageError> {
    let too_large = |_| StageError::message(format!("a picture {width} pixels wide is too large"));
    let columns = u32::try_from(width).map_err(too_large)?;
    let rows = u32::try_from(pixels.len() / width.max(1)).map_err(too_large)?;
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::default());
    for line in pixels.chunks_exact(width.max(1)) {
        lines.write_all(&[0])?;
        lines.write_all(line)?;
    }
    let mut header = [columns.to_be_bytes(), rows.to_be_bytes()].concat();
    // 8 bits, grey, deflate, the standard filters, not interlaced.
    header.extend([8, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IHDR", header), (b"IDAT", lines.finish()?), (b"IEND", Vec::new())] {
        let length = u32::try_from(content.len()).map_err(too_large)?;
        let mut check = Crc::new();
        check.update(name);
        check.update(&content);
        file.extend(length.to_be_bytes());
        file.extend(name);
        file.extend(content);
        file.extend(check.sum().to_be_bytes());
    }
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn planes_stand_three_in_a_row() {
        let planes: Vec<f32> = (0..9).flat_map(|plane| [plane as f32 / 8.0; 4]).collect();
        let file = montage(&planes, 2).unwrap();
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&file[16..24], [0, 0, 0, 10, 0, 0, 0, 10]);
        let length = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut lines = Vec::new();
        flate2::read::ZlibDecoder::new(&file[41..41 + length]).read_to_end(&mut lines).unwrap();
        assert_eq!(lines.len(), 10 * 11);
        let pixel = |row: usize, column: usize| lines[row * 11 + 1 + column];
        // The first plane, the gap, the middle one, the last one.
        assert_eq!([pixel(0, 0), pixel(0, 2), pixel(4, 4), pixel(9, 9)], [0, 255, 128, 255]);
    }
}
