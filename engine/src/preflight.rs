//! What can be known to be wrong before the first stage runs: tables and folders of items outside the store, and programs.

use std::path::Path;

use rayon::prelude::*;

use crate::bind::{Binder, TableSource, shown_path};
use crate::items::rows::{NamedRows, UsedColumns};
use crate::items::{self, rows};
use crate::manifest::problem::Problems;
use crate::manifest::{InputBinding, InputSource, Instance, ManifestError, Pipeline, Problem};
use crate::session::Session;
use crate::stage::{AnyItems, InputForm, ItemSource, RowItems, StageError, Work};

/// So many instances at least are looked at by one thread.
const TOGETHER: usize = 64;

/// Reads every table that lies outside the store: its columns, its rows, the files that the rows name; lists every folder of
/// items; has kinds look at the files that they are given; and looks for the programs that stages start.
///
/// # Errors
/// All problems found, each at the input that gave the table.
pub fn check_tables(session: &Session<'_>, pipeline: &Pipeline) -> Result<(), ManifestError> {
    let binder = session.binder(pipeline);
    let mut problems = Problems::default();
    let mut told: Vec<String> = Vec::new();
    let check = |instance: &Instance| -> Vec<Problem> {
        let program = binder.environment(instance, &instance.params).err();
        let program = program.map(|error| {
            Problem::at(instance.place.clone(), "program", error.to_string()).maybe_help(error.full_advice())
        });
        let bindings = instance.inputs.iter();
        let check = |binding: &InputBinding| match &*binding.sources {
            [InputSource::Path(path)] => check_input(session, &binder, instance, binding, path)
                .err()
                .map(|error| problem(binding, error)),
            _ => None,
        };
        program.into_iter().chain(bindings.filter_map(check)).collect()
    };
    let found: Vec<Problem> =
        pipeline.instances.par_iter().with_min_len(TOGETHER).flat_map_iter(check).collect();
    for problem in found {
        // Every fold reads the same table; one message is enough.
        if !told.contains(&problem.message) {
            told.push(problem.message.clone());
            problems.add(problem);
        }
    }
    // What was noted saves work; a cache that cannot be written is told of by whoever needs it.
    let _ = session.memo.save();
    problems.or(())
}

fn check_input(
    session: &Session<'_>,
    binder: &Binder<'_>,
    instance: &Instance,
    binding: &InputBinding,
    path: &Path,
) -> Result<(), StageError> {
    match binding.spec.form {
        InputForm::Table => {}
        InputForm::File => return instance.kind.check_file(binding.spec.name, path),
        _ => return check_items(session, binder, binding, path),
    }
    let signature = binder.table_signature(instance, binding, path);
    if signature.is_some_and(|signature| binder.is_known_good(signature)) {
        return Ok(());
    }
    check_table(binder, instance, binding, path)?;
    if let Some(signature) = signature {
        binder.remember_good(signature);
    }
    Ok(())
}

/// Whether a folder has one file for each item.
fn check_items(
    session: &Session<'_>,
    binder: &Binder<'_>,
    binding: &InputBinding,
    path: &Path,
) -> Result<(), StageError> {
    let Some(extension) = binding.spec.extension else { return Ok(()) };
    let shown = shown_path(&binder.pipeline.root, path);
    let listing = session.listings.items(path, &shown, extension)?;
    if listing.items.is_empty() {
        let message = format!("{shown}: there is no file NAME.{extension}");
        let found = match listing.left_out.first() {
            Some(first) => format!("give a folder of such files; this one has {first}"),
            None => "give a folder of such files; this one is empty".to_string(),
        };
        return Err(StageError::message(message).advise(found));
    }
    Ok(())
}

fn check_table(
    binder: &Binder<'_>,
    instance: &Instance,
    binding: &InputBinding,
    path: &Path,
) -> Result<(), StageError> {
    let source = binder.open_table(&InputSource::Path(path.to_path_buf()), &|_| None)?;
    let files = binder.file_columns(instance, binding.spec.name)?;
    items::refuse(rows::published(&source, &files, &binder.pipeline.publish)?)?;
    match (binder.item_source(instance)?, instance.kind.work()) {
        (Some(ItemSource::Rows(rows)), Work::Items(stage)) if rows.input == binding.spec.name => {
            check_rows(instance, stage, &source, &rows)
        }
        _ => {
            let name = binding.spec.name;
            items::refuse(rows::find(&source, &files)?.1)?;
            let table = source.table.project(&instance.kind.columns(&instance.params, name))?;
            items::refuse(instance.kind.check_table(&instance.params, name, &table))
        }
    }
}

/// Everything that is wrong with the rows of a stage with items, whatever of it is found first.
fn check_rows(
    instance: &Instance,
    stage: &dyn AnyItems,
    source: &TableSource,
    rows: &RowItems,
) -> Result<(), StageError> {
    let used = UsedColumns::of(&source.table, rows)?;
    let (_, mut problems) = rows::find(source, &rows.files)?;
    problems.extend(instance.kind.check_table(&instance.params, rows.input, &source.table));
    match rows::named_rows(&source.table, rows) {
        Err(problem) => problems.push(problem),
        Ok(named) => {
            for NamedRows { name, rows } in named {
                let position = rows.first().copied().unwrap_or_default();
                let item = used.item(position, name);
                problems.extend(stage.check_item(&instance.params, &item).err());
            }
        }
    }
    items::refuse(problems)
}

fn problem(binding: &InputBinding, error: StageError) -> Problem {
    let (code, correct) = match binding.spec.form {
        InputForm::Table => ("table", "correct the table"),
        _ => ("folder", "correct the folder"),
    };
    let help = error.full_advice().or_else(|| {
        binding.variable.as_ref().map(|name| format!("{correct}, or give another with --set {name}=PATH"))
    });
    let problem = Problem::at(binding.origin.clone(), code, error.to_string()).help(correct);
    problem.maybe_help(help)
}
