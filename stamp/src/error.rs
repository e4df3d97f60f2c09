//! Why code cannot be stamped.

use std::io;
use std::path::PathBuf;

/// Why code cannot be stamped. Each names the file at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file is not made of Rust tokens.
    #[error("{}: not Rust: {source}", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// The tokenizer's words.
        source: proc_macro2::LexError,
    },
    /// A manifest is not TOML.
    #[error("{}: {}", path.display(), source.message())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The parser's words.
        source: toml::de::Error,
    },
    /// A manifest lacks something that is needed.
    #[error("{}: {missing}", path.display())]
    ManifestLacks {
        /// The manifest.
        path: PathBuf,
        /// What is missing.
        missing: String,
    },
    /// A module is declared, but has no file.
    #[error("{}: no file for module `{module}`", declared_in.display())]
    NoModule {
        /// The file that declares it.
        declared_in: PathBuf,
        /// Its name.
        module: String,
    },
    /// No module of the crate is this file.
    #[error("{}: no module of the crate is this file", path.display())]
    NotAModule {
        /// The file asked for.
        path: PathBuf,
    },
    /// Code of a kind that takes in what cannot be followed.
    #[error("{}: {what} cannot be followed, so that the code cannot be stamped", path.display())]
    Unfollowed {
        /// The source file.
        path: PathBuf,
        /// What cannot be followed.
        what: String,
    },
    /// Cargo did not say something that a build script is told.
    #[error("{variable} is not set: stamps are written by a build script")]
    NotABuildScript {
        /// The environment variable.
        variable: &'static str,
    },
}
