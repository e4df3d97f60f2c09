//! What is wrong with what a kind is given, before any work.
//!
//! Stands beside the kinds, like [`crate::inspections`]: what is found goes to people and into no result. Tables and
//! folders outside the store are read; of what other stages will make, nothing is known here.

mod companions;
mod nodules;
mod prompts;
mod reports;
mod splits;
mod words;

use pipe_engine::stage::{Foreseen, Preview};
use serde::Deserialize as _;
use serde_json::Value;

use crate::training::parameters::{TrainParameters, Weighting};

/// How many examples a finding has.
const EXAMPLES: usize = 3;

/// For kind `report`: ready reports or words of features, and the prompt.
pub fn report(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    let mut findings = prompts::of_report(preview);
    match preview.one("dir") {
        Some(_) => {
            findings.extend(companions::missing(preview, "dir", "report", None));
            findings.extend(companions::spare(preview, "dir"));
            findings.extend(reports::texts(preview, "dir"));
        }
        None => findings.extend(words::unknown(preview, true, &[])),
    }
    Foreseen { findings, ..Foreseen::default() }
}

/// For kind `text-encode`: reports from outside.
pub fn text_encode(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    Foreseen { findings: reports::texts(preview, "reports"), ..Foreseen::default() }
}

/// For kind `train`: its fold, the files of its nodules, and the words that it weighs them by.
pub fn train(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let Ok(params) = TrainParameters::deserialize(params) else { return Foreseen::default() };
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
    Foreseen { findings, ..Foreseen::default() }
}

/// For kind `zero-shot`: the prompts, and the words that they are compared with.
pub fn zero_shot(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    let (features, mut findings) = prompts::of_features(preview);
    findings.extend(nodules::damaged(preview));
    findings.extend(words::unknown(preview, false, &features));
    findings.extend(companions::missing(preview, "slices", "planes", None));
    Foreseen { findings, ..Foreseen::default() }
}

/// For kind `split`: the names of patients.
pub fn split(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    Foreseen { findings: nodules::damaged(preview), ..Foreseen::default() }
}

/// For kind `evaluate`: the names of nodules and, of one data set, their files.
pub fn evaluate(_params: &Value, preview: &Preview<'_>) -> Foreseen {
    let mut findings = nodules::damaged(preview);
    findings.extend(companions::missing(preview, "slices", "planes", None));
    Foreseen { findings, ..Foreseen::default() }
}

/// The first examples of many, in words.
fn examples<T: AsRef<str>>(of: &[T]) -> String {
    let shown: Vec<&str> = of.iter().take(EXAMPLES).map(AsRef::as_ref).collect();
    format!("{}{}", shown.join(", "), if of.len() > shown.len() { ", …" } else { "" })
}
