//! Kinds with their parameters as JSON, so that a table can hold kinds of every type.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::about::{About, Column};
use super::error::StageError;
use super::item::{FileColumn, Gather, Item, ItemSource, Piece};
use super::{Filling, PerItem, Stage, Whole};
use crate::context::{Context, ItemContext};
use crate::host::Host;
use crate::table::Table;

/// [`Stage`] with its parameters as JSON.
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

    /// Canonical parameters with the values that an input has for them; see [`Stage::fill_from`].
    ///
    /// # Errors
    /// As [`Stage::fill_from`].
    fn fill_from(
        &self,
        params: &serde_json::Value,
        filling: &Filling<'_>,
    ) -> Result<serde_json::Value, StageError>;

    /// What is wrong with canonical parameters.
    fn check(&self, params: &serde_json::Value) -> Vec<String>;

    /// See [`Stage::check_inputs`].
    fn check_inputs(&self, params: &serde_json::Value, given: &dyn Fn(&str) -> bool) -> Vec<StageError>;

    /// The columns that are read from a table input.
    fn columns(&self, params: &serde_json::Value, input: &str) -> Vec<Column>;

    /// The files and folders that are used of a folder or collection input; `None` for all of it.
    fn files(&self, params: &serde_json::Value, input: &str) -> Option<Vec<String>>;

    /// The columns of a table input whose cells lead to files.
    fn row_files(&self, params: &serde_json::Value, input: &str) -> Vec<FileColumn>;

    /// The parameters that no result follows from.
    fn uncounted(&self) -> &'static [&'static str];

    /// See [`Stage::environment`].
    ///
    /// # Errors
    /// As [`Stage::environment`].
    fn environment(
        &self,
        params: &serde_json::Value,
        host: &Host,
    ) -> Result<BTreeMap<String, String>, StageError>;

    /// What is wrong with the rows of a table input.
    fn check_table(&self, params: &serde_json::Value, input: &str, table: &Table) -> Vec<StageError>;

    /// What is wrong with a file that is given to an input.
    ///
    /// # Errors
    /// As [`Stage::check_file`].
    fn check_file(&self, input: &str, path: &Path) -> Result<(), StageError>;
}

/// The two ways of running.
#[derive(Clone, Copy)]
pub enum Work<'a> {
    /// All at once.
    Whole(&'a dyn AnyWhole),
    /// Item by item.
    Items(&'a dyn AnyItems),
}

/// [`Whole`] with its parameters as JSON.
pub trait AnyWhole: Sync {
    /// See [`Whole::run`].
    ///
    /// # Errors
    /// As [`Whole::run`].
    fn run(&self, params: &serde_json::Value, context: &mut Context<'_>) -> Result<(), StageError>;
}

/// [`PerItem`] with its parameters as JSON.
pub trait AnyItems: Sync {
    /// See [`PerItem::items`].
    ///
    /// # Errors
    /// When the parameters do not have the kind's types.
    fn items(
        &self,
        params: &serde_json::Value,
        given: &dyn Fn(&str) -> bool,
    ) -> Result<ItemSource, StageError>;

    /// See [`PerItem::check_item`].
    ///
    /// # Errors
    /// As [`PerItem::check_item`].
    fn check_item(&self, params: &serde_json::Value, item: &Item) -> Result<(), StageError>;

    /// See [`PerItem::run_group`].
    fn run_group(
        &self,
        params: &serde_json::Value,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>>;

    /// See [`PerItem::gather`].
    ///
    /// # Errors
    /// As [`PerItem::gather`].
    fn gather(
        &self,
        params: &serde_json::Value,
        gather: &Gather<'_>,
    ) -> Result<Vec<(String, Piece)>, StageError>;
}

fn parse<P: DeserializeOwned>(params: &serde_json::Value) -> Result<P, serde_json::Error> {
    P::deserialize(params)
}

impl<S: Stage> AnyStage for S {
    fn about(&self) -> &'static About {
        Stage::about(self)
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(S::Params).to_value()
    }

    fn canonical(&self, params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        let mut params: S::Params = serde_json::from_value(params)?;
        Stage::fill_in(self, &mut params);
        serde_json::to_value(params)
    }

    fn fill_from(
        &self,
        params: &serde_json::Value,
        filling: &Filling<'_>,
    ) -> Result<serde_json::Value, StageError> {
        let mut params = parse(params)?;
        Stage::fill_from(self, &mut params, filling)?;
        Ok(serde_json::to_value(params)?)
    }

    fn check(&self, params: &serde_json::Value) -> Vec<String> {
        parse(params).map_or_else(|error| vec![error.to_string()], |params| Stage::check(self, &params))
    }

    fn check_inputs(&self, params: &serde_json::Value, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        parse(params).map(|params| Stage::check_inputs(self, &params, given)).unwrap_or_default()
    }

    fn columns(&self, params: &serde_json::Value, input: &str) -> Vec<Column> {
        parse(params).map(|params| Stage::columns(self, &params, input)).unwrap_or_default()
    }

    fn files(&self, params: &serde_json::Value, input: &str) -> Option<Vec<String>> {
        parse(params).ok().and_then(|params| Stage::files(self, &params, input))
    }

    fn row_files(&self, params: &serde_json::Value, input: &str) -> Vec<FileColumn> {
        parse(params).map(|params| Stage::row_files(self, &params, input)).unwrap_or_default()
    }

    fn uncounted(&self) -> &'static [&'static str] {
        Stage::uncounted(self)
    }

    fn environment(
        &self,
        params: &serde_json::Value,
        host: &Host,
    ) -> Result<BTreeMap<String, String>, StageError> {
        Stage::environment(self, &parse(params)?, host)
    }

    fn check_table(&self, params: &serde_json::Value, input: &str, table: &Table) -> Vec<StageError> {
        parse(params).map(|params| Stage::check_table(self, &params, input, table)).unwrap_or_default()
    }

    fn check_file(&self, input: &str, path: &Path) -> Result<(), StageError> {
        Stage::check_file(self, input, path)
    }
}

impl<S: Whole> AnyWhole for S {
    fn run(&self, params: &serde_json::Value, context: &mut Context<'_>) -> Result<(), StageError> {
        Whole::run(self, &parse(params)?, context)
    }
}

impl<S: PerItem> AnyItems for S {
    fn items(
        &self,
        params: &serde_json::Value,
        given: &dyn Fn(&str) -> bool,
    ) -> Result<ItemSource, StageError> {
        Ok(PerItem::items(self, &parse(params)?, given))
    }

    fn check_item(&self, params: &serde_json::Value, item: &Item) -> Result<(), StageError> {
        PerItem::check_item(self, &parse(params)?, item)
    }

    fn run_group(
        &self,
        params: &serde_json::Value,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        match parse(params) {
            Ok(params) => PerItem::run_group(self, &params, group, context),
            Err(error) => {
                let text = error.to_string();
                group.iter().map(|_| Err(StageError::message(text.clone()))).collect()
            }
        }
    }

    fn gather(
        &self,
        params: &serde_json::Value,
        gather: &Gather<'_>,
    ) -> Result<Vec<(String, Piece)>, StageError> {
        PerItem::gather(self, &parse(params)?, gather)
    }
}
