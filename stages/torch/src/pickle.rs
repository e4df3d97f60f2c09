//! Reads the part of Python's pickle format that PyTorch's archives and joblib's files use, as data.
//!
//! Nothing is ever called or imported: a class is its name, an object is its class, arguments and
//! state. Values live in one arena and refer to each other by index, so shared and even cyclic values
//! cost nothing and nothing recurses. Each byte of the input makes at most a few values, so memory is
//! bounded by the input's length. The module knows nothing of tensors.
//!
//! joblib writes the numbers of an array right behind its description, in the middle of the pickle; that place is
//! recognised by the class of the description.

use std::collections::BTreeMap;

use thiserror::Error;

/// Why a pickle cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PickleError {
    /// It ends before it is complete.
    #[error("the pickle ends early, at byte {at}")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// It holds an operation that is not known.
    #[error("the pickle has operation {code:#04x} at byte {at}, which no tensor archive uses")]
    Operation {
        /// The operation's byte.
        code: u8,
        /// Where it stands.
        at: usize,
    },
    /// It does not make sense.
    #[error("the pickle is malformed at byte {at}: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// It asks for a class or function that is not expected.
    #[error("the pickle asks for `{name}`, which has no place in such a file; nothing was executed")]
    Global {
        /// `module.name`.
        name: String,
    },
}

/// Index of a value in its [`Pickle`].
pub type Id = usize;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Python's `None`.
    None,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A real number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// Keys and values in the order in which they were put in.
    Dict(Vec<(Id, Id)>),
    /// `module.name` of a class or function.
    Class(String),
    /// An instance or the result of a call.
    Object {
        /// Its class, or the function that was called.
        class: Id,
        /// What it was made with.
        arguments: Id,
        /// What was set afterwards.
        state: Option<Id>,
    },
    /// Something stored outside the pickle.
    Persistent(Id),
    /// The state of joblib's description of an array, and the array's bytes.
    Raw {
        /// The description.
        state: Id,
        /// The array.
        bytes: Vec<u8>,
    },
}

/// Class of joblib's descriptions of arrays.
const WRAPPER: &str = "joblib.numpy_pickle.NumpyArrayWrapper";

