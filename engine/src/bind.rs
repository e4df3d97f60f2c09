//! Binding: an instance's inputs by content, and with them its preimage and fingerprint.
//!
//! This is the only place that decides what a result depends on. A run, `plan` and `check` all come here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::{ArtifactRef, Digest, Form, InputMemo, Store};
use serde::{Deserialize, Serialize};

use crate::context::Device;
use crate::input::{self, Files, Input, InputError, InputFile, InputValue, NAME, RowTable, Selector};
use crate::items::row_files::RowFiles;
use crate::items::{self, BoundItems};
use crate::lineage::{Content, ItemSummary, Preimage, field};
use crate::manifest::{InputBinding, InputSource, Instance, Pipeline};
use crate::registry::Registry;
use crate::stage::{FileColumn, Filling, InputForm, InputSpec, ItemSource, OutputForm, StageError, Work};
use crate::stats::StatCache;
use crate::table::{Table, TableCache, TableError};

/// The outputs of an instance that has its result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) outputs: BTreeMap<String, ArtifactRef>,
    pub(crate) run: String,
    pub(crate) fingerprint: Digest,
}

/// The results of the instances that one refers to, by position.
pub(crate) type Upstream<'a> = &'a dyn Fn(usize) -> Option<Arc<Done>>;

/// What results followed from on a machine, by instance.
pub(crate) type Environments = BTreeMap<String, BTreeMap<String, String>>;

/// What binding needs besides the instance.
#[derive(Clone, Copy)]
pub(crate) struct Binder<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) registry: &'a Registry,
    pub(crate) store: &'a Arc<Store>,
    pub(crate) memo: &'a InputMemo,
    pub(crate) device: Device,
    /// What was lately asked of the file system.
    pub(crate) stats: &'a StatCache,
    pub(crate) tables: &'a TableCache,
    /// What instances' results followed from on the machine that gave them, by label; the machine itself is asked without it.
    pub(crate) recorded: Option<&'a Environments>,
}

/// An instance with its inputs known by content.
pub(crate) struct Bound {
    pub(crate) inputs: BTreeMap<String, Vec<Input>>,
    pub(crate) items: Option<BoundItems>,
    /// The parameters, with what inputs give to them.
    pub(crate) params: serde_json::Value,
    /// Those that inputs gave.
    pub(crate) filled: Filled,
    /// The tree of the table whose paths go on with the table that is made, and that table's name in it; for a kind that
    /// computes all at once.
    pub(crate) passed_on: Option<(Files, String)>,
    pub(crate) preimage: Preimage,
    pub(crate) fingerprint: Digest,
}

/// Parameters that inputs give values to, with where these inputs are written.
pub(crate) type Filled = BTreeMap<String, String>;

/// A table with the place that its rows' paths are read against.
pub(crate) struct TableSource {
    pub(crate) table: Arc<Table>,
    pub(crate) files: RowFiles,
    /// The table's name within the artifact that it is in; empty for a table that is a file of its own.
    pub(crate) name: String,
}

