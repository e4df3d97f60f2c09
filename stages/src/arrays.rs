//! One named f32 array as safetensors bytes: what the items of `crop` and `slice` are.

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use pipe_engine::stage::StageError;

/// The bytes of a file with one f32 array. Without metadata, so that equal arrays give equal bytes.
pub(crate) fn write_array(name: &str, shape: &[usize], values: &[f32]) -> Result<Vec<u8>, StageError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?;
    Ok(serialize([(name, view)], None)?)
}

/// The array of that name and its shape.
pub(crate) fn read_array(
    bytes: &[u8],
    name: &str,
    shown: &str,
) -> Result<(Vec<usize>, Vec<f32>), StageError> {
    let refuse = |problem: String| StageError::message(format!("{shown}: {problem}"));
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| refuse(error.to_string()))?;
    let view = tensors.tensor(name).map_err(|error| refuse(error.to_string()))?;
    if view.dtype() != Dtype::F32 {
        return Err(refuse(format!("`{name}` must be f32, but is {:?}", view.dtype())));
    }
    let values = view
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    Ok((view.shape().to_vec(), values))
}
