//! Finds and reads the tensors of PyTorch's zip archives.
//!
//! Two layouts: a pickled state dict, possibly nested under `model` or `state_dict` (`torch.save`), and
//! a pickled tree of modules (TorchScript). A single tensor is read in [`super::tensor`]. Tensors are read as values; nothing is executed. Every size
//! is checked against the archive before memory is taken.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use candle_core::{Device, Tensor};
use thiserror::Error;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Id, Pickle, PickleError, Value};

/// Names under which checkpoints keep their state dict.
const WRAPPERS: [&str; 4] = ["model", "state_dict", "model_state_dict", "module"];
/// More values than any model's tree has; a bound against trees that share branches.
const MOST_VALUES: usize = 1_000_000;
/// How many times its own length an archive's tensors may take, as tensors can share storages. Real models
/// share a few at most.
const LARGEST_SHARING: u64 = 4;
/// More modules within modules than any model has.
const DEEPEST: usize = 64;

/// Why an archive cannot be read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file is no zip archive, or a damaged one.
    #[error("not a readable zip archive (PyTorch before 1.6 wrote another format: save it again)")]
    Zip(#[from] zip::result::ZipError),
    /// Reading failed.
    #[error("reading failed")]
    Read(#[from] std::io::Error),
    /// An entry cannot be used.
    #[error("entry `{entry}`: {what}")]
    Entry {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        what: String,
    },
    /// The pickle cannot be read.
    #[error("{0}")]
    Pickle(String),
    /// A tensor's description is wrong.
    #[error("tensor `{name}`: {what}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file has the layout that PyTorch wrote before its zip archives.
    #[error(
        "the file is in the format of PyTorch before 1.6, which is not read: load it with PyTorch and save it again"
    )]
    Legacy,
    /// The file holds something other than what was asked for.
    #[error("it holds {found}, expected one tensor of real numbers")]
    NotOneTensor {
        /// What is there.
        found: String,
    },
    /// Making a tensor failed.
    #[error("tensor operation failed")]
    Compute(#[from] candle_core::Error),
}

impl From<PickleError> for ArchiveError {
    fn from(error: PickleError) -> Self {
        Self::Pickle(error.to_string())
    }
}

/// Type of stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Half precision.
    F16,
    /// Half the bits of f32, cut off.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Whole numbers of 8 bits with a sign.
    I8,
    /// Whole numbers of 8 bits without a sign.
    U8,
    /// Whole numbers of 16 bits.
    I16,
    /// Whole numbers of 32 bits.
    I32,
    /// Whole numbers of 64 bits.
    I64,
}

impl Number {
    fn of_storage(class: &str) -> Option<Self> {
        match class {
            "torch.HalfStorage" => Some(Self::F16),
            "torch.BFloat16Storage" => Some(Self::BF16),
            "torch.FloatStorage" => Some(Self::F32),
            "torch.DoubleStorage" => Some(Self::F64),
            "torch.CharStorage" => Some(Self::I8),
            "torch.ByteStorage" => Some(Self::U8),
            "torch.ShortStorage" => Some(Self::I16),
            "torch.IntStorage" => Some(Self::I32),
            "torch.LongStorage" => Some(Self::I64),
            _ => None,
        }
    }

    fn is_floating(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Bytes of a number.
    fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Little-endian bytes as f32; bytes beyond the last whole number are dropped.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => decode(bytes, |x| half::f16::from_le_bytes(x).to_f32()),
            Self::BF16 => decode(bytes, |x| half::bf16::from_le_bytes(x).to_f32()),
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::F64 => decode(bytes, |x| f64::from_le_bytes(x) as f32),
            Self::I8 => decode(bytes, |x| i8::from_le_bytes(x).into()),
            Self::U8 => decode(bytes, |x| u8::from_le_bytes(x).into()),
            Self::I16 => decode(bytes, |x| i16::from_le_bytes(x).into()),
            Self::I32 => decode(bytes, |x| i32::from_le_bytes(x) as f32),
            Self::I64 => decode(bytes, |x| i64::from_le_bytes(x) as f32),
        }
    }
}

