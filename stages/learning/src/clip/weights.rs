//! Weight files: CLIP's towers in three formats, and trained tensors as safetensors.
//!
//! Files come from elsewhere and are data: read by readers that make arrays only, every size checked
//! against the file. Numbers are f32 in use, whatever they are on disk. Stored models are safetensors
//! without the metadata map, whose order would differ from run to run.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use thiserror::Error;

use super::architecture::Architecture;
use super::naming::reference_names;
use super::{ModelError, Shapes, Tensors};
use pipe_torch::archive::{self, ArchiveError, Number};

/// Why a weight file cannot be used.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a sound PyTorch archive.
    #[error("{}: not a sound PyTorch archive", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArchiveError,
    },
    /// The bytes are not sound safetensors.
    #[error("{}: neither a PyTorch archive nor sound safetensors", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SafetensorsError,
    },
    /// The tensors are not those of a CLIP model.
    #[error("{}: not the weights of a CLIP model", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Which tensor is wrong.
        source: ModelError,
    },
}

/// Why bytes are not sound safetensors of numbers that are used here.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// The format is violated.
    #[error(transparent)]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor cannot be made.
    #[error("tensor operation failed")]
    Compute(#[from] candle_core::Error),
}

/// The two towers of a CLIP model.
#[derive(Clone, Debug)]
pub struct Towers {
    /// Dimensions, read from the tensors.
    pub architecture: Architecture,
    /// Every tensor of the towers (reference names), f32.
    pub tensors: Tensors,
}

/// Reads CLIP's towers from a state dict (`.pt`), a TorchScript archive or safetensors, in OpenAI's, Hugging Face's
/// or the reference's names.
///
/// # Errors
/// The file cannot be read or is malformed, or a tensor is missing, misshapen or has no place.
pub fn read_towers(path: &Path) -> Result<Towers, WeightsError> {
    let tensors = read_tensors(path)?;
    check_towers(tensors).map_err(|source| WeightsError::Model { path: path.to_owned(), source })
}

/// Reads every floating-point tensor of a weight file as f32, under the names it has there.
///
/// # Errors
/// The file cannot be read or is malformed.
pub fn read_tensors(path: &Path) -> Result<Tensors, WeightsError> {
    let failed = |source| WeightsError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut start = [0; 4];
    let read = file.read(&mut start).map_err(failed)?;
    if read == 4 && start == *b"PK\x03\x04" {
        let tensors = archive::read(BufReader::new(file), length);
        let tensors = tensors.map_err(|source| WeightsError::Archive { path: path.to_owned(), source })?;
        return Ok(without_wrapping(tensors));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let tensors = parse_safetensors(&bytes);
    tensors
        .map(without_wrapping)
        .map_err(|source| WeightsError::Safetensors { path: path.to_owned(), source })
}

/// What [`read_tensors`] would give, with zeros in the place of values: of the file no more is read than says what is in
/// it.
///
/// # Errors
/// As [`read_tensors`], but for damage within values.
pub fn outline_tensors(path: &Path) -> Result<Tensors, WeightsError> {
    let failed = |source| WeightsError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut start = Vec::new();
    file.by_ref().take(8).read_to_end(&mut start).map_err(failed)?;
    if start.starts_with(b"PK\x03\x04") {
        let tensors = archive::outline(BufReader::new(file), length);
        let tensors = tensors.map_err(|source| WeightsError::Archive { path: path.to_owned(), source })?;
        return Ok(without_wrapping(tensors));
    }
    let claimed = start.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    file.take(claimed.min(LARGEST_HEADER)).read_to_end(&mut start).map_err(failed)?;
    let tensors = outline_safetensors(&start, length);
    tensors
        .map(without_wrapping)
        .map_err(|source| WeightsError::Safetensors { path: path.to_owned(), source })
}

/// The longest header of safetensors, in bytes; the format's own limit.
const LARGEST_HEADER: u64 = 100_000_000;

fn outline_safetensors(start: &[u8], length: u64) -> Result<Tensors, SafetensorsError> {
    let (claimed, header) = start.split_first_chunk().ok_or(SafeTensorError::HeaderTooSmall)?;
    if u64::from_le_bytes(*claimed) != header.len() as u64 {
        return Err(SafeTensorError::InvalidHeaderLength.into());
    }
    // The format's own reader wants the whole file.
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let tensors = metadata.tensors();
    let mut infos: Vec<&TensorInfo> = tensors.values().copied().collect();
    infos.sort_by_key(|info| info.data_offsets);
    let mut end = 0;
    for info in infos {
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, extent| bits.checked_mul(*extent));
        if info.data_offsets.0 != end
            || bits.and_then(|bits| end.checked_add(bits / 8)) != Some(info.data_offsets.1)
        {
            return Err(SafeTensorError::TensorInvalidInfo.into());
        }
        end = info.data_offsets.1;
    }
    if (start.len() as u64).saturating_add(end as u64) != length {
        return Err(SafeTensorError::MetadataIncompleteBuffer.into());
    }
    let zero = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
    let mut outline = Tensors::new();
    for (name, info) in tensors {
        if matches!(info.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64) {
            outline.insert(name, zero.broadcast_as(info.shape.as_slice())?);
        }
    }
    Ok(outline)
}

/// Dimensions of a weight file's towers; as [`read_towers`], but for the values.
///
/// # Errors
/// As [`read_towers`], but for damage within values.
pub fn outline_towers(path: &Path) -> Result<Architecture, WeightsError> {
    let towers = check_towers(outline_tensors(path)?);
    let towers = towers.map_err(|source| WeightsError::Model { path: path.to_owned(), source })?;
    Ok(towers.architecture)
}

