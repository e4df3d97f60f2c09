//! Results of stages in forms that other programs read: what `pipe get --format` writes.
//!
//! An [`Export`] stands beside the kinds, so that its code has no part in the fingerprints of results. It sees the
//! results of all instances of a run, because a form may take more than one stage's; it writes through a sink and
//! does not know of folders or of what is there already.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pipe_cache::{ArtifactRef, Form, Store};

use crate::input::{Files, InputFile, Selector};
use crate::stage::StageError;

/// An instance that has its results.
pub struct Exported {
    /// Its name with the foreach values.
    pub label: String,
    /// Its stage.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Its foreach values.
    pub selector: Selector,
    /// Files outside the store that were given to its inputs, by the inputs' names.
    pub given: BTreeMap<String, PathBuf>,
    /// Its outputs, by name.
    outputs: BTreeMap<String, ArtifactRef>,
    store: Arc<Store>,
}

impl Exported {
    /// An instance with its outputs in the store.
    pub fn new(
        store: &Arc<Store>,
        label: String,
        stage: String,
        kind: String,
        selector: Selector,
        outputs: BTreeMap<String, ArtifactRef>,
    ) -> Self {
        Self { label, stage, kind, selector, given: BTreeMap::new(), outputs, store: Arc::clone(store) }
    }

    /// An output of many files.
    ///
    /// # Errors
    /// There is no such output, or its listing cannot be read.
    pub fn files(&self, output: &str) -> Result<Files, StageError> {
        let artifact = self.artifact(output)?;
        Ok(Files::stored(&self.store, artifact.digest, format!("{}.{output}", self.label))?)
    }

    /// An output of one file.
    ///
    /// # Errors
    /// There is no such output, or it has many files.
    pub fn file(&self, output: &str) -> Result<InputFile, StageError> {
        let artifact = self.artifact(output)?;
        let shown = format!("{}.{output}", self.label);
        match artifact.form {
            Form::File => Ok(InputFile::stored(&self.store, artifact.digest, artifact.bytes, shown)),
            Form::Tree | Form::Collection => {
                Ok(Files::stored(&self.store, artifact.digest, shown)?.only_file()?)
            }
        }
    }

    fn artifact(&self, output: &str) -> Result<&ArtifactRef, StageError> {
        let missing = || StageError::message(format!("{} has no output `{output}`", self.label));
        self.outputs.get(output).ok_or_else(missing)
    }
}

/// Takes a file by its path below the folder that is written to.
pub type Sink<'a> = dyn FnMut(&str, &[u8]) -> Result<(), StageError> + 'a;

/// Writes the form of the chosen instances, the first argument; the second has all that have results. Returns what
/// people should know of what was written.
pub type WriteForm = fn(&[&Exported], &[Exported], &mut Sink<'_>) -> Result<Vec<String>, StageError>;

/// A form that a kind's results can be written in.
pub struct Export {
    /// Its name on the command line.
    pub name: &'static str,
    /// The kind whose instances are chosen.
    pub kind: &'static str,
    /// One line that says what is written.
    pub summary: &'static str,
    /// Writes it.
    pub write: WriteForm,
}
