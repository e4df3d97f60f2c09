//! What a stage kind is: typed parameters, named inputs and outputs, and a function that computes.
//!
//! A kind implements [`Stage`] (one computation) or [`ItemStage`] (one small computation for each item, with
//! results cached item by item) and stands in a table of `&dyn AnyStage`, wrapped in [`Whole`] or
//! [`PerItem`]. A kind knows nothing of other kinds, of scheduling or of the cache.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::code::CodeStamp;
use crate::context::{Context, ItemContext};
use crate::input::InputFile;

/// The facts about a kind that need no parameters.
#[derive(Debug)]
pub struct About {
    /// The name that `uses = "…"` gives.
    pub name: &'static str,
    /// One sentence for `pipe stages`.
    pub summary: &'static str,
    /// Its inputs.
    pub inputs: &'static [InputSpec],
    /// Its outputs; `"@stage"` alone means the first.
    pub outputs: &'static [OutputSpec],
    /// Whether it draws random numbers, so that the pipeline's seed counts.
    pub random: bool,
    /// Whether it computes on the chosen device, so that the device kind counts.
    pub device: bool,
    /// The code it runs.
    pub code: CodeStamp,
    /// The output and the text file in it that people see when a run ends.
    pub headline: Option<(&'static str, &'static str)>,
}

/// One input of a kind.
#[derive(Debug)]
pub struct InputSpec {
    /// Its name in `inputs = { … }`.
    pub name: &'static str,
    /// One sentence for `pipe stages KIND`.
    pub summary: &'static str,
    /// What may be given.
    pub form: InputForm,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether several instances' outputs may be given.
    pub many: bool,
    /// Words that may be given instead of a path, such as `random`.
    pub keywords: &'static [&'static str],
    /// Whether it may also be written as a parameter of the same name.
    pub parameter: bool,
}

impl InputSpec {
    /// A required input of one artifact.
    pub const fn new(name: &'static str, form: InputForm, summary: &'static str) -> Self {
        Self { name, summary, form, optional: false, many: false, keywords: &[], parameter: false }
    }

    /// It may be left out.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// It takes all instances of a stage.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    /// It takes one of these words instead of a path.
    #[must_use]
    pub const fn keywords(mut self, keywords: &'static [&'static str]) -> Self {
        self.keywords = keywords;
        self
    }

    /// It may be written under `params` too.
    #[must_use]
    pub const fn also_parameter(mut self) -> Self {
        self.parameter = true;
        self
    }
}

/// What an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputForm {
    /// A CSV table; its rows may name files. From a stage: a tree with one CSV file at its top.
    Table,
    /// One file for each item; from outside: a folder of such files.
    Collection,
    /// A folder.
    Tree,
    /// One file.
    File,
}

impl fmt::Display for InputForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputForm::Table => "table",
            InputForm::Collection => "collection",
            InputForm::Tree => "tree",
            InputForm::File => "file",
        })
    }
}

/// One output of a kind.
#[derive(Debug)]
pub struct OutputSpec {
    /// Its name in `"@stage.output"`.
    pub name: &'static str,
    /// One sentence for `pipe stages KIND`.
    pub summary: &'static str,
    /// What it is made of. An [`ItemStage`] has one output, a collection.
    pub form: OutputForm,
}

/// What an output is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// One file of that name.
    File(&'static str),
    /// A folder.
    Tree,
    /// A file for each item with that extension.
    Collection(&'static str),
}

/// A column that a kind reads from a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its header.
    pub name: String,
    /// Whether a table without it is an error.
    pub required: bool,
}

impl Column {
    /// A column that must be there.
    pub fn required(name: impl Into<String>) -> Self {
        Self { name: name.into(), required: true }
    }

    /// A column that is read when it is there.
    pub fn optional(name: impl Into<String>) -> Self {
        Self { name: name.into(), required: false }
    }
}

/// Why a stage or an item failed. Made from any error with `?`.
#[derive(Debug)]
pub struct StageError {
    /// The cause.
    pub source: Box<dyn StdError + Send + Sync>,
    /// What to do about it.
    pub advice: Option<String>,
}

impl StageError {
    /// An error that is only a message.
    pub fn message(text: impl Into<String>) -> Self {
        Self { source: text.into().into(), advice: None }
    }

    /// Adds the next step.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The stored blob whose loss is the cause, if it is.
    pub fn lost_blob(&self) -> Option<pipe_cache::Digest> {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(self.source.as_ref());
        while let Some(error) = cause {
            if let Some(digest) = error.downcast_ref().and_then(pipe_cache::Error::lost_blob) {
                return Some(digest);
            }
            cause = error.source();
        }
        None
    }