fn decode<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| number(chunk)).collect()
}

/// How a tensor lies in a storage; counted in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    number: Number,
    pub(super) storage: String,
    offset: usize,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Reads every floating-point tensor of an archive as f32, by name. Other tensors are left out.
pub fn read(source: impl Read + Seek, length: u64) -> Result<BTreeMap<String, Tensor>, ArchiveError> {
    let mut archive = Archive::open(source, length)?;
    let pickle = Pickle::read(&archive.entry("data.pkl")?)?;
    pickle.check_globals(is_of_weights)?;
    let mut tensors = BTreeMap::new();
    let placements = placements(&pickle)?;
    check_size(&placements, length)?;
    for (name, placement) in placements {
        let bytes = archive.entry(&format!("data/{}", placement.storage))?;
        let values = placement.values(&bytes).map_err(|what| {
            let name = name.clone();
            ArchiveError::Tensor { name, what }
        })?;
        let tensor = Tensor::from_vec(values, placement.shape.as_slice(), &Device::Cpu)?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// What [`read`] would give, with the shape of each tensor and zeros in the place of its values: of the file no more is
/// read than says what is in it, and how large each entry is.
pub fn outline(source: impl Read + Seek, length: u64) -> Result<BTreeMap<String, Tensor>, ArchiveError> {
    let mut archive = Archive::open(source, length)?;
    let pickle = Pickle::read(&archive.entry("data.pkl")?)?;
    pickle.check_globals(is_of_weights)?;
    let placements = placements(&pickle)?;
    check_size(&placements, length)?;
    // A tensor without axes spreads to any shape, other scalars included.
    let zero = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
    let mut tensors = BTreeMap::new();
    for (name, placement) in placements {
        let held = archive.size(&format!("data/{}", placement.storage))?;
        if placement.bytes().is_none_or(|needed| needed > held) {
            let what = format!("its values are not all in the file, which has {held} bytes for them");
            return Err(ArchiveError::Tensor { name, what });
        }
        tensors.insert(name, zero.broadcast_as(placement.shape.as_slice())?);
    }
    Ok(tensors)
}

/// Whether weight files name such a class or function: tensors and what they are made of, and the modules of
/// TorchScript, which are names only.
fn is_of_weights(name: &str) -> bool {
    const MADE_OF: [&str; 19] = [
        // What training scripts keep beside the weights: read as values, and not used.
        "argparse.Namespace",
        "collections.defaultdict",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePosixPath",
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
    ];
    MADE_OF.contains(&name)
        || name.strip_prefix("torch.").is_some_and(|rest| rest.ends_with("Storage") && !rest.contains('.'))
        || name.starts_with("__torch__.")
        || name.starts_with("torch.jit._pickle.")
}

/// Refuses tensors that together are larger than an archive of `length` bytes can hold.
fn check_size(placements: &BTreeMap<String, Placement>, length: u64) -> Result<(), ArchiveError> {
    let mut budget = length.saturating_mul(LARGEST_SHARING);
    for (name, placement) in placements {
        let size = placement.bytes().filter(|size| *size <= budget);
        budget -= size.ok_or_else(|| ArchiveError::Tensor {
            name: name.clone(),
            what: format!(
                "with the tensors before it, it is larger than an archive of {length} bytes can be"
            ),
        })?;
    }
    Ok(())
}

/// An open zip archive whose entries share one folder.
pub(super) struct Archive<R> {
    zip: ZipArchive<R>,
    folder: String,
    /// Bytes of the whole file: no entry can hold more, as none is compressed.
    length: u64,
}

impl<R: Read + Seek> Archive<R> {
    pub(super) fn open(source: R, length: u64) -> Result<Self, ArchiveError> {
        let zip = ZipArchive::new(source)?;
        let mut folders: Vec<String> = Vec::new();
        for name in zip.file_names() {
            if let Some(folder) = name?.strip_suffix("data.pkl").filter(|x| x.is_empty() || x.ends_with('/'))
            {
                folders.push(folder.to_owned());
            }
        }
        let [folder] = folders.as_slice() else {
            let what = format!("there are {} of it, expected one", folders.len());
            return Err(ArchiveError::Entry { entry: "data.pkl".into(), what });
        };
        let folder = folder.clone();
        let mut archive = Self { zip, folder, length };
        archive.check_byte_order()?;
        Ok(archive)
    }

    /// Archives without the entry are of a time when every one was little-endian.
    fn check_byte_order(&mut self) -> Result<(), ArchiveError> {
        let name = format!("{}byteorder", self.folder);
        if self.zip.index_for_name(&name).is_some() && self.entry("byteorder")? != b"little" {
            return Err(ArchiveError::Entry {
                entry: name,
                what: "the numbers are not little-endian".into(),
            });
        }
        Ok(())
    }

    /// How many bytes an entry claims, of those that the file has.
    fn size(&mut self, name: &str) -> Result<u64, ArchiveError> {
        let entry = format!("{}{name}", self.folder);
        let file = self.zip.by_name(&entry);
        let size = file.map(|file| file.size()).map_err(|error| error.to_string());
        size.map(|size| size.min(self.length)).map_err(|what| ArchiveError::Entry { entry, what })
    }

    /// All bytes of an entry.
    pub(super) fn entry(&mut self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let entry = format!("{}{name}", self.folder);
        let failed = |what: String| ArchiveError::Entry { entry: entry.clone(), what };
        let file = self.zip.by_name(&entry).map_err(|error| failed(error.to_string()))?;
        let size = file.size();
        if file.compression() != CompressionMethod::Stored {
            return Err(failed("it is compressed, which PyTorch never does".into()));
        }
        if size > self.length {
            return Err(failed(format!("it claims {size} bytes in a file of {}", self.length)));
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(failed(format!("it claims {size} bytes and has {}", bytes.len()))),
        }
    }
}

/// Every floating-point tensor of the pickled tree, by its dotted name.
fn placements(pickle: &Pickle) -> Result<BTreeMap<String, Placement>, ArchiveError> {
    let mut walk = Walk { pickle, found: BTreeMap::new(), values_left: MOST_VALUES };
    walk.members(state_dict(pickle), "", 0)?;
    Ok(walk.found)
}

/// The value that holds the tensors: the root, or what it wraps, perhaps more than once.
fn state_dict(pickle: &Pickle) -> Id {
    let mut id = pickle.root();
    for _ in 0..WRAPPERS.len() {
        let Value::Dict(pairs) = pickle.value(id) else { break };
        let wrapped = |name: &str| {
            let inner =
                pairs.iter().find(|&&(key, _)| pickle.text(key) == Some(name)).map(|&(_, inner)| inner);
            inner.filter(|&inner| matches!(pickle.value(inner), Value::Dict(_)))
        };
        match WRAPPERS.iter().find_map(|name| wrapped(name)) {
            Some(inner) => id = inner,
            None => break,
        }
    }
    id
}

struct Walk<'a> {
    pickle: &'a Pickle,
    found: BTreeMap<String, Placement>,
    values_left: usize,
}

impl Walk<'_> {
    /// Visits the members of a dictionary or of a module, whose state is a dictionary.
    fn members(&mut self, id: Id, prefix: &str, depth: usize) -> Result<(), ArchiveError> {
        let pairs = match self.pickle.value(id) {
            Value::Dict(pairs) => pairs,
            Value::Object { state: Some(state), .. } => match self.pickle.value(*state) {
                Value::Dict(pairs) => pairs,
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        for &(key, member) in pairs {
            let Some(key) = self.pickle.text(key) else { continue };
            let name = format!("{prefix}{key}");
            self.values_left = self.values_left.checked_sub(1).ok_or_else(|| too_large(&name))?;
            if let Some(arguments) = tensor_arguments(self.pickle, member) {
                let placement = placement(self.pickle, arguments, &name)?;
                if let Some(placement) = placement.filter(|placement| placement.number.is_floating()) {
                    self.found.insert(name, placement);
                }
            } else if matches!(self.pickle.value(member), Value::Object { state: Some(_), .. }) {
                if depth >= DEEPEST {
                    return Err(too_large(&name));
                }
                self.members(member, &format!("{name}."), depth + 1)?;
            }
        }
        Ok(())
    }
}

fn too_large(name: &str) -> ArchiveError {
    ArchiveError::Tensor { name: name.into(), what: "the tree of modules is larger than any model's".into() }
}

/// Arguments of `_rebuild_tensor_v2`, if the value is a tensor or a parameter that wraps one.
pub(super) fn tensor_arguments(pickle: &Pickle, id: Id) -> Option<&[Id]> {
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
pub(super) fn placement(
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
    fn bytes(&self) -> Option<u64> {
        let number = self.number.bytes() as u64;
        self.shape.iter().try_fold(number, |bytes, &dim| bytes.checked_mul(dim as u64))
    }

    /// The tensor's values in C order from its storage's bytes.
    pub(super) fn values(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(offset: usize, shape: &[usize], strides: &[usize]) -> Placement {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Placement { number: Number::F32, storage: "0".into(), offset, shape, strides }
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn views_are_read_in_c_order() {
        let storage = bytes(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let table: [(Placement, &[f32]); 4] = [
            (placement(0, &[2, 3], &[3, 1]), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            (placement(0, &[3, 2], &[1, 3]), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
            (placement(2, &[2, 1], &[1, 7]), &[2.0, 3.0]),
            (placement(5, &[], &[]), &[5.0]),
        ];
        for (placement, expected) in table {
            assert_eq!(placement.values(&storage).expect("values"), expected, "{placement:?}");
        }
    }

    #[test]
    fn views_that_leave_their_storage_are_errors() {
        let storage = bytes(&[0.0; 6]);
        let table = [
            placement(1, &[6], &[1]),
            placement(0, &[2, 2], &[1, 9]),
            placement(0, &[usize::MAX, 2], &[0, 0]),
            placement(0, &[1 << 40], &[0]),
            placement(usize::MAX, &[2], &[2]),
        ];
        for placement in table {
            assert!(placement.values(&storage).is_err(), "{placement:?}");
        }
    }

    #[test]
    fn an_empty_tensor_of_huge_dimensions_is_empty() {
        let placement = placement(0, &[0, 1 << 40, 1 << 40], &[1, 1 << 40, 1]);
        assert!(placement.values(&bytes(&[0.0])).expect("values").is_empty());
    }

    #[test]
    fn tensors_that_share_storages_have_a_limit_together() {
        let tensors = |count: usize, shape: &[usize]| -> BTreeMap<String, Placement> {
            (0..count).map(|name| (name.to_string(), placement(0, shape, &vec![1; shape.len()]))).collect()
        };
        assert!(check_size(&tensors(4, &[25]), 100).is_ok());
        let error = check_size(&tensors(5, &[25]), 100).expect_err("too much").to_string();
        assert!(error.starts_with("tensor `4`: with the tensors before it"), "{error}");
        assert!(check_size(&tensors(1, &[1 << 40, 1 << 40]), u64::MAX).is_err());
    }

    #[test]
    fn numbers_are_decoded() {
        assert_eq!(Number::F16.decode(&[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(Number::BF16.decode(&[0x80, 0x3f]), [1.0]);
        assert_eq!(Number::F64.decode(&1.5f64.to_le_bytes()), [1.5]);
    }
}
