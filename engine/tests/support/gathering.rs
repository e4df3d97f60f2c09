//! Kinds that make one output of all their items.

use pipe_engine::context::ItemContext;
use pipe_engine::input::InputFile;
use pipe_engine::stage::{
    About, FileColumn, Finding, Gather, InputForm, InputSpec, InspectedRow, Item, ItemFile, ItemSource,
    LeadsTo, OutputSpec, PerItem, Piece, RowItems, Stage, StageError,
};

use super::{CODE, NoParams};

fn halves(name: &str, _: &dyn Fn(usize) -> Option<Vec<u8>>) -> Result<Option<(String, String)>, String> {
    let stem = name.strip_suffix(".head").or_else(|| name.strip_suffix(".body"));
    Ok(stem.map(|stem| (format!("{stem}.head"), format!("{stem}.body"))))
}

fn text(file: &InputFile) -> Result<String, StageError> {
    Ok(String::from_utf8(file.read()?)?)
}

/// All text that an item's path leads to.
fn content(item: &Item) -> Result<String, StageError> {
    Ok(match item.files.get("path").unwrap() {
        ItemFile::One(file) => text(file)?,
        ItemFile::Pair(first, second) => text(first)? + &text(second)?,
        ItemFile::Folder(files) => {
            let texts: Result<Vec<String>, _> = files
                .names()
                .map(|name| Ok::<_, StageError>(String::from_utf8(files.read(name)?)?))
                .collect();
            texts?.concat()
        }
    })
}

/// A table cell by cell, with one column replaced or added.
fn table(
    gather: &Gather<'_>,
    column: &str,
    value: impl Fn(usize) -> Result<String, StageError>,
) -> Result<String, StageError> {
    let kept: Vec<&String> = gather.table.columns().iter().filter(|name| *name != column).collect();
    let mut text = kept.iter().map(|name| format!("{name},")).collect::<String>() + column + "\n";
    for (position, row) in gather.table.rows().iter().enumerate() {
        for name in &kept {
            text += &format!("{},", gather.table.get(row, name).unwrap_or_default());
        }
        text += &(value(position)? + "\n");
    }
    Ok(text)
}

/// Brings what each path leads to into one file; rows may share an item. Gives a tree with a table.
pub struct Pack;

impl Stage for Pack {
    type Params = NoParams;
    const ABOUT: About = About::new("pack", "packs what paths lead to", CODE)
        .inputs(&[InputSpec::new("table", InputForm::Table, "id, path")])
        .outputs(&[OutputSpec::tree("packed", "table and texts")]);
}

impl PerItem for Pack {
    fn items(&self, _params: &NoParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        let path = FileColumn::new("path", LeadsTo::FileOrFolder).pair_of(halves);
        ItemSource::Rows(RowItems::new("table", ["id"]).file(path).group_by("path").repeats())
    }

    fn run_group(
        &self,
        _: &NoParams,
        group: &[Item],
        _: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        group.iter().map(|item| content(item).map(String::into_bytes)).collect()
    }

    fn gather(&self, _: &NoParams, gather: &Gather<'_>) -> Result<Vec<(String, Piece)>, StageError> {
        let name = |position: usize| {
            let item = gather.items.iter().find(|item| item.rows.contains(&position));
            Ok(format!("texts/{}.txt", item.unwrap().name))
        };
        let mut pieces =
            vec![("rows.csv".to_string(), Piece::Bytes(table(gather, "path", name)?.into_bytes()))];
        for (position, item) in gather.items.iter().enumerate() {
            pieces.push((format!("texts/{}.txt", item.name), Piece::Item(position)));
        }
        Ok(pieces)
    }
}

/// Finds rows odd whose note says so.
pub fn odd_rows(_: &serde_json::Value, group: &[InspectedRow]) -> Vec<Finding> {
    let names: Vec<&str> = group.iter().map(|one| one.name.as_str()).collect();
    let odd = group.iter().find(|one| one.values.get("note").is_some_and(|note| note == "odd"));
    odd.map(|one| Finding::error(&one.place, format!("odd among {}", names.join(" ")))).into_iter().collect()
}

/// Adds each text's length to the table.
pub struct Measure;

impl Stage for Measure {
    type Params = NoParams;
    const ABOUT: About = About::new("measure", "adds lengths", CODE)
        .inputs(&[InputSpec::new("table", InputForm::Table, "id, path")])
        .outputs(&[OutputSpec::table("table", "rows.csv", "with times")]);
}

impl PerItem for Measure {
    fn items(&self, _params: &NoParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Rows(RowItems::new("table", ["id"]).file(FileColumn::new("path", LeadsTo::File)))
    }

    fn run_group(
        &self,
        _: &NoParams,
        group: &[Item],
        _: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        group.iter().map(|item| Ok(content(item)?.len().to_string().into_bytes())).collect()
    }

    fn gather(&self, _: &NoParams, gather: &Gather<'_>) -> Result<Vec<(String, Piece)>, StageError> {
        let length = |position: usize| text(&gather.items[position].file);
        Ok(vec![("rows.csv".to_string(), Piece::Bytes(table(gather, "times", length)?.into_bytes()))])
    }
}
