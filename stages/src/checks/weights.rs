//! Weight files before training: what they are, and whether their tensors are those of CLIP.

use pipe_plugin::stage::{Finding, Preview, StageError};

use pipe_learning::clip::architecture::Architecture;
use pipe_learning::clip::weights::outline_towers;

/// The dimensions of the towers that are given, or what is wrong with the file. A word, and a file that is not here yet,
/// have none.
pub(super) fn towers(preview: &Preview<'_>) -> Result<Option<Architecture>, Box<Finding>> {
    let Some(given) = preview.one("weights") else { return Ok(None) };
    let Some(path) = given.outside().filter(|_| preview.thorough) else { return Ok(None) };
    outline_towers(path).map(Some).map_err(|error| {
        // With all of its causes.
        let message = StageError::from(error).to_string();
        Box::new(
            Finding::error(&given.place, message)
                .advise("give CLIP's published weights: OpenAI's .pt, a state dict, or safetensors"),
        )
    })
}
