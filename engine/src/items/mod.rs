//! The items of a stage: rows or files, each with a key made of no more than what it uses.

pub(crate) mod row_files;
pub(crate) mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use pipe_cache::{Digest, Form, Hasher};

use crate::bind::{Binder, TableSource, Upstream};
use crate::input::{self, Files};
use crate::manifest::{InputSource, Instance};
use crate::stage::{
    FileColumn, InputSpec, Item, ItemFile, ItemSource, Named, OutputForm, RowItems, StageError, Work,
};

/// How many problems of a table are told at once.
const TOLD: usize = 10;

/// The items of an instance, in the order of their table or collection.
pub(crate) struct BoundItems {
    pub(crate) scope: Digest,
    pub(crate) list: Vec<BoundItem>,
    /// The table that a kind needs which makes one output of all items.
    pub(crate) gathered: Option<TableSource>,
}

/// An item and its key.
pub(crate) struct BoundItem {
    pub(crate) item: Item,
    pub(crate) key: Digest,
    /// Items with the same group are handed over together.
    pub(crate) group: Option<Digest>,
    /// Its rows' positions in the table; none for an item of a collection.
    pub(crate) rows: Vec<usize>,
}

/// An item with its rows, before it has a key.
struct BoundRows {
    item: Item,
    group: Option<Digest>,
    rows: Vec<usize>,
}

impl BoundItems {
    /// A digest of all names and keys: what an instance's fingerprint holds of its items.
    pub(crate) fn digest(&self) -> Digest {
        digest_of(self.list.iter().map(|one| (one.item.name.as_str(), one.key)).collect())
    }

