//! How the voxels of a scan lie in a file, whatever its format.

use super::voxels::DataType;

/// The voxels of a scan in the file that holds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// Voxels along the stored axes; the first varies fastest. At most 2²⁰ each.
    pub shape: [usize; 3],
    /// How a voxel is stored.
    pub data_type: DataType,
    /// Whether voxels are stored with the most significant byte first.
    pub big_endian: bool,
    /// Factor of a stored value.
    pub slope: f64,
    /// Summand of a stored value.
    pub intercept: f64,
    /// Where the voxels begin, in bytes from the start of the uncompressed data.
    pub data_offset: u64,
}

impl Layout {
    /// Bytes of one row of voxels (along the first axis): at most 8 MiB.
    pub fn row_bytes(&self) -> usize {
        self.shape[0] * self.data_type.bytes()
    }

    /// Where a row of voxels begins, in bytes from the start of the uncompressed data. Cannot overflow: three 20-bit extents of
    /// 8 bytes, and a 30-bit offset.
    pub fn row_start(&self, row: usize, slice: usize) -> u64 {
        self.data_offset + self.row_bytes() as u64 * (slice as u64 * self.shape[1] as u64 + row as u64)
    }

    /// Length of the data up to the end of the last voxel.
    pub fn data_end(&self) -> u64 {
        self.row_start(0, self.shape[2])
    }
}
