//! `pipe gc`

use std::process::ExitCode;
use std::time::Duration;

use pipe_engine::gc::{Wanted, collect};
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::GcArguments;
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn gc(arguments: &GcArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let wanted = Wanted {
        runs: arguments.keep_runs,
        most_bytes: arguments.max_size,
        grace: Duration::from_secs(arguments.grace.saturating_mul(60)),
    };
    let collected = collect(&store, &wanted, arguments.dry_run)?;
    for pin in &collected.unknown_pins {
        render::line(&format!("warning: nothing is known of what is pinned as {pin}"));
    }
    let swept = collected.swept;
    if arguments.output.json {
        render::json(&json!({
            "version": VERSION, "dry_run": arguments.dry_run, "kept_runs": collected.runs,
            "kept_bytes": collected.kept_bytes, "removed_blobs": swept.blobs, "removed_bytes": swept.bytes,
            "removed_results": swept.results, "removed_resume_points": swept.resume_points,
            "removed_environments": swept.environments,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let verb = if arguments.dry_run { "would remove" } else { "removed" };
    render::out(&format!(
        "kept {} runs, {}\n{verb} {} blobs, {}; {} results; {} states of unfinished work; {} environments",
        collected.runs.len(),
        render::size(collected.kept_bytes),
        swept.blobs,
        render::size(swept.bytes),
        swept.results,
        swept.resume_points,
        swept.environments
    ));
    Ok(ExitCode::SUCCESS)
}
