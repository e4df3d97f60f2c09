//! Kinds with their parameters as JSON, so that a table can hold kinds of every type.

use serde::de::DeserializeOwned;

use super::about::{About, Column};
use super::error::StageError;
use super::foresee::{Foreseen, Preview};
use super::inspect::{Finding, Sighted};
use super::item::{Gather, Item, ItemSource, Piece};
use super::{Filling, ItemStage, Stage};
use crate::context::{Context, ItemContext};
use crate::table::Table;

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

    /// What is wrong with the rows of a table input.
    fn check_table(&self, params: &serde_json::Value, input: &str, table: &Table) -> Vec<StageError>;

    /// What looks wrong with rows whose items would be handed over together, at a glance at their files and before
    /// any work.
    fn inspect(&self, _params: &serde_json::Value, _group: &[Sighted]) -> Vec<Finding> {
        Vec::new()
    }

    /// Looks ahead at what an instance is given, before any work.
    fn foresee(&self, _params: &serde_json::Value, _preview: &Preview<'_>) -> Foreseen {
        Foreseen::default()
    }

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

    /// See [`ItemStage::gather`].
    ///
    /// # Errors
    /// As [`ItemStage::gather`].
    fn gather(
        &self,
        params: &serde_json::Value,
        gather: &Gather<'_>,
    ) -> Result<Vec<(String, Piece)>, StageError>;
}

/// Puts a [`Stage`] in the table of kinds.
pub struct Whole<S>(pub S);

/// Puts an [`ItemStage`] in the table of kinds.
pub struct PerItem<S>(pub S);

fn parse<P: DeserializeOwned>(params: &serde_json::Value) -> Result<P, serde_json::Error> {
    P::deserialize(params)
}

impl<S: Stage> AnyStage for Whole<S> {
    fn about(&self) -> &'static About {
        const { &S::ABOUT }
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(S::Params).to_value()
    }

    fn canonical(&self, params: serde_json::Value) -> Result<serde_json::Value, serde_json::Error> {
        let mut params: S::Params = serde_json::from_value(params)?;
        self.0.fill_in(&mut params);
        serde_json::to_value(params)
    }

    fn fill_from(
        &self,
        params: &serde_json::Value,
        filling: &Filling<'_>,
    ) -> Result<serde_json::Value, StageError> {
        let mut params = parse(params)?;
        self.0.fill_from(&mut params, filling)?;
        Ok(serde_json::to_value(params)?)
    }

    fn check(&self, params: &serde_json::Value) -> Vec<String> {
        parse(params).map_or_else(|error| vec![error.to_string()], |params| self.0.check(&params))
    }

    fn check_inputs(&self, params: &serde_json::Value, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        parse(params).map(|params| self.0.check_inputs(&params, given)).unwrap_or_default()
    }

    fn columns(&self, params: &serde_json::Value, input: &str) -> Vec<Column> {
        parse(params).map(|params| self.0.columns(&params, input)).unwrap_or_default()
    }

    fn files(&self, params: &serde_json::Value, input: &str) -> Option<Vec<String>> {
        parse(params).ok().and_then(|params| self.0.files(&params, input))
    }

    fn check_table(&self, params: &serde_json::Value, input: &str, table: &Table) -> Vec<StageError> {
        parse(params).map(|params| self.0.check_table(&params, input, table)).unwrap_or_default()
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
        let mut params: S::Params = serde_json::from_value(params)?;
        self.0.fill_in(&mut params);
        serde_json::to_value(params)
    }

    fn fill_from(
        &self,
        params: &serde_json::Value,
        filling: &Filling<'_>,
    ) -> Result<serde_json::Value, StageError> {
        let mut params = parse(params)?;
        self.0.fill_from(&mut params, filling)?;
        Ok(serde_json::to_value(params)?)
    }

    fn check(&self, params: &serde_json::Value) -> Vec<String> {
        parse(params).map_or_else(|error| vec![error.to_string()], |params| self.0.check(&params))
    }

    fn check_inputs(&self, params: &serde_json::Value, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        parse(params).map(|params| self.0.check_inputs(&params, given)).unwrap_or_default()
    }

    fn columns(&self, _params: &serde_json::Value, _input: &str) -> Vec<Column> {
        Vec::new()
    }

    fn files(&self, _params: &serde_json::Value, _input: &str) -> Option<Vec<String>> {
        None
    }

    fn check_table(&self, params: &serde_json::Value, input: &str, table: &Table) -> Vec<StageError> {
        parse(params).map(|params| self.0.check_table(&params, input, table)).unwrap_or_default()
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

    fn gather(
        &self,
        params: &serde_json::Value,
        gather: &Gather<'_>,
    ) -> Result<Vec<(String, Piece)>, StageError> {
        self.0.gather(&parse(params)?, gather)
    }
}
