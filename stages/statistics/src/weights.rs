//! Weights against imbalance: by diagnosis (class) and by rarity of the semantic features.
//!
//! SPEC section 5. A weight says how often a row should be drawn relative to the others. The module
//! knows columns of values, not tables, files or the meaning of a value.

use std::collections::HashMap;

use thiserror::Error;

/// Why no weights can be given.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum WeightError {
    /// A class that the weights are to balance does not occur.
    #[error("no class weights: none of {rows} rows is {class}")]
    MissingClass {
        /// Number of rows.
        rows: usize,
        /// "benign" or "malignant".
        class: &'static str,
    },
    /// There are no columns or no rows.
    #[error("no semantic weights: there are no {0}")]
    Empty(&'static str),
    /// A column has not one value per row.
    #[error("column `{column}` has {found} values, where the first column has {expected}")]
    LengthMismatch {
        /// Name of the column.
        column: String,
        /// Its number of values.
        found: usize,
        /// Number of values of the first column.
        expected: usize,
    },
}

/// Weights of the classes benign and malignant, in this order: proportional to 1/count, sum 1.
///
/// # Errors
/// A class that does not occur.
pub fn class_weights(malignant: &[bool]) -> Result<[f64; 2], WeightError> {
    let rows = malignant.len();
    let positives = malignant.iter().filter(|&&label| label).count();
    for (count, class) in [(rows - positives, "benign"), (positives, "malignant")] {
        if count == 0 {
            return Err(WeightError::MissingClass { rows, class });
        }
    }
    let inverse = [1.0 / (rows - positives) as f64, 1.0 / positives as f64];
    Ok(inverse.map(|weight| weight / (inverse[0] + inverse[1])))
}

/// The weight of each row's class ("diagnosis" weighting).
///
/// # Errors
/// A class that does not occur.
pub fn diagnosis_weights(malignant: &[bool]) -> Result<Vec<f64>, WeightError> {
    let [benign_weight, malignant_weight] = class_weights(malignant)?;
    Ok(malignant.iter().map(|&label| if label { malignant_weight } else { benign_weight }).collect())
}

/// One semantic column of a table: a value per row, `None` or white space where it is blank.
#[derive(Clone, Copy, Debug)]
pub struct FeatureColumn<'a> {
    /// Name, for messages.
    pub name: &'a str,
    /// One value per row.
    pub values: &'a [Option<String>],
}

/// The weight of each row by the rarity of its values ("semantic" weighting): the sum over the columns of
/// ln(1/count of the row's value), scaled as (w − min + 10⁻⁶)/(max − min).
///
/// Words that differ in capitals and blanks are one value. Blank cells count as the column's most frequent value, among
/// equally frequent ones the first to occur.
/// A column without any value tells no rows apart and adds nothing. When all rows are equally rare
/// every weight is 1.
///
/// # Errors
/// No columns, no rows, or columns of different lengths.
pub fn semantic_weights(columns: &[FeatureColumn<'_>]) -> Result<Vec<f64>, WeightError> {
    let rows = columns.first().ok_or(WeightError::Empty("columns"))?.values.len();
    if rows == 0 {
        return Err(WeightError::Empty("rows"));
    }
    let mut rarity = vec![0.0; rows];
    for column in columns {
        if column.values.len() != rows {
            let (column, found) = (column.name.to_owned(), column.values.len());
            return Err(WeightError::LengthMismatch { column, found, expected: rows });
        }
        for (sum, count) in rarity.iter_mut().zip(value_counts(column.values)) {
            *sum += libm::log(1.0 / count as f64);
        }
    }
    Ok(scaled(&rarity))
}

/// How many rows have the same value as each row, blanks filled in.
fn value_counts(values: &[Option<String>]) -> Vec<usize> {
    let word = |value: &String| value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let words: Vec<Option<String>> =
        values.iter().map(|value| value.as_ref().map(word).filter(|word| !word.is_empty())).collect();
    let values: Vec<Option<&str>> = words.iter().map(Option::as_deref).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for value in values.iter().flatten() {
        *counts.entry(value).or_default() += 1;
    }
    let most_frequent = most_frequent(&values, &counts);
    let blanks = values.iter().filter(|value| value.is_none()).count();
    if let Some(filled) = most_frequent.and_then(|value| counts.get_mut(value)) {
        *filled += blanks;
    }
    let count_of = |value: &Option<&str>| value.or(most_frequent).and_then(|value| counts.get(value));
    values.iter().map(|value| count_of(value).copied().unwrap_or(blanks)).collect()
}

/// The value with the greatest count, the first to occur among several.
fn most_frequent<'a>(values: &[Option<&'a str>], counts: &HashMap<&str, usize>) -> Option<&'a str> {
    let greatest = counts.values().max()?;
    values.iter().flatten().find(|value| counts.get(**value) == Some(greatest)).copied()
}

