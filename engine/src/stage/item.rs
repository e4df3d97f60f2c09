//! Items: where they come from, and what each one uses.

use std::collections::BTreeMap;

use super::about::Column;
use super::error::StageError;
use crate::input::InputFile;

/// Where the items of an [`ItemStage`](super::ItemStage) come from.
#[derive(Clone, Debug)]
pub enum ItemSource {
    /// The rows of a table input.
    Rows(RowItems),
    /// The files of a collection input.
    Collection {
        /// The input's name.
        input: &'static str,
    },
}

/// How rows become items.
#[derive(Clone, Debug)]
pub struct RowItems {
    /// The table input's name.
    pub input: &'static str,
    /// The columns whose texts, joined by `_`, name the item.
    pub name: &'static [&'static str],
    /// The columns whose values the item uses.
    pub columns: Vec<Column>,
    /// The columns that name a file which the item uses.
    pub files: &'static [&'static str],
    /// A file column: rows with the same file are handed over together.
    pub group_by: Option<&'static str>,
    /// A collection or folder input with one more file for each item, named by the item and this extension.
    pub companion: Option<(&'static str, &'static str)>,
}

/// One item with what it uses.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name, unique within the stage.
    pub name: String,
    /// The table and line it comes from, for messages.
    pub place: Option<String>,
    /// The values of the columns that it uses; a blank cell is absent.
    pub values: BTreeMap<String, String>,
    /// The files that it uses, by column or input.
    pub files: BTreeMap<String, InputFile>,
}

impl Item {
    /// The file of that column or input.
    ///
    /// # Errors
    /// When the item has none.
    pub fn file(&self, name: &str) -> Result<&InputFile, StageError> {
        self.files
            .get(name)
            .ok_or_else(|| StageError::message(format!("item {} has no file for `{name}`", self.name)))
    }

    /// The finite number in that column.
    ///
    /// # Errors
    /// A message with the place, the column and the text found.
    pub fn number(&self, column: &str) -> Result<f64, StageError> {
        let place = self.place.as_deref().unwrap_or(&self.name);
        let refuse = |found: &str| {
            StageError::message(format!("{place}: `{column}` must be a finite number, but is {found}"))
                .advise(format!("correct the cell, or remove the row of {}", self.name))
        };
        let text = self.values.get(column).ok_or_else(|| refuse("blank"))?;
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(|| refuse(&format!("{text:?}")))
    }
}