    /// What each item's key was made of, one JSON object a line; kept for audits.
    pub(crate) fn listing(&self) -> Vec<u8> {
        let mut sorted: Vec<&BoundItem> = self.list.iter().collect();
        sorted.sort_by(|a, b| a.item.name.cmp(&b.item.name));
        let mut text = String::new();
        for BoundItem { item, key, .. } in sorted {
            let files: BTreeMap<&str, String> =
                item.files.iter().map(|(name, file)| (name, file.digest().to_string())).collect();
            let values: BTreeMap<&str, &String> = item.values.iter().collect();
            let line = serde_json::json!({"item": item.name, "key": key, "values": values, "files": files});
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text.into_bytes()
    }
}

/// A digest of the names and keys of items.
pub(crate) fn digest_of(mut items: Vec<(&str, Digest)>) -> Digest {
    items.sort_unstable();
    let mut hasher = Hasher::new("pipe items, version 1");
    for (name, key) in items {
        hasher.field(name).field(key.as_bytes());
    }
    hasher.finish()
}

/// Lists an instance's items, with the content of every file that they use.
pub(crate) fn bind(
    binder: &Binder<'_>,
    (instance, params): (&Instance, &serde_json::Value),
    source: &ItemSource,
    scope: Digest,
    upstream: Upstream<'_>,
) -> Result<BoundItems, StageError> {
    let (table, items) = match source {
        ItemSource::Collection { input } => {
            let (spec, given) = single_source(instance, input)?;
            let files = binder.open_files(spec, given, Form::Collection, upstream)?;
            (None, collection_items(input, &files)?)
        }
        ItemSource::Rows(rows) => {
            let (source, items) = rows::bind(binder, instance, rows, upstream)?;
            refuse(instance.kind.check_table(params, rows.input, &source.table))?;
            (Some(source), items)
        }
    };
    if let Work::Items(stage) = instance.kind.work() {
        let check = |one: &BoundRows| stage.check_item(params, &one.item).err();
        refuse(items.iter().filter_map(check).collect())?;
    }
    let mut list: Vec<BoundItem> = items
        .into_iter()
        .map(|BoundRows { item, group, rows }| BoundItem { key: key(scope, &item), item, group, rows })
        .collect();
    if let ItemSource::Rows(RowItems { group_by: None, batch: size @ 2.., .. }) = source {
        batch(&mut list, *size);
    }
    Ok(BoundItems { scope, list, gathered: table.filter(|_| gathers(instance)) })
}

/// What the cells of a table's columns lead to, by content; one for each row.
pub(crate) fn files_of_rows(
    binder: &Binder<'_>,
    source: &TableSource,
    columns: &[FileColumn],
) -> Result<Vec<Named<ItemFile>>, StageError> {
    let opened = rows::open(binder, source, columns)?;
    let of_row = |row| {
        let of_column = |column: &FileColumn| {
            let cell = source.table.get(row, column.name)?;
            Some((column.name, opened.get(&(column.name, cell.to_string()))?.clone()))
        };
        columns.iter().filter_map(of_column).collect()
    };
    Ok(source.table.rows().iter().map(of_row).collect())
}

/// Groups items in the order of their table. The groups are the same for all processes that want these items, whichever of them are
/// missing.
fn batch(list: &mut [BoundItem], size: usize) {
    for chunk in list.chunks_mut(size.max(1)) {
        let mut hasher = Hasher::new("pipe batch of items, version 1");
        chunk.iter().for_each(|one| {
            hasher.field(one.key.as_bytes());
        });
        let group = hasher.finish();
        chunk.iter_mut().for_each(|one| one.group = Some(group));
    }
}

/// Whether an instance makes one output of all items, instead of a collection of them.
pub(crate) fn gathers(instance: &Instance) -> bool {
    let output = instance.kind.about().outputs.first();
    output.is_some_and(|output| !matches!(output.form, OutputForm::Collection(_)))
}

fn key(scope: Digest, item: &Item) -> Digest {
    let mut hasher = Hasher::new("pipe item, version 1");
    hasher.field(scope.as_bytes()).field(&item.name);
    for (name, value) in item.values.iter() {
        hasher.field("value").field(name).field(value);
    }
    for (name, file) in item.files.iter() {
        let form = match file {
            ItemFile::One(_) => "file",
            ItemFile::Pair(..) => "pair",
            ItemFile::Folder(_) => "folder",
        };
        hasher.field(form).field(name).field(file.digest().as_bytes());
    }
    hasher.finish()
}

fn collection_items(of: &str, files: &Files) -> Result<Vec<BoundRows>, StageError> {
    let mut items = Vec::new();
    let given: Arc<str> = of.into();
    for name in files.names() {
        let item = name.strip_suffix(input::extension(name)).unwrap_or(name);
        let Some(file) = files.get(name) else { continue };
        let item = Item {
            name: item.to_string(),
            place: None,
            values: Named::default(),
            files: Named::from_iter([(Arc::clone(&given), ItemFile::One(file))]),
        };
        items.push(BoundRows { item, group: None, rows: Vec::new() });
    }
    let duplicate = items.windows(2).find(|pair| pair[0].item.name == pair[1].item.name);
    if let Some(pair) = duplicate {
        let message = format!("{}: item {} has two files", files.shown, pair[0].item.name);
        return Err(StageError::message(message));
    }
    if items.is_empty() {
        return Err(StageError::message(format!("{} has no items", files.shown)));
    }
    Ok(items)
}

/// The one artifact that is given to an input.
pub(crate) fn single_source<'a>(
    instance: &'a Instance,
    input: &str,
) -> Result<(&'a InputSpec, &'a InputSource), StageError> {
    let binding = instance.inputs.iter().find(|binding| binding.spec.name == input);
    binding
        .and_then(|binding| Some((binding.spec, binding.sources.first()?)))
        .ok_or_else(|| StageError::message(format!("{} has no input `{input}`", instance.label)))
}

/// All problems as one error, the first ones in full, with the first one's advice.
pub(crate) fn refuse(mut problems: Vec<StageError>) -> Result<(), StageError> {
    let mut lines: Vec<String> = problems.iter().take(TOLD).map(ToString::to_string).collect();
    if problems.len() > TOLD {
        lines.push(format!("… and {} more", problems.len() - TOLD));
    }
    if problems.len() == 1 {
        // As it is, with what it says of the store.
        return problems.pop().map_or(Ok(()), Err);
    }
    let advice = match problems.into_iter().next() {
        None => return Ok(()),
        Some(first) => first.full_advice(),
    };
    Err(StageError { advice, ..StageError::message(lines.join("\n")) })
}
