//! The numbers that storages hold, as f32.

/// Type of stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Half precision.
    F16,
    /// Half the bits of f32, cut off.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Whole numbers of 8 bits with a sign.
    I8,
    /// Whole numbers of 8 bits without a sign.
    U8,
    /// Whole numbers of 16 bits.
    I16,
    /// Whole numbers of 32 bits.
    I32,
    /// Whole numbers of 64 bits.
    I64,
}

impl Number {
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        match class {
            "torch.HalfStorage" => Some(Self::F16),
            "torch.BFloat16Storage" => Some(Self::BF16),
            "torch.FloatStorage" => Some(Self::F32),
            "torch.DoubleStorage" => Some(Self::F64),
            "torch.CharStorage" => Some(Self::I8),
            "torch.ByteStorage" => Some(Self::U8),
            "torch.ShortStorage" => Some(Self::I16),
            "torch.IntStorage" => Some(Self::I32),
            "torch.LongStorage" => Some(Self::I64),
            _ => None,
        }
    }

    pub(super) fn is_floating(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Little-endian bytes as f32; bytes beyond the last whole number are dropped.
    #[allow(clippy::cast_possible_truncation, reason = "rounded to f32, which is what is asked for")]
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => decode(bytes, |x| half::f16::from_le_bytes(x).to_f32()),
            Self::BF16 => decode(bytes, |x| half::bf16::from_le_bytes(x).to_f32()),
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::F64 => decode(bytes, |x| f64::from_le_bytes(x) as f32),
            Self::I8 => decode(bytes, |x| i8::from_le_bytes(x).into()),
            Self::U8 => decode(bytes, |x| u8::from_le_bytes(x).into()),
            Self::I16 => decode(bytes, |x| i16::from_le_bytes(x).into()),
            Self::I32 => decode(bytes, |x| i32::from_le_bytes(x) as f32),
            Self::I64 => decode(bytes, |x| i64::from_le_bytes(x) as f32),
        }
    }
}

fn decode<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| number(chunk)).collect()
}
