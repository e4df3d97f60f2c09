//! `pipe export`

use std::process::ExitCode;

use pipe_engine::audit::Recorded;
use pipe_engine::interchange::{Form, write};
use pipe_engine::session::Session;
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{ExportArguments, LeavingRun, ProvenanceForm};
use crate::error::CliError;
use crate::session::Leaving;
use crate::{Running, hub, render, session};

pub(crate) fn export(arguments: &ExportArguments, running: &Running) -> Result<ExitCode, CliError> {
    let ExportArguments { leaving, format, to, sign } = arguments;
    let LeavingRun { root, output, .. } = leaving;
    if sign.is_some() && *format != ProvenanceForm::InToto {
        return Err(CliError::refused(
            "only an in-toto statement is signed",
            "leave --sign out, or use --format in-toto",
        ));
    }
    let key = session::signing_key(sign.as_ref())?;
    let leaving = Leaving::of(leaving, running)?;
    let store = leaving.store();
    let form = match format {
        ProvenanceForm::RoCrate => Form::RoCrate,
        ProvenanceForm::ProvJson => Form::ProvJson,
        ProvenanceForm::Methods => Form::Methods,
        ProvenanceForm::InToto => Form::InToto(key.as_ref()),
    };
    let recorded = Recorded::read(store, leaving.run())?;
    let pipeline = (!recorded.is_de_identified())
        .then(|| recorded.pipeline(store, root.as_deref(), running.registry()).ok());
    let mut pipeline = pipeline.flatten();
    if let Some(pipeline) = &mut pipeline {
        // What is not at hand is told by its digest: an export downloads nothing.
        let _ = hub::place_known(pipeline);
    }
    let session = Session::new(running.registry(), store, recorded.devices(), true);
    let files = write(&session, (&recorded, pipeline.as_ref()), form, to)?;
    match output.json {
        true => render::json(&json!({ "version": VERSION, "to": to, "files": files })),
        false => render::out(&format!("{} files in {}", files.len(), to.display())),
    }
    Ok(ExitCode::SUCCESS)
}