/// Names without what wrappers of modules put before all of them: `DataParallel` and compiled modules.
fn without_wrapping(mut tensors: Tensors) -> Tensors {
    const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];
    loop {
        let common = PREFIXES.iter().find(|prefix| tensors.keys().all(|name| name.starts_with(**prefix)));
        let Some(prefix) = common.filter(|_| !tensors.is_empty()) else { return tensors };
        let plain = |(name, tensor): (String, Tensor)| (name[prefix.len()..].to_owned(), tensor);
        tensors = tensors.into_iter().map(plain).collect();
    }
}

/// Reads safetensors as f32. Tensors of other than floating-point numbers are left out.
///
/// # Errors
/// The bytes violate the format.
pub fn parse_safetensors(bytes: &[u8]) -> Result<Tensors, SafetensorsError> {
    let mut tensors = Tensors::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
        let number = match view.dtype() {
            Dtype::F16 => Number::F16,
            Dtype::BF16 => Number::BF16,
            Dtype::F32 => Number::F32,
            Dtype::F64 => Number::F64,
            _ => continue,
        };
        let tensor = Tensor::from_vec(number.decode(view.data()), view.shape(), &Device::Cpu)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// Writes tensors as f32 safetensors: equal tensors give equal bytes.
///
/// # Errors
/// A tensor cannot be copied to the host.
pub fn to_safetensors(tensors: &Tensors) -> Result<Vec<u8>, SafetensorsError> {
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values = tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        data.push((name, tensor.dims().to_vec(), bytes));
    }
    let views = data.iter().map(|(name, shape, bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    Ok(safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, None)?)
}

/// Checks that tensors are exactly those of the given names and shapes.
///
/// # Errors
/// A tensor is missing, misshapen or not named.
pub fn check_shapes(tensors: &Tensors, shapes: &Shapes) -> Result<(), ModelError> {
    for (name, expected) in shapes {
        let tensor = tensors.get(name).ok_or_else(|| ModelError::Missing { name: name.clone() })?;
        if tensor.dims() != expected {
            let (found, expected) = (tensor.dims().to_vec(), expected.clone());
            return Err(ModelError::Shape { name: name.clone(), found, expected });
        }
    }
    let mut unexpected = tensors.keys().filter(|name| !shapes.contains_key(*name));
    match unexpected.next() {
        Some(name) => Err(ModelError::Unexpected { count: 1 + unexpected.count(), name: name.clone() }),
        None => Ok(()),
    }
}

fn check_towers(tensors: Tensors) -> Result<Towers, ModelError> {
    let tensors = reference_names(tensors)?;
    let architecture = Architecture::from_tensors(&tensors)?;
    check_shapes(&tensors, &architecture.base_shapes())?;
    Ok(Towers { architecture, tensors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_tensors_are_read_back_and_equal_tensors_give_equal_bytes() {
        let tensor = |value: f32| Tensor::new(&[[value, 2.0]], &Device::Cpu).expect("tensor");
        let tensors: Tensors = (0..6).map(|i| (format!("t{i}"), tensor(i as f32))).collect();
        let bytes = to_safetensors(&tensors).expect("bytes");
        assert_eq!(bytes, to_safetensors(&tensors.clone()).expect("bytes"));
        assert!(!bytes.windows(12).any(|part| part == b"__metadata__"));
        let back = parse_safetensors(&bytes).expect("tensors");
        assert_eq!(back.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
        assert_eq!(back["t3"].to_vec2::<f32>().expect("values"), [[3.0, 2.0]]);
    }

    #[test]
    fn a_files_outline_has_its_tensors_and_tells_what_is_cut_off() {
        let tensor = |value: f32| Tensor::new(&[[value, 2.0, 3.0]], &Device::Cpu).expect("tensor");
        let tensors: Tensors = (0..3).map(|i| (format!("t{i}"), tensor(i as f32))).collect();
        let bytes = to_safetensors(&tensors).expect("bytes");
        let folder = tempfile::tempdir().expect("a folder");
        let outlined = |bytes: &[u8]| {
            let path = folder.path().join("w.safetensors");
            std::fs::write(&path, bytes).expect("written");
            outline_tensors(&path)
        };
        let outline = outlined(&bytes).expect("sound");
        let shapes: Vec<(&str, &[usize])> =
            outline.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())).collect();
        assert_eq!(shapes, [("t0", &[1, 3][..]), ("t1", &[1, 3]), ("t2", &[1, 3])]);
        for length in [0, 4, 8, 20, bytes.len() - 1] {
            assert!(outlined(&bytes[..length]).is_err(), "{length}");
        }
        assert!(outlined(&[&bytes[..], b"more"].concat()).is_err());
    }

    #[test]
    fn shapes_are_checked_by_name() {
        let zeros =
            |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("zeros");
        let shapes = Shapes::from([("a".into(), vec![2]), ("b".into(), vec![3, 1])]);
        let mut tensors = Tensors::from([("a".into(), zeros(&[2])), ("b".into(), zeros(&[3, 1]))]);
        check_shapes(&tensors, &shapes).expect("exact");
        tensors.insert("c".into(), zeros(&[1]));
        let error = check_shapes(&tensors, &shapes).expect_err("unexpected").to_string();
        assert_eq!(error, "1 tensors have no place in the model, the first is `c`");
        tensors.insert("b".into(), zeros(&[3, 2]));
        let error = check_shapes(&tensors, &shapes).expect_err("shape").to_string();
        assert_eq!(error, "tensor `b` has shape [3, 2], expected [3, 1]");
        tensors.remove("a");
        assert!(matches!(check_shapes(&tensors, &shapes), Err(ModelError::Missing { name }) if name == "a"));
    }
}
