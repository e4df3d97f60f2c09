//! Ready crops before they are taken over: their kind and size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe_plugin::stage::{Finding, Foreseen, Given, Preview};
use rayon::prelude::*;
use serde_json::Value;

use super::examples;
use super::outlook::{Outlook, error};
use crate::kinds::import_crops::edge_of_file;
use pipe_learning::preprocessing::{Preprocessing, SIZE_MM, STORE};

/// So many crops are read by a thorough look, evenly over the folder.
const LOOKED_AT: usize = 200;

/// For kind `import-crops`.
pub fn import_crops(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let input = Preprocessing::of_parameters(params, &[STORE]);
    let Some((given, folder)) = preview.one("crops").and_then(|given| Some((given, given.outside()?))) else {
        return Outlook { input, ..Outlook::default() }.with(Vec::new());
    };
    let (by_edge, mut findings) = look(preview, given, folder);
    findings.extend(of_several_sizes(given, &by_edge));
    let input = match by_edge.keys().next() {
        Some(edge) if by_edge.len() == 1 => input.with(SIZE_MM, *edge),
        _ => input,
    };
    Outlook { input, ..Outlook::default() }.with(findings)
}

/// The names of crops by their edge, and what is wrong with the others.
fn look(preview: &Preview<'_>, given: &Given, folder: &Path) -> (BTreeMap<usize, Vec<String>>, Vec<Finding>) {
    // What is wrong with the folder itself is told with the inputs.
    let listing = preview.items(folder, "pt").unwrap_or_default();
    let items: Vec<(&String, &PathBuf)> = listing.items.iter().collect();
    let most = if preview.thorough { LOOKED_AT } else { 1 };
    let step = items.len().div_ceil(most).max(1);
    let chosen: Vec<(&String, &PathBuf)> = items.iter().copied().step_by(step).collect();
    let read: Vec<_> = chosen.into_par_iter().map(|(name, path)| (name, edge_of_file(path))).collect();
    let (mut by_edge, mut findings) = (BTreeMap::<usize, Vec<String>>::new(), Vec::new());
    for (name, outcome) in read {
        match outcome {
            Ok(edge) => by_edge.entry(edge).or_default().push(name.clone()),
            Err(problem) => findings.push(error(&given.place, problem).of_kind("files that are no crops")),
        }
    }
    (by_edge, findings)
}

fn of_several_sizes(given: &Given, by_edge: &BTreeMap<usize, Vec<String>>) -> Option<Finding> {
    let sizes = || by_edge.iter().map(|(edge, names)| format!("{edge} voxels ({})", examples(names)));
    (by_edge.len() > 1).then(|| {
        let message = format!("crops have edges of {}", sizes().collect::<Vec<_>>().join(" and of "));
        Finding::error(&given.place, message).advise("give crops that were cut in one way")
    })
}
