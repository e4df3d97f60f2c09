//! Files of all cases together, with other words: JSON and CSV, of which every number and every word that stays is known.

use std::path::Path;

use serde_json::Value;

use super::words::Words;

/// A file's bytes with pseudonyms, as they are where no word has to go; `None` for what is neither JSON nor CSV.
pub(super) fn with_other_words(words: &Words<'_>, name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    match Path::new(name).extension()?.to_str()? {
        "json" => {
            let value: Value = serde_json::from_slice(bytes).ok()?;
            let made = words.value(&value);
            if made == value { Some(bytes.to_vec()) } else { serde_json::to_vec_pretty(&made).ok() }
        }
        "csv" => {
            let mut made = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            let mut is_same = true;
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
            for row in reader.records() {
                let row = row.ok()?;
                let other: Vec<String> = row.iter().map(|cell| words.result_cell(cell)).collect();
                is_same &= row.iter().eq(other.iter().map(String::as_str));
                made.write_record(&other).ok()?;
            }
            if is_same { Some(bytes.to_vec()) } else { made.into_inner().ok() }
        }
        _ => None,
    }
}
