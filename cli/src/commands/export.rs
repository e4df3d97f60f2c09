//! `pipe export`

use std::process::ExitCode;

use pipe_engine::interchange::{Form, InterchangeError, envelope, statement, write};
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{ExportArguments, ProvenanceForm};
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn export(arguments: &ExportArguments) -> Result<ExitCode, CliError> {
    let ExportArguments { run, format, to, sign, root, cache, output } = arguments;
    if sign.is_some() && *format != ProvenanceForm::InToto {
        return Err(CliError::refused(
            "only an in-toto statement is signed",
            "leave --sign out, or use --format in-toto",
        ));
    }
    let key = session::signing_key(sign.as_ref())?;
    let store = session::nearest_store(cache)?;
    let form = match format {
        ProvenanceForm::RoCrate => Form::RoCrate,
        ProvenanceForm::ProvJson => Form::ProvJson,
        ProvenanceForm::InToto => Form::InToto,
    };
    let mut files = write(&store, run, form, root.as_deref(), to)?;
    if let Some(key) = key {
        let signed = envelope(&statement(&store, run)?, &key);
        let signed = signed.ok_or_else(|| CliError::refused("the key does not sign", "use another key"))?;
        let path = to.join("statement.dsse.json");
        let text = serde_json::to_string_pretty(&signed).unwrap_or_default() + "\n";
        let failed = |source| InterchangeError::Write { path: path.clone(), source };
        std::fs::write(&path, text).map_err(failed)?;
        files.push("statement.dsse.json".to_string());
    }
    match output.json {
        true => render::json(&json!({ "version": VERSION, "to": to, "files": files })),
        false => render::out(&format!("{} files in {}", files.len(), to.display())),
    }
    Ok(ExitCode::SUCCESS)
}