/// All values of a pickle.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads a whole pickle.
    pub fn read(bytes: &[u8]) -> Result<Self, PickleError> {
        let mut reader = Reader { bytes, ..Reader::default() };
        while reader.step()? {}
        let root = reader.pop()?;
        Ok(Self { values: reader.values, root })
    }

    /// Refuses a pickle that names a class or function for which `allowed` is false, used or not.
    pub fn check_globals(&self, allowed: impl Fn(&str) -> bool) -> Result<(), PickleError> {
        for value in &self.values {
            if let Value::Class(name) = value
                && !allowed(name)
            {
                return Err(PickleError::Global { name: name.clone() });
            }
        }
        Ok(())
    }

    /// The member of that name of a dictionary, or of an object whose state is one.
    pub fn member(&self, id: Id, name: &str) -> Option<Id> {
        match self.value(id) {
            Value::Dict(pairs) => {
                pairs.iter().rev().find(|&&(key, _)| self.text(key) == Some(name)).map(|pair| pair.1)
            }
            // One level: the state of an object is never an object.
            Value::Object { state: Some(state), .. } => match self.value(*state) {
                Value::Dict(_) => self.member(*state, name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The outermost value.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value by its index.
    pub fn value(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::None)
    }

    /// A text, if the value is one.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A name `module.name`, if the value is a class.
    pub fn class(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Class(name) => Some(name),
            _ => None,
        }
    }

    /// The elements, if the value is a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// A number of things, if the value is an integer of at least 0.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.value(id) {
            Value::Integer(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Numbers of things, if the value is a tuple of integers of at least 0.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.tuple(id)?.iter().map(|&element| self.size(element)).collect()
    }
}

/// The pickle machine: a stack of values and of marks into it, and a memo.
#[derive(Default)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Reader<'a> {
    /// Performs one operation; false at the end.
    fn step(&mut self) -> Result<bool, PickleError> {
        let at = self.at;
        let [code] = self.array()?;
        match code {
            // Protocol and frame length tell nothing that is needed.
            0x80 => drop(self.array::<1>()?),
            0x95 => drop(self.array::<8>()?),
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'G' | b'X' | 0x8c | b'c' => {
                let value = self.scalar(code)?;
                self.push(value);
            }
            b'C' | b'B' | 0x8e => {
                let value = self.bytes(code)?;
                self.push(value);
            }
            0x93 => {
                let value = self.stacked_global()?;
                self.push(value);
            }
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code)?,
            b')' | b't' | 0x85..=0x87 | b']' | b'}' => self.container(code)?,
            b'a' | b'e' | b's' | b'u' => self.fill(code)?,
            b'Q' | b'R' | 0x81 | b'b' => self.build(code)?,
            code => return Err(PickleError::Operation { code, at }),
        }
        Ok(true)
    }

    fn scalar(&mut self, code: u8) -> Result<Value, PickleError> {
        Ok(match code {
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Integer(self.array::<1>()?[0].into()),
            b'M' => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            0x8a => self.long()?,
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                Value::Text(self.string(length as usize)?)
            }
            0x8c => {
                let [length] = self.array()?;
                Value::Text(self.string(length.into())?)
            }
            b'c' => {
                let module = self.line()?;
                Value::Class(format!("{module}.{}", self.line()?))
            }
            _ => Value::None,
        })
    }

    fn bytes(&mut self, code: u8) -> Result<Value, PickleError> {
        let length = match code {
            b'C' => usize::from(self.array::<1>()?[0]),
            b'B' => u32::from_le_bytes(self.array()?) as usize,
            _ => usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX),
        };
        Ok(Value::Bytes(self.take(length)?.to_vec()))
    }

    /// A class whose module and name are on the stack.
    fn stacked_global(&mut self) -> Result<Value, PickleError> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.values.get(module), self.values.get(name)) {
            (Some(Value::Text(module)), Some(Value::Text(name))) => {
                Ok(Value::Class(format!("{module}.{name}")))
            }
            _ => Err(self.malformed("a class whose name is no text")),
        }
    }

    /// The bytes that follow joblib's description of an array, whose state is at hand: a byte that counts those of a
    /// gap, where arrays are aligned, the gap, and the numbers.
    fn raw(&mut self, state: Id) -> Result<Value, PickleError> {
        let pickle = Pickle { values: std::mem::take(&mut self.values), root: state };
        let size = super::numpy::described(&pickle, state);
        let aligned = pickle.member(state, "numpy_array_alignment_bytes");
        let aligned = aligned.is_some_and(|id| !matches!(pickle.value(id), Value::None));
        self.values = pickle.values;
        let size = size.ok_or_else(|| self.malformed("an array of other than numbers"))?;
        if aligned {
            let [gap] = self.array()?;
            self.take(gap.into())?;
        }
        Ok(Value::Raw { state, bytes: self.take(size)?.to_vec() })
    }

    /// An integer of up to eight bytes, little-endian two's complement.
    fn long(&mut self) -> Result<Value, PickleError> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut whole = if negative { [0xff; 8] } else { [0; 8] };
        match whole.get_mut(..bytes.len()) {
            Some(low) => low.copy_from_slice(bytes),
            None => return Err(self.malformed("an integer of more than eight bytes")),
        }
        Ok(Value::Integer(i64::from_le_bytes(whole)))
    }

    fn remember(&mut self, code: u8) -> Result<(), PickleError> {
        let key = match code {
            b'q' | b'h' => self.array::<1>()?[0].into(),
            0x94 => u32::try_from(self.memo.len()).map_err(|_| self.malformed("too many values"))?,
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(code, b'h' | b'j') {
            let id = self.memo.get(&key).copied();
            let id = id.ok_or_else(|| self.malformed("a reference to nothing remembered"))?;
            self.stack.push(id);
        } else {
            let id = self.top()?;
            self.memo.insert(key, id);
        }
        Ok(())
    }

    fn container(&mut self, code: u8) -> Result<(), PickleError> {
        let value = match code {
            b')' => Value::Tuple(Vec::new()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b't' => Value::Tuple(self.down_to_mark()?),
            count => {
                let count = usize::from(count - 0x84);
                let from = self.stack.len().checked_sub(count);
                let from = from.ok_or_else(|| self.malformed("a tuple of more than there is"))?;
                Value::Tuple(self.stack.split_off(from))
            }
        };
        self.push(value);
        Ok(())
    }

    /// Puts elements into a list or pairs into a dictionary.
    fn fill(&mut self, code: u8) -> Result<(), PickleError> {
        let elements = match code {
            b'e' | b'u' => self.down_to_mark()?,
            b'a' => vec![self.pop()?],
            _ => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
        };
        let container = self.top()?;
        let malformed = self.malformed("elements for what holds none");
        match (self.values.get_mut(container), code) {
            (Some(Value::List(list)), b'a' | b'e') => list.extend(elements),
            (Some(Value::Dict(dict)), b's' | b'u') if elements.len().is_multiple_of(2) => {
                dict.extend(elements.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err(malformed),
        }
        Ok(())
    }

    fn build(&mut self, code: u8) -> Result<(), PickleError> {
        let argument = self.pop()?;
        if code == b'Q' {
            self.push(Value::Persistent(argument));
            return Ok(());
        }
        let target = if code == b'b' { self.top()? } else { self.pop()? };
        if code == b'b' && self.is_wrapper(target) {
            let value = self.raw(argument)?;
            if let Some(target) = self.values.get_mut(target) {
                *target = value;
            }
            return Ok(());
        }
        match (code, self.values.get_mut(target)) {
            // State of a dictionary is PyTorch's metadata of a state dict: not needed.
            (b'b', Some(Value::Object { state, .. })) => *state = Some(argument),
            (b'b', _) => {}
            (_, Some(Value::Class(name))) if name == "collections.OrderedDict" => {
                self.push(Value::Dict(Vec::new()));
            }
            _ => self.push(Value::Object { class: target, arguments: argument, state: None }),
        }
        Ok(())
    }

    fn is_wrapper(&self, id: Id) -> bool {
        let Some(Value::Object { class, .. }) = self.values.get(id) else { return false };
        matches!(self.values.get(*class), Some(Value::Class(name)) if name == WRAPPER)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        self.stack.pop().ok_or_else(|| self.malformed("nothing on the stack"))
    }

    fn top(&self) -> Result<Id, PickleError> {
        self.stack.last().copied().ok_or_else(|| self.malformed("nothing on the stack"))
    }

    /// Takes everything above the last mark.
    fn down_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(self.malformed("no mark on the stack")),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.saturating_add(length);
        let taken = self.bytes.get(self.at..end).ok_or(PickleError::Truncated { at: self.bytes.len() })?;
        self.at = end;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], PickleError> {
        let at = self.at;
        <[u8; LENGTH]>::try_from(self.take(LENGTH)?).map_err(|_| PickleError::Truncated { at })
    }

    fn string(&mut self, length: usize) -> Result<String, PickleError> {
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_| self.malformed("text that is not UTF-8"))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = self.string(length.ok_or(PickleError::Truncated { at: self.bytes.len() })?)?;
        self.at += 1;
        Ok(line)
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { what, at: self.at }
    }
}

#[cfg(test)]
mod tests;
