//! BLAKE3 digests, and the length-prefixed hashing that fingerprints are made of.

use std::fmt;
use std::hash::Hash;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are read at a time in the beginning, and of long files.
const FIRST_BUFFER: usize = 4 << 10;
const SMALL_BUFFER: usize = 128 << 10;
const BIG_BUFFER: usize = 4 << 20;

/// A 256-bit BLAKE3 digest; shown and stored as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Its bytes are spread evenly, so eight of them tell digests apart in a table as well as all do.
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of bytes that lie in several places.
    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The digest of everything a reader gives, and how many bytes that was.
    ///
    /// # Errors
    /// Whatever the reader reports.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        // Most files of many are small, and memory that was just taken costs more than their bytes.
        let mut first = [0; FIRST_BUFFER];
        let mut filled = 0;
        while filled < FIRST_BUFFER {
            match reader.read(&mut first[filled..]) {
                Ok(0) => return Ok((Self::of(&first[..filled]), filled as u64)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; SMALL_BUFFER];
        buffer[..filled].copy_from_slice(&first);
        let mut size = filled as u64;
        loop {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => {
                    hasher.update(&buffer[..filled]);
                    return Ok((Self(*hasher.finalize().as_bytes()), size));
                }
                Ok(count) => {
                    size += count as u64;
                    filled += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if filled == buffer.len() {
                // Reads stay in order, which disks like; only the hashing is shared out.
                match filled {
                    SMALL_BUFFER => drop(hasher.update(&buffer)),
                    _ => drop(hasher.update_rayon(&buffer)),
                }
                filled = 0;
                if size >= BIG_BUFFER as u64 {
                    buffer.resize(BIG_BUFFER, 0);
                }
            }
        }
    }

    /// The digest with the given bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a digest of 64 lower-case hexadecimal digits")]
pub struct ParseDigestError(String);

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseDigestError(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(refuse());
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(refuse()),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes a sequence of fields so that no two different sequences give the same bytes: every field is
/// preceded by its length, and every hasher by the purpose it serves.
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher for one purpose; digests of different purposes never agree.
    pub fn new(purpose: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(purpose))
    }

    /// A hasher with a secret key: who has not the key cannot tell whether a guess is right.
    pub fn keyed(key: &Digest) -> Self {
        Self(blake3::Hasher::new_keyed(key.as_bytes()))
    }

    /// Adds one field.
    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest of all fields so far.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let digest = Digest::of(b"nodule");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for wrong in ["", "ab", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reader_gives_the_digest_of_its_bytes_however_long_and_halting() {
        struct Halting<'a>(&'a [u8], usize);
        impl Read for Halting<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = self.1 * 7 % 100_003 + 1;
                let count = self.1.min(buffer.len()).min(self.0.len());
                buffer[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        let bytes: Vec<u8> = (0..3 * BIG_BUFFER + 17).map(|place| (place % 251) as u8).collect();
        for length in [
            0,
            1,
            FIRST_BUFFER - 1,
            FIRST_BUFFER,
            FIRST_BUFFER + 1,
            SMALL_BUFFER,
            SMALL_BUFFER + 1,
            BIG_BUFFER,
            BIG_BUFFER + 1,
            bytes.len(),
        ] {
            let bytes = &bytes[..length];
            assert_eq!(Digest::of_reader(bytes).unwrap(), (Digest::of(bytes), length as u64));
            assert_eq!(Digest::of_reader(Halting(bytes, 1)).unwrap(), (Digest::of(bytes), length as u64));
        }
    }

    #[test]
    fn a_field_boundary_counts() {
        let hash = |fields: &[&str]| {
            let mut hasher = Hasher::new("test");
            fields.iter().for_each(|field| {
                hasher.field(field);
            });
            hasher.finish()
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a", ""]), hash(&["a"]));
    }

    #[test]
    fn the_digest_of_fields_is_pinned() {
        let digest = Hasher::new("pipe test").field("kind").field("crop").finish();
        assert_eq!(digest, Hasher::new("pipe test").field("kind").field("crop").finish());
        assert_eq!(
            Digest::of(b"").to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
    }
}
