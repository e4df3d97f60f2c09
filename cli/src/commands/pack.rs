//! `pipe pack`

use std::process::ExitCode;

use pipe_engine::pack::{Outputs, Packed, pack};
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{LeavingRun, PackArguments, PackedOutputs};
use crate::error::CliError;
use crate::session::Leaving;
use crate::{Running, render};

pub(crate) fn write(arguments: &PackArguments, running: &Running) -> Result<ExitCode, CliError> {
    let LeavingRun { root, output, .. } = &arguments.leaving;
    let leaving = Leaving::of(&arguments.leaving, running)?;
    let outputs = match arguments.outputs {
        _ if arguments.leaving.de_identified => Outputs::All,
        PackedOutputs::Last => Outputs::Last,
        PackedOutputs::All => Outputs::All,
        PackedOutputs::None => Outputs::None,
    };
    let packed = pack(leaving.store(), leaving.run(), outputs, root.as_deref(), &arguments.to)?;
    let Packed { run, entries, bytes, blobs, left_out, inputs } = &packed;
    let to = arguments.to.display();
    match output.json {
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
