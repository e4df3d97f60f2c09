//! What looks odd about the tables and folders that a pipeline is given: nothing that a run would fail on.
//!
//! A variable that nothing uses, a column that is nearly one that a kind would have read, identifiers that a spreadsheet has turned into numbers, an
//! encoding that was guessed, files in a folder that are no items. One finding for each column and folder, with a count.
//! What is wrong for sure is told by [`crate::preflight`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::bind::shown_path;
use crate::manifest::{InputBinding, InputSource, Instance, Origin, Pipeline};
use crate::session::Session;
use crate::stage::{Column, Finding, InputForm, ItemSource, Work};
use crate::table::{Table, damaged_names, nearest};

/// How many examples a finding has.
const EXAMPLES: usize = 3;

/// What all kinds together read of a table.
#[derive(Default)]
struct Reading {
    columns: BTreeSet<String>,
    /// The columns that name items.
    names: BTreeSet<String>,
}

/// What looks odd, each once.
pub(crate) fn look(session: &Session<'_>, pipeline: &Pipeline) -> Vec<Finding> {
    let mut tables: BTreeMap<PathBuf, Reading> = BTreeMap::new();
    let mut findings: Vec<Finding> = pipeline.unused_variables.iter().map(unused_variable).collect();
    for instance in &pipeline.instances {
        for binding in instance.inputs.iter() {
            for source in binding.sources.iter() {
                let InputSource::Path(path) = source else { continue };
                match binding.spec.form {
                    InputForm::Table => {
                        let reading = tables.entry(path.clone()).or_default();
                        let (names, columns) = columns_read(instance, binding);
                        reading.columns.extend(names.iter().chain(&columns).cloned());
                        reading.names.extend(names);
                    }
                    InputForm::Collection => findings.extend(left_out(session, pipeline, binding, path)),
                    _ => {}
                }
            }
        }
    }
    for (path, reading) in tables {
        if let Ok(table) = session.tables.open(&path, &shown_path(&pipeline.root, &path)) {
            findings.extend(encoding(&table));
            findings.extend(swallowed_rows(&table));
            findings.extend(near_columns(&table, &reading));
            findings.extend(reading.names.iter().filter_map(|column| damaged_names(&table, column)));
        }
    }
    findings
}

fn unused_variable((name, origin): &(String, Origin)) -> Finding {
    Finding::warning(origin.to_string(), format!("variable `{name}` is used nowhere"))
        .advise("correct its name, or take it out")
}

/// The columns by which an instance names the items of a table, and all others that it reads.
pub(crate) fn columns_read(instance: &Instance, binding: &InputBinding) -> (Vec<String>, Vec<String>) {
    let input = binding.spec.name;
    let name = |column: Column| column.name;
    if let Work::Items(stage) = instance.kind.work() {
        let given = |name: &str| instance.inputs.iter().any(|binding| binding.spec.name == name);
        if let Ok(ItemSource::Rows(rows)) = stage.items(&instance.params, &given)
            && rows.input == input
        {
            let files = rows.files.iter().map(|column| column.name.to_string());
            let others = rows.columns.into_iter().map(name).chain(files).collect();
            return (rows.name.into_iter().map(name).collect(), others);
        }
    }
    (Vec::new(), instance.kind.columns(&instance.params, input).into_iter().map(name).collect())
}

fn header(table: &Table) -> String {
    format!("{}:{}", table.source, table.header_line())
}

fn encoding(table: &Table) -> Option<Finding> {
    table.guessed_encoding().then(|| {
        Finding::warning(header(table), "the table is not UTF-8, and is read as Windows-1252")
            .advise("look at its accented letters with `pipe get`, or save it as UTF-8")
    })
}

