//! What a stage kind is: typed parameters, named inputs and outputs, and a function that computes.
//!
//! A kind implements [`Stage`], what it says of itself, and how it computes: [`Whole`] (all at once) or [`PerItem`] (one
//! small computation for each item, with results cached item by item). A table of kinds holds each as a [`Kind`]. A kind
//! knows nothing of other kinds, of scheduling or of the cache.

mod about;
mod compare;
mod declare;
mod erased;
mod error;
mod foresee;
mod inspect;
mod item;
mod kind;
mod methods;
mod named;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use about::{About, Column, Described, InputForm, InputSpec, OutputForm, OutputSpec};
pub use compare::{Compare, PairedComparison, Results};
pub use declare::{Declaration, Declare, Misdeclared};
pub use erased::{AnyItems, AnyStage, AnyWhole, Work};
pub use error::{Interrupted, StageError};
pub use foresee::{Foresee, Foreseen, Given, GivenSource, Preview};
pub use inspect::{Finding, Inspect, InspectedFile, InspectedRow, Severity};
pub use item::{
    FileColumn, Gather, GatheredItem, Item, ItemFile, ItemSource, LeadsTo, PairOf, Piece, RowItems,
};
pub use kind::{Kind, OfAllCases};
pub use methods::{Describe, InstanceAccount, Sentence, StageAccount, Topic};
pub use named::Named;

use crate::context::{Context, ItemContext};
use crate::host::Host;
use crate::input::Input;
use crate::table::Table;

/// Parameters of a kind: a struct with `#[serde(default, deny_unknown_fields)]` and documented fields.
pub trait Params: Serialize + DeserializeOwned + JsonSchema + Sync {}
impl<T: Serialize + DeserializeOwned + JsonSchema + Sync> Params for T {}

/// What an input gives to parameters.
pub struct Filling<'a> {
    /// The artifacts given to it.
    pub inputs: &'a [Input],
    /// Whether a parameter is written in the manifest, by name; others are defaults.
    pub is_written: &'a dyn Fn(&str) -> bool,
}

/// What every kind says of itself. How it computes is in [`Whole`] or [`PerItem`].
pub trait Stage: Sync + 'static {
    /// Its parameters.
    type Params: Params;

    /// What it is.
    const ABOUT: About;

    /// What it is, for a kind that a stage [declares](Declare): its own inputs and outputs.
    fn about(&self) -> &'static About {
        const { &Self::ABOUT }
    }

    /// Fills in defaults that depend on other parameters, so that writing one out changes nothing.
    fn fill_in(&self, _params: &mut Self::Params) {}

    /// What is wrong with parameters that have the right types: one sentence each, with the names.
    fn check(&self, _params: &Self::Params) -> Vec<String> {
        Vec::new()
    }

    /// Which optional inputs are missing that these parameters need, or do not go with them; `given` tells which inputs
    /// there are.
    fn check_inputs(&self, _params: &Self::Params, _given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        Vec::new()
    }

    /// Gives parameters the values that an input of [`InputSpec::fills`] has for them.
    ///
    /// # Errors
    /// What such an input contradicts or lacks.
    fn fill_from(&self, _params: &mut Self::Params, _filling: &Filling<'_>) -> Result<(), StageError> {
        Ok(())
    }

    /// The columns it reads from a table input that no items are made of.
    fn columns(&self, _params: &Self::Params, _input: &str) -> Vec<Column> {
        Vec::new()
    }

    /// The files and folders that it uses of a folder or collection input; `None` for all of it. A name such as `*.csv` stands
    /// for all files that end so, in whatever folder.
    fn files(&self, _params: &Self::Params, _input: &str) -> Option<Vec<String>> {
        None
    }

    /// The columns of a table input whose cells lead to files that it uses, for a kind that computes all at once.
    fn row_files(&self, _params: &Self::Params, _input: &str) -> Vec<FileColumn> {
        Vec::new()
    }

    /// The parameters that no result follows from: they say how to go about the work.
    fn uncounted(&self) -> &'static [&'static str] {
        &[]
    }

    /// What results follow from besides parameters and inputs: what is found on the machine, by name.
    ///
    /// # Errors
    /// What is not there that must be.
    fn environment(
        &self,
        _params: &Self::Params,
        _host: &Host,
    ) -> Result<BTreeMap<String, String>, StageError> {
        Ok(BTreeMap::new())
    }

    /// What is wrong with the rows of a table input, cut down to the kind's columns unless items are made of it: looked at
    /// before any work.
    fn check_table(&self, _params: &Self::Params, _input: &str, _table: &Table) -> Vec<StageError> {
        Vec::new()
    }

    /// What is wrong with a file that is given to an input: looked at before any work. One that no stage has made yet is not.
    ///
    /// # Errors
    /// What the kind cannot take.
    fn check_file(&self, _input: &str, _path: &Path) -> Result<(), StageError> {
        Ok(())
    }
}

/// A kind that computes its outputs in one go.
pub trait Whole: Stage {
    /// Computes the outputs.
    ///
    /// # Errors
    /// Whatever makes the outputs impossible.
    fn run(&self, params: &Self::Params, context: &mut Context<'_>) -> Result<(), StageError>;
}

/// A kind that computes one file for each item.
pub trait PerItem: Stage {
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

    /// Makes the output of a kind whose output is no collection, from a table and the results of its items.
    ///
    /// # Errors
    /// Whatever makes the output impossible.
    fn gather(
        &self,
        _params: &Self::Params,
        _gather: &Gather<'_>,
    ) -> Result<Vec<(String, Piece)>, StageError> {
        Err(StageError::message("the kind does not say how it makes its output of all items"))
    }
}
