//! `pipe check`

use std::collections::BTreeSet;
use std::process::ExitCode;

use pipe_engine::preflight::check_tables;
use pipe_engine::registry::Registry;

use crate::cli::ManifestArguments;
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn check(arguments: &ManifestArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let pipeline = session::pipeline(arguments, registry)?;
    let (store, _temporary) = session::store_to_look_at(&pipeline, &arguments.cache)?;
    check_tables(&pipeline, registry, &store)?;
    let stages: BTreeSet<&str> = pipeline.instances.iter().map(|instance| instance.stage.as_str()).collect();
    render::out(&format!(
        "{}: {} stages, {} instances; nothing wrong found",
        arguments.manifest.display(),
        stages.len(),
        pipeline.instances.len()
    ));
    Ok(ExitCode::SUCCESS)
}
