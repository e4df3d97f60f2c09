//! Stored voxels, decoded: every real scalar type of NIfTI, and blocks of a scan in memory.
//!
//! A [`Block`] keeps small integers as they are stored and everything else as scaled f32, so that a
//! CT takes two bytes a voxel. It knows where in its scan it lies, but not what it is for.

use super::layout::Layout;

/// How one voxel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// Code 2.
    Uint8,
    /// Code 4, the usual one for CT.
    Int16,
    /// Code 8.
    Int32,
    /// Code 16.
    Float32,
    /// Code 64.
    Float64,
    /// Code 256.
    Int8,
    /// Code 512.
    Uint16,
    /// Code 768.
    Uint32,
    /// Code 1024.
    Int64,
    /// Code 1280.
    Uint64,
}

impl DataType {
    /// The type of a NIfTI `datatype` code; `None` for colours, complex numbers and long doubles.
    pub fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            2 => Self::Uint8,
            4 => Self::Int16,
            8 => Self::Int32,
            16 => Self::Float32,
            64 => Self::Float64,
            256 => Self::Int8,
            512 => Self::Uint16,
            768 => Self::Uint32,
            1024 => Self::Int64,
            1280 => Self::Uint64,
            _ => return None,
        })
    }

    /// The name of a type of the standard that is no real number of up to 64 bits.
    pub(super) fn refused(code: i16) -> Option<&'static str> {
        Some(match code {
            0 => "unknown",
            1 => "binary, one bit",
            32 => "complex64",
            128 => "RGB colours",
            1536 => "float128",
            1792 => "complex128",
            2048 => "complex256",
            2304 => "RGBA colours",
            _ => return None,
        })
    }

    /// Bytes of one voxel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 => 8,
        }
    }

    /// Bytes of one voxel in memory, in a [`Block`].
    pub fn bytes_in_memory(self) -> usize {
        if self.is_small_integer() { 2 } else { 4 }
    }

    fn is_small_integer(self) -> bool {
        matches!(self, Self::Uint8 | Self::Int8 | Self::Int16)
    }
}

/// A box of voxel indices: `start` included, `end` excluded, in the order of the stored axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First index on each axis.
    pub start: [usize; 3],
    /// One past the last index on each axis.
    pub end: [usize; 3],
}

impl Region {
    /// No voxels.
    pub const EMPTY: Self = Self { start: [0; 3], end: [0; 3] };

    /// The whole of a scan.
    pub fn whole(shape: [usize; 3]) -> Self {
        Self { start: [0; 3], end: shape }
    }

    /// The part of this region that lies in a scan of the given shape.
    #[must_use]
    pub fn within(&self, shape: [usize; 3]) -> Self {
        let clamp = |index: [usize; 3]| std::array::from_fn(|axis| index[axis].min(shape[axis]));
        Self { start: clamp(self.start), end: clamp(self.end) }
    }

    /// Extents along the three axes; 0 where `end` does not exceed `start`.
    pub fn shape(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.end[axis].saturating_sub(self.start[axis]))
    }

    /// Number of voxels.
    pub fn voxels(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether the row at these indices of the second and third axis crosses the region.
    pub fn has_row(&self, row: usize, slice: usize) -> bool {
        self.voxels() > 0
            && (self.start[1]..self.end[1]).contains(&row)
            && (self.start[2]..self.end[2]).contains(&slice)
    }
}

/// Voxel values in memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Voxels {
    /// Stored integers of up to 16 bits with sign, still to be scaled.
    Stored(Vec<i16>),
    /// Values of any other type, scaled in f64 and rounded once.
    Scaled(Vec<f32>),
}

/// The voxels of one region of a scan, first axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Where in the scan the block lies.
    pub region: Region,
    /// The values, one for each voxel of the region.
    pub voxels: Voxels,
    /// Factor that [`Voxels::Stored`] still needs.
    pub slope: f64,
    /// Summand that [`Voxels::Stored`] still needs.
    pub intercept: f64,
}

impl Block {
    /// All values, scaled.
    #[allow(clippy::cast_possible_truncation, reason = "rounded to f32, which is what is asked for")]
    pub fn values(&self) -> Vec<f32> {
        match &self.voxels {
            Voxels::Stored(stored) => stored.iter().map(|&v| self.scale(f64::from(v)) as f32).collect(),
            Voxels::Scaled(values) => values.clone(),
        }
    }

