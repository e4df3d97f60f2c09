//! Files of `joblib.dump`: a pickle with the numbers of arrays in it, compressed or not.
//!
//! scikit-learn's models come so. The reader makes numbers, texts, lists, dictionaries and arrays, and refuses a file
//! that names anything that is not on the list of the classes that it was asked for.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use thiserror::Error;

use super::numpy;
use super::pickle::{Pickle, PickleError};

/// More than any small model takes; a bound against files that blow up.
const LARGEST: u64 = 64 << 20;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum JoblibError {
    /// Decompressing it fails.
    #[error("cannot be decompressed: {0}")]
    Compression(std::io::Error),
    /// It is larger than such a file can be.
    #[error("it is larger than the {} MB that are read", LARGEST >> 20)]
    TooLarge,
    /// It is compressed in another way.
    #[error("it is compressed with {0}, which is not read: dump it with `compress=0`")]
    OtherCompression(&'static str),
    /// The pickle is malformed, or asks for what is not read.
    #[error(transparent)]
    Pickle(#[from] PickleError),
}

/// Reads a file in which only numbers, arrays and these classes occur.
pub fn read(bytes: &[u8], classes: &[&str]) -> Result<Pickle, JoblibError> {
    let pickle = match bytes {
        [0x1f, 0x8b, ..] => Pickle::read(&whole(MultiGzDecoder::new(bytes))?)?,
        [0x78, ..] => Pickle::read(&whole(ZlibDecoder::new(bytes))?)?,
        [b'B', b'Z', b'h', ..] => return Err(JoblibError::OtherCompression("bzip2")),
        [0xfd, b'7', b'z', ..] => return Err(JoblibError::OtherCompression("xz")),
        [0x5d, 0, 0, ..] => return Err(JoblibError::OtherCompression("lzma")),
        [4, 0x22, 0x4d, 0x18, ..] => return Err(JoblibError::OtherCompression("lz4")),
        _ if bytes.len() as u64 > LARGEST => return Err(JoblibError::TooLarge),
        _ => Pickle::read(bytes)?,
    };
    pickle.check_globals(|name| numpy::GLOBALS.contains(&name) || classes.contains(&name))?;
    Ok(pickle)
}

fn whole(reader: impl Read) -> Result<Vec<u8>, JoblibError> {
    let mut bytes = Vec::new();
    reader.take(LARGEST + 1).read_to_end(&mut bytes).map_err(JoblibError::Compression)?;
    if bytes.len() as u64 > LARGEST { Err(JoblibError::TooLarge) } else { Ok(bytes) }
}
