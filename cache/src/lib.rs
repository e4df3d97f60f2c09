//! The content-addressed artifact store.
//!
//! Everything a pipeline produces is a **blob**, named by the BLAKE3 digest of its bytes. An artifact of
//! many files is one more blob, an [`Index`], that lists names and digests; so one digest stands for a
//! whole artifact. Beside the blobs the store keeps small records that say which fingerprint gave which
//! artifact ([`ResultRecord`], [`ItemJournal`]), and a memo that saves hashing unchanged input files
//! ([`InputMemo`]).
//!
//! The store does not know what a stage is, how a fingerprint is made or when something should run. The
//! on-disk format is described in `FORMAT.md`.

mod atomic;
mod blobs;
mod claims;
mod digest;
mod environments;
mod error;
mod facts;
mod index;
mod io;
mod items;
mod journal;
mod listing;
mod listings;
mod memo;
mod owner;
mod records;
mod results;
mod resume;
mod sealed;
mod sequence;
mod signature;
mod store;
mod sweep;

pub use atomic::{append, create_folder, create_new_folder, create_to_append, write_atomically};
pub use blobs::Condition;
pub use claims::{Claim, Claimed, Touched, Writer, process_mark};
pub use digest::{Digest, Hasher, ParseDigestError};
pub use environments::{Environment, Environments};
pub use error::{Error, Result};
pub use index::{Entry, Form, Index, IndexBuilder, check_name};
#[cfg(debug_assertions)]
pub use io::faults;
pub use items::{ItemJournal, ItemOutcome, ItemWriter};
pub use memo::{Hashed, InputMemo, Stamp};
pub use owner::{is_abandoned, own_mark};
pub use results::{ArtifactRef, RecordOutcome, ResultRecord};
pub use resume::ResumePoint;
pub use signature::SignatureHasher;
pub use store::{FORMAT_VERSION, Repair, Store};
pub use sweep::{Contents, Keep, Swept};
