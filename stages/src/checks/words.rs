//! Words in semantic columns that are none of the known ones.

use pipe_plugin::stage::{Finding, Preview};
use pipe_plugin::table::{Table, nearest};

use super::examples;
use super::nodules::table;
use crate::semantics::{SEMANTIC_COLUMNS, SUSPICION, SUSPICION_LEVELS, is_same_word, one_way};
use crate::zero_shot::prompts::FeaturePrompts;

/// With more unknown words than these a column is told of once.
const MOST_WORDS: usize = 5;

/// Words of the input `dataset` that are not known; neither by the table of features nor by these prompts.
pub(super) fn unknown(preview: &Preview<'_>, suspicion: bool, prompts: &[FeaturePrompts]) -> Vec<Finding> {
    let Some(table) = table(preview) else { return Vec::new() };
    let features = SEMANTIC_COLUMNS.iter().map(|feature| (feature.name, feature.values));
    let columns = features.chain(suspicion.then_some((SUSPICION, &SUSPICION_LEVELS[..])));
    columns
        .flat_map(|(column, values)| {
            let prompted = prompts.iter().filter(|feature| feature.name == column);
            let mut values = values.to_vec();
            for value in prompted.flat_map(|feature| &feature.values) {
                if !values.iter().any(|known| is_same_word(known, &value.value)) {
                    values.push(&value.value);
                }
            }
            of_column(&table, column, &values)
        })
        .collect()
}

/// A word that is not known: as it is first written, where, and how often.
struct Word {
    written: String,
    line: u64,
    rows: usize,
}

fn of_column(table: &Table, column: &str, values: &[&str]) -> Vec<Finding> {
    let mut words: Vec<Word> = Vec::new();
    for row in table.rows() {
        let Some(cell) = table.get(row, column) else { continue };
        if values.iter().any(|value| is_same_word(value, cell)) {
            continue;
        }
        match words.iter_mut().find(|word| is_same_word(&word.written, cell)) {
            Some(word) => word.rows += 1,
            None => words.push(Word { written: one_way(cell), line: row.line, rows: 1 }),
        }
    }
    let known = || format!("known values: {}", values.join(", "));
    if words.len() > MOST_WORDS {
        let written: Vec<String> = words.iter().map(|word| format!("{:?}", word.written)).collect();
        let message =
            format!("`{column}` has {} words that are no known value: {}", words.len(), examples(&written));
        let line = words.first().map_or(0, |word| word.line);
        return vec![Finding::warning(format!("{}:{line}", table.source), message).advise(known())];
    }
    let told = |Word { written, line, rows }: Word| {
        let rows = if rows == 1 { "1 row".to_string() } else { format!("{rows} rows") };
        let message = format!("`{column}` is {written:?} in {rows}, which is no known value");
        let advice = match nearest(&written, values.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => known(),
        };
        Finding::warning(format!("{}:{line}", table.source), message).advise(advice)
    };
    words.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(String, Option<String>)> {
        let table = Table::parse("t.csv", text.as_bytes()).expect("a table");
        let findings = of_column(&table, "shape", &["Round", "Ovoid", "Complex/Irregular"]);
        findings.into_iter().map(|one| (format!("{}: {}", one.place, one.message), one.advice)).collect()
    }

    #[test]
    fn each_unknown_word_is_told_once_with_the_nearest() {
        let known = "known values: Round, Ovoid, Complex/Irregular".to_string();
        assert_eq!(
            told("pid,shape\n1,round\n2, OVOID \n3,Irregullar\n4,rnd\n5,Rounded\n6,rnd\n7,nan\n8,\n"),
            [
                (
                    "t.csv:4: `shape` is \"Irregullar\" in 1 row, which is no known value".to_string(),
                    Some(known.clone())
                ),
                (
                    "t.csv:5: `shape` is \"rnd\" in 2 rows, which is no known value".to_string(),
                    Some(known.clone())
                ),
                (
                    "t.csv:6: `shape` is \"Rounded\" in 1 row, which is no known value".to_string(),
                    Some("did you mean \"Round\"?".to_string())
                ),
            ]
        );
        let many = told("pid,shape\n1,a\n2,b\n3,c\n4,d\n5,e\n6,f\n");
        let message =
            "t.csv:2: `shape` has 6 words that are no known value: \"a\", \"b\", \"c\", …".to_string();
        assert_eq!(many, [(message, Some(known))]);
    }
}
