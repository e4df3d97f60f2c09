//! Making a stage's output of all its items: a collection of their files, or what the kind makes of them.

use std::collections::BTreeMap;

use pipe_cache::{ArtifactRef, Digest, Form, IndexBuilder, ItemOutcome};

use super::Worker;
use super::guard::guarded;
use crate::input::{Files, InputFile};
use crate::items::BoundItems;
use crate::items::row_files::RowFiles;
use crate::manifest::Instance;
use crate::stage::{AnyItems, Gather, GatheredItem, OutputForm, Piece, StageError};

/// The files of an output, by name.
type Entries = BTreeMap<String, (Digest, u64)>;

impl Worker<'_> {
    /// The output of an instance whose items all have results.
    pub(super) fn gather(
        &self,
        (instance, params): (&Instance, &serde_json::Value),
        stage: &dyn AnyItems,
        items: &BoundItems,
        outcomes: &BTreeMap<&str, ItemOutcome>,
    ) -> Result<ArtifactRef, StageError> {
        let form = instance.kind.about().outputs.first().map(|output| output.form);
        if let Some(OutputForm::Collection(extension)) = form {
            let named = |(name, outcome): (&&str, &ItemOutcome)| {
                (format!("{name}.{extension}"), (outcome.digest, outcome.size))
            };
            return self.store_index(Form::Collection, outcomes.iter().map(named).collect());
        }
        let entries = self.pieces(params, stage, items, outcomes)?;
        let files = items.gathered.as_ref().map(|source| (&source.files, source.name.as_str()));
        match (form, files) {
            (Some(OutputForm::Tree), _) => self.store_index(Form::Tree, entries),
            (Some(OutputForm::Table(name)), Some((RowFiles::Within(files), table_name))) => {
                self.table_among(files, table_name, name, lone(&entries, name)?)
            }
            (Some(OutputForm::Table(name) | OutputForm::File(name)), _) => {
                let (digest, bytes) = lone(&entries, name)?;
                Ok(ArtifactRef { form: Form::File, digest, files: 1, bytes })
            }
            (None | Some(OutputForm::Collection(_)), _) => Err(StageError::message("the kind has no output")),
        }
    }

    /// A table made of one whose rows' paths lead into the tree that it came in: they go on together.
    pub(super) fn table_among(
        &self,
        files: &Files,
        former: &str,
        name: &str,
        table: (Digest, u64),
    ) -> Result<ArtifactRef, StageError> {
        let others = files.entries().filter(|(other, ..)| *other != former);
        let mut tree: Entries =
            others.map(|(name, digest, size)| (name.to_string(), (digest, size))).collect();
        tree.insert(name.to_string(), table);
        self.store_index(Form::Tree, tree)
    }

    /// What the kind makes of all items, put into the store.
    fn pieces(
        &self,
        params: &serde_json::Value,
        stage: &dyn AnyItems,
        items: &BoundItems,
        outcomes: &BTreeMap<&str, ItemOutcome>,
    ) -> Result<Entries, StageError> {
        let store = self.binder.store;
        let source = items.gathered.as_ref();
        let source = source.ok_or_else(|| StageError::message("there is no table to gather items by"))?;
        let results: Vec<GatheredItem> = items
            .list
            .iter()
            .filter_map(|one| {
                let ItemOutcome { digest, size } = *outcomes.get(one.item.name.as_str())?;
                let name = one.item.name.clone();
                let file = InputFile::stored(store, digest, size, format!("the result of {name}"));
                Some(GatheredItem { name, rows: one.rows.clone(), file })
            })
            .collect();
        let gather = Gather { table: &source.table, items: &results };
        let pieces = guarded(|| stage.gather(params, &gather))?;
        let mut entries = Entries::new();
        for (name, piece) in pieces {
            let entry = match piece {
                Piece::Bytes(bytes) => (store.put(&bytes)?, bytes.len() as u64),
                Piece::Item(position) => {
                    let item = results.get(position);
                    let lacking = || StageError::message(format!("there is no item {position} for {name}"));
                    item.map(|item| (item.file.digest, item.file.size)).ok_or_else(lacking)?
                }
            };
            entries.insert(name, entry);
        }
        Ok(entries)
    }

    fn store_index(&self, form: Form, entries: Entries) -> Result<ArtifactRef, StageError> {
        let mut builder = IndexBuilder::new(form);
        let mut bytes = 0;
        let files = entries.len() as u64;
        for (name, (digest, size)) in entries {
            builder.add(&name, digest, size)?;
            bytes += size;
        }
        let digest = self.binder.store.put(&builder.finish()?.to_bytes())?;
        Ok(ArtifactRef { form, digest, files, bytes })
    }
}

/// The one file of an output that is one file.
fn lone(entries: &Entries, name: &str) -> Result<(Digest, u64), StageError> {
    let found: Vec<&String> = entries.keys().collect();
    match entries.get(name) {
        Some(entry) if entries.len() == 1 => Ok(*entry),
        _ => Err(StageError::message(format!("expected the one file {name}, found {found:?}"))),
    }
}