    /// Scales one stored value.
    pub fn scale(&self, stored: f64) -> f64 {
        stored * self.slope + self.intercept
    }
}

/// Fills a [`Block`] row by row, in the order of the stored rows.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    block: Block,
    data_type: DataType,
    big_endian: bool,
}

impl BlockBuilder {
    /// An empty block with room for its voxels; `None` when that memory is not to be had.
    pub(super) fn new(region: Region, layout: &Layout) -> Option<Self> {
        let voxels = if layout.data_type.is_small_integer() {
            Voxels::Stored(with_capacity(region.voxels())?)
        } else {
            Voxels::Scaled(with_capacity(region.voxels())?)
        };
        Some(Self {
            block: Block { region, voxels, slope: layout.slope, intercept: layout.intercept },
            data_type: layout.data_type,
            big_endian: layout.big_endian,
        })
    }

    pub(super) fn region(&self) -> &Region {
        &self.block.region
    }

    /// Appends this block's part of the row at (row, slice), if it has one.
    pub(super) fn take_row(&mut self, row: usize, slice: usize, bytes: &[u8]) {
        let region = self.block.region;
        let size = self.data_type.bytes();
        if let (true, Some(part)) =
            (region.has_row(row, slice), bytes.get(region.start[0] * size..region.end[0] * size))
        {
            self.append(part);
        }
    }

    pub(super) fn finish(self) -> Block {
        self.block
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounded to f32; whoever needs more keeps what is stored"
    )]
    fn append(&mut self, bytes: &[u8]) {
        let (slope, intercept) = (self.block.slope, self.block.intercept);
        let swap = self.big_endian;
        match &mut self.block.voxels {
            Voxels::Stored(stored) => match self.data_type {
                DataType::Uint8 => stored.extend(bytes.iter().map(|&byte| i16::from(byte))),
                DataType::Int8 => stored.extend(bytes.iter().map(|&byte| i16::from(byte.cast_signed()))),
                _ => stored.extend(words(bytes, swap).map(i16::from_le_bytes)),
            },
            Voxels::Scaled(values) => {
                let mut push = |value: f64| values.push((value * slope + intercept) as f32);
                match self.data_type {
                    DataType::Uint16 => words(bytes, swap).for_each(|w| push(u16::from_le_bytes(w).into())),
                    DataType::Int32 => words(bytes, swap).for_each(|w| push(i32::from_le_bytes(w).into())),
                    DataType::Uint32 => words(bytes, swap).for_each(|w| push(u32::from_le_bytes(w).into())),
                    DataType::Float32 => words(bytes, swap).for_each(|w| push(f32::from_le_bytes(w).into())),
                    DataType::Int64 => words(bytes, swap).for_each(|w| push(i64::from_le_bytes(w) as f64)),
                    DataType::Uint64 => words(bytes, swap).for_each(|w| push(u64::from_le_bytes(w) as f64)),
                    DataType::Float64 => words(bytes, swap).for_each(|w| push(f64::from_le_bytes(w))),
                    // Small integers are kept as stored, above.
                    DataType::Uint8 | DataType::Int8 | DataType::Int16 => {}
                }
            }
        }
    }
}

/// Words of `N` bytes, least significant byte first.
fn words<const N: usize>(bytes: &[u8], swap: bool) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().map(move |&(mut word)| {
        if swap {
            word.reverse();
        }
        word
    })
}

fn with_capacity<T>(length: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(length).ok()?;
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_cut_to_the_scan_and_may_be_empty() {
        let region = Region { start: [1, 2, 3], end: [9, 4, 5] };
        let cut = region.within([5, 6, 4]);
        assert_eq!(cut, Region { start: [1, 2, 3], end: [5, 4, 4] });
        assert_eq!((cut.shape(), cut.voxels()), ([4, 2, 1], 8));
        assert!(cut.has_row(3, 3) && !cut.has_row(4, 3) && !cut.has_row(3, 4));
        let outside = region.within([1, 6, 6]);
        assert_eq!(outside.voxels(), 0);
        assert!(!outside.has_row(3, 3));
    }

    #[test]
    fn words_come_least_significant_byte_first() {
        let swapped: Vec<[u8; 2]> = words(&[1, 2, 3, 4, 5], true).collect();
        assert_eq!(swapped, [[2, 1], [4, 3]]);
        let plain: Vec<[u8; 2]> = words(&[1, 2, 3, 4], false).collect();
        assert_eq!(plain, [[1, 2], [3, 4]]);
    }
}