fn scaled(rarity: &[f64]) -> Vec<f64> {
    let lowest = rarity.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = rarity.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if highest <= lowest {
        return vec![1.0; rarity.len()];
    }
    rarity.iter().map(|value| (value - lowest + 1e-6) / (highest - lowest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> Vec<Option<String>> {
        text.split(',').map(|value| (!value.is_empty()).then(|| value.to_owned())).collect()
    }

    #[test]
    fn the_rarer_class_weighs_more() {
        let malignant = [false, true, false, false];
        assert_eq!(class_weights(&malignant), Ok([0.25, 0.75]));
        assert_eq!(diagnosis_weights(&malignant), Ok(vec![0.25, 0.75, 0.25, 0.25]));
    }

    #[test]
    fn a_missing_class_is_named() {
        let missing = |class| Err(WeightError::MissingClass { rows: 2, class });
        assert_eq!(class_weights(&[true, true]), missing("benign"));
        assert_eq!(diagnosis_weights(&[false, false]).map(|_| [0.0; 2]), missing("malignant"));
    }

    #[test]
    fn blanks_take_the_first_of_the_most_frequent_values() {
        assert_eq!(value_counts(&column("a,b,b,a,,c")), [3, 2, 2, 3, 3, 1]);
        assert_eq!(value_counts(&column("c,b,b,a, ,a")), [1, 3, 3, 2, 3, 2]);
        assert_eq!(value_counts(&column(",,")), [3, 3, 3]);
        assert_eq!(value_counts(&column("Well m,well  M, WELL m ,b")), [3, 3, 3, 1]);
    }

    #[test]
    fn rare_values_weigh_most() {
        let values = column("a,a,a,b");
        let weights = semantic_weights(&[FeatureColumn { name: "shape", values: &values }]).expect("weights");
        assert!((weights[3] - 1.0).abs() < 1e-5 && weights[0] > 0.0 && weights[0] < 1e-5, "{weights:?}");
    }

    #[test]
    fn rows_that_do_not_differ_weigh_the_same() {
        let (values, blank) = (column("a,a"), column(","));
        let columns = [
            FeatureColumn { name: "shape", values: &values },
            FeatureColumn { name: "margins", values: &blank },
        ];
        assert_eq!(semantic_weights(&columns), Ok(vec![1.0, 1.0]));
    }

    #[test]
    fn bad_columns_are_named() {
        assert_eq!(semantic_weights(&[]), Err(WeightError::Empty("columns")));
        let (values, short) = (column("a,b"), column("a"));
        let columns = [
            FeatureColumn { name: "shape", values: &values },
            FeatureColumn { name: "margins", values: &short },
        ];
        let column = "margins".to_owned();
        assert_eq!(
            semantic_weights(&columns),
            Err(WeightError::LengthMismatch { column, found: 1, expected: 2 })
        );
        assert_eq!(
            semantic_weights(&[FeatureColumn { name: "shape", values: &[] }]),
            Err(WeightError::Empty("rows"))
        );
    }
}
