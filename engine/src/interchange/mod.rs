//! A run in forms that other programs read: a research object crate, W3C PROV, and an in-toto statement; and in
//! sentences, for people.
//!
//! All of them are renderings of one graph (`graph`): what was computed from what, by which run. A result that was known is told
//! as the action of the run that computed it. Paths are relative to the project, names are told once, and nothing is in
//! them that the record does not tell.

mod files;
mod graph;
mod in_toto;
mod methods;
mod prov;
mod ro_crate;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::audit::{Recorded, unchanged};
use crate::manifest::Pipeline;
use crate::record::{RecordError, SigningKey, read_seals};
use crate::session::Session;

/// A form.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// A Workflow Run RO-Crate, profile Provenance Run Crate 0.5: a folder with files and `ro-crate-metadata.json`.
    RoCrate,
    /// W3C PROV as JSON: `prov.json`.
    ProvJson,
    /// An in-toto statement with SLSA's provenance: `statement.json`; with a key, besides in a DSSE envelope that is signed:
    /// `statement.dsse.json`.
    InToto(Option<&'a SigningKey>),
    /// Sentences for the methods and results of a paper: `methods.md`, and `methods.json` with the same as values.
    Methods,
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
    /// All files of the last results were left out.
    #[error("a statement is of files, and run {run} has no last result whose files may be told")]
    NoSubject {
        /// The run.
        run: String,
    },
    /// What a stage gave cannot be told in words.
    #[error("stage `{stage}` cannot be described: {problem}")]
    Stage {
        /// The stage.
        stage: String,
        /// Why.
        problem: String,
    },
    /// A key that signs nothing.
    #[error("the key does not sign")]
    Key,
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

/// Writes a run into a folder, which must be empty or not there yet; gives the files that were written, by name. `pipeline` is
/// the run's, where this program understands it: without it no input is known to be what it was.
///
/// # Errors
/// A run that cannot be read, bytes that are lost, a folder that is not empty or cannot be written, a key that does not sign.
pub fn write(
    session: &Session<'_>,
    (recorded, pipeline): (&Recorded, Option<&Pipeline>),
    form: Form<'_>,
    to: &Path,
) -> Result<Vec<String>, InterchangeError> {
    let is_empty = std::fs::read_dir(to).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty {
        return Err(InterchangeError::NotEmpty { path: to.to_path_buf() });
    }
    let store = &*session.store;
    let of_pipeline = |pipeline| unchanged(session, recorded, pipeline);
    let unchanged = pipeline.map(of_pipeline).transpose()?.unwrap_or_default();
    let graph = graph::Graph::of(store, recorded, &unchanged)?;
    match form {
        Form::RoCrate => ro_crate::write(store, &graph, pipeline.map(|pipeline| &*pipeline.root), to),
        Form::ProvJson => write_values(to, vec![("prov.json", prov::document(store, &graph))]),
        Form::Methods => {
            let head = read_seals(&recorded.run.head)?.head();
            let account = methods::Account::of((store, session.registry), &graph, head)?;
            let text = account.to_markdown();
            files::write(to, "methods.md", text.as_bytes())?;
            let mut written = write_values(to, vec![("methods.json", account.to_json())])?;
            written.push("methods.md".to_string());
            Ok(written)
        }
        Form::InToto(key) => {
            let statement = in_toto::statement(store, &graph)?;
            let signed = key.map(|key| in_toto::envelope(&statement, key).ok_or(InterchangeError::Key));
            let signed = signed.transpose()?.map(|signed| ("statement.dsse.json", signed));
            write_values(to, [("statement.json", statement)].into_iter().chain(signed).collect())
        }
    }
}

fn write_values(to: &Path, values: Vec<(&str, Value)>) -> Result<Vec<String>, InterchangeError> {
    let write = |(name, value): (&str, Value)| {
        files::write(to, name, &files::json(&value)).map(|()| name.to_string())
    };
    values.into_iter().map(write).collect()
}
