//! Rows as items: their names, the values and files that each uses.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use pipe_cache::{Digest, Form};
use rayon::prelude::*;

use super::row_files::{Found, RowFiles};
use super::{BoundRows, refuse};
use crate::bind::{Binder, TableSource, Upstream, shell_head};
use crate::manifest::Instance;
use crate::publish::real_path;
use crate::stage::{Column, FileColumn, Item, ItemFile, Named, RowItems, StageError};
use crate::table::{Row, Table, TableError};

const CORRECT_THE_PATH: &str = "correct the path in the table, or put the file there";

/// The rows of one item.
pub(crate) struct NamedRows {
    pub(crate) name: String,
    /// Positions in the table; several only where rows may repeat.
    pub(crate) rows: Vec<usize>,
}

/// What the cells of the file columns lead to, by column and cell.
pub(super) type ByCell<T> = HashMap<(&'static str, String), T>;

/// The items of a table's rows, with the content of every file that they use.
pub(super) fn bind(
    binder: &Binder<'_>,
    instance: &Instance,
    rows: &RowItems,
    upstream: Upstream<'_>,
) -> Result<(TableSource, Vec<BoundRows>), StageError> {
    let source = binder.open_table(super::single_source(instance, rows.input)?.1, upstream)?;
    let named = named_rows(&source.table, rows)?;
    let companions = match rows.companion {
        Some((input, extension)) => {
            let (spec, given) = super::single_source(instance, input)?;
            Some((input, extension, binder.open_files(spec, given, Form::Collection, upstream)?))
        }
        None => None,
    };
    let used = UsedColumns::of(&source.table, rows)?;
    let columns: Vec<Arc<str>> = rows.files.iter().map(|column| column.name.into()).collect();
    let companion: Option<Arc<str>> = rows.companion.map(|(input, _)| input.into());
    let opened = open(binder, &source, &rows.files)?;
    let mut problems = Vec::new();
    let mut bound = Vec::new();
    for NamedRows { name, rows: positions } in named {
        let Some(first) = positions.first().copied() else { continue };
        let mut item = used.item(first, name);
        let Some(row) = source.table.rows().get(first) else { continue };
        for (column, shared) in rows.files.iter().zip(&columns) {
            let cell = source.table.get(row, column.name).unwrap_or_default();
            if let Some(file) = opened.get(&(column.name, cell.to_string())) {
                item.files.insert(Arc::clone(shared), file.clone());
            }
        }
        if let (Some((_, extension, files)), Some(shared)) = (&companions, &companion) {
            let wanted = format!("{}{extension}", item.name);
            // Capitals of an extension from outside are its owner's.
            match files.item(&item.name) {
                Some(file) => {
                    item.files.insert(Arc::clone(shared), ItemFile::One(file));
                }
                None => problems.push(StageError::message(format!(
                    "{}: {} has no file `{wanted}`",
                    item.place(),
                    files.shown
                ))),
            }
        }
        let group: Option<Digest> =
            rows.group_by.and_then(|column| item.files.get(column)).map(ItemFile::digest);
        bound.push(BoundRows { item, group, rows: positions });
    }
    refuse(problems)?;
    Ok((source, bound))
}

/// The columns of a table that items use; their names are shared by all items.
pub(crate) struct UsedColumns {
    table: Table,
    names: Vec<Arc<str>>,
}

impl UsedColumns {
    pub(crate) fn of(table: &Table, rows: &RowItems) -> Result<Self, TableError> {
        let mut columns = rows.columns.clone();
        if rows.all_columns {
            let is_other = |name: &&String| rows.files.iter().all(|column| column.name != name.as_str());
            columns.extend(table.columns().iter().filter(is_other).map(Column::required));
        }
        let table = table.project(&columns)?;
        let names = table.columns().iter().map(|column| column.as_str().into()).collect();
        Ok(Self { table, names })
    }

    /// An item of a row of that table, without its files.
    pub(crate) fn item(&self, position: usize, name: String) -> Item {
        let mut item = Item { name, place: None, values: Named::default(), files: Named::default() };
        if let Some(row) = self.table.rows().get(position) {
            let cell = |name: &Arc<str>| Some((Arc::clone(name), self.table.get(row, name)?.to_string()));
            item.values = self.names.iter().filter_map(cell).collect();
            item.place = Some(format!("{}:{}", self.table.source, row.line));
        }
        item
    }
}

/// The items' names with their rows, in the order of the table.
///
/// # Errors
/// A name that cannot be one; two rows of one name, unless they may repeat and agree.
pub(crate) fn named_rows(table: &Table, rows: &RowItems) -> Result<Vec<NamedRows>, StageError> {
    let mut named: Vec<NamedRows> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    for (position, row) in table.rows().iter().enumerate() {
        let name = name(table, row, rows)?;
        match positions.get(&name).and_then(|known| named.get_mut(*known)) {
            Some(known) => {
                let first = known.rows.first().and_then(|first| table.rows().get(*first));
                check_repeat(table, rows, &name, first.unwrap_or(row), row)?;
                known.rows.push(position);
            }
            None => {
                positions.insert(name.clone(), named.len());
                named.push(NamedRows { name, rows: vec![position] });
            }
        }
    }
    Ok(named)
}

fn name(table: &Table, row: &Row, rows: &RowItems) -> Result<String, StageError> {
    let parts = name_columns(table, rows).map(|column| table.text(row, column));
    let name = parts.collect::<Result<Vec<&str>, TableError>>()?.join("_");
    if name.contains('/') || pipe_cache::check_name(&name).is_err() {
        let message = format!("{}:{}: {name:?} cannot name an item", table.source, row.line);
        let advice = format!("use letters and digits in {}", name_columns_in_words(table, rows));
        return Err(StageError::message(message).advise(advice));
    }
    Ok(name)
}

/// The columns that name a table's items.
fn name_columns<'a>(table: &'a Table, rows: &'a RowItems) -> impl Iterator<Item = &'a str> {
    let there = |column: &&Column| column.required || table.has_column(&column.name);
    rows.name.iter().filter(there).map(|column| column.name.as_str())
}

fn name_columns_in_words(table: &Table, rows: &RowItems) -> String {
    name_columns(table, rows).collect::<Vec<&str>>().join(" and ")
}

/// Whether a row may have the name that an earlier one has.
fn check_repeat(
    table: &Table,
    rows: &RowItems,
    name: &str,
    first: &Row,
    second: &Row,
) -> Result<(), StageError> {
    let columns = name_columns_in_words(table, rows);
    if !rows.repeats {
        let message = format!(
            "{}: item {name} is on line {} and again on line {}",
            table.source, first.line, second.line
        );
        return Err(StageError::message(message).advise(format!("give each row its own {columns}")));
    }
    let files = rows.files.iter().map(|column| column.name);
    for column in rows.columns.iter().map(|column| column.name.as_str()).chain(files) {
        let (before, after) = (table.get(first, column), table.get(second, column));
        if before != after {
            let message = format!(
                "{}: `{column}` of {name} is {} on line {} and {} on line {}",
                table.source,
                before.unwrap_or("blank"),
                first.line,
                after.unwrap_or("blank"),
                second.line
            );
            let advice =
                format!("rows with the same {columns} must agree in it; or name them by more columns");
            return Err(StageError::message(message).advise(advice));
        }
    }
    Ok(())
}

/// What each file column's cells lead to, with all that is missing; nothing is read.
pub(crate) fn find(
    source: &TableSource,
    columns: &[FileColumn],
) -> Result<(ByCell<Found>, Vec<StageError>), StageError> {
    let mut found = HashMap::new();
    let mut problems = Vec::new();
    for column in columns {
        let mut known: HashMap<&str, ()> = HashMap::new();
        for row in source.table.rows() {
            let Some(cell) = cell(&source.table, row, column)? else { continue };
            if known.insert(cell, ()).is_some() {
                continue;
            }
            match source.files.find(column, cell) {
                Ok(one) => {
                    found.insert((column.name, cell.to_string()), one);
                }
                Err(why) => {
                    let place = format!("{}:{}: `{}`", source.table.source, row.line, column.name);
                    let problem = StageError::message(format!("{place}: {why}"));
                    problems.push(problem.advise(match shell_head(cell) {
                        Some(head) => {
                            format!("`{head}` is put in by a shell, and not here: write the path out")
                        }
                        None => CORRECT_THE_PATH.to_string(),
                    }));
                }
            }
        }
    }
    Ok((found, problems))
}

/// Cells that lead to what a stage of the same manifest publishes: it would be read before it is written, or written over.
///
/// # Errors
/// A blank cell where a file must be.
pub(crate) fn published(
    source: &TableSource,
    columns: &[FileColumn],
    publish: &[(String, PathBuf)],
) -> Result<Vec<StageError>, StageError> {
    let RowFiles::Root(root) = &source.files else { return Ok(Vec::new()) };
    let folders: Vec<(&str, PathBuf)> =
        publish.iter().map(|(stage, folder)| (stage.as_str(), real_path(folder))).collect();
    let mut problems = Vec::new();
    if folders.is_empty() {
        return Ok(problems);
    }
    for column in columns {
        for row in source.table.rows() {
            let Some(cell) = cell(&source.table, row, column)? else { continue };
            let path = real_path(&root.join(cell));
            let Some((stage, _)) = folders.iter().find(|(_, folder)| path.starts_with(folder)) else {
                continue;
            };
            let place = format!("{}:{}: `{}`", source.table.source, row.line, column.name);
            let message = format!("{place}: {cell} lies in what stage `{stage}` publishes");
            let advice = "name files that this manifest does not write, or publish to another folder";
            problems.push(StageError::message(message).advise(advice));
        }
    }
    Ok(problems)
}

fn cell<'a>(table: &'a Table, row: &'a Row, column: &FileColumn) -> Result<Option<&'a str>, TableError> {
    if column.optional { Ok(table.get(row, column.name)) } else { table.text(row, column.name).map(Some) }
}

/// Opens what each cell leads to, once, hashing in parallel.
pub(super) fn open(
    binder: &Binder<'_>,
    source: &TableSource,
    columns: &[FileColumn],
) -> Result<ByCell<ItemFile>, StageError> {
    let (found, problems) = find(source, columns)?;
    refuse(problems)?;
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let opened: Vec<_> =
        found.into_par_iter().map(|(cell, found)| (cell, source.files.open(binder.memo, &found))).collect();
    let mut files = HashMap::new();
    let mut problems = Vec::new();
    for ((column, cell), file) in opened {
        match file {
            Ok(file) => {
                files.insert((column, cell), file);
            }
            Err(error) => {
                let line = first_line(&source.table, column, &cell);
                let message = format!("{}:{line}: `{column}`: {error}", source.table.source);
                let advice = error.advice.unwrap_or_else(|| CORRECT_THE_PATH.to_string());
                problems.push(StageError::message(message).advise(advice));
            }
        }
    }
    refuse(problems)?;
    Ok(files)
}

fn first_line(table: &Table, column: &str, cell: &str) -> u64 {
    table.rows().iter().find(|row| table.get(row, column) == Some(cell)).map_or(0, |row| row.line)
}
