//! Opening what an input is given, by content: files, folders, tables, of the store and outside it.

use std::sync::Arc;

use pipe_cache::{ArtifactRef, Form};

use super::{Binder, TableSource, Upstream, shown_path};
use crate::input::{self, Files, InputError, InputFile, InputValue, RowTable, Selector};
use crate::items;
use crate::items::row_files::RowFiles;
use crate::manifest::{InputBinding, InputSource, Instance};
use crate::stage::{InputForm, InputSpec, OutputForm, StageError};
use crate::table::{Table, TableError};

impl Binder<'_> {
    pub(super) fn open(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        source: &InputSource,
        upstream: Upstream<'_>,
    ) -> Result<(InputValue, Selector), StageError> {
        if let InputSource::Keyword(word) = source {
            return Ok((InputValue::Keyword(word.clone()), Selector::new()));
        }
        let selector = self.selector(source);
        let value = match binding.spec.form {
            InputForm::Table => self.open_columns(instance, binding, source, upstream)?,
            InputForm::Any if self.is_folder(source, upstream)? => {
                self.open_part(instance, binding, source, Form::Tree, upstream)?
            }
            InputForm::Any => InputValue::File(self.open_file(source, upstream)?),
            InputForm::File => InputValue::File(self.open_file(source, upstream)?),
            InputForm::Tree => self.open_part(instance, binding, source, Form::Tree, upstream)?,
            InputForm::Collection => self.open_part(instance, binding, source, Form::Collection, upstream)?,
        };
        Ok((value, selector))
    }

    /// What a kind uses of a table: columns, or all of it with the files that its rows name.
    fn open_columns(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        source: &InputSource,
        upstream: Upstream<'_>,
    ) -> Result<InputValue, StageError> {
        let (kind, name) = (instance.kind, binding.spec.name);
        let columns = kind.columns(&instance.params, name);
        let opened = self.open_table(source, upstream)?;
        let files = kind.row_files(&instance.params, name);
        if files.is_empty() {
            return Ok(InputValue::Table(Arc::new(opened.table.project(&columns)?)));
        }
        let files = items::files_of_rows(self, &opened, &files)?;
        Ok(InputValue::Rows(Arc::new(RowTable { table: opened.table.as_ref().clone(), files })))
    }

    /// Whether what is given is a folder, or files by their names.
    fn is_folder(&self, source: &InputSource, upstream: Upstream<'_>) -> Result<bool, StageError> {
        Ok(match source {
            InputSource::Path(path) => path.is_dir(),
            InputSource::Output { .. } => self.artifact(source, upstream)?.0.form != Form::File,
            InputSource::Keyword(_) | InputSource::Hub(_) => false,
        })
    }

    /// The extension of a file's name with its dot, for an input that takes whatever is given.
    pub(crate) fn extension(&self, spec: &InputSpec, source: &InputSource, value: &InputValue) -> String {
        match value {
            InputValue::File(_) if spec.form == InputForm::Any => self.extension_of(source),
            _ => String::new(),
        }
    }

    /// The extension of what a source is called.
    pub(crate) fn extension_of(&self, source: &InputSource) -> String {
        let name = match source {
            InputSource::Path(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            InputSource::Hub(file) => Some(file.to_string()),
            InputSource::Output { instance, output } => {
                let outputs = self.pipeline.instances.get(*instance).map(|maker| maker.kind.about().outputs);
                let form =
                    outputs.into_iter().flatten().find(|spec| spec.name == *output).map(|spec| spec.form);
                form.and_then(OutputForm::file_name).map(str::to_string)
            }
            InputSource::Keyword(_) => None,
        };
        input::extension(&name.unwrap_or_default()).to_string()
    }

    /// A folder or collection, cut down to what the kind uses of it.
    fn open_part(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        source: &InputSource,
        form: Form,
        upstream: Upstream<'_>,
    ) -> Result<InputValue, StageError> {
        let whole = || self.open_files(binding.spec, source, form, upstream);
        let used = instance.kind.files(&instance.params, binding.spec.name);
        Ok(InputValue::Files(match (used, source) {
            (None, _) => whole()?,
            // What is not used may be large, and is not read.
            (Some(names), InputSource::Path(path)) if binding.spec.extension.is_none() => {
                Files::part_outside(self.memo, path, form, &names)?
            }
            (Some(names), _) => whole()?.part(&names)?,
        }))
    }

    pub(crate) fn selector(&self, source: &InputSource) -> Selector {
        match source {
            InputSource::Output { instance, .. } => self
                .pipeline
                .instances
                .get(*instance)
                .map(|instance| instance.selector.as_ref().clone())
                .unwrap_or_default(),
            _ => Selector::new(),
        }
    }

    /// A table and the place of the files that it names.
    pub(crate) fn open_table(
        &self,
        source: &InputSource,
        upstream: Upstream<'_>,
    ) -> Result<TableSource, StageError> {
        match source {
            InputSource::Path(path) => {
                let shown = shown_path(&self.pipeline.root, path);
                let table = self.tables.open(path, &shown).map_err(|error| match error {
                    TableError::Unreadable { source, .. } => {
                        InputError::Read { path: path.clone(), source }.into()
                    }
                    other => StageError::from(other),
                })?;
                Ok(self.lone_table(table))
            }
            _ => {
                let (artifact, shown) = self.artifact(source, upstream)?;
                if artifact.form == Form::File {
                    let file = InputFile::stored(self.store, artifact.digest, artifact.bytes, shown.clone());
                    return Ok(self.lone_table(Table::parse(&shown, &file.read()?)?.into()));
                }
                let files = Files::stored(self.store, artifact.digest, shown)?;
                let name = files.only_table()?.to_string();
                let table = Table::parse(&format!("{name} of {}", files.shown), &files.read(&name)?)?;
                Ok(TableSource { table: table.into(), files: RowFiles::Within(files), name })
            }
        }
    }

    /// A table whose rows' paths are read against the project's root.
    fn lone_table(&self, table: Arc<Table>) -> TableSource {
        TableSource { table, files: RowFiles::Root(self.pipeline.root.clone()), name: String::new() }
    }

    /// One file.
    pub(crate) fn open_file(
        &self,
        source: &InputSource,
        upstream: Upstream<'_>,
    ) -> Result<InputFile, StageError> {
        match source {
            InputSource::Path(path) => Ok(InputFile::outside(self.memo, path)?),
            InputSource::Hub(file) => Err(StageError::message(format!("{file} is not downloaded yet"))
                .advise("`pipe run` downloads it")),
            _ => {
                let (artifact, shown) = self.artifact(source, upstream)?;
                if artifact.form == Form::File {
                    Ok(InputFile::stored(self.store, artifact.digest, artifact.bytes, shown))
                } else {
                    Ok(Files::stored(self.store, artifact.digest, shown)?.only_file()?)
                }
            }
        }
    }

    /// A folder or collection.
    pub(crate) fn open_files(
        &self,
        spec: &InputSpec,
        source: &InputSource,
        form: Form,
        upstream: Upstream<'_>,
    ) -> Result<Files, StageError> {
        match source {
            InputSource::Path(path) => match spec.extension {
                Some(extension) => {
                    let shown = shown_path(&self.pipeline.root, path);
                    Files::items_outside(self.memo, path, &shown, extension)
                }
                None => Ok(Files::outside(self.memo, path, form)?),
            },
            _ => {
                let (artifact, shown) = self.artifact(source, upstream)?;
                Ok(Files::stored(self.store, artifact.digest, shown)?)
            }
        }
    }

    fn artifact(
        &self,
        source: &InputSource,
        upstream: Upstream<'_>,
    ) -> Result<(ArtifactRef, String), StageError> {
        let InputSource::Output { instance, output } = source else {
            return Err(StageError::message("a word cannot be read as an artifact"));
        };
        let label = self.pipeline.instances.get(*instance).map_or("?", |instance| instance.label.as_str());
        let done = upstream(*instance)
            .ok_or_else(|| StageError::message(format!("the result of {label} is not known yet")))?;
        let artifact = done
            .outputs
            .get(*output)
            .ok_or_else(|| StageError::message(format!("{label} has no output `{output}`")))?;
        Ok((artifact.clone(), format!("@{label}.{output}")))
    }
}
