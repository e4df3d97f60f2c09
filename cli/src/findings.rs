//! What looks wrong before any work, as people read it.
//!
//! A cohort whose table is wrong throughout has a finding in each row, and they say the same: many of a kind are told
//! once, with their number and some examples.

use std::collections::BTreeMap;

use pipe_engine::foresee::foresee;
use pipe_engine::manifest::Pipeline;
use pipe_engine::session::Session;
use pipe_engine::stage::{Finding, Severity};

use crate::error::CliError;
use crate::render;

/// So many findings of a kind are told in full.
const TOLD: usize = 3;

/// A line for each finding; advice that is the same for several in a row stands once, behind the last.
pub(crate) fn lines(findings: &[Finding]) -> Vec<String> {
    let groups = alike(findings);
    let advice_of = |group: &Vec<&Finding>| group.first().and_then(|finding| finding.advice.clone());
    let mut lines = Vec::new();
    for (position, group) in groups.iter().enumerate() {
        lines.extend(told(group));
        let next = groups.get(position + 1).and_then(advice_of);
        if let Some(advice) = advice_of(group).filter(|advice| next.as_ref() != Some(advice)) {
            lines.push(format!("    help: {advice}"));
        }
    }
    lines
}

/// Findings by what they say, in the order of the first of each; few that are alike stay apart.
fn alike(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut alike: BTreeMap<Likeness, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        alike.entry(Likeness::of(finding)).or_default().push(finding);
    }
    let mut groups = Vec::new();
    for finding in findings {
        let likeness = Likeness::of(finding);
        match alike.get(&likeness).map(Vec::len) {
            Some(..=TOLD) => groups.push(vec![finding]),
            Some(_) => groups.extend(alike.remove(&likeness)),
            // Told with the first of its kind.
            None => {}
        }
    }
    groups
}

/// What findings have in common that are told as one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    severity: Severity,
    file: String,
    kind: String,
    advice: Option<String>,
}

impl Likeness {
    fn of(finding: &Finding) -> Self {
        Self {
            severity: finding.severity,
            file: file_of(&finding.place).to_string(),
            kind: finding.kind.map_or_else(|| pattern(&finding.message), str::to_string),
            advice: finding.advice.as_deref().map(pattern),
        }
    }
}

/// A message without what is particular to a row: words with a digit, a path's or a name's sign in them.
fn pattern(message: &str) -> String {
    let particular = |word: &str| {
        let word = word.trim_end_matches([',', '.', ':', ';', ')']);
        word.contains(|sign: char| sign.is_ascii_digit() || matches!(sign, '/' | '.' | '_' | '`' | '"'))
    };
    let words = message.split_whitespace().map(|word| if particular(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn file_of(place: &str) -> &str {
    match place.rsplit_once(':') {
        Some((file, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => file,
        _ => place,
    }
}

/// One finding in a line; many as their number and some of them.
fn told(group: &[&Finding]) -> Vec<String> {
    let severity = |finding: &Finding| match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    match group {
        [] => Vec::new(),
        [finding] => vec![format!("{}: {}: {}", finding.place, severity(finding), finding.message)],
        [first, ..] => {
            let what = first.kind.unwrap_or("findings that say the same");
            let head = format!("{}: {}: {} {what}:", file_of(&first.place), severity(first), group.len());
            let examples = group.iter().take(TOLD).map(|one| format!("    {}: {}", one.place, one.message));
            let rest = group.len() - TOLD.min(group.len());
            [head].into_iter().chain(examples).chain([format!("    and {rest} more")]).collect()
        }
    }
}

/// Looks ahead through a pipeline that is about to be run or planned: warnings are shown and given, errors refuse it.
pub(crate) fn refuse_errors(session: &Session<'_>, pipeline: &Pipeline) -> Result<Vec<Finding>, CliError> {
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) = foresee(session, pipeline, false)
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    lines(&warnings).iter().for_each(|line| render::line(line));
    if errors.is_empty() { Ok(warnings) } else { Err(CliError::Findings(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(line: usize) -> Finding {
        let message = format!("nodule {line}_1: the point lies {line}.5 mm outside the scan a.nii.gz");
        Finding::error(format!("t.csv:{line}"), message).advise("change the sign")
    }

    #[test]
    fn many_of_a_kind_are_told_once_with_their_number_and_examples() {
        let mut findings: Vec<Finding> =
            (2..294).map(|line| outside(line).of_kind("points outside")).collect();
        findings.insert(1, Finding::error("t.csv:2", "something else"));
        assert_eq!(
            lines(&findings),
            [
                "t.csv: error: 292 points outside:",
                "    t.csv:2: nodule 2_1: the point lies 2.5 mm outside the scan a.nii.gz",
                "    t.csv:3: nodule 3_1: the point lies 3.5 mm outside the scan a.nii.gz",
                "    t.csv:4: nodule 4_1: the point lies 4.5 mm outside the scan a.nii.gz",
                "    and 289 more",
                "    help: change the sign",
                "t.csv:2: error: something else",
            ]
        );
    }

    #[test]
    fn findings_of_no_kind_are_alike_when_their_words_are() {
        let findings: Vec<Finding> = (2..6).map(outside).collect();
        let told = lines(&findings);
        assert_eq!(told.first().map(String::as_str), Some("t.csv: error: 4 findings that say the same:"));
        // Of another table, of another severity, with other advice: told apart.
        let mut apart = vec![outside(2), outside(3), outside(4)];
        apart.push(Finding::error("other.csv:2", outside(2).message).advise("change the sign"));
        apart.push(Finding::warning("t.csv:9", outside(9).message).advise("change the sign"));
        apart.push(outside(10).advise("correct the row"));
        assert_eq!(lines(&apart).iter().filter(|line| line.contains("mm outside")).count(), 6);
    }

    #[test]
    fn few_are_told_one_by_one() {
        let told = lines(&[outside(2), outside(3), outside(4)]);
        assert_eq!(told.len(), 4);
        assert!(told.first().is_some_and(|line| line.starts_with("t.csv:2: error: nodule 2_1")), "{told:?}");
    }
}
