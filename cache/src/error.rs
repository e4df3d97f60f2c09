//! What can go wrong in the store; every variant names the path or digest it is about.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;

/// The store's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the artifact store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused an operation.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file outside the store changed while it was read.
    #[error("{} was written to while it was read; run again when it is complete", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// The cache was written by a newer program.
    #[error("{} holds cache format {found}; this program knows versions up to {known}", path.display())]
    Format {
        /// The cache folder.
        path: PathBuf,
        /// The version found in its `format` file.
        found: u32,
        /// The newest version this program reads.
        known: u32,
    },
    /// A blob's bytes do not have the digest that it is named by; it has been set aside.
    #[error("blob {digest} is damaged; it was set aside as {}", aside.display())]
    Damaged {
        /// The digest that was asked for.
        digest: Digest,
        /// Where the damaged bytes are now.
        aside: PathBuf,
    },
    /// A blob that a record refers to is not in the store.
    #[error("blob {digest} is missing from the cache")]
    Missing {
        /// The digest that was asked for.
        digest: Digest,
    },
    /// Bytes that should be an index or a record are something else.
    #[error("{what} is not valid at line {line}: {problem}")]
    Invalid {
        /// What was read.
        what: String,
        /// 1-based line.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file name that must not become part of an artifact.
    #[error("{name:?} cannot be a name in an artifact: {problem}")]
    Name {
        /// The name.
        name: String,
        /// Why it is refused.
        problem: &'static str,
    },
    /// Two files of one artifact have the same name.
    #[error("two files of one artifact are both named {name:?}")]
    Duplicate {
        /// The name.
        name: String,
    },
}

impl Error {
    /// Wraps a system error with the action and path it belongs to.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// The blob that is lost, when this error says that one has to be computed again.
    pub fn lost_blob(&self) -> Option<Digest> {
        match self {
            Error::Damaged { digest, .. } | Error::Missing { digest } => Some(*digest),
            _ => None,
        }
    }
}
