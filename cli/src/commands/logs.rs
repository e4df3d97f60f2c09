//! `pipe logs`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use pipe_cache::Store;
use pipe_engine::record::{LogFile, LogReader, is_running, logs, read_head};
use serde_json::json;

use crate::arguments::LogsArguments;
use crate::error::CliError;
use crate::{render, session};

/// So often is looked for more, while a run goes on.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn show(arguments: &LogsArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let run = read_head(&store, &arguments.run)?.id();
    let stage = arguments.stage.as_deref();
    if arguments.follow {
        follow(&store, &run, stage)?;
        return Ok(ExitCode::SUCCESS);
    }
    let found = logs(&store, &run, stage)?;
    if found.is_empty() {
        let of_stage = stage.map(|stage| format!("`{stage}` of ")).unwrap_or_default();
        let message = format!("there is no log of {of_stage}run {run}");
        return Err(CliError::refused(
            message,
            "`pipe show` lists its stages; one that told nothing has no log",
        ));
    }
    if arguments.output.json {
        let told: Vec<_> = found
            .iter()
            .map(|log| Ok(json!({"instance": log.instance, "run": log.run, "text": text(log)?})))
            .collect::<Result<_, CliError>>()?;
        render::json(&json!({"run": run, "logs": told}));
    } else {
        let mut out = String::new();
        for log in &found {
            if found.len() > 1 || log.run != run {
                let known =
                    if log.run == run { String::new() } else { format!(", computed by run {}", log.run) };
                out.push_str(&format!("== {}{known}\n", log.instance));
            }
            out.push_str(&text(log)?);
        }
        render::out(&out);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(log: &LogFile) -> Result<String, CliError> {
    LogReader::new(&log.path).read(true).map_err(|error| unreadable(log, &error))
}

fn unreadable(log: &LogFile, error: &std::io::Error) -> CliError {
    CliError::refused(format!("cannot read {}: {error}", log.path.display()), "look at the folder's rights")
}

/// Tells what the logs say as they grow, until the run is over.
fn follow(store: &Arc<Store>, run: &str, stage: Option<&str>) -> Result<(), CliError> {
    // By path: what an instance is called may only be known when it has ended.
    let mut readers: BTreeMap<PathBuf, LogReader> = BTreeMap::new();
    let mut told = String::new();
    loop {
        // First, so that all is read of a run that ends meanwhile.
        let is_over = !is_running(store, run)?;
        for log in logs(store, run, stage)? {
            let reader = readers.entry(log.path.clone()).or_insert_with(|| LogReader::new(&log.path));
            let text = reader.read(is_over).map_err(|error| unreadable(&log, &error))?;
            if text.is_empty() {
                continue;
            }
            if told != log.instance {
                render::out(&format!("== {}", log.instance));
                told = log.instance;
            }
            render::out(&text);
        }
        if is_over || render::output_is_lost() {
            return Ok(());
        }
        sleep(LOOK);
    }
}
