//! Reads a file that holds one tensor: `torch.save(tensor, path)`.

use std::io::Cursor;

use super::archive::{Archive, ArchiveError, placement, tensor_arguments};
use super::pickle::{Id, Pickle, Value};

/// How files of PyTorch before 1.6 begin: a pickled magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// A tensor's shape and its values in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainTensor {
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// Reads the one tensor that a file holds, as f32. It may be a parameter, or of a subclass such as
/// MONAI's `MetaTensor`, whose metadata is left alone.
///
/// # Errors
/// The file is no zip archive of PyTorch's, is malformed, or holds something else.
pub fn read_tensor(bytes: &[u8]) -> Result<PlainTensor, ArchiveError> {
    if bytes.starts_with(LEGACY) {
        return Err(ArchiveError::Legacy);
    }
    let mut archive = Archive::open(Cursor::new(bytes), bytes.len() as u64)?;
    let pickle = Pickle::read(&archive.entry("data.pkl")?)?;
    let refuse = || ArchiveError::NotOneTensor { found: describe(&pickle, pickle.root()) };
    let arguments = tensor_arguments(&pickle, pickle.root());
    let arguments = arguments.or_else(|| subclass_arguments(&pickle, pickle.root())).ok_or_else(refuse)?;
    let name = "the file's";
    let placement = placement(&pickle, arguments, name)?
        .ok_or_else(|| ArchiveError::NotOneTensor { found: numbers(&pickle, arguments) })?;
    let bytes = archive.entry(&format!("data/{}", placement.storage))?;
    let values = placement.values(&bytes).map_err(|what| ArchiveError::Tensor { name: name.into(), what })?;
    Ok(PlainTensor { shape: placement.shape, values })
}

/// Arguments of `_rebuild_tensor_v2`, if the value is a tensor of a subclass: (function, class, arguments, state).
fn subclass_arguments(pickle: &Pickle, id: Id) -> Option<&[Id]> {
    let Value::Object { class, arguments, .. } = pickle.value(id) else { return None };
    if pickle.class(*class)? != "torch._tensor._rebuild_from_type_v2" {
        return None;
    }
    let &[function, _, arguments, ..] = pickle.tuple(*arguments)? else { return None };
    let plain = pickle.class(function)? == "torch._utils._rebuild_tensor_v2";
    if plain { pickle.tuple(arguments) } else { None }
}

/// What a value is, for people.
fn describe(pickle: &Pickle, id: Id) -> String {
    match pickle.value(id) {
        Value::Object { class, .. } => match pickle.class(*class) {
            Some("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct") => {
                "a NumPy array".into()
            }
            Some("torch._utils._rebuild_sparse_tensor") => "a sparse tensor".into(),
            Some(name) => format!("what `{name}` makes"),
            None => "an object".into(),
        },
        Value::Dict(_) => "a dictionary".into(),
        Value::List(_) => "a list".into(),
        Value::Tuple(_) => "a tuple".into(),
        Value::Class(name) => format!("the class `{name}`"),
        Value::Text(_) => "a text".into(),
        Value::None | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => "a single value".into(),
        Value::Persistent(_) => "a storage".into(),
        Value::Bytes(_) => "bytes".into(),
        Value::Raw { .. } => "an array of joblib's".into(),
    }
}

/// Of what numbers a tensor is that this cannot read.
fn numbers(pickle: &Pickle, arguments: &[Id]) -> String {
    let storage = || {
        let Value::Persistent(storage) = pickle.value(*arguments.first()?) else { return None };
        pickle.class(*pickle.tuple(*storage)?.get(1)?)
    };
    format!("a tensor in a `{}`", storage().unwrap_or("storage without a type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `stages/torch/tests/fixtures/torch`, which its `make.py` wrote.
    fn read(name: &str) -> Result<PlainTensor, ArchiveError> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/torch");
        read_tensor(&std::fs::read(format!("{folder}/{name}.pt")).expect("a fixture"))
    }

    fn ramp() -> Vec<f32> {
        (0..27u8).map(|index| 100.0 * f32::from(index) - 1000.0).collect()
    }

    #[test]
    fn tensors_of_every_type_are_read() {
        for name in ["f32", "f64", "f16", "bf16", "i16", "i32", "i64", "parameter", "monai"] {
            let tensor = read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(tensor.shape, [3, 3, 3], "{name}");
            let tolerance = if name == "bf16" { 4.0 } else { 0.0 };
            let close = |(found, expected): (&f32, f32)| (found - expected).abs() <= tolerance;
            assert!(tensor.values.iter().zip(ramp()).all(close), "{name}: {:?}", tensor.values);
        }
        for name in ["u8", "i8"] {
            let expected: Vec<f32> =
                (0..27u8).map(|index| f32::from(index) - f32::from(name == "i8")).collect();
            assert_eq!(read(name).expect(name).values, expected, "{name}");
        }
    }

    #[test]
    fn views_are_read_in_c_order() {
        let tensor = read("transposed").expect("readable");
        let index = |at: usize| at % 3 * 9 + at / 3 % 3 * 3 + at / 9;
        let expected: Vec<f32> = (0..27).map(|at| ramp()[index(at)]).collect();
        assert_eq!(tensor.values, expected);
        assert_eq!(read("channels").expect("readable").shape, [1, 1, 3, 3, 3]);
    }

    #[test]
    fn what_is_not_one_tensor_is_refused_by_name() {
        let table = [
            ("legacy", "the format of PyTorch before 1.6"),
            ("numpy", "it holds a NumPy array, expected one tensor"),
            ("dictionary", "it holds a dictionary, expected one tensor"),
            ("sparse", "it holds a sparse tensor, expected one tensor"),
            ("bool", "it holds a tensor in a `torch.BoolStorage`, expected one tensor"),
            ("complex", "it holds a tensor in a `torch.ComplexFloatStorage`, expected one tensor"),
        ];
        for (name, expected) in table {
            let error = read(name).expect_err(name).to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        for bytes in [&b""[..], b"PK\x03\x04", b"crop"] {
            assert!(read_tensor(bytes).expect_err("no archive").to_string().contains("zip"), "{bytes:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_file_is_an_error_and_not_a_panic() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/torch");
        let bytes = std::fs::read(format!("{folder}/f32.pt")).expect("a fixture");
        for length in 0..bytes.len() {
            assert!(read_tensor(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn no_damaged_byte_makes_a_panic() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/torch");
        for name in ["i16", "monai"] {
            let bytes = std::fs::read(format!("{folder}/{name}.pt")).expect("a fixture");
            for at in 0..bytes.len() {
                for bit in [1u8, 0x80] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= bit;
                    if let Ok(tensor) = read_tensor(&damaged) {
                        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len(), "byte {at}");
                    }
                }
            }
        }
    }
}
