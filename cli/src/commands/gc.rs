//! `pipe gc`

use std::process::ExitCode;
use std::time::Duration;

use pipe_engine::gc::{Wanted, collect};

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
    let verb = if arguments.dry_run { "would remove" } else { "removed" };
    render::out(&format!(
        "kept {} runs, {}\n{verb} {} blobs, {}; {} results; {} states of unfinished work",
        collected.runs.len(),
        render::size(collected.kept_bytes),
        swept.blobs,
        render::size(swept.bytes),
        swept.results,
        swept.resume_points
    ));
    Ok(ExitCode::SUCCESS)
}
