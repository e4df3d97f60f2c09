//! Kind `command`: runs a program.

use std::collections::BTreeMap;
use std::path::Path;

use pipe_plugin::context::{Context, ItemContext};
use pipe_plugin::host::Host;
use pipe_plugin::stage::{
    About, Column, Declaration, FileColumn, Gather, Item, ItemSource, Kind, Misdeclared, PerItem, Piece,
    RowItems, Stage, StageError, Whole,
};

use pipe_plugin::table::Table;

use crate::call::Call;
use crate::counted::of_machine;
use crate::declaration::{Declared, Items, declared};
use crate::environment::check_lock;
use crate::items::{concatenated, run_group};
use crate::params::{CommandParams, Each, EachRow};
use crate::whole::run_whole;

const ABOUT: About = About::new(
    "command",
    "runs a program of any kind, whose inputs and outputs the stage declares",
    crate::code_stamps::COMMAND,
);

/// What results do not follow from.
const UNCOUNTED: &[&str] = &["deterministic", "strict", "retry"];

/// The kind, of which each stage makes one of its own.
pub const COMMAND: Kind = Kind::whole(&Undeclared).declared_by(declare);

/// The kind before a stage has declared anything.
struct Undeclared;

fn declare(declaration: &Declaration<'_>) -> Result<Kind, Vec<Misdeclared>> {
    let declared = declared(&ABOUT, declaration)?;
    let kind = if declared.items.is_some() { Kind::per_item(declared) } else { Kind::whole(declared) };
    Ok(kind.declared_by(declare))
}

impl Stage for Undeclared {
    type Params = CommandParams;

    const ABOUT: About = ABOUT;
}

impl Whole for Undeclared {
    fn run(&self, _: &CommandParams, _: &mut Context<'_>) -> Result<(), StageError> {
        Err(StageError::message("the stage has not declared what it makes"))
    }
}

impl Stage for Declared {
    type Params = CommandParams;

    const ABOUT: About = ABOUT;

    fn about(&self) -> &'static About {
        self.about
    }

    fn fill_in(&self, params: &mut CommandParams) {
        // Written in words or as a table, it is the same.
        if let Some(Items::Rows { input, rows }) = &self.items {
            let rows = EachRow { rows: Some((*input).to_string()), ..rows.clone() };
            params.each = Some(Each::Rows(rows));
        }
    }

    fn row_files(&self, _: &CommandParams, input: &str) -> Vec<FileColumn> {
        self.files.get(input).cloned().unwrap_or_default()
    }

    fn uncounted(&self) -> &'static [&'static str] {
        UNCOUNTED
    }

    fn check_table(&self, _: &CommandParams, input: &str, table: &Table) -> Vec<StageError> {
        let is_named = matches!(&self.items, Some(Items::Rows { input: of, rows }) if *of == input && rows.name.is_none());
        if !is_named || table.has_column("pid") {
            return Vec::new();
        }
        let message = format!(
            "{}: it has no column `pid`, which names rows unless the stage says otherwise",
            table.source
        );
        let columns = table.columns().join(", ");
        let advice = format!(
            "say which columns name a row: each = {{ rows = \"{input}\", name = [\"…\"] }}, of {columns}"
        );
        vec![StageError::message(message).advise(advice)]
    }

    fn check_file(&self, input: &str, path: &Path) -> Result<(), StageError> {
        check_lock(input, path)
    }

    fn environment(
        &self,
        params: &CommandParams,
        host: &Host,
    ) -> Result<BTreeMap<String, String>, StageError> {
        of_machine(self, params, host)
    }
}

impl Whole for Declared {
    fn run(&self, params: &CommandParams, context: &mut Context<'_>) -> Result<(), StageError> {
        run_whole(self, params, context)
    }
}

impl PerItem for Declared {
    fn items(&self, params: &CommandParams, _: &dyn Fn(&str) -> bool) -> ItemSource {
        let (input, rows) = match &self.items {
            Some(Items::Rows { input, rows }) => (*input, rows),
            Some(Items::Files { input }) => return ItemSource::Collection { input },
            None => return ItemSource::Collection { input: "" },
        };
        let mut source = match &rows.name {
            // Rows of one name are one item: a scan of several nodules runs once.
            Some(columns) => RowItems::new(input, columns).repeats(),
            None => RowItems::new(input, ["pid"]).optional_name("nodule_id"),
        };
        source = source.batch(rows.batch);
        let files = self.files.get(input).map_or(&[][..], Vec::as_slice);
        let is_file = |name: &str| files.iter().any(|column| column.name == name);
        let spoken_of = Call::columns(params);
        source = match &rows.columns {
            Some(columns) => source.columns(columns.iter().map(Column::required)),
            // Who is given the table may read all of it.
            None if rows.batch > 1 || Call::names(params).contains(input) => source.all_columns(),
            None => source.columns(spoken_of.iter().filter(|name| !is_file(name)).map(Column::required)),
        };
        ItemSource::Rows(files.iter().fold(source, |source, column| source.file(*column)))
    }

    fn run_group(
        &self,
        params: &CommandParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        run_group(self, params, group, context)
    }

    fn gather(&self, _: &CommandParams, gather: &Gather<'_>) -> Result<Vec<(String, Piece)>, StageError> {
        let input = self.items.as_ref().map_or("", |items| match items {
            Items::Rows { input, .. } | Items::Files { input } => *input,
        });
        let files = self.files.get(input).map_or(&[][..], Vec::as_slice);
        let name = self.about.outputs.first().and_then(|output| output.form.file_name());
        let name = name.ok_or_else(|| StageError::message("a collection is not gathered"))?;
        Ok(vec![(name.to_string(), Piece::Bytes(concatenated(gather, files)?))])
    }
}