    /// Whether the work stopped because it was asked to.
    pub fn is_interrupted(&self) -> bool {
        self.source.is::<Interrupted>()
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> Self {
        Self { source: Box::new(error), advice: None }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(error) = cause {
            // Many errors end with the words of their cause already.
            let next = error.to_string();
            if !text.ends_with(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

/// The work was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Parameters of a kind: a struct with `#[serde(default, deny_unknown_fields)]` and documented fields.
pub trait Params: Serialize + DeserializeOwned + JsonSchema {}
impl<T: Serialize + DeserializeOwned + JsonSchema> Params for T {}

/// A kind that computes its outputs in one go.
pub trait Stage: Sync {
    /// Its parameters.
    type Params: Params;

    /// What it is.
    const ABOUT: About;

    /// What is wrong with parameters that have the right types: one sentence each, with the names.
    fn check(&self, _params: &Self::Params) -> Vec<String> {
        Vec::new()
    }

    /// The columns it reads from a table input.
    fn columns(&self, _params: &Self::Params, _input: &str) -> Vec<Column> {
        Vec::new()
    }

    /// Computes the outputs.
    ///
    /// # Errors
    /// Whatever makes the outputs impossible.
    fn run(&self, params: &Self::Params, context: &mut Context<'_>) -> Result<(), StageError>;
}

/// Where the items of an [`ItemStage`] come from.
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

/// A kind that computes one file for each item.
pub trait ItemStage: Sync {
    /// Its parameters.
    type Params: Params + Sync;

    /// What it is.
    const ABOUT: About;

    /// What is wrong with parameters that have the right types.
    fn check(&self, _params: &Self::Params) -> Vec<String> {
        Vec::new()
    }

    /// Where the items come from and what each uses; `given` tells which optional inputs there are.
    fn items(&self, params: &Self::Params, given: &dyn Fn(&str) -> bool) -> ItemSource;

    /// Looks at an item before any work is done.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_item(&self, _params: &Self::Params, _item: &Item) -> Result<(), StageError> {
        Ok(())
    }

    /// Computes the bytes of each item's file, in the order of the group.
    fn run_group(
        &self,
        params: &Self::Params,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>>;
}

/// A kind of either sort, with its parameters as JSON.
pub trait AnyStage: Sync {
    /// What it is.
    fn about(&self) -> &'static About;

    /// The JSON schema of its parameters.
    fn schema(&self) -> serde_json::Value;

    /// The parameters with every default filled in.
    ///
    /// # Errors
    /// What serde reports; schema-checked parameters give none.
    fn canonical(&self, params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error>;

    /// What is wrong with canonical parameters.
    fn check(&self, params: &serde_json::Value) -> Vec<String>;

    /// The columns that are read from a table input.
    fn columns(&self, params: &serde_json::Value, input: &str) -> Vec<Column>;

    /// How to run it.
    fn work(&self) -> Work<'_>;
}

/// The two ways of running.
pub enum Work<'a> {
    /// All at once.
    Whole(&'a dyn AnyWhole),
    /// Item by item.
    Items(&'a dyn AnyItems),
}

/// [`Stage`] with its parameters as JSON.
pub trait AnyWhole: Sync {
    /// See [`Stage::run`].
    ///
    /// # Errors
    /// As [`Stage::run`].
    fn run(&self, params: &serde_json::Value, context: &mut Context<'_>) -> Result<(), StageError>;
}

/// [`ItemStage`] with its parameters as JSON.
pub trait AnyItems: Sync {
    /// See [`ItemStage::items`].
    ///
    /// # Errors
    /// When the parameters do not have the kind's types.
    fn items(
        &self,
        params: &serde_json::Value,
        given: &dyn Fn(&str) -> bool,
    ) -> Result<ItemSource, StageError>;

    /// See [`ItemStage::check_item`].
    ///
    /// # Errors
    /// As [`ItemStage::check_item`].
    fn check_item(&self, params: &serde_json::Value, item: &Item) -> Result<(), StageError>;

    /// See [`ItemStage::run_group`].
    fn run_group(
        &self,
        params: &serde_json::Value,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>>;
}

/// Puts a [`Stage`] in the table of kinds.
pub struct Whole<S>(pub S);

/// Puts an [`ItemStage`] in the table of kinds.
pub struct PerItem<S>(pub S);

fn parse<P: DeserializeOwned>(params: &serde_json::Value) -> Result<P, serde_json::Error> {
    P::deserialize(params)
}

fn canonical<P: Params>(params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<P>(params)?)
}

impl<S: Stage> AnyStage for Whole<S> {
    fn about(&self) -> &'static About {
        const { &S::ABOUT }
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(S::Params).to_value()
    }

    fn canonical(&self, params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        canonical::<S::Params>(params)
    }

    fn check(&self, params: &serde_json::Value) -> Vec<String> {
        parse(params).map_or_else(|error| vec![error.to_string()], |params| self.0.check(&params))
    }

    fn columns(&self, params: &serde_json::Value, input: &str) -> Vec<Column> {
        parse(params).map(|params| self.0.columns(&params, input)).unwrap_or_default()
    }

    fn work(&self) -> Work<'_> {
        Work::Whole(self)
    }
}

impl<S: Stage> AnyWhole for Whole<S> {
    fn run(&self, params: &serde_json::Value, context: &mut Context<'_>) -> Result<(), StageError> {
        self.0.run(&parse(params)?, context)
    }
}

impl<S: ItemStage> AnyStage for PerItem<S> {
    fn about(&self) -> &'static About {
        const { &S::ABOUT }
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(S::Params).to_value()
    }

    fn canonical(&self, params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        canonical::<S::Params>(params)
    }

    fn check(&self, params: &serde_json::Value) -> Vec<String> {
        parse(params).map_or_else(|error| vec![error.to_string()], |params| self.0.check(&params))
    }

    fn columns(&self, _params: &serde_json::Value, _input: &str) -> Vec<Column> {
        Vec::new()
    }

    fn work(&self) -> Work<'_> {
        Work::Items(self)
    }
}

impl<S: ItemStage> AnyItems for PerItem<S> {
    fn items(
        &self,
        params: &serde_json::Value,
        given: &dyn Fn(&str) -> bool,
    ) -> Result<ItemSource, StageError> {
        Ok(self.0.items(&parse(params)?, given))
    }

    fn check_item(&self, params: &serde_json::Value, item: &Item) -> Result<(), StageError> {
        self.0.check_item(&parse(params)?, item)
    }

    fn run_group(
        &self,
        params: &serde_json::Value,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        match parse(params) {
            Ok(params) => self.0.run_group(&params, group, context),
            Err(error) => {
                let text = error.to_string();
                group.iter().map(|_| Err(StageError::message(text.clone()))).collect()
            }
        }
    }
}
