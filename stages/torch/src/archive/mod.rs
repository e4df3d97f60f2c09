//! Finds and reads the tensors of PyTorch's zip archives.
//!
//! Two layouts: a pickled state dict, possibly nested under `model` or `state_dict` (`torch.save`), and
//! a pickled tree of modules (TorchScript). A single tensor is read in [`crate::tensor`]. Tensors are read as values; nothing is executed. Every size
//! is checked against the archive before memory is taken.

mod number;
mod placement;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use candle_core::{Device, Tensor};
use thiserror::Error;
use zip::{CompressionMethod, ZipArchive};

pub use self::number::Number;
pub(crate) use self::placement::{Placement, placement, tensor_arguments};
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

#[cfg(test)]
mod tests;
