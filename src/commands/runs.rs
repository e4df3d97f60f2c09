//! `pipe runs`

use std::process::ExitCode;

use pipe_engine::record::{read_run, run_ids};

use crate::cli::CacheArguments;
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn runs(arguments: &CacheArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(arguments)?;
    let ids = run_ids(&store)?;
    if ids.is_empty() {
        render::line("no runs yet");
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = Vec::new();
    for id in ids {
        lines.push(match read_run(&store, &id) {
            Err(error) => format!("{id:24}  {error}"),
            Ok(run) => {
                let field = |name: &str| run.summary.as_ref().and_then(|summary| summary.get(name)).cloned();
                let status = field("status").and_then(|status| status.as_str().map(str::to_string));
                let count = |name: &str| field(name).and_then(|count| count.as_u64()).unwrap_or(0);
                let status = status.unwrap_or_else(|| "unfinished".to_string());
                format!(
                    "{id:24}  {status:11}  {:16}  {:4} executed  {:4} known  {}",
                    run.header.pipeline,
                    count("executed"),
                    count("cached"),
                    run.header.set.join(" ")
                )
            }
        });
    }
    render::out(&lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}
