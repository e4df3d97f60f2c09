//! Kind `text-encode`: reports to CLIP token ids.

use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::write_integers;
use crate::text::{CONTEXT_LENGTH, Tokenizer, impression};

/// The kind.
pub struct TextEncode;

/// Parameters of `text-encode`: there are none.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TextEncodeParams {}

impl Stage for TextEncode {
    type Params = TextEncodeParams;

    const ABOUT: About = About::new(
        "text-encode",
        "encodes the impression of each report as CLIP tokens",
        crate::code_stamps::TEXT_ENCODE,
    )
    .inputs(&[InputSpec::new(
        "reports",
        InputForm::Collection,
        "a report for each nodule, {pid}_{nodule_id}.txt, as from report",
    )
    .of("txt")])
    .outputs(&[OutputSpec::tree(
        "text",
        "text.safetensors: `tokens` i64 (N, 77); index.csv: the item of each row",
    )]);
}

impl Whole for TextEncode {
    fn run(&self, _params: &TextEncodeParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let tokenizer = Tokenizer::new()?;
        let reports = context.files("reports")?;
        let mut tokens = Vec::with_capacity(reports.len() * CONTEXT_LENGTH);
        let mut index = csv::Writer::from_writer(Vec::new());
        index.write_record(["row", "item"])?;
        for (row, name) in reports.names().enumerate() {
            context.check_cancelled()?;
            let bytes = reports.read(name)?;
            let report = std::str::from_utf8(&bytes).map_err(|error| {
                StageError::message(format!("{}: {name} is not UTF-8: {error}", reports.shown))
                    .advise("save the report as UTF-8 text")
            })?;
            tokens.extend_from_slice(&tokenizer.encode(&impression(report)));
            let item = name.rsplit_once('.').map_or(name, |(item, _)| item);
            index.write_record([row.to_string().as_str(), item])?;
        }
        let shape = [reports.len(), CONTEXT_LENGTH];
        context.write("text", "text.safetensors", &write_integers("tokens", &shape, &tokens)?)?;
        context.write("text", "index.csv", &index.into_inner()?)
    }
}
