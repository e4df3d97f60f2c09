//! The items of a stage: rows or files, each with a key made of no more than what it uses.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use pipe_cache::{Digest, Form, Hasher, InputMemo};
use rayon::prelude::*;

use crate::bind::{Binder, Done, RowFiles, TableSource, shown_path};
use crate::input::{Files, InputFile};
use crate::manifest::{InputSource, Instance};
use crate::stage::{Item, ItemSource, RowItems, StageError, Work};
use crate::table::{Row, Table};

/// How many problems of a table are told at once.
const TOLD: usize = 10;
const CORRECT_THE_PATH: &str = "correct the path in the table, or put the file there";

/// The items of an instance, in the order of their table or collection.
pub(crate) struct BoundItems {
    pub(crate) scope: Digest,
    pub(crate) list: Vec<BoundItem>,
}

/// An item and its key.
pub(crate) struct BoundItem {
    pub(crate) item: Item,
    pub(crate) key: Digest,
    /// Items with the same group are handed over together.
    pub(crate) group: Option<Digest>,
}

impl BoundItems {
    /// A digest of all names and keys: what an instance's fingerprint holds of its items.
    pub(crate) fn digest(&self) -> Digest {
        let mut pairs: Vec<(&str, Digest)> =
            self.list.iter().map(|one| (one.item.name.as_str(), one.key)).collect();
        pairs.sort_unstable();
        let mut hasher = Hasher::new("pipe items, version 1");
        for (name, key) in pairs {
            hasher.field(name).field(key.as_bytes());
        }
        hasher.finish()
    }

