//! A stage that runs its program for each row of a table or each file of a collection, or for some rows at a time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pipe_plugin::context::ItemContext;
use pipe_plugin::stage::{FileColumn, Gather, GatheredItem, Item, OutputForm, OutputSpec, StageError};
use pipe_plugin::table::Table;

use crate::call::{self, Call, Prepared};
use crate::declaration::{Declared, Items};
use crate::environment::equipped;
use crate::folder::Folder;
use crate::params::CommandParams;
use crate::tables;
use crate::whole::check_file;

/// The column of a batch's table that names each row's item.
const ITEM: &str = "item";

/// Runs the program for some items, and gives each item's file.
pub fn run_group(
    declared: &Declared,
    params: &CommandParams,
    group: &[Item],
    context: &ItemContext<'_>,
) -> Vec<Result<Vec<u8>, StageError>> {
    let Some((output, extension)) = output(declared) else {
        return group.iter().map(|_| Err(StageError::message("the stage has no output"))).collect();
    };
    let shown = match group {
        [item] => item.name.clone(),
        [first, .., last] => format!("{} to {}", first.name, last.name),
        [] => return Vec::new(),
    };
    let prepared = call::image(context.inputs()).and_then(|image| {
        let (machine, cancel) = (context.machine(), context.cancel());
        Ok((image, equipped(params, context.inputs(), machine, cancel, context.reporter())?))
    });
    let (image, equipped) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return failed(group, error),
    };
    let call = Call {
        declared,
        params: &equipped.params,
        machine: context.machine(),
        reporter: context.reporter(),
        cancel: context.cancel(),
        seed: context.seed(),
        device: context.device(),
        partial: context.side().join("partial").join(shown.replace('/', "_")),
        item: Some(&shown),
        image,
    };
    let is_batch = matches!(&declared.items, Some(Items::Rows { rows, .. }) if rows.batch > 1);
    let prepare = |folder: &mut Folder| {
        let mut prepared = Prepared::default();
        call.put_inputs(folder, context.inputs(), &mut prepared)?;
        put_items(&call, group, folder, &mut prepared)?;
        let place = format!("out/{}", output.name);
        fs::create_dir_all(folder.work().join(&place))?;
        let own =
            group.first().filter(|_| !is_batch).map(|item| format!("{place}/{}.{extension}", item.name));
        prepared.values.insert(format!("out.{}", output.name), own.unwrap_or(place));
        Ok(prepared)
    };
    let ran = call.run(&prepare, &mut |folder, prepared| {
        let place = folder.work().join("out").join(output.name);
        Ok(group.iter().map(|item| collect(output, &extension, &place, item, prepared)).collect())
    });
    ran.unwrap_or_else(|error| failed(group, error))
}

/// One error for all items; the first has it whole, with what it knows of its cause.
fn failed(group: &[Item], error: StageError) -> Vec<Result<Vec<u8>, StageError>> {
    let text = error.to_string();
    let mut first = Some(error);
    group.iter().map(|_| Err(first.take().unwrap_or_else(|| StageError::message(text.clone())))).collect()
}

/// The one output, and the extension of each item's file.
fn output(declared: &Declared) -> Option<(&'static OutputSpec, String)> {
    let output = declared.about.outputs.first()?;
    let extension = match output.form {
        OutputForm::Collection(extension) => extension.to_string(),
        _ => "csv".to_string(),
    };
    Some((output, extension))
}

/// Puts into the folder what is the items' own.
fn put_items(
    call: &Call<'_>,
    group: &[Item],
    folder: &mut Folder,
    prepared: &mut Prepared,
) -> Result<(), StageError> {
    let (input, columns) = match &call.declared.items {
        None => return Ok(()),
        Some(Items::Files { input }) => {
            if let Some(item) = group.first() {
                let file = item.file(input)?;
                let place = format!("in/{input}/{}{}", item.name, file.extension());
                folder.put(file, &place, false)?;
                prepared.values.insert((*input).to_string(), place);
                prepared.values.insert(ITEM.to_string(), item.name.clone());
            }
            return Ok(());
        }
        Some(Items::Rows { input, .. }) => {
            (*input, call.declared.files.get(input).map_or(&[][..], Vec::as_slice))
        }
    };
    for item in group {
        for column in columns {
            let Some(file) = item.files.get(column.name) else { continue };
            let stands_for = format!("{{row.{}}}", column.name);
            let name = tables::free_name(&prepared.names, tables::name_of(input, file), &stands_for);
            if prepared.names.insert(name.clone(), stands_for).is_none() {
                tables::put_file(folder, file, &name)?;
            }
            if group.len() == 1 {
                prepared.values.insert(format!("row.{}", column.name), name);
            }
        }
    }
    if let [item] = group {
        prepared.values.insert(ITEM.to_string(), item.name.clone());
        let mut missing = Call::columns(call.params);
        for (name, value) in item.values.iter() {
            missing.remove(name);
            prepared.values.insert(format!("row.{name}"), value.to_string());
        }
        // A blank cell is an empty argument.
        for name in missing {
            prepared.values.entry(format!("row.{name}")).or_default();
        }
    }
    write_table(input, columns, group, (folder, prepared))?;
    prepared.values.insert(input.to_string(), tables::table_name(input));
    Ok(())
}

