//! SHA-256, for readers who do not know BLAKE3.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Bytes whose SHA-256 is made while they are read.
pub(crate) struct Hashing<R> {
    bytes: R,
    hasher: Sha256,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(bytes: R) -> Self {
        Self { bytes, hasher: Sha256::new() }
    }

    /// The SHA-256 of what has been read, hexadecimal.
    pub(crate) fn finish(self) -> String {
        self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

/// The SHA-256 of all that can be read, hexadecimal.
///
/// # Errors
/// The reader's.
pub fn sha256_of(bytes: impl Read) -> io::Result<String> {
    let mut bytes = Hashing::new(bytes);
    io::copy(&mut bytes, &mut io::sink())?;
    Ok(bytes.finish())
}
