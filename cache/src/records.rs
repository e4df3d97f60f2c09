//! Records of 80 bytes: a key, a digest, a number, and a check of these.

use crate::Digest;

pub(crate) const RECORD: usize = 80;

pub(crate) fn encode(key: Digest, digest: Digest, number: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..32].copy_from_slice(key.as_bytes());
    record[32..64].copy_from_slice(digest.as_bytes());
    record[64..72].copy_from_slice(&number.to_le_bytes());
    let check = Digest::of(&record[..72]);
    record[72..].copy_from_slice(&check.as_bytes()[..8]);
    record
}

/// The whole records among bytes: key, digest, number. Those that are damaged are left out.
pub(crate) fn decode_all(bytes: &[u8]) -> impl Iterator<Item = (Digest, Digest, u64)> {
    bytes.chunks_exact(RECORD).filter_map(decode)
}

/// One record; `None` when it is damaged.
pub(crate) fn decode(record: &[u8]) -> Option<(Digest, Digest, u64)> {
    let (content, check) = record.split_at_checked(72)?;
    if Digest::of(content).as_bytes()[..8] != *check {
        return None;
    }
    let digest =
        |range: std::ops::Range<usize>| Some(Digest::from_bytes(content.get(range)?.try_into().ok()?));
    let number = u64::from_le_bytes(content.get(64..72)?.try_into().ok()?);
    Some((digest(0..32)?, digest(32..64)?, number))
}
