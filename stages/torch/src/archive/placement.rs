//! Where a tensor lies in a storage, and its numbers in C order.

use super::{ArchiveError, Number};
use crate::pickle::{Id, Pickle, Value};

/// How a tensor lies in a storage; counted in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(super) number: Number,
    pub(crate) storage: String,
    pub(super) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Arguments of `_rebuild_tensor_v2`, if the value is a tensor or a parameter that wraps one.
pub(crate) fn tensor_arguments(pickle: &Pickle, id: Id) -> Option<&[Id]> {
    let Value::Object { class, arguments, .. } = pickle.value(id) else { return None };
    let arguments = pickle.tuple(*arguments)?;
    match pickle.class(*class)? {
        "torch._utils._rebuild_tensor_v2" => Some(arguments),
        "torch._utils._rebuild_parameter" => {
            // One level: a parameter wraps a tensor, never another parameter.
            let Value::Object { class, arguments, .. } = pickle.value(*arguments.first()?) else {
                return None;
            };
            let inner = pickle.class(*class)? == "torch._utils._rebuild_tensor_v2";
            if inner { pickle.tuple(*arguments) } else { None }
        }
        _ => None,
    }
}

/// (storage, offset, shape, strides, …) → where the tensor lies; `None` for numbers that are not real.
pub(crate) fn placement(
    pickle: &Pickle,
    arguments: &[Id],
    name: &str,
) -> Result<Option<Placement>, ArchiveError> {
    let malformed =
        || ArchiveError::Tensor { name: name.into(), what: "its description is malformed".into() };
    let &[storage, offset, shape, strides, ..] = arguments else { return Err(malformed()) };
    let Value::Persistent(storage) = pickle.value(storage) else { return Err(malformed()) };
    // ("storage", type, key, location, length)
    let Some(&[_, class, key, ..]) = pickle.tuple(*storage) else { return Err(malformed()) };
    let Some(number) = pickle.class(class).and_then(Number::of_storage) else { return Ok(None) };
    let placement = || {
        Some(Placement {
            number,
            storage: pickle.text(key)?.to_owned(),
            offset: pickle.size(offset)?,
            shape: pickle.sizes(shape)?,
            strides: pickle.sizes(strides)?,
        })
    };
    let placement = placement().filter(|x| x.shape.len() == x.strides.len()).ok_or_else(malformed)?;
    Ok(Some(placement))
}

impl Placement {
    /// What the tensor would take in the archive if it shared nothing; `None` beyond 64 bits.
    pub(super) fn bytes(&self) -> Option<u64> {
        let number = self.number.bytes() as u64;
        self.shape.iter().try_fold(number, |bytes, &dim| bytes.checked_mul(dim as u64))
    }

    /// The tensor's values in C order from its storage's bytes.
    pub(crate) fn values(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let storage = self.number.decode(bytes);
        let count = self.shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
        let count = count.filter(|&count| count <= storage.len());
        let count = count.ok_or_else(|| {
            format!("shape {:?} does not fit its storage of {} numbers", self.shape, storage.len())
        })?;
        if self.is_contiguous() {
            let end = self.offset.saturating_add(count);
            return storage
                .get(self.offset..end)
                .map(<[f32]>::to_vec)
                .ok_or_else(|| self.outside(storage.len()));
        }
        (0..count).map(|index| self.value(&storage, index)).collect()
    }

    fn is_contiguous(&self) -> bool {
        let mut expected: usize = 1;
        for (&dim, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if dim != 1 && stride != expected {
                return false;
            }
            // Where this would overflow, a dimension of 0 makes the tensor empty.
            expected = expected.saturating_mul(dim);
        }
        true
    }

    /// The value at a position in C order.
    fn value(&self, storage: &[f32], mut index: usize) -> Result<f32, String> {
        let mut at = self.offset;
        for (&dim, &stride) in self.shape.iter().zip(&self.strides).rev() {
            at = at.saturating_add((index % dim.max(1)).saturating_mul(stride));
            index /= dim.max(1);
        }
        storage.get(at).copied().ok_or_else(|| self.outside(storage.len()))
    }

    fn outside(&self, length: usize) -> String {
        let Self { offset, shape, strides, .. } = self;
        format!(
            "shape {shape:?}, strides {strides:?} and offset {offset} leave its storage of {length} numbers"
        )
    }
}
