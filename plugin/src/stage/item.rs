//! Items: where they come from, what each one uses, and what is made of all of them.

use pipe_cache::{Digest, Hasher};

use super::about::Column;
use super::error::StageError;
use super::named::Named;
use crate::input::{Files, InputError, InputFile};
use crate::table::{Table, has_comma};

/// Where the items of an [`PerItem`](super::PerItem) kind come from.
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

impl ItemSource {
    /// The inputs that items are made of.
    pub fn inputs(&self) -> impl Iterator<Item = &'static str> {
        let (first, second) = match self {
            Self::Collection { input } => (*input, None),
            Self::Rows(rows) => (rows.input, rows.companion.map(|(input, _)| input)),
        };
        std::iter::once(first).chain(second)
    }

    /// Whether items are made of that input.
    pub fn is_made_of(&self, input: &str) -> bool {
        self.inputs().any(|name| name == input)
    }
}

/// How rows become items.
#[derive(Clone, Debug)]
pub struct RowItems {
    /// The table input's name.
    pub input: &'static str,
    /// The columns whose texts, joined by `_`, name the item; optional ones only where the table has them.
    pub name: Vec<Column>,
    /// The columns whose values the item uses.
    pub columns: Vec<Column>,
    /// Whether it uses the values of all columns but those that lead to files.
    pub all_columns: bool,
    /// The columns that lead to files which the item uses.
    pub files: Vec<FileColumn>,
    /// A file column: rows with the same content there are handed over together.
    pub group_by: Option<&'static str>,
    /// A collection or folder input with one more file for each item, named by the item and this extension.
    pub companion: Option<(&'static str, &'static str)>,
    /// So many items at most are handed over together, where `group_by` says nothing.
    pub batch: usize,
    /// Whether rows of one name are one item, which then have to agree in all that the item uses.
    pub repeats: bool,
}

impl RowItems {
    /// Items of the rows of `input`, named by these columns, which use nothing yet.
    pub fn new(input: &'static str, name: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            input,
            name: name.into_iter().map(Column::required).collect(),
            columns: Vec::new(),
            all_columns: false,
            files: Vec::new(),
            group_by: None,
            companion: None,
            batch: 1,
            repeats: false,
        }
    }

    /// This column's text, where the table has it, goes on with the name.
    #[must_use]
    pub fn optional_name(mut self, column: impl Into<String>) -> Self {
        self.name.push(Column::optional(column));
        self
    }

    /// They use the values of these columns.
    #[must_use]
    pub fn columns(mut self, columns: impl IntoIterator<Item = Column>) -> Self {
        self.columns.extend(columns);
        self
    }

    /// They use the values of all columns but those that lead to files.
    #[must_use]
    pub fn all_columns(mut self) -> Self {
        self.all_columns = true;
        self
    }

    /// They use what this column leads to.
    #[must_use]
    pub fn file(mut self, column: FileColumn) -> Self {
        self.files.push(column);
        self
    }

    /// Those with the same content in this file column are handed over together.
    #[must_use]
    pub fn group_by(mut self, column: &'static str) -> Self {
        self.group_by = Some(column);
        self
    }

    /// Each uses the file of its name and this extension in a collection input.
    #[must_use]
    pub fn companion(mut self, input: &'static str, extension: &'static str) -> Self {
        self.companion = Some((input, extension));
        self
    }

    /// So many at most are handed over together.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Rows of one name are one item.
    #[must_use]
    pub fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }
}

/// The two names that a path in a table stands for, when it stands for two: the leading file and its other half. Where names do
/// not tell, a file says it: `beginning` gives as many of its first bytes as are asked for, and nothing for one that cannot be read.
///
/// # Errors
/// Why the other half cannot be told, in words.
pub type PairOf =
    fn(name: &str, beginning: &dyn Fn(usize) -> Option<Vec<u8>>) -> Result<Option<(String, String)>, String>;

/// A column whose cells are paths.
#[derive(Clone, Copy, Debug)]
pub struct FileColumn {
    /// Its header.
    pub name: &'static str,
    /// What there has to be.
    pub leads_to: LeadsTo,
    /// Whether the column, or a cell of it, may be missing.
    pub optional: bool,
    /// Recognises the halves of content that is kept in two files.
    pub pair_of: Option<PairOf>,
}