impl Binder<'_> {
    /// From now on each file and folder is looked at once, until [`Binder::look_again`].
    pub(crate) fn look_once(&self) {
        self.stats.hold();
        self.tables.hold(true);
    }

    /// From now on files are looked at anew: they may have changed.
    pub(crate) fn look_again(&self) {
        self.stats.release();
        self.tables.hold(false);
    }

    /// Binds an instance. `upstream` gives the results of the instances that it refers to.
    pub(crate) fn bind(&self, instance: &Instance, upstream: Upstream<'_>) -> Result<Bound, StageError> {
        let (params, filled) = self.filled(instance, upstream)?;
        let mut preimage = self.own_preimage(instance, &params)?;
        let source = self.item_source(instance)?;
        let mut inputs = BTreeMap::new();
        for binding in instance.inputs.iter().filter(|binding| !binding.spec.fills) {
            if source.as_ref().is_some_and(|source| source.is_made_of(binding.spec.name)) {
                continue;
            }
            let bound = self.bind_input(instance, binding, upstream, &mut preimage)?;
            inputs.entry(binding.spec.name.to_string()).or_insert_with(Vec::new).extend(bound);
        }
        let items = match source {
            None => None,
            Some(source) => {
                let scope = preimage.fingerprint();
                let items = items::bind(self, (instance, &params), &source, scope, upstream)?;
                preimage.items = Some(ItemSummary {
                    made_of: source.inputs().map(str::to_string).collect(),
                    count: items.list.len(),
                    digest: items.digest(),
                });
                if let (Some(table), ItemSource::Rows(rows)) = (&items.gathered, &source) {
                    add_gathered(&mut preimage, rows.input, table);
                }
                Some(items)
            }
        };
        let passed_on = self.passed_on(instance, upstream, &mut preimage)?;
        let fingerprint = preimage.fingerprint();
        Ok(Bound { inputs, items, params, filled, passed_on, preimage, fingerprint })
    }

    /// An instance's parameters with the values that inputs give to them, and which these are.
    fn filled(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
    ) -> Result<(serde_json::Value, Filled), StageError> {
        let mut params = instance.params.as_ref().clone();
        let mut filled = Filled::new();
        let is_written = |name: &str| instance.is_written(name);
        for binding in instance.inputs.iter().filter(|binding| binding.spec.fills) {
            let open = |source: &InputSource| {
                let (value, selector) = self.open(instance, binding, source, upstream)?;
                Ok(Input::new(selector, value))
            };
            let inputs: Vec<Input> = binding.sources.iter().map(open).collect::<Result<_, StageError>>()?;
            let filling = Filling { inputs: &inputs, is_written: &is_written };
            let more = instance.kind.fill_from(&params, &filling);
            let more = more.map_err(|error| error.prefixed(&instance.label))?;
            let names = more.as_object().into_iter().flatten();
            let changed = names.filter(|(name, value)| params.get(name.as_str()) != Some(*value));
            filled.extend(changed.map(|(name, _)| (name.clone(), binding.described())));
            params = more;
        }
        Ok((params, filled))
    }

    /// Where an instance's items come from; `None` for a kind without items.
    pub(crate) fn item_source(&self, instance: &Instance) -> Result<Option<ItemSource>, StageError> {
        let Work::Items(stage) = instance.kind.work() else { return Ok(None) };
        let given = |name: &str| instance.inputs.iter().any(|binding| binding.spec.name == name);
        stage.items(&instance.params, &given).map(Some)
    }

    /// The columns of a table input whose cells lead to files that an instance uses.
    pub(crate) fn file_columns(
        &self,
        instance: &Instance,
        input: &str,
    ) -> Result<Vec<FileColumn>, StageError> {
        match self.item_source(instance)? {
            Some(ItemSource::Rows(rows)) if rows.input == input => Ok(rows.files),
            _ => Ok(instance.kind.row_files(&instance.params, input)),
        }
    }

    /// An instance's preimage without its inputs.
    fn own_preimage(&self, instance: &Instance, params: &serde_json::Value) -> Result<Preimage, StageError> {
        let about = instance.kind.about();
        let mut preimage = Preimage {
            kind: about.name.to_string(),
            code: self.registry.code(about.name).to_string(),
            seed: about.random.then_some(self.pipeline.seed),
            device: about.device.then(|| self.device.kind().to_string()),
            environment: self.environment(instance, params)?,
            ..Preimage::default()
        };
        let uncounted = instance.kind.uncounted();
        for (name, value) in params.as_object().into_iter().flatten() {
            if !uncounted.contains(&name.as_str()) {
                preimage.add_param(&field(name), value);
            }
        }
        Ok(preimage)
    }

    /// What an instance's result follows from on this machine.
    pub(crate) fn environment(
        &self,
        instance: &Instance,
        params: &serde_json::Value,
    ) -> Result<BTreeMap<String, String>, StageError> {
        if let Some(recorded) = self.recorded {
            return Ok(recorded.get(&instance.label).cloned().unwrap_or_default());
        }
        let found = instance.kind.environment(params, self.registry.host());
        found.map_err(|error| error.prefixed(&instance.label))
    }

    /// The tree whose files go on with a table that an instance makes of one in it. All of them count then.
    fn passed_on(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        preimage: &mut Preimage,
    ) -> Result<Option<(Files, String)>, StageError> {
        if !is_passed_on(instance) {
            return Ok(None);
        }
        for binding in instance.inputs.iter() {
            if instance.kind.row_files(&instance.params, binding.spec.name).is_empty() {
                continue;
            }
            let Some(source) = binding.sources.first() else { continue };
            let TableSource { files, name, .. } = self.open_table(source, upstream)?;
            if let RowFiles::Within(files) = files {
                preimage.add_input(binding.spec.name, Selector::new(), Content::Files(files.digest));
                return Ok(Some((files, name)));
            }
        }
        Ok(None)
    }

    fn bind_input(
        &self,
        instance: &Instance,
        binding: &InputBinding,
        upstream: Upstream<'_>,
        preimage: &mut Preimage,
    ) -> Result<Vec<Input>, StageError> {
        let mut inputs = Vec::new();
        for source in binding.sources.iter() {
            let (value, mut selector) = self.open(instance, binding, source, upstream)?;
            selector.extend(binding.name.iter().map(|name| (NAME.to_string(), name.to_string())));
            let told = if binding.spec.many { selector.clone() } else { Selector::new() };
            let extension = self.extension(binding.spec, source, &value);
            let contents = Content::of(&value, &extension, is_passed_on(instance));
            contents
                .into_iter()
                .for_each(|content| preimage.add_input(binding.spec.name, told.clone(), content));
            inputs.push(Input { selector, value, extension });
        }
        Ok(inputs)
    }

    fn open(
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

/// What a kind uses that makes one output of all items: the whole table, and the artifact that it is in.
fn add_gathered(preimage: &mut Preimage, input: &str, source: &TableSource) {
    let mut add = |content| preimage.add_input(input, Selector::new(), content);
    add(Content::Columns(source.table.column_digests().into_iter().collect()));
    // Their order is the output's.
    add(Content::Headers(source.table.columns().join(",")));
    if let RowFiles::Within(files) = &source.files {
        add(Content::Files(files.digest));
    }
}

/// Whether an instance makes a table of another one, whose paths it passes on: they are part of its result then.
fn is_passed_on(instance: &Instance) -> bool {
    instance.kind.about().outputs.iter().any(|output| matches!(output.form, OutputForm::Table(_)))
}

/// A path as people know it: relative to the project's root where it lies within.
pub(crate) fn shown_path(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// What a path begins with that a shell would replace: `~`, or the name of a variable.
pub(crate) fn shell_head(text: &str) -> Option<&str> {
    let is_shell = text.starts_with('~') || (text.starts_with('$') && !text.starts_with("${"));
    is_shell.then(|| text.split('/').next().unwrap_or(text))
}

/// The path of something that is not there: against which folder it was read, and whether it lies in the current one.
pub(crate) fn missing_path(root: &Path, path: &Path) -> String {
    let Ok(name) = path.strip_prefix(root) else { return path.display().to_string() };
    let (shown, here) = (name.display(), std::env::current_dir().ok());
    let is_root = |here: &PathBuf| std::fs::canonicalize(root).is_ok_and(|root| root == *here);
    match here {
        Some(here) if is_root(&here) => format!("{shown} in this folder"),
        Some(here) if here.join(name).exists() => format!(
            "{shown} in {}; there is one in {}, where the command was started, but paths are read against the \
             manifest's root",
            root.display(),
            here.display()
        ),
        _ => format!("{shown} in {}", root.display()),
    }
}
