//! The columns of a table with types: whole numbers, numbers, text. A cell that is blank or says that a value is missing is none.

use pipe_engine::table::Table;

/// A column's name and cells.
pub(super) struct Typed {
    pub(super) name: String,
    pub(super) cells: Cells,
}

/// Cells of one type.
pub(super) enum Cells {
    Whole(Vec<Option<i64>>),
    Number(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
}

/// The columns of a table.
pub(super) fn typed(table: &Table) -> Vec<Typed> {
    let column = |name: &String| {
        let texts: Vec<Option<&str>> = table.rows().iter().map(|row| table.get(row, name)).collect();
        Typed { name: name.clone(), cells: if names(name) { text(&texts) } else { guessed(&texts) } }
    };
    table.columns().iter().map(column).collect()
}

/// Whether a column names things: its cells are texts, whatever they look like.
fn names(column: &str) -> bool {
    let column = column.to_lowercase();
    ["pid", "id", "item", "scan"].contains(&column.as_str()) || column.ends_with("_id")
}

fn text(texts: &[Option<&str>]) -> Cells {
    Cells::Text(texts.iter().map(|cell| cell.map(str::to_string)).collect())
}

fn guessed(texts: &[Option<&str>]) -> Cells {
    // A number with zeros before it is a name.
    let is_padded = |cell: &&str| {
        let digits = cell.trim_start_matches('-');
        digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.")
    };
    if texts.iter().all(Option::is_none) || texts.iter().flatten().any(is_padded) {
        return text(texts);
    }
    let whole = |cell: &Option<&str>| {
        cell.map(|cell| cell.parse::<i64>().ok()).map_or(Some(None), |found| found.map(Some))
    };
    if let Some(cells) = texts.iter().map(whole).collect::<Option<Vec<_>>>() {
        return Cells::Whole(cells);
    }
    let number = |cell: &Option<&str>| {
        let parsed = cell.map(|cell| cell.parse::<f64>().ok().filter(|number| number.is_finite()));
        parsed.map_or(Some(None), |found| found.map(Some))
    };
    texts.iter().map(number).collect::<Option<Vec<_>>>().map_or_else(|| text(texts), Cells::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_column_have_one_type() {
        let types = |text: &str| -> String {
            let table = Table::parse("t.csv", text.as_bytes()).ok();
            let columns = table.iter().flat_map(typed);
            let letter = |column: Typed| match column.cells {
                Cells::Whole(_) => 'w',
                Cells::Number(_) => 'n',
                Cells::Text(_) => 't',
            };
            columns.map(letter).collect()
        };
        assert_eq!(types("pid,n,x,zeros,blank,word\n12,3,0.5,007,,a\n13,,1e-3,008,,1\n"), "twnttt");
        assert_eq!(types("lesion_id,x\n1,-0.5\n2,nan\n"), "tn");
        assert_eq!(types("a,b\n0,-0\n10,00\n"), "wt");
    }
}
