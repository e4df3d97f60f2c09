//! Kinds whose results are tables of the rows that they are given, and the folds that rows are divided into.

use pipe_plugin::stage::{Foreseen, Preview};
use serde_json::Value;

use super::outlook::{Outlook, made_by, table_of};

/// For kinds that hand rows on with more columns.
pub fn passed_on(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    let rows = preview.given.iter().find(|given| ["dataset", "masks"].contains(&given.input));
    let (table, made_by) = (rows.and_then(table_of), rows.and_then(made_by));
    Outlook { table, made_by, ..Outlook::default() }.with(Vec::new())
}

/// For kind `split`.
pub fn split(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let folds = params.get("n_splits").and_then(Value::as_u64);
    let table = preview.one("dataset").and_then(table_of);
    Outlook { folds, table, ..Outlook::default() }.with(Vec::new())
}
