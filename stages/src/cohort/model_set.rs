//! The models of one experiment: an artifact of each fold, or one artifact with a folder of each.

use std::collections::HashMap;

use pipe_cache::Digest;
use pipe_plugin::input::{Files, Input, InputValue, Selector};
use pipe_plugin::stage::StageError;

/// One fold's model.
#[derive(Clone, Debug)]
pub(crate) struct FoldModel {
    /// Its name in the columns: its foreach value, or its number, or its position.
    pub(crate) key: String,
    /// The foreach values of the instance that trained it.
    pub(crate) selector: Selector,
    /// `model.json`, checkpoints and what else belongs to it.
    pub(crate) files: Files,
}

/// What a model's folder is known by.
pub(crate) const DESCRIPTION: &str = "model.json";

/// The models of an input, in its order; of one artifact by number.
///
/// # Errors
/// When an artifact holds no model, or two are the same.
pub(crate) fn models(inputs: &[Input]) -> Result<Vec<FoldModel>, StageError> {
    let mut models = Vec::new();
    for input in inputs {
        let InputValue::Files(files) = &input.value else { continue };
        if files.get(DESCRIPTION).is_some() {
            let key = key_of(&input.selector, models.len());
            models.push(FoldModel { key, selector: input.selector.clone(), files: files.clone() });
            continue;
        }
        refuse_headless(files)?;
        let folder = |name: &str| name.strip_suffix(DESCRIPTION)?.strip_suffix('/').map(str::to_owned);
        let mut folders: Vec<String> = files.names().filter_map(folder).collect();
        folders.sort_by_key(|folder| (number(folder), folder.clone()));
        if folders.is_empty() {
            return Err(StageError::message(format!(
                "{} holds no model: there is no {DESCRIPTION}",
                files.shown
            ))
            .advise("give the output of train or of import-experiment"));
        }
        for folder in folders {
            let key = number(&folder).map_or(folder.clone(), |number| number.to_string());
            models.push(FoldModel { key, selector: Selector::new(), files: files.under(&folder)? });
        }
    }
    refuse_copies(&models)?;
    Ok(models)
}

/// A fold whose description is lost would be missing from the ensemble.
fn refuse_headless(files: &Files) -> Result<(), StageError> {
    let folder = |name: &str| Some(name.strip_suffix(".safetensors")?.rsplit_once('/')?.0.to_owned());
    let has_description = |folder: &str| files.get(&format!("{folder}/{DESCRIPTION}")).is_some();
    // What lies within a model's folder is its own affair.
    let above = |folder: &String| {
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        ends.filter_map(|end| folder.get(..end)).any(has_description)
    };
    let is_headless = |folder: &String| !above(folder);
    match files.names().filter_map(folder).find(is_headless) {
        None => Ok(()),
        Some(folder) => {
            let message = format!("{}: {folder} has checkpoints and no {DESCRIPTION}", files.shown);
            Err(StageError::message(message).advise("fetch the file, or move the folder away"))
        }
    }
}

/// A model that is there twice would count twice in the ensemble.
fn refuse_copies(models: &[FoldModel]) -> Result<(), StageError> {
    let mut known: HashMap<Digest, &FoldModel> = HashMap::new();
    for model in models {
        if let Some(other) = known.insert(model.files.digest, model) {
            let message = format!("{} and {} are the same model", other.files.shown, model.files.shown);
            return Err(StageError::message(message).advise("give each model once: move the copy away"));
        }
    }
    Ok(())
}

/// k of `fold_k`.
fn number(folder: &str) -> Option<u32> {
    folder.strip_prefix("fold_")?.parse().ok()
}

fn key_of(selector: &Selector, position: usize) -> String {
    let mut values = selector.values();
    match (values.next(), values.next()) {
        (Some(value), None) => value.clone(),
        _ => position.to_string(),
    }
}
