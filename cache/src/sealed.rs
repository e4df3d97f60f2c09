//! Files that are read whole or not at all: a line that says what they are, a digest of what follows, and that.

use std::path::Path;

use crate::Digest;
use crate::atomic::{Durability, write_parts_atomically};
use crate::error::Result;

/// Replaces a file; a reader, also after a crash, sees the old bytes or the new ones.
pub(crate) fn write(path: &Path, magic: &[u8], bytes: &[u8], durability: Durability) -> Result<()> {
    write_parts_atomically(path, &[magic, Digest::of(bytes).as_bytes(), bytes], durability)
}

/// What was written, if it is there and whole.
pub(crate) fn read(path: &Path, magic: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = crate::io::read(path).ok()?;
    let start = magic.len() + Digest::of(&[]).as_bytes().len();
    let digest = bytes.get(..start)?.strip_prefix(magic)?.to_vec();
    bytes.drain(..start);
    (Digest::of(&bytes).as_bytes()[..] == digest[..]).then_some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_cut_short_or_changed_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(read(&path, b"test 1\n"), None);
        write(&path, b"test 1\n", b"first", Durability::Now).unwrap();
        write(&path, b"test 1\n", b"second", Durability::Soon).unwrap();
        assert_eq!(read(&path, b"test 1\n").as_deref(), Some(&b"second"[..]));
        assert_eq!(read(&path, b"test 2\n"), None);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path, b"test 1\n"), None, "cut to {length}");
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path, b"test 1\n"), None, "byte {position} changed");
        }
    }
}
