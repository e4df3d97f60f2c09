//! `pipe pack`

use std::process::ExitCode;

use pipe_engine::pack::{Outputs, Packed, pack};
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{PackArguments, PackedOutputs};
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn write(arguments: &PackArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let outputs = match arguments.outputs {
        PackedOutputs::Last => Outputs::Last,
        PackedOutputs::All => Outputs::All,
        PackedOutputs::None => Outputs::None,
    };
    let packed = pack(&store, &arguments.run, outputs, arguments.root.as_deref(), &arguments.to)?;
    let Packed { run, entries, bytes, blobs, left_out, inputs } = &packed;
    let to = arguments.to.display();
    match arguments.output.json {
        true => render::json(&json!({
            "version": VERSION, "run": run, "to": arguments.to, "entries": entries, "bytes": bytes,
            "blobs": blobs, "left_out": left_out, "inputs": inputs,
        })),
        false => render::out(&format!(
            "run {run}: {to}, {}\n  {blobs} files of results, {left_out} by their digests only; {inputs} small input files",
            render::size(*bytes)
        )),
    }
    Ok(ExitCode::SUCCESS)
}
