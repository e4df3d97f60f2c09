//! How volumes and planes will be made: by the parameters, by models that are to be repeated, by files outside.

use std::path::{Path, PathBuf};

use pipe_plugin::stage::{Finding, Foreseen, Given, GivenSource, Preview};
use serde_json::Value;

use super::models::input_of_folder;
use super::outlook::{Outlook, error, shown, table_of};
use crate::arrays::read_made;
use crate::cohort::like::fill_values;
use pipe_learning::preprocessing::{GRID, GRID_1MM, Preprocessing, SLICE_PARAMETERS, VOLUME_PARAMETERS};

/// For kind `crop`.
pub fn crop(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let (params, findings) = filled(params, preview);
    let input = Preprocessing::of_parameters(&params, &VOLUME_PARAMETERS).with(GRID, GRID_1MM);
    let table = preview.one("dataset").and_then(table_of);
    Outlook { input, table, ..Outlook::default() }.with(findings)
}

/// For kind `slice`.
pub fn slice(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let (params, findings) = filled(params, preview);
    let window = Preprocessing::of_parameters(&params, &SLICE_PARAMETERS);
    let volumes = preview.one("volumes");
    let input = volumes.map(input_of_items).unwrap_or_default().and(&window);
    let table = volumes.and_then(|volumes| Outlook::of(volumes).table);
    Outlook { input, table, ..Outlook::default() }.with(findings)
}

/// Parameters with what models give to them, as far as they are known already.
fn filled(params: &Value, preview: &Preview<'_>) -> (Value, Vec<Finding>) {
    let mut params = params.clone();
    let mut findings = Vec::new();
    for given in preview.all("models") {
        let record = match &given.source {
            GivenSource::Outside(folder) => input_of_folder(folder),
            _ => Ok(Outlook::of(given).input),
        };
        let outcome =
            record.and_then(|record| fill_values(&mut params, &record, &shown(given), preview.is_written));
        findings.extend(outcome.err().map(|problem| error(&given.place, problem)));
    }
    (params, findings)
}

/// How volumes or planes that are given were made, or will be.
pub(super) fn input_of_items(given: &Given) -> Preprocessing {
    match &given.source {
        GivenSource::Outside(folder) => {
            first_file(folder).map(|path| input_of_file(&path)).unwrap_or_default()
        }
        _ => Outlook::of(given).input,
    }
}

/// A file that cannot be read is told by whoever needs its values.
fn input_of_file(path: &Path) -> Preprocessing {
    let bytes = std::fs::read(path).unwrap_or_default();
    read_made(&bytes, &path.display().to_string()).map(|made| made.preprocessing).unwrap_or_default()
}

/// The first safetensors file of a folder.
fn first_file(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).min()
}
