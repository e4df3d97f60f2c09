//! Tensors of safetensors files as archives of NumPy: one `NAME.npy` for each tensor. NumPy has no bfloat16; such tensors become
//! 32-bit numbers, which hold them exactly.

use std::borrow::Cow;
use std::io::{Cursor, Write as _};

use pipe_engine::stage::StageError;
use safetensors::{Dtype, SafeTensors};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{Made, is, renamed};

/// A file of tensors as an archive.
pub(super) fn make(name: &str, bytes: &[u8]) -> Result<Made, StageError> {
    if !is(name, "safetensors") {
        return Ok(None);
    }
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // The same bytes whenever they are written.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut names = tensors.names();
    names.sort_unstable();
    for tensor in names {
        let view = tensors.tensor(tensor)?;
        let (kind, data) = values(view.dtype(), view.data()).ok_or_else(|| {
            StageError::message(format!("NumPy has no type for the tensor {tensor}, {:?}", view.dtype()))
        })?;
        archive.start_file(format!("{tensor}.npy"), options)?;
        archive.write_all(&header(kind, view.shape()))?;
        archive.write_all(&data)?;
    }
    Ok(Some((renamed(name, "npz"), archive.finish()?.into_inner())))
}

/// NumPy's name of a type, and the values as it has them.
fn values(dtype: Dtype, data: &[u8]) -> Option<(&'static str, Cow<'_, [u8]>)> {
    let kind = match dtype {
        Dtype::F64 => "<f8",
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
        Dtype::I64 => "<i8",
        Dtype::I32 => "<i4",
        Dtype::I16 => "<i2",
        Dtype::I8 => "|i1",
        Dtype::U64 => "<u8",
        Dtype::U32 => "<u4",
        Dtype::U16 => "<u2",
        Dtype::U8 => "|u1",
        Dtype::BOOL => "|b1",
        Dtype::BF16 => {
            // The upper half of a 32-bit number.
            let wide: Vec<u8> = data.chunks_exact(2).flat_map(|half| [0, 0, half[0], half[1]]).collect();
            return Some(("<f4", Cow::Owned(wide)));
        }
        _ => return None,
    };
    Some((kind, Cow::Borrowed(data)))
}

/// What stands before the values in a file of NumPy, format 1.0.
fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", sizes.join(" "));
    // The values begin at a multiple of 64 bytes.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}
