//! Tables as a program sees them: paths in them lead to its folder, under names that follow from content alone. In tables that it
//! makes, these are turned back into what stood there.

use std::collections::BTreeMap;

use pipe_plugin::input::RowTable;
use pipe_plugin::stage::{FileColumn, ItemFile, Named, StageError};
use pipe_plugin::table::{Row, Table};

use crate::folder::Folder;

/// What names in a program's folder stand for: the cells of the table that they came from.
pub type Names = BTreeMap<String, String>;

/// A row with what its cells lead to.
pub struct Shown<'a> {
    /// The row of the table.
    pub row: &'a Row,
    /// What its paths led to, by column.
    pub files: &'a Named<ItemFile>,
}

/// All rows of a table.
pub fn rows(rows: &RowTable) -> Vec<Shown<'_>> {
    rows.table.rows().iter().zip(&rows.files).map(|(row, files)| Shown { row, files }).collect()
}

/// Puts the files that rows lead to into the folder, and the table of these rows. Gives what the names stand for.
///
/// # Errors
/// When something cannot be put there.
pub fn put(
    folder: &mut Folder,
    input: &str,
    table: &Table,
    rows: &[Shown<'_>],
    columns: &[FileColumn],
) -> Result<Names, StageError> {
    let mut names = Names::new();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns())?;
    for Shown { row, files } in rows {
        let mut cells = Vec::with_capacity(table.columns().len());
        for column in table.columns() {
            let written = table.written(row, column).unwrap_or_default();
            let is_path = columns.iter().any(|known| known.name == column);
            let file = files.get(column).filter(|_| is_path);
            cells.push(match file {
                None => written.to_string(),
                Some(file) => {
                    let name = free_name(&names, name_of(input, file), written);
                    if names.insert(name.clone(), written.to_string()).is_none() {
                        put_file(folder, file, &name)?;
                    }
                    name
                }
            });
        }
        writer.write_record(&cells)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    folder.write(&table_name(input), &bytes)?;
    Ok(names)
}

/// Where the program finds a table.
pub fn table_name(input: &str) -> String {
    format!("in/{input}.csv")
}

/// Where the program finds what a cell leads to.
pub fn name_of(input: &str, file: &ItemFile) -> String {
    let digest = file.digest().to_string();
    let extension = match file {
        ItemFile::One(file) => file.extension(),
        ItemFile::Pair(..) | ItemFile::Folder(_) => "",
    };
    format!("in/{input}/{}{extension}", &digest[..16.min(digest.len())])
}

/// The name for a file of which a table says `written`: files of one content that stand for different cells have names of their own.
pub fn free_name(names: &Names, name: String, written: &str) -> String {
    let (stem, extension) = name.split_at(name.len() - pipe_plugin::input::extension(&name).len());
    let others = (2..).map(|number| format!("{stem}-{number}{extension}"));
    let is_free = |name: &String| names.get(name).is_none_or(|known| known == written);
    std::iter::once(name.clone()).chain(others).find(is_free).unwrap_or_default()
}

/// Puts what a cell leads to into the folder.
pub fn put_file(folder: &mut Folder, file: &ItemFile, name: &str) -> Result<(), StageError> {
    match file {
        ItemFile::One(file) => folder.put(file, name, false),
        ItemFile::Folder(files) => folder.put_all(files, name),
        ItemFile::Pair(..) => Err(StageError::message("a scan in two files cannot be given to a program")
            .advise("give a scan in one file")),
    }
}

/// A table that a program has made, with the paths that it was given turned back into what stood in the table before.
///
/// # Errors
/// When it is no table.
pub fn restored(shown: &str, bytes: Vec<u8>, names: &Names) -> Result<Vec<u8>, StageError> {
    let table = Table::parse_maybe_empty(shown, &bytes)?;
    let is_given = |cell: &str| names.contains_key(cell.strip_prefix("./").unwrap_or(cell));
    let has_given =
        |row: &Row| table.columns().iter().any(|column| table.written(row, column).is_some_and(is_given));
    if !table.rows().iter().any(has_given) {
        return Ok(bytes);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns())?;
    for row in table.rows() {
        let cell = |column: &String| {
            let written = table.written(row, column).unwrap_or_default();
            let name = written.strip_prefix("./").unwrap_or(written);
            names.get(name).map_or(written, String::as_str)
        };
        writer.write_record(table.columns().iter().map(cell))?;
    }
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}