/// What a path in a table leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeadsTo {
    /// A file.
    File,
    /// A folder, taken with all that is in it but hidden files.
    Folder,
    /// One or the other.
    FileOrFolder,
}

impl FileColumn {
    /// A column whose cells must lead to this.
    pub const fn new(name: &'static str, leads_to: LeadsTo) -> Self {
        Self { name, leads_to, optional: false, pair_of: None }
    }

    /// The column, or a cell of it, may be missing.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Some names stand for two files.
    #[must_use]
    pub const fn pair_of(mut self, pair_of: PairOf) -> Self {
        self.pair_of = Some(pair_of);
        self
    }
}

/// What an item's path led to, with known content.
#[derive(Clone, Debug)]
pub enum ItemFile {
    /// One file.
    One(InputFile),
    /// The leading file and the other half of content that is kept in two.
    Pair(InputFile, InputFile),
    /// A folder.
    Folder(Files),
}

impl ItemFile {
    /// A digest of all its content.
    pub fn digest(&self) -> Digest {
        match self {
            ItemFile::One(file) => file.digest,
            ItemFile::Folder(files) => files.digest,
            ItemFile::Pair(first, second) => {
                let mut hasher = Hasher::new("pipe pair of files, version 1");
                hasher.field(first.digest.as_bytes()).field(second.digest.as_bytes());
                hasher.finish()
            }
        }
    }

    /// Its name in words, for messages.
    pub fn shown(&self) -> &str {
        match self {
            ItemFile::One(file) | ItemFile::Pair(file, _) => &file.shown,
            ItemFile::Folder(files) => &files.shown,
        }
    }

    /// Whether all of it is still as it was when it was hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when it is not.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        match self {
            ItemFile::One(file) => file.check_unchanged(),
            ItemFile::Pair(first, second) => first.check_unchanged().and_then(|()| second.check_unchanged()),
            ItemFile::Folder(files) => files.check_unchanged(),
        }
    }
}

/// One item with what it uses.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name, unique within the stage.
    pub name: String,
    /// The table and line it comes from, for messages.
    pub place: Option<String>,
    /// The values of the columns that it uses; a blank cell is absent.
    pub values: Named<String>,
    /// What its paths led to, by column or input.
    pub files: Named<ItemFile>,
}

impl Item {
    /// The one file of that column or input.
    ///
    /// # Errors
    /// When the item has none, or a pair or a folder instead.
    pub fn file(&self, name: &str) -> Result<&InputFile, StageError> {
        match self.files.get(name) {
            Some(ItemFile::One(file)) => Ok(file),
            found => {
                let found = match found {
                    None => "nothing",
                    Some(ItemFile::Folder(_)) => "a folder",
                    Some(_) => "a pair of files",
                };
                let message = format!("item {} has {found} for `{name}`, expected one file", self.name);
                Err(StageError::message(message))
            }
        }
    }

    /// The table and line that it comes from, or its name.
    pub fn place(&self) -> &str {
        self.place.as_deref().unwrap_or(&self.name)
    }

    /// The finite number in that column.
    ///
    /// # Errors
    /// A message with the place, the column and the text found.
    pub fn number(&self, column: &str) -> Result<f64, StageError> {
        let place = self.place();
        let refuse = |found: &str| {
            StageError::message(format!("{place}: `{column}` must be a finite number, but is {found}"))
                .advise(format!("correct the cell, or remove the row of {}", self.name))
        };
        let text = self.values.get(column).ok_or_else(|| refuse("blank or says that it is missing"))?;
        if has_comma(text) {
            return Err(refuse(&format!("{text:?}")).advise("write numbers with a decimal point"));
        }
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(|| refuse(&format!("{text:?}")))
    }
}

/// The results of all items of a stage, and the table that they come from.
pub struct Gather<'a> {
    /// The whole table.
    pub table: &'a Table,
    /// The items, in the order of the table.
    pub items: &'a [GatheredItem],
}

/// The result of one item.
pub struct GatheredItem {
    /// The item's name.
    pub name: String,
    /// Its rows' positions in the table.
    pub rows: Vec<usize>,
    /// What was computed.
    pub file: InputFile,
}

/// The content of a file that is made of all items.
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The result of the item at that position.
    Item(usize),
}
