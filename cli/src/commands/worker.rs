//! `pipe worker`: one job of a run, in a process of its own. Events are lines of JSON on stdout; the ending is a file beside the job's.

use std::io::Read as _;
use std::process::ExitCode;

use pipe_engine::context::Cancel;
use pipe_engine::event::{Event, Observer};
use pipe_engine::job::JobFile;
use pipe_engine::record::RecordEnder;
use pipe_engine::registry::Registry;

use super::run::interrupt;
use crate::arguments::WorkerArguments;
use crate::error::CliError;
use crate::{panics, render, session};

pub(crate) fn worker(arguments: &WorkerArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let job = JobFile::read(&arguments.job)?;
    let cancel = Cancel::default();
    let signalled = cancel.clone();
    // Without a handler an interrupt still leaves a good cache; it only ends less politely.
    let _ = ctrlc::set_handler(move || interrupt(&signalled, &RecordEnder::default()));
    if arguments.attached {
        let left = cancel.clone();
        std::thread::spawn(move || {
            // Nothing is ever written there: reading ends when whoever started this process is gone or lets it go.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            interrupt(&left, &RecordEnder::default());
        });
    }
    job.perform(&arguments.job, registry, session::secrets(), &Lines, &cancel)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes every event as a line.
struct Lines;

impl Observer for Lines {
    fn event(&self, event: &Event) {
        if let Event::StageStarted { .. } = event {
            panics::panic_on_demand("stage");
        }
        render::out(&serde_json::to_string(event).unwrap_or_default());
    }
}
