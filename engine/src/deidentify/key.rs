//! The secret key, and the hashes that it gives.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use pipe_cache::{Digest, Hasher};

use super::DeidentifyError;

/// A key has at least so many bytes: 32 hexadecimal digits are a key of 128 bits.
const SHORTEST: usize = 32;
/// What has fewer different bytes is no random key.
const DISTINCT: usize = 8;
/// A key that is made has so many random bytes.
const MADE: usize = 32;

/// A secret key. Who has it can make the same pseudonyms again; who has not cannot tell whether a guess is right.
pub struct Key(Digest);

impl Key {
    /// Reads a key: the bytes of a file, without white space at its end.
    ///
    /// # Errors
    /// A file that cannot be read, or has too few bytes.
    pub fn read(path: &Path) -> Result<Self, DeidentifyError> {
        let unreadable = |source| DeidentifyError::Key { path: path.to_path_buf(), source };
        let bytes = fs::read(path).map_err(unreadable)?;
        let bytes = bytes.trim_ascii_end();
        if bytes.len() < SHORTEST {
            let problem = format!("it has {} bytes, and a key has at least {SHORTEST}", bytes.len());
            return Err(unreadable(io::Error::other(problem)));
        }
        let distinct: BTreeSet<u8> = bytes.iter().copied().collect();
        if distinct.len() < DISTINCT {
            let problem = format!("it has {} different bytes only, which can be guessed", distinct.len());
            return Err(unreadable(io::Error::other(problem)));
        }
        Ok(Self::of(bytes))
    }

    /// Reads a key, making a file with a random one when there is none, which nobody else may read.
    ///
    /// # Errors
    /// As [`Key::read`], and a file that cannot be written.
    pub fn read_or_make(path: &Path) -> Result<Self, DeidentifyError> {
        let failed = |source| DeidentifyError::Key { path: path.to_path_buf(), source };
        match make(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Self::read(path),
        }
    }

    fn of(bytes: &[u8]) -> Self {
        Self(Hasher::new("pipe de-identification, version 1").field(bytes).finish())
    }

    /// The hash of something; `what` sets apart the sorts of things that are hashed.
    pub(super) fn hash(&self, what: &str, parts: &[&[u8]]) -> Digest {
        let mut hasher = Hasher::keyed(&self.0);
        hasher.field(what);
        parts.iter().for_each(|part| {
            hasher.field(part);
        });
        hasher.finish()
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; MADE];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole before it has its name: nobody reads half of a key.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{digits}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let hash = |key: Key| key.hash("name", &[b"1.2.3"]);
        let first = hash(Key::read_or_make(&path).unwrap());
        assert_eq!(hash(Key::read_or_make(&path).unwrap()), first);
        assert_eq!(hash(Key::read(&path).unwrap()), first);
        let other = folder.path().join("other");
        assert_ne!(hash(Key::read_or_make(&other).unwrap()), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        }
    }

    #[test]
    fn short_keys_are_refused_and_an_end_of_line_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret\n").unwrap();
        assert!(Key::read(&path).is_err());
        assert!(Key::read_or_make(&path).is_err());
        fs::write(&path, [0; 64]).unwrap();
        assert!(Key::read(&path).is_err());
        let digits = "0123456789abcdef".repeat(2);
        fs::write(&path, &digits).unwrap();
        let plain = Key::read(&path).unwrap().hash("name", &[b"a"]);
        fs::write(&path, digits + "\r\n").unwrap();
        let ended = Key::read(&path).unwrap();
        assert_eq!(ended.hash("name", &[b"a"]), plain);
        assert_ne!(ended.hash("digest", &[b"a"]), plain);
        assert_ne!(ended.hash("name", &[b"a", b""]), plain);
    }
}
