//! Named arrays as safetensors bytes: what the items of `crop` and `slice` are, and the encoded texts.

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use pipe_engine::stage::StageError;

/// The bytes of a file with one f32 array. Without metadata, so that equal arrays give equal bytes.
pub(crate) fn write_array(name: &str, shape: &[usize], values: &[f32]) -> Result<Vec<u8>, StageError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
    Ok(serialize([(name, view)], None)?)
}

/// The bytes of a file with one i64 array.
pub(crate) fn write_integers(name: &str, shape: &[usize], values: &[i64]) -> Result<Vec<u8>, StageError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::I64, shape.to_vec(), &bytes)?;
    Ok(serialize([(name, view)], None)?)
}

/// The f32 array of that name and its shape.
pub(crate) fn read_array(
    bytes: &[u8],
    name: &str,
    shown: &str,
) -> Result<(Vec<usize>, Vec<f32>), StageError> {
    let (shape, data) = read_tensor(bytes, name, Dtype::F32, shown)?;
    let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok((shape, data.chunks_exact(4).map(value).collect()))
}

/// The i64 array of that name and its shape.
pub(crate) fn read_integers(
    bytes: &[u8],
    name: &str,
    shown: &str,
) -> Result<(Vec<usize>, Vec<i64>), StageError> {
    let (shape, data) = read_tensor(bytes, name, Dtype::I64, shown)?;
    let value = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).unwrap_or_default();
    Ok((shape, data.chunks_exact(8).map(value).collect()))
}

fn read_tensor<'a>(
    bytes: &'a [u8],
    name: &str,
    dtype: Dtype,
    shown: &str,
) -> Result<(Vec<usize>, &'a [u8]), StageError> {
    let refuse = |problem: String| StageError::message(format!("{shown}: {problem}"));
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| refuse(error.to_string()))?;
    let view = tensors.tensor(name).map_err(|error| refuse(error.to_string()))?;
    if view.dtype() != dtype {
        return Err(refuse(format!("`{name}` must be {dtype:?}, but is {:?}", view.dtype())));
    }
    Ok((view.shape().to_vec(), view.data()))
}
