//! What looks wrong before any work, as people read it.

use pipe_engine::foresee::foresee;
use pipe_engine::manifest::Pipeline;
use pipe_engine::stage::{Finding, Severity};

use crate::error::CliError;
use crate::render;

/// A line for each finding; advice that is the same for several in a row stands once, behind the last.
pub(crate) fn lines(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for (position, finding) in findings.iter().enumerate() {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        lines.push(format!("{}: {severity}: {}", finding.place, finding.message));
        let next = findings.get(position + 1).and_then(|next| next.advice.as_ref());
        if let Some(advice) = finding.advice.as_ref().filter(|advice| next != Some(*advice)) {
            lines.push(format!("    help: {advice}"));
        }
    }
    lines
}

/// Looks ahead through a pipeline that is about to be run or planned: warnings are shown, errors refuse it.
pub(crate) fn refuse_errors(pipeline: &Pipeline) -> Result<(), CliError> {
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        foresee(pipeline, false).into_iter().partition(|finding| finding.severity == Severity::Error);
    lines(&warnings).iter().for_each(|line| render::line(line));
    if errors.is_empty() { Ok(()) } else { Err(CliError::Findings(errors)) }
}
