//! A run in forms that other programs read: a research object crate, W3C PROV, and an in-toto statement.
//!
//! All of them are renderings of one graph (`graph`): what was computed from what, by which run. A result that was known is told
//! as the action of the run that computed it. Paths are relative to the project, names are told once, and nothing is in
//! them that the record does not tell.

mod files;
mod graph;
mod in_toto;
mod prov;
mod ro_crate;

use std::path::{Path, PathBuf};

use pipe_cache::Store;

pub use self::in_toto::{envelope, statement};
use crate::record::RecordError;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Workflow Run RO-Crate, profile Provenance Run Crate 0.5: a folder with files and `ro-crate-metadata.json`.
    RoCrate,
    /// W3C PROV as JSON: `prov.json`.
    ProvJson,
    /// An in-toto statement with SLSA's provenance: `statement.json`.
    InToto,
}

/// Why a run cannot be written in a form.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] pipe_cache::Error),
    /// The record's reason.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A folder has files already.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Something cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Writes a run into a folder, which must be empty or not there yet; gives the files that were written, by name.
///
/// # Errors
/// A run that cannot be read, bytes that are lost, a folder that is not empty or cannot be written.
pub fn write(
    store: &Store,
    run: &str,
    form: Form,
    root: Option<&Path>,
    to: &Path,
) -> Result<Vec<String>, InterchangeError> {
    let is_empty = std::fs::read_dir(to).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty {
        return Err(InterchangeError::NotEmpty { path: to.to_path_buf() });
    }
    let graph = graph::Graph::of(store, run)?;
    match form {
        Form::RoCrate => ro_crate::write(store, &graph, root, to),
        Form::ProvJson => files::write(to, "prov.json", &files::json(&prov::document(&graph))),
        Form::InToto => {
            let statement = statement(store, run)?;
            files::write(to, "statement.json", &files::json(&statement))
        }
    }
}