/// Cells that hold what looks like whole rows: a quotation mark that nobody meant opens a cell, and the next one far below
/// closes it.
fn swallowed_rows(table: &Table) -> Option<Finding> {
    let separators = table.columns().len().saturating_sub(1);
    // Prose has blanks behind its commas, and rows hardly.
    let is_cut = |line: &str, sign: char| {
        line.matches(sign).count() == separators && !line.contains(&format!("{sign} "))
    };
    let is_row = |line: &str| [',', ';', '\t', '|'].iter().any(|sign| is_cut(line, *sign));
    let rows_within = |cell: &str| {
        let lines: Vec<&str> = cell.lines().collect();
        let inner = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default();
        inner.iter().filter(|line| is_row(line)).count()
    };
    // With few columns a sentence has as many commas.
    if separators < FEWEST_SEPARATORS {
        return None;
    }
    table.rows().iter().find_map(|row| {
        let cells = table.columns().iter().filter_map(|column| Some((column, table.get(row, column)?)));
        let (column, rows) =
            cells.map(|(column, cell)| (column, rows_within(cell))).find(|(_, rows)| *rows > 0)?;
        let message =
            format!("the cell in column `{column}` holds {rows} lines that look like rows of the table");
        Some(
            Finding::warning(format!("{}:{}", table.source, row.line), message)
                .advise("look for a quotation mark that nothing closes, and write it twice or take it out"),
        )
    })
}

/// Rows of so many separators or more are told from sentences.
const FEWEST_SEPARATORS: usize = 2;

/// Columns that no kind reads and that are nearly one that a kind would have read.
fn near_columns<'a>(table: &'a Table, reading: &'a Reading) -> Vec<Finding> {
    let unread = table.columns().iter().filter(|name| !reading.columns.contains(*name));
    // Beside the column that was meant, one that is like it is no mistake.
    let near = |name: &'a String| {
        let meant = nearest(name, reading.columns.iter().map(String::as_str))?;
        (!table.has_column(meant)).then_some((name, meant))
    };
    let told = |(name, meant): (&'a String, &'a str)| {
        Finding::warning(header(table), format!("column `{name}` is not read; did you mean `{meant}`?"))
            .advise("rename the column if it is meant; `pipe stages KIND` lists what a kind reads")
    };
    unread.filter_map(near).map(told).collect()
}

/// Files of a folder that are no items.
fn left_out(
    session: &Session<'_>,
    pipeline: &Pipeline,
    binding: &InputBinding,
    folder: &Path,
) -> Option<Finding> {
    let extension = binding.spec.extension?;
    let shown = shown_path(&pipeline.root, folder);
    let listing = session.listings.items(folder, &shown, extension).ok()?;
    let left_out = &listing.left_out;
    if left_out.is_empty() {
        return None;
    }
    let examples: Vec<&str> = left_out.iter().take(EXAMPLES).map(String::as_str).collect();
    let more = if left_out.len() > examples.len() { ", …" } else { "" };
    let files = if left_out.len() == 1 { "file is" } else { "files are" };
    let message = format!("{shown}: {} {files} left out: {}{more}", left_out.len(), examples.join(", "));
    let advice = format!("items are files NAME.{extension} in the folder itself; move the others away");
    Some(Finding::warning(binding.origin.to_string(), message).advise(advice))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::parse("t.csv", text.as_bytes()).unwrap()
    }

    fn told(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.message)).collect()
    }

    #[test]
    fn rows_that_a_quotation_mark_swallows_are_told() {
        let cut = "pid,note,x\n1,\"see report,2\n2,fine,3\n3,fine,4\n4,12 mm\",5\n5,,6\n";
        assert_eq!(
            told(swallowed_rows(&table(cut)).into_iter().collect()),
            ["t.csv:2: the cell in column `note` holds 2 lines that look like rows of the table"]
        );
        for text in [
            "pid,note,x\n1,\"one line,\nanother, and a third\nlast\",2\n",
            "pid,note,x\n1,\"Lungs:\nNo effusion, nodes, or fluid.\nEnd.\",2\n",
            "pid,note\n1,\"a\nb, c\nd\"\n",
            "pid,note,x\n1,fine,2\n",
        ] {
            assert_eq!(told(swallowed_rows(&table(text)).into_iter().collect()), [""; 0]);
        }
    }

    #[test]
    fn columns_that_are_nearly_read_are_told_once() {
        let reading = Reading {
            columns: ["pid", "malignant", "nodule_margins", "coordX", "coordY"].map(str::to_string).into(),
            names: BTreeSet::new(),
        };
        let table =
            table("pid,Malignant,nodule_margin,coordX,coordx,sex\n1,1,Smooth,1,2,f\n2,1,Smooth,1,2,f\n");
        assert_eq!(
            told(near_columns(&table, &reading)),
            [
                "t.csv:1: column `Malignant` is not read; did you mean `malignant`?",
                "t.csv:1: column `nodule_margin` is not read; did you mean `nodule_margins`?",
            ]
        );
    }
}
