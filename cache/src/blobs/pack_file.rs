//! The bytes of a pack and of its index.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::packs::MOST_PACKED;
use crate::Digest;

pub(super) const PACK_HEADER: &[u8; 16] = b"pipe-pack 1\n\0\0\0\0";
pub(super) const INDEX_HEADER: &[u8; 16] = b"pipe-places 1\n\0\0";

/// Bytes of an index record: digest, offset, length, check.
pub(super) const RECORD: usize = 48;

/// Bytes before each blob in a pack: digest, length, check.
pub(super) const BLOB_HEAD: usize = 40;

/// Where a blob is in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) digest: Digest,
    /// Of its first byte.
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Record {
    pub(super) fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..32].copy_from_slice(self.digest.as_bytes());
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        let check = check(&bytes[..44]);
        bytes[44..].copy_from_slice(&check);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, found) = bytes.split_at_checked(44)?;
        let record = Self {
            digest: digest(content)?,
            offset: u64::from_le_bytes(content.get(32..40)?.try_into().ok()?),
            length: u32::from_le_bytes(content.get(40..44)?.try_into().ok()?),
        };
        (check(content) == found && record.length as usize <= MOST_PACKED).then_some(record)
    }
}

/// What stands before a blob.
pub(super) fn blob_head(digest: Digest, length: u32) -> [u8; BLOB_HEAD] {
    let mut bytes = [0; BLOB_HEAD];
    bytes[..32].copy_from_slice(digest.as_bytes());
    bytes[32..36].copy_from_slice(&length.to_le_bytes());
    let check = check(&bytes[..36]);
    bytes[36..].copy_from_slice(&check);
    bytes
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    Some(Digest::from_bytes(bytes.get(..32)?.try_into().ok()?))
}

fn check(bytes: &[u8]) -> [u8; 4] {
    let digest = Digest::of(bytes);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

/// The records of an index from the given number on; `None` for those that are struck out or damaged.
pub(super) fn records(index: &Path, from: u32) -> io::Result<Vec<Option<Record>>> {
    let mut file = crate::io::open(index)?;
    let mut header = [0; INDEX_HEADER.len()];
    match file.read_exact(&mut header) {
        Ok(()) if header == *INDEX_HEADER => {}
        // Just made, or something else: the pack tells.
        Ok(()) => return Err(io::ErrorKind::NotFound.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    file.seek(SeekFrom::Current(i64::from(from) * RECORD as i64))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(RECORD).map(Record::from_bytes).collect())
}

/// The records that a pack's own bytes tell, up to what is damaged.
pub(super) fn index_of_pack(pack: &Path) -> io::Result<Vec<Record>> {
    let bytes = crate::io::read(pack)?;
    let mut records = Vec::new();
    if !bytes.starts_with(PACK_HEADER) {
        return Ok(records);
    }
    let mut position = PACK_HEADER.len();
    while let Some((digest, length)) = bytes.get(position..position + BLOB_HEAD).and_then(read_head) {
        let offset = position + BLOB_HEAD;
        position = offset + length as usize;
        if position > bytes.len() {
            break;
        }
        records.push(Record { digest, offset: offset as u64, length });
    }
    Ok(records)
}

fn read_head(bytes: &[u8]) -> Option<(Digest, u32)> {
    let (content, found) = bytes.split_at_checked(36)?;
    let length = u32::from_le_bytes(content.get(32..36)?.try_into().ok()?);
    (check(content) == found && length as usize <= MOST_PACKED).then_some((digest(content)?, length))
}

/// Makes a record of an index invalid.
pub(super) fn strike(index: &File, record: u32) -> io::Result<()> {
    let offset = INDEX_HEADER.len() as u64 + u64::from(record) * RECORD as u64;
    write_at(index, &[0; RECORD], offset)
}

/// Reads bytes at a place.
pub(super) fn pread(file: &File, offset: u64, length: u32) -> io::Result<Vec<u8>> {
    crate::io::before_read()?;
    let mut bytes = vec![0; length as usize];
    read_at(file, &mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(not(unix))]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(blobs: &[&[u8]]) -> Vec<u8> {
        let mut bytes = PACK_HEADER.to_vec();
        for blob in blobs {
            bytes.extend_from_slice(&blob_head(Digest::of(blob), blob.len() as u32));
            bytes.extend_from_slice(blob);
        }
        bytes
    }

    proptest! {
        #[test]
        fn damaged_packs_and_indexes_give_no_false_blob(cut in 0usize..200, flip in 0usize..2000) {
            let folder = tempfile::tempdir().unwrap();
            let (path, index) = (folder.path().join("x.pack"), folder.path().join("x.index"));
            let mut bytes = pack(&[b"one", b"", b"three"]);
            let listed: Vec<u8> = {
                std::fs::write(&path, &bytes).unwrap();
                let records = index_of_pack(&path).unwrap();
                prop_assert_eq!(records.len(), 3);
                records.iter().fold(INDEX_HEADER.to_vec(), |bytes, record| [bytes, record.to_bytes().to_vec()].concat())
            };
            for (path, mut bytes) in [(&path, std::mem::take(&mut bytes)), (&index, listed)] {
                bytes.truncate(bytes.len().saturating_sub(cut));
                if let Some(byte) = bytes.get_mut(flip / 8) {
                    *byte ^= 1 << (flip % 8);
                }
                std::fs::write(path, bytes).unwrap();
            }
            let known = [&b"one"[..], b"", b"three"].map(Digest::of);
            let found = records(&index, 0).unwrap_or_default().into_iter().flatten();
            for record in found.chain(index_of_pack(&path).unwrap()) {
                prop_assert!(known.contains(&record.digest));
            }
        }
    }
}
