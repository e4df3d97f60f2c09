//! The encoded texts of nodules, and their words where these are changed in training.

use std::collections::HashMap;

use pipe_plugin::input::{Files, InputError};
use pipe_plugin::stage::StageError;
use pipe_plugin::table::Table;

use crate::arrays::read_integers;
use crate::text::{CONTEXT_LENGTH, impression};

/// Token ids by item.
pub(crate) struct EncodedTexts {
    shown: String,
    tokens: HashMap<String, Vec<u32>>,
}

impl EncodedTexts {
    /// Reads what `text-encode` wrote.
    pub(crate) fn read(files: &Files) -> Result<Self, StageError> {
        let shown = files.shown.clone();
        let refuse = |problem: String| StageError::message(format!("{shown}: {problem}"));
        let (shape, values) = read_integers(&files.read("text.safetensors")?, "tokens", &shown)?;
        let index = Table::parse(&format!("index.csv of {shown}"), &files.read("index.csv")?)?;
        if shape[..] != [index.rows().len(), CONTEXT_LENGTH] {
            let texts = index.rows().len();
            let problem = format!(
                "`tokens` is {shape:?} where index.csv names {texts} texts of {CONTEXT_LENGTH} tokens"
            );
            return Err(refuse(problem));
        }
        let mut tokens = HashMap::new();
        for (row, ids) in index.rows().iter().zip(values.chunks_exact(CONTEXT_LENGTH)) {
            let item = index.text(row, "item")?;
            let ids: Result<Vec<u32>, _> = ids.iter().map(|id| u32::try_from(*id)).collect();
            let ids = ids.map_err(|_| refuse(format!("a token of {item} is negative or too large")))?;
            tokens.insert(item.to_string(), ids);
        }
        Ok(Self { shown, tokens })
    }

    /// The token ids of an item.
    pub(crate) fn get(&self, item: &str) -> Result<&[u32], StageError> {
        self.tokens.get(item).map(Vec::as_slice).ok_or_else(|| {
            StageError::message(format!("{} has no text of nodule {item}", self.shown))
                .advise("give the texts that were encoded for this dataset")
        })
    }
}

/// The part of an item's report that is encoded, as text.
pub(crate) fn read_impression(reports: &Files, item: &str) -> Result<String, StageError> {
    let file = reports.item(item).ok_or_else(|| InputError::Shape {
        shown: reports.shown.clone(),
        problem: format!("has no report of nodule {item}"),
    })?;
    let text = String::from_utf8(file.read()?)
        .map_err(|error| StageError::message(format!("{}: not UTF-8: {error}", file.shown)))?;
    Ok(impression(&text))
}
