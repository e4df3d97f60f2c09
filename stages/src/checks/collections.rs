//! Public collections as they were downloaded: whether tables, scans and parameters belong together.

use std::path::Path;

use pipe_plugin::input::list_folder;
use pipe_plugin::stage::{Finding, Foreseen, Preview};
use serde::Deserialize as _;
use serde_json::Value;

use super::outlook::error;
use crate::collections::lidc::location;
use crate::collections::luna16::{DOWNLOAD, nodules, scans, unusable, without_scan};
use crate::kinds;
use crate::kinds::lidc::LidcParams;
use crate::kinds::luna16::{ANNOTATIONS, Luna16Params, SCANS, WithoutScan};

/// For kind `lidc`.
pub fn lidc(params: &Value, preview: &Preview<'_>) -> Foreseen {
    Foreseen { findings: none_there(params, preview).into_iter().collect(), ..Foreseen::default() }
}

/// A table of scans of which none is where it says, as where its paths are read against another folder.
fn none_there(params: &Value, preview: &Preview<'_>) -> Option<Finding> {
    let params = LidcParams::deserialize(params).ok()?;
    let given = preview.one(kinds::lidc::SCANS)?;
    let table = preview.table(given.outside()?).ok()?;
    let rows = table.rows().iter();
    let paths: Vec<String> = rows.filter_map(|row| location(&params.folder, &table, row).ok()).collect();
    let first = paths.first()?;
    if paths.iter().any(|path| preview.root.join(path).exists()) {
        return None;
    }
    let message = format!("{}: none of the {} scans is there: {first}", given.text, paths.len());
    let advice = "see that `folder` is what the table's paths are read against";
    Some(Finding::warning(&given.place, message).advise(advice))
}

/// For kind `luna16`.
pub fn luna16(params: &Value, preview: &Preview<'_>) -> Foreseen {
    let findings = of_luna16(params, preview).unwrap_or_default();
    Foreseen { findings, ..Foreseen::default() }
}

/// What is wrong; `None` where that is told with the inputs or by the run.
fn of_luna16(params: &Value, preview: &Preview<'_>) -> Option<Vec<Finding>> {
    let params = Luna16Params::deserialize(params).ok()?;
    let (annotations, given) = (preview.one(ANNOTATIONS)?, preview.one(SCANS)?);
    let folder = given.outside()?;
    if !is_same(&preview.root.join(&params.folder), folder) {
        let message = format!("`folder` is {:?}, but `{SCANS}` is {:?}", params.folder, given.text);
        let advice = "write the same folder in both places: paths of scans begin with `folder`";
        return Some(vec![Finding::error(&given.place, message).advise(advice)]);
    }
    let mut paths = Vec::new();
    list_folder(folder, "", 0, &mut paths).ok()?;
    paths.sort_unstable();
    let scans = match scans(paths.iter().map(|(name, _)| name.as_str())) {
        Ok(scans) => scans,
        Err(problem) => return Some(vec![error(&given.place, problem.prefixed(given.text.as_str()))]),
    };
    let table = preview.table(annotations.outside()?).ok()?;
    let nodules = nodules(&table).ok()?;
    if let Some(problem) = unusable(&nodules, &scans) {
        return Some(vec![error(&given.place, problem.prefixed(given.text.as_str()))]);
    }
    let told = without_scan(&nodules, &scans)?;
    Some(match params.without_scan {
        WithoutScan::Refuse => vec![Finding::error(&annotations.place, told).advise(DOWNLOAD)],
        // A run warns of it by itself.
        WithoutScan::LeaveOut if !preview.thorough => Vec::new(),
        WithoutScan::LeaveOut => {
            let message = format!("{told}; these nodules are left out");
            vec![Finding::warning(&annotations.place, message).advise(DOWNLOAD)]
        }
    })
}

/// Whether two paths lead to one folder.
fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
