//! The numbers behind tensors, for operations on the processor.

use candle_core::{CpuStorage, Error, Layout, Result};

/// The numbers of a contiguous f32 tensor.
pub(crate) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(not_contiguous)?;
    storage.as_slice::<f32>()?.get(start..end).ok_or_else(not_contiguous)
}

/// The same, to be changed.
pub(crate) fn floats_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(not_contiguous)?;
    match storage {
        CpuStorage::F32(values) => values.get_mut(start..end).ok_or_else(not_contiguous),
        _ => Err(Error::Msg("this operation works on f32".to_owned())),
    }
}

fn not_contiguous() -> Error {
    Error::Msg("this operation needs contiguous tensors".to_owned())
}
