//! What kinds are given as files: tables of nodules, folders with a file for each, folds and prompts.

use pipe_plugin::stage::{Column, Finding, Foreseen, Given, Preview};
use serde::Deserialize as _;
use serde_json::Value;

use super::{companions, nodules, prompts, reports, splits, words};
use pipe_learning::training::parameters::{TrainParameters, Weighting};

/// For kind `report`: ready reports or words of features, and the prompt.
pub fn report(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    let mut findings = prompts::of_report(preview);
    match preview.one("dir") {
        Some(_) => {
            findings.extend(companions::missing(preview, "dir", "report", None));
            findings.extend(companions::spare(preview, "dir"));
            findings.extend(reports::texts(preview, "dir"));
        }
        None => {
            findings.extend(words::unknown(preview, true, &[]));
            findings.extend(nodules::diameters(preview));
        }
    }
    Foreseen { findings, ..Foreseen::default() }
}

/// For kind `text-encode`: reports from outside.
pub fn text_encode(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    Foreseen { findings: reports::texts(preview, "reports"), ..Foreseen::default() }
}

/// For kind `train`: its fold, the files of its nodules, and the words that it weighs them by.
pub(super) fn train(params: &Value, preview: &Preview<'_>) -> Vec<Finding> {
    let Ok(params) = TrainParameters::deserialize(params) else { return Vec::new() };
    let fold = splits::fold(preview, params.fold);
    let mut findings = fold.findings;
    findings.extend(nodules::damaged(preview));
    let patients = fold.patients.as_ref();
    findings.extend(companions::missing(preview, "slices", "planes", patients));
    if params.text_augmentation().is_some() {
        findings.extend(companions::missing(preview, "reports", "report", patients));
    }
    if params.augmentation {
        findings.extend(companions::missing(preview, "volumes", "volume", patients));
    }
    if params.weighted == Weighting::Semantic {
        findings.extend(words::unknown(preview, false, &[]));
    }
    findings
}

/// For kind `zero-shot`: the prompts, and the words that they are compared with.
pub(super) fn zero_shot(preview: &Preview<'_>) -> Vec<Finding> {
    let (features, mut findings) = prompts::of_features(preview);
    findings.extend(nodules::damaged(preview));
    findings.extend(words::unknown(preview, false, &features));
    findings.extend(companions::missing(preview, "slices", "planes", None));
    findings
}

/// For kind `evaluate`: the names of nodules and, of one data set, their files.
pub(super) fn evaluate(preview: &Preview<'_>) -> Vec<Finding> {
    let mut findings = nodules::damaged(preview);
    findings.extend(companions::missing(preview, "slices", "planes", None));
    findings.extend(preview.all("against").filter_map(|given| no_predictions(preview, given)));
    findings
}

/// Predictions of another run that cannot be read as such.
fn no_predictions(preview: &Preview<'_>, given: &Given) -> Option<Finding> {
    let path = given.outside()?;
    let table = preview.table(path);
    let columns = ["pid", "nodule_id", "ensemble"].map(Column::required);
    let error = table.and_then(|table| table.project(&columns)).err()?;
    Some(Finding::error(&given.place, error.to_string()).advise("give predictions.csv of another run"))
}