    /// What each item's key was made of, one JSON object a line; kept for audits.
    pub(crate) fn listing(&self) -> Vec<u8> {
        let mut sorted: Vec<&BoundItem> = self.list.iter().collect();
        sorted.sort_by(|a, b| a.item.name.cmp(&b.item.name));
        let mut text = String::new();
        for BoundItem { item, key, group: _ } in sorted {
            let files: BTreeMap<&str, String> =
                item.files.iter().map(|(name, file)| (name.as_str(), file.digest.to_string())).collect();
            let line =
                serde_json::json!({"item": item.name, "key": key, "values": item.values, "files": files});
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text.into_bytes()
    }
}

/// Lists an instance's items, with the content of every file that they use.
pub(crate) fn bind(
    binder: &Binder<'_>,
    instance: &Instance,
    source: &ItemSource,
    scope: Digest,
    upstream: &dyn Fn(usize) -> Option<Done>,
) -> Result<BoundItems, StageError> {
    let items = match source {
        ItemSource::Collection { input } => {
            let files = binder.open_files(single_source(instance, input)?, Form::Collection, upstream)?;
            collection_items(input, &files)?
        }
        ItemSource::Rows(rows) => row_items(binder, instance, rows, upstream)?,
    };
    if let Work::Items(stage) = instance.kind.work() {
        refuse(
            items.iter().filter_map(|(item, _)| stage.check_item(&instance.params, item).err()).collect(),
        )?;
    }
    let list =
        items.into_iter().map(|(item, group)| BoundItem { key: key(scope, &item), item, group }).collect();
    Ok(BoundItems { scope, list })
}

fn key(scope: Digest, item: &Item) -> Digest {
    let mut hasher = Hasher::new("pipe item, version 1");
    hasher.field(scope.as_bytes()).field(&item.name);
    for (name, value) in &item.values {
        hasher.field("value").field(name).field(value);
    }
    for (name, file) in &item.files {
        hasher.field("file").field(name).field(file.digest.as_bytes());
    }
    hasher.finish()
}

fn collection_items(input: &str, files: &Files) -> Result<Vec<(Item, Option<Digest>)>, StageError> {
    let mut items = Vec::new();
    for name in files.names() {
        let (item, _) = name.rsplit_once('.').unwrap_or((name, ""));
        let Some(file) = files.get(name) else { continue };
        let item = Item {
            name: item.to_string(),
            place: None,
            values: BTreeMap::new(),
            files: BTreeMap::from([(input.to_string(), file)]),
        };
        items.push((item, None));
    }
    let duplicate = items.windows(2).find(|pair| pair[0].0.name == pair[1].0.name);
    if let Some(pair) = duplicate {
        return Err(StageError::message(format!("{}: item {} has two files", files.shown, pair[0].0.name)));
    }
    if items.is_empty() {
        return Err(StageError::message(format!("{} has no items", files.shown)));
    }
    Ok(items)
}

fn row_items(
    binder: &Binder<'_>,
    instance: &Instance,
    rows: &RowItems,
    upstream: &dyn Fn(usize) -> Option<Done>,
) -> Result<Vec<(Item, Option<Digest>)>, StageError> {
    let source = binder.open_table(single_source(instance, rows.input)?, upstream)?;
    let names = item_names(&source.table, rows)?;
    let companions = match rows.companion {
        Some((input, extension)) => {
            let files = binder.open_files(single_source(instance, input)?, Form::Collection, upstream)?;
            Some((input, extension, files))
        }
        None => None,
    };
    let used = source.table.project(&rows.columns)?;
    let opened = open_row_files(binder, &source, rows)?;
    let mut problems = Vec::new();
    let mut items = Vec::new();
    for ((row, used_row), name) in source.table.rows().iter().zip(used.rows()).zip(names) {
        let place = format!("{}:{}", source.table.source, row.line);
        let values = used
            .columns()
            .iter()
            .filter_map(|column| used.get(used_row, column).map(|value| (column.clone(), value.to_string())));
        let mut item =
            Item { name, values: values.collect(), files: BTreeMap::new(), place: Some(place.clone()) };
        for column in rows.files {
            if let Some(file) = source.table.get(row, column).and_then(|cell| opened.get(cell)) {
                item.files.insert((*column).to_string(), file.clone());
            }
        }
        if let Some((input, extension, files)) = &companions {
            let wanted = format!("{}{extension}", item.name);
            match files.get(&wanted) {
                Some(file) => {
                    item.files.insert((*input).to_string(), file);
                }
                None => problems
                    .push(StageError::message(format!("{place}: {} has no file `{wanted}`", files.shown))),
            }
        }
        let group = rows.group_by.and_then(|column| item.files.get(column)).map(|file| file.digest);
        items.push((item, group));
    }
    refuse(problems)?;
    Ok(items)
}

/// The items' names; two rows of one name are an error.
pub(crate) fn item_names(table: &Table, rows: &RowItems) -> Result<Vec<String>, StageError> {
    let name = |row: &Row| -> Result<String, StageError> {
        let parts: Result<Vec<&str>, _> = rows.name.iter().map(|column| table.text(row, column)).collect();
        let name = parts?.join("_");
        if name.contains('/') || pipe_cache::check_name(&name).is_err() {
            let message = format!("{}:{}: {name:?} cannot name an item", table.source, row.line);
            let advice = format!("use letters and digits in {}", rows.name.join(" and "));
            return Err(StageError::message(message).advise(advice));
        }
        Ok(name)
    };
    let names: Vec<String> = table.rows().iter().map(name).collect::<Result<_, _>>()?;
    let keys = names.iter().cloned().zip(table.rows().iter().map(|row| row.line));
    match Table::first_duplicate(keys) {
        None => Ok(names),
        Some((name, first, second)) => {
            let message =
                format!("{}: item {name} is on line {first} and again on line {second}", table.source);
            let advice = format!("give each row its own {}", rows.name.join(" and "));
            Err(StageError::message(message).advise(advice))
        }
    }
}

/// Opens each file that the rows name, once, hashing them in parallel.
fn open_row_files(
    binder: &Binder<'_>,
    source: &TableSource,
    rows: &RowItems,
) -> Result<HashMap<String, InputFile>, StageError> {
    let mut first_rows: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
    for column in rows.files {
        for row in source.table.rows() {
            let cell = source.table.text(row, column)?;
            first_rows.entry(cell).or_insert((column, row.line));
        }
    }
    let opened: Vec<(String, Result<InputFile, String>)> = first_rows
        .par_iter()
        .map(|(cell, (column, line))| {
            let place = format!("{}:{line}: `{column}`", source.table.source);
            let file =
                open_row_file(binder.memo, &source.files, cell).map_err(|why| format!("{place}: {why}"));
            ((*cell).to_string(), file)
        })
        .collect();
    let mut files = HashMap::new();
    let mut problems = Vec::new();
    for (cell, file) in opened {
        match file {
            Ok(file) => {
                files.insert(cell, file);
            }
            Err(problem) => problems.push(StageError::message(problem).advise(CORRECT_THE_PATH)),
        }
    }
    refuse(problems)?;
    Ok(files)
}

fn open_row_file(memo: &InputMemo, files: &RowFiles, cell: &str) -> Result<InputFile, String> {
    match files {
        RowFiles::Within(files) => {
            let name = cell.strip_prefix("./").unwrap_or(cell);
            files.get(name).ok_or_else(|| format!("{} has no file {cell}", files.shown))
        }
        RowFiles::Root(root) => {
            let path: PathBuf = root.join(cell);
            if !path.is_file() {
                return Err(format!("there is no file {}", shown_path(root, &path)));
            }
            InputFile::outside(memo, &path).map_err(|error| StageError::from(error).to_string())
        }
    }
}

/// The problems of the rows' files without reading them: for checking a table before any work.
pub(crate) fn missing_row_files(
    source: &TableSource,
    rows: &RowItems,
) -> Result<Vec<StageError>, StageError> {
    let mut problems = Vec::new();
    for column in rows.files {
        for row in source.table.rows() {
            let cell = source.table.text(row, column)?;
            let missing = match &source.files {
                RowFiles::Root(root) => !root.join(cell).is_file(),
                RowFiles::Within(files) => files.get(cell.strip_prefix("./").unwrap_or(cell)).is_none(),
            };
            if missing {
                let problem =
                    format!("{}:{}: `{column}`: there is no file {cell}", source.table.source, row.line);
                problems.push(StageError::message(problem).advise(CORRECT_THE_PATH));
            }
        }
    }
    Ok(problems)
}

pub(crate) fn single_source<'a>(instance: &'a Instance, input: &str) -> Result<&'a InputSource, StageError> {
    let binding = instance.inputs.iter().find(|binding| binding.spec.name == input);
    binding
        .and_then(|binding| binding.sources.first())
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
        Some(first) => first.advice,
    };
    Err(StageError { advice, ..StageError::message(lines.join("\n")) })
}
