//! Packs: a run in one file, to be looked at where its cache is not.
//!
//! A pack is a tar archive whose entries are values, not files of a cache, so that it can be read when caches look otherwise:
//! `pack.json`, `runs/ID/…`, `listings/DIGEST`, `preimages/FINGERPRINT`, `results/FINGERPRINT/CLASS.json`, `blobs/DIGEST` and
//! `inputs/PATH`. Entries are sorted and have no times and owners: the same run gives the same bytes. What is too large to be in it is
//! told by its digest.

mod compare;
mod read;
mod write;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::compare::first_difference;
pub use self::read::{Unpacked, is_pack, unpack};
pub use self::write::{Outputs, Packed, pack};
use crate::record::RecordError;

/// The version of packs that this program writes and reads.
const VERSION: u32 = 1;
/// The first entry.
const ABOUT: &str = "pack.json";

/// What a pack says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    /// The version.
    pipe_pack: u32,
    /// The run.
    run: String,
}

/// Why a pack cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] pipe_cache::Error),
    /// The record's reason.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The pack cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A newer program wrote the pack.
    #[error("{} is a pack of version {found}; this program reads {VERSION}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file is no pack, or not as it was written.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and with which entry.
        problem: String,
    },
}

/// An entry's header: of everything but name and size the same for all.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header
}
