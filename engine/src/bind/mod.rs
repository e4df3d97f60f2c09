//! Binding: an instance's inputs by content, and with them its preimage and fingerprint.
//!
//! This is the only place that decides what a result depends on. A run, `plan` and `check` all come here.

mod open;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use pipe_cache::{ArtifactRef, Digest, InputMemo, Store};
use serde::{Deserialize, Serialize};

pub(crate) use self::words::{missing_path, shell_head, shown_path};
use crate::context::Device;
use crate::input::{Files, Input, NAME, Selector};
use crate::items::row_files::RowFiles;
use crate::items::{self, BoundItems};
use crate::lineage::{Content, ItemSummary, Preimage};
use crate::manifest::{InputBinding, InputSource, Instance, Pipeline};
use crate::registry::Registry;
use crate::stage::{FileColumn, Filling, ItemSource, OutputForm, StageError, Work};
use crate::stats::StatCache;
use crate::table::{Table, TableCache};

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
            seed: about.random.then_some(instance.seed),
            device: about.device.then(|| self.device.kind().to_string()),
            environment: self.environment(instance, params)?,
            ..Preimage::default()
        };
        preimage.add_params(params, instance.kind.uncounted());
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
