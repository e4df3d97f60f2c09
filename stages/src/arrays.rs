//! Named arrays as safetensors bytes: what the items of `crop` and `slice` are, and the encoded texts.

use std::collections::HashMap;

use pipe_plugin::stage::StageError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pipe_learning::preprocessing::Made;

/// The name of the array in a file of a volume.
const VOLUME: &str = "volume";
/// The one key of metadata. Several would be written in any order, and equal arrays would not give equal bytes.
const MADE: &str = "made";

/// The bytes of a file with one f32 array and what is said of it.
pub(crate) fn write_array(
    name: &str,
    shape: &[usize],
    values: &[f32],
    made: &Made,
) -> Result<Vec<u8>, StageError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    write(name, TensorView::new(Dtype::F32, shape.to_vec(), &bytes)?, made)
}

fn write(name: &str, view: TensorView<'_>, made: &Made) -> Result<Vec<u8>, StageError> {
    let text = serde_json::to_string(made)?;
    Ok(serialize([(name, view)], Some(HashMap::from([(MADE.to_owned(), text)])))?)
}

/// What the file of an array says of it; nothing where it was written elsewhere, or before files said so.
///
/// # Errors
/// The file cannot be read, or says something else.
pub(crate) fn read_made(bytes: &[u8], shown: &str) -> Result<Made, StageError> {
    let refuse = |error: &dyn std::fmt::Display| StageError::message(format!("{shown}: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| refuse(&error))?;
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(MADE));
    text.map_or_else(
        || Ok(Made::default()),
        |text| serde_json::from_str(text).map_err(|error| refuse(&error)),
    )
}

/// How the values of a volume are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// As they were computed.
    #[default]
    F32,
    /// Rounded to whole HU, halves to even.
    I16,
}

/// The bytes of a file with the array `volume`: `edge³` values in HU, C order over (z, y, x).
///
/// # Errors
/// A value does not fit the type that it is to be stored as.
pub(crate) fn write_volume(
    edge: usize,
    values: &[f32],
    (store, made): (Store, &Made),
    shown: &str,
) -> Result<Vec<u8>, StageError> {
    let shape = [edge; 3];
    if store == Store::F32 {
        return write_array(VOLUME, &shape, values, made);
    }
    let range = f32::from(i16::MIN)..=f32::from(i16::MAX);
    let mut bytes = Vec::with_capacity(2 * values.len());
    for &value in values {
        let rounded = value.round_ties_even();
        if !range.contains(&rounded) {
            let message = format!("{shown}: {value} HU does not fit into 16 bits");
            return Err(StageError::message(message).advise("set `store = \"f32\"`"));
        }
        bytes.extend((rounded as i16).to_le_bytes());
    }
    write(VOLUME, TensorView::new(Dtype::I16, shape.to_vec(), &bytes)?, made)
}

/// The array `volume` and its shape, whichever way it is stored.
pub(crate) fn read_volume(bytes: &[u8], shown: &str) -> Result<(Vec<usize>, Vec<f32>), StageError> {
    let view = open_tensor(bytes, VOLUME, shown)?;
    let values = match view.dtype() {
        Dtype::F32 => numbers(view.data(), f32::from_le_bytes),
        Dtype::I16 => numbers(view.data(), |bytes| i16::from_le_bytes(bytes).into()),
        other => {
            return Err(StageError::message(format!(
                "{shown}: `{VOLUME}` must be F32 or I16, but is {other:?}"
            )));
        }
    };
    Ok((view.shape().to_vec(), values))
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
    let view = typed_tensor(bytes, name, Dtype::F32, shown)?;
    Ok((view.shape().to_vec(), numbers(view.data(), f32::from_le_bytes)))
}

/// The i64 array of that name and its shape.
pub(crate) fn read_integers(
    bytes: &[u8],
    name: &str,
    shown: &str,
) -> Result<(Vec<usize>, Vec<i64>), StageError> {
    let view = typed_tensor(bytes, name, Dtype::I64, shown)?;
    Ok((view.shape().to_vec(), numbers(view.data(), i64::from_le_bytes)))
}

fn numbers<const SIZE: usize, T>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| number(chunk)).collect()
}

fn typed_tensor<'a>(
    bytes: &'a [u8],
    name: &str,
    dtype: Dtype,
    shown: &str,
) -> Result<TensorView<'a>, StageError> {
    let view = open_tensor(bytes, name, shown)?;
    if view.dtype() != dtype {
        let message = format!("{shown}: `{name}` must be {dtype:?}, but is {:?}", view.dtype());
        return Err(StageError::message(message));
    }
    Ok(view)
}

fn open_tensor<'a>(bytes: &'a [u8], name: &str, shown: &str) -> Result<TensorView<'a>, StageError> {
    let view = SafeTensors::deserialize(bytes).and_then(|tensors| tensors.tensor(name));
    view.map_err(|error| StageError::message(format!("{shown}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_back_as_they_are_stored() {
        let values = [0.4, -1000.5, 0.5, 1.5, -2.5, 3071.0, -32768.4, 32767.0];
        let stored = |store| {
            let bytes = write_volume(2, &values, (store, &Made::default()), "x").expect("in range");
            (bytes.len(), read_volume(&bytes, "x").expect("readable"))
        };
        let (length, exact) = stored(Store::F32);
        assert_eq!(exact, (vec![2, 2, 2], values.to_vec()));
        let (shorter, rounded) = stored(Store::I16);
        assert_eq!(rounded.1, [0.0, -1000.0, 0.0, 2.0, -2.0, 3071.0, -32768.0, 32767.0]);
        assert_eq!(length - shorter, 2 * values.len());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_cut_off() {
        for value in [32767.5, -32769.0, f32::NAN, f32::INFINITY] {
            let error = write_volume(1, &[value], (Store::I16, &Made::default()), "x")
                .expect_err("out of range")
                .to_string();
            assert!(error.contains("does not fit into 16 bits"), "{error}");
        }
    }

    #[test]
    fn volumes_of_other_types_are_refused() {
        let bytes = write_integers("volume", &[1, 1, 1], &[5]).expect("bytes");
        let error = read_volume(&bytes, "a.safetensors").expect_err("i64").to_string();
        assert_eq!(error, "a.safetensors: `volume` must be F32 or I16, but is I64");
        let error = read_array(&bytes, "planes", "a.safetensors").expect_err("no such").to_string();
        assert!(error.starts_with("a.safetensors: "), "{error}");
        assert!(read_volume(b"", "a.safetensors").is_err());
    }
}
