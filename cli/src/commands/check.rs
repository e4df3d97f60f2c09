//! `pipe check`

use std::collections::BTreeSet;
use std::process::ExitCode;

use pipe_engine::context::Devices;
use pipe_engine::foresee::foresee;
use pipe_engine::inspect::inspect;
use pipe_engine::preflight::check_tables;
use pipe_engine::registry::Registry;
use pipe_engine::session::Session;
use pipe_engine::stage::Severity;
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::CheckArguments;
use crate::error::{CliError, exit};
use crate::{findings, render, session};

pub(crate) fn check(asked: &CheckArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let CheckArguments { manifest: arguments, output } = asked;
    let pipeline = session::pipeline(arguments, registry)?;
    session::refuse_publishing_into(&session::cache_folder(&pipeline, &arguments.cache), &pipeline)?;
    let (store, _temporary) = session::store_to_look_at(&pipeline, &arguments.cache)?;
    let session = Session::new(registry, &store, Devices::Cpu, true);
    check_tables(&session, &pipeline)?;
    let inspection = inspect(&session, &pipeline)
        .map_err(|error| CliError::refused(error.to_string(), "correct the table, or put the files there"))?;
    let mut found = foresee(&session, &pipeline, true);
    found.extend(inspection.findings);
    let stages: BTreeSet<&str> = pipeline.instances.iter().map(|instance| instance.stage.as_str()).collect();
    let count_of = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count_of(Severity::Error), count_of(Severity::Warning));
    let code = if errors > 0 { ExitCode::from(exit::REFUSED) } else { ExitCode::SUCCESS };
    if output.json {
        render::json(&json!({
            "version": VERSION, "stages": stages.len(), "instances": pipeline.instances.len(),
            "rows": inspection.rows, "files": inspection.files, "errors": errors, "warnings": warnings,
            "findings": found,
        }));
        return Ok(code);
    }
    findings::lines(&found).iter().for_each(|line| render::out_fitted(line));
    let mut summary = format!(
        "{}: {} stages, {} instances",
        arguments.manifest.display(),
        stages.len(),
        pipeline.instances.len()
    );
    if inspection.rows > 0 {
        summary += &format!("; {} rows and {} scans looked at", inspection.rows, inspection.files);
    }
    summary += &match (errors, warnings) {
        (0, 0) => "; nothing wrong found".to_string(),
        (errors, warnings) => format!("; {} and {}", count(errors, "error"), count(warnings, "warning")),
    };
    render::out_fitted(&summary);
    Ok(code)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
