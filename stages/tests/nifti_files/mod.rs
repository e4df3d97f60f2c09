//! Small NIfTI files of both versions, written field by field.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod exercise;

use std::io::Write as _;

/// Voxels along the stored axes.
const SHAPE: [usize; 3] = [3, 2, 4];
/// Values of all voxels, first axis fastest.
pub const VALUES: [f32; 24] = [
    -1024., -1000., 0., 1., 2., 3., 40., 41., 42., 43., 44., 45., 400., 500., 600., 700., 800., 900., -5.,
    -6., -7., -8., 3000., 3071.,
];
const SPACING: [f64; 3] = [0.7, 0.8, 2.0];

/// Overwrites bytes.
pub fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A single file of 16-bit integers with an sform and a qform that agree.
pub fn nifti_1(big_endian: bool) -> Vec<u8> {
    let mut file = Writer { bytes: vec![0; 352], big_endian };
    file.put(0, 348_i32.to_le_bytes());
    for (axis, extent) in dimensions().into_iter().enumerate() {
        file.put(40 + 2 * axis, (extent as i16).to_le_bytes());
    }
    file.put(70, 4_i16.to_le_bytes());
    file.put(72, 16_i16.to_le_bytes());
    file.put(76, 1_f32.to_le_bytes());
    file.put(108, 352_f32.to_le_bytes());
    file.put(112, 1_f32.to_le_bytes());
    file.put(123, [2]);
    file.put(252, 1_i16.to_le_bytes());
    file.put(254, 1_i16.to_le_bytes());
    for (axis, spacing) in SPACING.into_iter().enumerate() {
        file.put(80 + 4 * axis, (spacing as f32).to_le_bytes());
        file.put(280 + 20 * axis, (spacing as f32).to_le_bytes());
    }
    file.finish(*b"n+1\0", 344)
}

/// As [`nifti_1`], with a NIfTI-2 header.
pub fn nifti_2(big_endian: bool) -> Vec<u8> {
    let mut file = Writer { bytes: vec![0; 544], big_endian };
    file.put(0, 540_i32.to_le_bytes());
    file.put(12, 4_i16.to_le_bytes());
    file.put(14, 16_i16.to_le_bytes());
    for (axis, extent) in dimensions().into_iter().enumerate() {
        file.put(16 + 8 * axis, (extent as i64).to_le_bytes());
    }
    file.put(104, 1_f64.to_le_bytes());
    file.put(168, 544_i64.to_le_bytes());
    file.put(176, 1_f64.to_le_bytes());
    file.put(344, 1_i32.to_le_bytes());
    file.put(348, 1_i32.to_le_bytes());
    for (axis, spacing) in SPACING.into_iter().enumerate() {
        file.put(112 + 8 * axis, spacing.to_le_bytes());
        file.put(400 + 40 * axis, spacing.to_le_bytes());
    }
    file.put(500, 2_i32.to_le_bytes());
    file.finish(*b"n+2\0\r\n\x1a\n", 4)
}

/// Header and voxels in two files.
pub fn pair(version_2: bool) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = if version_2 { nifti_2(false) } else { nifti_1(false) };
    let (magic, offset, header_bytes) = if version_2 { (4, 168, 544) } else { (344, 108, 352) };
    put(&mut bytes, magic, b"ni");
    put(&mut bytes, offset, &[0; 4]);
    let image = bytes.split_off(header_bytes);
    (bytes, image)
}

fn dimensions() -> [usize; 8] {
    [3, SHAPE[0], SHAPE[1], SHAPE[2], 1, 1, 1, 1]
}

struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    fn put<const N: usize>(&mut self, offset: usize, mut little_endian: [u8; N]) {
        if self.big_endian {
            little_endian.reverse();
        }
        put(&mut self.bytes, offset, &little_endian);
    }

    /// With the magic, which has no byte order, and the voxels.
    fn finish<const N: usize>(mut self, magic: [u8; N], offset: usize) -> Vec<u8> {
        put(&mut self.bytes, offset, &magic);
        for value in VALUES {
            let value = value as i16;
            self.bytes.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
        }
        self.bytes
    }
}