/// Writes the table of the items: their names, the values that count, and where their files are.
fn write_table(
    input: &str,
    columns: &[FileColumn],
    group: &[Item],
    (folder, prepared): (&Folder, &Prepared),
) -> Result<(), StageError> {
    let values: BTreeSet<&str> =
        group.iter().flat_map(|item| item.values.iter()).map(|(name, _)| name).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Where the table has such a column, it is that.
    let own = [ITEM].into_iter().filter(|name| !values.contains(name));
    let headers = own.clone().chain(values.iter().copied()).chain(columns.iter().map(|column| column.name));
    writer.write_record(headers)?;
    for item in group {
        let cell = |name: &&str| item.values.get(name).cloned().unwrap_or_default();
        let path = |column: &FileColumn| {
            let file = item.files.get(column.name);
            let stands_for = format!("{{row.{}}}", column.name);
            file.map(|file| tables::free_name(&prepared.names, tables::name_of(input, file), &stands_for))
                .unwrap_or_default()
        };
        let cells = values.iter().map(cell).chain(columns.iter().map(path));
        writer.write_record(own.clone().map(|_| item.name.clone()).chain(cells))?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    folder.write(&tables::table_name(input), &bytes)
}

/// What the program has made for an item.
fn collect(
    output: &OutputSpec,
    extension: &str,
    place: &Path,
    item: &Item,
    prepared: &Prepared,
) -> Result<Vec<u8>, StageError> {
    let name = format!("{}.{extension}", item.name);
    check_file(output.name, &place.join(&name))?;
    let bytes = fs::read(place.join(&name))?;
    match output.form {
        OutputForm::Table(_) => {
            tables::restored(&format!("the table of {}", item.name), bytes, &prepared.names)
        }
        _ => Ok(bytes),
    }
}

/// The tables of all items as one, in the order of their rows. Paths that a program was given are what stands in its row.
///
/// # Errors
/// Two that have other columns.
pub fn concatenated(gather: &Gather<'_>, files: &[FileColumn]) -> Result<Vec<u8>, StageError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut columns: Option<(Vec<String>, &str)> = None;
    for item in gather.items {
        let table = Table::parse_maybe_empty(&format!("the table of {}", item.name), &item.file.read()?)?;
        match &columns {
            None => {
                writer.write_record(table.columns())?;
                columns = Some((table.columns().to_vec(), &item.name));
            }
            Some((known, first)) if known != table.columns() => {
                let message = format!(
                    "the program wrote the columns {} for {first}, and {} for {}",
                    known.join(", "),
                    table.columns().join(", "),
                    item.name
                );
                return Err(StageError::message(message).advise("write the same columns for every row"));
            }
            Some(_) => {}
        }
        for row in table.rows() {
            let cell = |column: &String| {
                let written = table.written(row, column).unwrap_or_default();
                given_by_row(gather, files, item, written).unwrap_or(written)
            };
            writer.write_record(table.columns().iter().map(cell))?;
        }
    }
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}

/// What stands in an item's row, for a cell that says so: `{row.image_path}`.
fn given_by_row<'a>(
    gather: &'a Gather<'_>,
    files: &[FileColumn],
    item: &GatheredItem,
    written: &str,
) -> Option<&'a str> {
    let column = written.strip_prefix("{row.")?.strip_suffix('}')?;
    let column = files.iter().find(|known| known.name == column)?.name;
    let row = gather.table.rows().get(*item.rows.first()?)?;
    gather.table.written(row, column)
}
