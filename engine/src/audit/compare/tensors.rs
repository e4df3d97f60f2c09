//! Tensors of safetensors files: elements by name and index.

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Numbers, Within};

/// How two files differ; `None` where one holds no tensors, or all of them are the same.
pub(super) fn compare(before: &[u8], after: &[u8]) -> Option<Within> {
    let [then, now] = [SafeTensors::deserialize(before).ok()?, SafeTensors::deserialize(after).ok()?];
    let mut names: Vec<&str> = then.names();
    names.extend(now.names());
    names.sort_unstable();
    names.dedup();
    let mut numbers = Numbers::default();
    for name in names {
        let (Ok(one), Ok(other)) = (then.tensor(name), now.tensor(name)) else {
            let when = if then.tensor(name).is_ok() { "is not there now" } else { "was not there then" };
            return Some(Within::other(format!("tensor {name} {when}")));
        };
        if one.dtype() != other.dtype() || one.shape() != other.shape() {
            let form = |tensor: &TensorView<'_>| format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            return Some(Within::other(format!("tensor {name}: {} then, {} now", form(&one), form(&other))));
        }
        if one.data() == other.data() {
            continue;
        }
        let Some(size) = width(one.dtype()) else {
            return Some(Within::other(format!("tensor {name}")));
        };
        let pairs = one.data().chunks_exact(size).zip(other.data().chunks_exact(size)).enumerate();
        for (at, (before, after)) in pairs.filter(|(_, (before, after))| before != after) {
            let place = || format!("tensor {name} at {:?}", index(one.shape(), at));
            numbers.add(place, number(one.dtype(), before), number(one.dtype(), after));
        }
    }
    numbers.into_difference()
}

/// The bytes of an element that is read as a number.
fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::U8 | Dtype::I8 | Dtype::BOOL => Some(1),
        Dtype::U16 | Dtype::I16 | Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::U32 | Dtype::I32 | Dtype::F32 => Some(4),
        Dtype::U64 | Dtype::I64 | Dtype::F64 => Some(8),
        _ => None,
    }
}

/// An element's value; whole numbers beyond 2^53 to the nearest that has a place in 64 bits.
fn number(dtype: Dtype, bytes: &[u8]) -> f64 {
    fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().unwrap_or([0; N])
    }
    match dtype {
        Dtype::U8 | Dtype::BOOL => f64::from(u8::from_le_bytes(of(bytes))),
        Dtype::I8 => f64::from(i8::from_le_bytes(of(bytes))),
        Dtype::U16 => f64::from(u16::from_le_bytes(of(bytes))),
        Dtype::I16 => f64::from(i16::from_le_bytes(of(bytes))),
        Dtype::F16 => f16::from_le_bytes(of(bytes)).to_f64(),
        Dtype::BF16 => bf16::from_le_bytes(of(bytes)).to_f64(),
        Dtype::U32 => f64::from(u32::from_le_bytes(of(bytes))),
        Dtype::I32 => f64::from(i32::from_le_bytes(of(bytes))),
        Dtype::F32 => f64::from(f32::from_le_bytes(of(bytes))),
        Dtype::U64 => u64::from_le_bytes(of(bytes)) as f64,
        Dtype::I64 => i64::from_le_bytes(of(bytes)) as f64,
        Dtype::F64 => f64::from_le_bytes(of(bytes)),
        _ => f64::NAN,
    }
}

/// The index of an element by its place in memory, the last axis first.
fn index(shape: &[usize], at: usize) -> Vec<usize> {
    let mut rest = at;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|length| {
            let along = rest % length.max(&1);
            rest /= length.max(&1);
            along
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn file(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        safetensors::serialize([(name, view)], None).unwrap()
    }

    #[test]
    fn the_first_element_that_differs_and_the_largest_difference_are_told() {
        let bytes = |values: [f32; 4]| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        let of = |values| file("w", Dtype::F32, &[2, 2], &bytes(values));
        let found = compare(&of([0.0, 1.0, 2.0, 3.0]), &of([0.0, 1.5, 2.0, -3.0])).unwrap();
        assert_eq!(found.place, "tensor w at [0, 1]: 1 then, 1.5 now");
        assert_eq!(found.largest, Some(6.0));
        assert_eq!(compare(&of([0.0; 4]), &of([0.0; 4])), None);
        let found = compare(&of([f32::NAN; 4]), &of([0.0; 4])).unwrap();
        assert_eq!(found.largest, Some(f64::INFINITY));
        let other = file("w", Dtype::F32, &[4], &bytes([0.0; 4]));
        let found = compare(&of([0.0; 4]), &other).unwrap();
        assert_eq!((found.place.as_str(), found.largest), ("tensor w: F32 [2, 2] then, F32 [4] now", None));
        let other = file("v", Dtype::F32, &[2, 2], &bytes([0.0; 4]));
        assert_eq!(compare(&of([0.0; 4]), &other).unwrap().place, "tensor v was not there then");
        assert_eq!(compare(b"no tensors", &other), None);
    }
}
