//! NumPy's scalars and arrays in a pickle, of versions 1 and 2 and as joblib writes them.

use super::pickle::{Id, Pickle, Value};

/// Names of what makes and describes arrays and scalars.
pub(super) const GLOBALS: [&str; 8] = [
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    // How protocol 2 writes bytes.
    "_codecs.encode",
    "joblib.numpy_pickle.NumpyArrayWrapper",
];

/// Kind and size of an array's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    /// `f`, `i` or `u`.
    kind: char,
    bytes: usize,
    big_endian: bool,
}

impl Number {
    /// Of `numpy.dtype("f8", …)` with its state (3, "<", …).
    fn of(pickle: &Pickle, id: Id) -> Option<Self> {
        let Value::Object { class, arguments, state } = pickle.value(id) else { return None };
        if pickle.class(*class)? != "numpy.dtype" {
            return None;
        }
        let name = pickle.text(*pickle.tuple(*arguments)?.first()?)?;
        let order = state.and_then(|state| pickle.text(*pickle.tuple(state)?.get(1)?)).unwrap_or("|");
        let (kind, bytes) = match name {
            "f4" => ('f', 4),
            "f8" => ('f', 8),
            "i1" => ('i', 1),
            "i2" => ('i', 2),
            "i4" => ('i', 4),
            "i8" => ('i', 8),
            "u1" | "b1" => ('u', 1),
            _ => return None,
        };
        Some(Self { kind, bytes, big_endian: order == ">" })
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the upper bytes are those that were not read"
    )]
    fn value(self, bytes: &[u8]) -> Option<f64> {
        let mut whole = [0; 8];
        let low = whole.get_mut(..self.bytes)?;
        low.copy_from_slice(bytes);
        if self.big_endian {
            low.reverse();
        }
        let unsigned = u64::from_le_bytes(whole);
        Some(match (self.kind, self.bytes) {
            ('f', 4) => f32::from_bits(unsigned as u32).into(),
            ('f', _) => f64::from_bits(unsigned),
            ('u', _) => unsigned as f64,
            (_, 1) => (unsigned as i8).into(),
            (_, 2) => (unsigned as i16).into(),
            (_, 4) => (unsigned as i32).into(),
            _ => unsigned as i64 as f64,
        })
    }
}

/// Bytes of the numbers that joblib's description of an array announces; nothing if it is none of numbers.
pub(super) fn described(pickle: &Pickle, state: Id) -> Option<usize> {
    let number = Number::of(pickle, pickle.member(state, "dtype")?)?;
    let shape = pickle.sizes(pickle.member(state, "shape")?)?;
    shape.iter().try_fold(number.bytes, |size, &length| size.checked_mul(length))
}

/// The value of a number of Python's or NumPy's.
pub fn float(pickle: &Pickle, id: Id) -> Option<f64> {
    match pickle.value(id) {
        Value::Float(value) => Some(*value),
        Value::Integer(value) => Some(*value as f64),
        Value::Object { class, arguments, .. } => {
            if !pickle.class(*class)?.ends_with("core.multiarray.scalar") {
                return None;
            }
            let &[number, bytes] = pickle.tuple(*arguments)? else { return None };
            let number = Number::of(pickle, number)?;
            let bytes = bytes_of(pickle, bytes)?;
            if bytes.len() == number.bytes { number.value(&bytes) } else { None }
        }
        _ => None,
    }
}

/// The numbers of an array, in the order in which they are stored.
pub fn array(pickle: &Pickle, id: Id) -> Option<Vec<f64>> {
    let (number, shape, bytes) = match pickle.value(id) {
        Value::Raw { state, bytes } => {
            let number = Number::of(pickle, pickle.member(*state, "dtype")?)?;
            (number, pickle.sizes(pickle.member(*state, "shape")?)?, bytes.clone())
        }
        Value::Object { class, state: Some(state), .. } => {
            if !pickle.class(*class)?.ends_with("core.multiarray._reconstruct") {
                return None;
            }
            let &[_, shape, number, _, bytes] = pickle.tuple(*state)? else { return None };
            (Number::of(pickle, number)?, pickle.sizes(shape)?, bytes_of(pickle, bytes)?)
        }
        _ => return None,
    };
    let size = shape.iter().try_fold(number.bytes, |size, &length| size.checked_mul(length))?;
    let whole = size == bytes.len();
    if whole { bytes.chunks_exact(number.bytes).map(|bytes| number.value(bytes)).collect() } else { None }
}

/// Bytes, also as the text that protocol 2 makes of them.
fn bytes_of(pickle: &Pickle, id: Id) -> Option<Vec<u8>> {
    match pickle.value(id) {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::Object { class, arguments, .. } => {
            let &[text, coding] = pickle.tuple(*arguments)? else { return None };
            if pickle.class(*class)? != "_codecs.encode"
                || !matches!(pickle.text(coding)?, "latin1" | "latin-1")
            {
                return None;
            }
            pickle.text(text)?.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
        }
        _ => None,
    }
}
