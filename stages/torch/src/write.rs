//! Writes a checkpoint as `torch.save` does: a zip archive of a pickled state dict and one storage for each tensor.
//!
//! `torch.load(…, weights_only=True)` reads it: tensors are made by `_rebuild_tensor_v2`, and nothing else is called.
//! Without times, so that equal tensors give equal bytes.

use std::io::{Cursor, Write as _};

use candle_core::{DType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::archive::ArchiveError;
use super::pickle_write::PickleWriter;
use crate::Tensors;

/// `{"model": state_dict}` of f32 tensors, as a file of that name without its ending.
pub fn checkpoint(tensors: &Tensors, name: &str) -> Result<Vec<u8>, ArchiveError> {
    archive(&pickle(tensors), tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), name)
}

/// One f32 tensor, as a file of that name without its ending.
pub fn tensor(tensor: &Tensor, name: &str) -> Result<Vec<u8>, ArchiveError> {
    let mut pickle = PickleWriter::default();
    describe(&mut pickle, 0, tensor);
    archive(&pickle.finish(), [(name, tensor)].into_iter(), name)
}

/// A pickle and the storages that it names by their positions.
fn archive<'a>(
    pickle: &[u8],
    storages: impl Iterator<Item = (&'a str, &'a Tensor)>,
    name: &str,
) -> Result<Vec<u8>, ArchiveError> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut entry = |entry: &str, bytes: &[u8]| -> Result<(), ArchiveError> {
        // Sizes of four gigabytes and more need to be announced.
        let options = options.large_file(bytes.len() >= u32::MAX as usize);
        archive.start_file(format!("{name}/{entry}"), options)?;
        Ok(archive.write_all(bytes)?)
    };
    entry("data.pkl", pickle)?;
    entry("byteorder", b"little")?;
    for (position, (name, tensor)) in storages.enumerate() {
        entry(&format!("data/{position}"), &storage(name, tensor)?)?;
    }
    entry("version", b"3\n")?;
    Ok(archive.finish()?.into_inner())
}

fn storage(name: &str, tensor: &Tensor) -> Result<Vec<u8>, ArchiveError> {
    let values = tensor.to_dtype(DType::F32).and_then(|x| x.flatten_all()).and_then(|x| x.to_vec1::<f32>());
    let values =
        values.map_err(|error| ArchiveError::Tensor { name: name.into(), what: error.to_string() })?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn pickle(tensors: &Tensors) -> Vec<u8> {
    let mut pickle = PickleWriter::default();
    pickle.dictionary(|pickle| {
        pickle.text("model");
        ordered_dictionary(pickle).items(|pickle| {
            for (position, (name, tensor)) in tensors.iter().enumerate() {
                describe(pickle.text(name), position, tensor);
            }
        });
    });
    pickle.finish()
}

fn ordered_dictionary(pickle: &mut PickleWriter) -> &mut PickleWriter {
    pickle.global("collections", "OrderedDict").tuple(|_| ()).call()
}

/// A tensor in C order that begins at its storage's first number.
#[allow(clippy::cast_possible_wrap, reason = "no tensor in memory has so many numbers")]
fn describe(pickle: &mut PickleWriter, position: usize, tensor: &Tensor) {
    let sizes = |pickle: &mut PickleWriter, sizes: &[usize]| {
        pickle.tuple(|pickle| {
            for &size in sizes {
                pickle.integer(size as i64);
            }
        });
    };
    pickle.global("torch._utils", "_rebuild_tensor_v2").tuple(|pickle| {
        pickle
            .tuple(|pickle| {
                let pickle = pickle.text("storage").global("torch", "FloatStorage");
                pickle.text(&position.to_string()).text("cpu").integer(tensor.elem_count() as i64);
            })
            .persistent();
        pickle.integer(0);
        sizes(pickle, tensor.dims());
        sizes(pickle, &strides(tensor.dims()));
        ordered_dictionary(pickle.boolean(false));
    });
    pickle.call();
}

/// Numbers from one index to the next along each axis, in C order.
fn strides(sizes: &[usize]) -> Vec<usize> {
    let mut strides: Vec<usize> =
        sizes.iter().rev().scan(1, |stride, size| Some(std::mem::replace(stride, *stride * size))).collect();
    strides.reverse();
    strides
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::archive::read;

    #[test]
    fn what_is_written_is_read_back_and_equal_tensors_give_equal_bytes() {
        let tensors = Tensors::from(
            [
                ("a.weight".to_owned(), Tensor::new(&[[1.0_f32, -2.0, 3.5], [0.0, 5.0, 6.0]], &Device::Cpu)),
                ("logit_scale".to_owned(), Tensor::new(2.5_f32, &Device::Cpu)),
            ]
            .map(|(name, tensor)| (name, tensor.expect("tensor"))),
        );
        let bytes = checkpoint(&tensors, "best_both").expect("bytes");
        assert_eq!(bytes, checkpoint(&tensors, "best_both").expect("bytes"));
        let back = read(Cursor::new(&bytes), bytes.len() as u64).expect("tensors");
        assert_eq!(back["a.weight"].to_vec2::<f32>().expect("values"), [[1.0, -2.0, 3.5], [0.0, 5.0, 6.0]]);
        assert_eq!(back["logit_scale"].to_scalar::<f32>().expect("value"), 2.5);
    }
}
