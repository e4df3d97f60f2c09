//! Tables as a list of objects.

use pipe_engine::stage::StageError;
use pipe_engine::table::Table;
use serde_json::{Map, Value};

use super::columns::{Cells, Typed, typed};
use super::{Made, is, renamed};

/// A table in JSON, one object a row with the columns in their order; what is missing is null.
pub(super) fn make(name: &str, bytes: &[u8]) -> Result<Made, StageError> {
    if !is(name, "csv") {
        return Ok(None);
    }
    let table = Table::parse_maybe_empty(name, bytes)?;
    let columns = typed(&table);
    let mut text = String::from("[");
    for row in 0..table.rows().len() {
        let fields: Map<String, Value> =
            columns.iter().map(|column| (column.name.clone(), cell(column, row))).collect();
        text += if row == 0 { "\n" } else { ",\n" };
        text += &Value::Object(fields).to_string();
    }
    text += "\n]\n";
    Ok(Some((renamed(name, "json"), text.into_bytes())))
}

fn cell(column: &Typed, row: usize) -> Value {
    match &column.cells {
        Cells::Whole(cells) => cells.get(row).copied().flatten().map_or(Value::Null, Value::from),
        Cells::Number(cells) => cells.get(row).copied().flatten().map_or(Value::Null, Value::from),
        Cells::Text(cells) => cells.get(row).cloned().flatten().map_or(Value::Null, Value::from),
    }
}
