//! The words that stand for a missing value: those of `pandas.read_csv`, to the letter.
//!
//! Published scripts read tables with it, so a table means the same here. A cell that must hold something is refused
//! with such a word just as it is when it is blank.

/// Sorted.
const WORDS: [&str; 18] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Whether a trimmed cell holds nothing: it is blank, or one of these words.
pub fn is_missing(cell: &str) -> bool {
    cell.is_empty() || WORDS.binary_search(&cell).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_others_are_not() {
        assert!(WORDS.is_sorted());
        assert!(WORDS.iter().all(|word| is_missing(word)) && is_missing(""));
        for word in ["none", "NAN", "Null", "na", "-", "0", "missing", "N.A.", "inf"] {
            assert!(!is_missing(word), "{word}");
        }
    }
}
