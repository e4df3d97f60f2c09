//! Kind `report`: a radiologist's report for each nodule, worded from its features by built-in sentences or by a
//! language model, or taken from a folder.

use std::collections::BTreeMap;

use pipe_plugin::context::ItemContext;
use pipe_plugin::input::InputFile;
use pipe_plugin::stage::{
    About, Column, InputForm, InputSpec, Item, ItemSource, OutputSpec, PerItem, RowItems, Stage, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::language_model::{Endpoint, Protocol, ask};
use crate::reports::{NoduleFeatures, Prompt, report};
use crate::semantics::{DIAMETER_COLUMNS, SEMANTIC_COLUMNS, SUSPICION};
use pipe_numerics::random::RandomKey;

/// The kind.
pub struct Report;

/// Who words the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Built-in sentences, the same for the same seed.
    #[default]
    Template,
    /// A language model behind a service that speaks OpenAI's chat completions, such as vLLM, Ollama or OpenAI's own;
    /// its key, if it needs one, is in the environment variable OPENAI_API_KEY.
    OpenaiCompatible,
    /// A Gemini model; the key is in the environment variable GEMINI_API_KEY.
    Gemini,
}

/// Parameters of `report`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReportParams {
    /// Sets the choice of words apart from that of other report stages with the same seed: any text.
    pub stream: String,
    /// Who words the reports. A language model is asked once for each nodule and sees its features, never its
    /// identifiers; what it answers is kept like any other result.
    pub provider: Provider,
    /// The service's address, such as `http://localhost:11434/v1`; the provider's own if not given.
    pub base_url: Option<String>,
    /// The language model's name with the service.
    pub model: Option<String>,
    /// Further fields of each request, such as `{ temperature = 0 }`, as the service documents them. The text `{seed}`
    /// stands for a number drawn from the pipeline's seed, `stream` and the nodule's name.
    pub request: BTreeMap<String, serde_json::Value>,
}

impl ReportParams {
    fn protocol(&self) -> Option<Protocol> {
        match self.provider {
            Provider::Template => None,
            Provider::OpenaiCompatible => Some(Protocol::OpenAi),
            Provider::Gemini => Some(Protocol::Gemini),
        }
    }

    /// Where a language model is asked, if one is.
    fn endpoint(&self) -> Option<Endpoint> {
        let protocol = self.protocol()?;
        Some(Endpoint {
            protocol,
            base_url: self.base_url.clone().unwrap_or_else(|| protocol.default_base_url().to_owned()),
            model: self.model.clone().unwrap_or_default(),
            fields: self.request.clone().into_iter().collect(),
        })
    }
}

/// The columns that name a nodule.
const NAME: [&str; 2] = ["pid", "nodule_id"];

/// The input with ready reports.
const READY: &str = "dir";

/// The input with the prompt of a language model.
const PROMPT: &str = "prompt";

impl Stage for Report {
    type Params = ReportParams;

    const ABOUT: About = About::new(
        "report",
        "writes a report on each nodule: findings and an impression",
        crate::code_stamps::REPORT,
    )
    .inputs(&[
        InputSpec::new(
            "dataset",
            InputForm::Table,
            "the cohort: pid, nodule_id and, where known, semantic features, diameters and suspicion",
        ),
        InputSpec::new(
            READY,
            InputForm::Collection,
            "ready reports, {pid}_{nodule_id}.txt, to take instead of wording new ones",
        )
        .of("txt")
        .optional()
        .also_parameter(),
        InputSpec::new(
            PROMPT,
            InputForm::File,
            "what a language model is asked: a text in which {features} stands for the nodule's features",
        )
        .optional()
        .also_parameter(),
    ])
    .outputs(&[OutputSpec::collection(
        "reports",
        "txt",
        "{pid}_{nodule_id}.txt: a line of findings and a line of impression",
    )])
    .random()
    .service();

    fn fill_in(&self, params: &mut ReportParams) {
        if let (None, Some(protocol)) = (&params.base_url, params.protocol()) {
            params.base_url = Some(protocol.default_base_url().to_owned());
        }
    }

    fn check(&self, params: &ReportParams) -> Vec<String> {
        let Some(endpoint) = params.endpoint() else {
            let given = [
                ("base_url", params.base_url.is_some()),
                ("model", params.model.is_some()),
                ("request", !params.request.is_empty()),
            ];
            let without_model =
                |name: &str| format!("`{name}` is for a language model: set `provider`, or leave it out");
            return given.iter().filter(|(_, given)| *given).map(|(name, _)| without_model(name)).collect();
        };
        if params.model.is_none() {
            return vec!["a language model needs its `model`: the name it has with the service".to_owned()];
        }
        endpoint.problems()
    }

    fn check_inputs(&self, params: &ReportParams, given: &dyn Fn(&str) -> bool) -> Vec<StageError> {
        let mut problems = Vec::new();
        if given(PROMPT) && params.protocol().is_none() {
            let error = StageError::message("`prompt` is for a language model, and `provider` names none");
            problems
                .push(error.advise("set `provider` to openai-compatible or gemini, or leave `prompt` out"));
        }
        if given(READY) && (params.protocol().is_some() || given(PROMPT)) {
            let error = StageError::message("`dir` has ready reports: no language model is asked");
            problems.push(error.advise("leave out `dir`, or `provider` and what belongs to it"));
        }
        problems
    }
}

impl PerItem for Report {
    fn items(&self, _params: &ReportParams, given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Rows(match given(READY) {
            true => RowItems::new("dataset", NAME).companion(READY, ".txt"),
            false => RowItems::new("dataset", NAME).columns(wording_columns()),
        })
    }

    fn check_item(&self, _params: &ReportParams, item: &Item) -> Result<(), StageError> {
        features(item).map(|_| ())
    }

    fn run_group(
        &self,
        params: &ReportParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let run = |item: &Item| {
            context.check_cancelled()?;
            match (item.files.contains_key(READY), params.endpoint()) {
                (true, _) => ready_report(item, item.file(READY)?),
                (false, None) => worded_report(params, item, context.seed()),
                (false, Some(endpoint)) => asked_report(params, &endpoint, item, context),
            }
        };
        group.iter().map(run).collect()
    }
}

/// What shapes the wording. The name is part of it: nodules with equal features get different words.
fn wording_columns() -> Vec<Column> {
    let features = SEMANTIC_COLUMNS.iter().map(|feature| feature.name);
    let optional = features.chain(DIAMETER_COLUMNS).chain([SUSPICION]).map(Column::optional);
    NAME.map(Column::required).into_iter().chain(optional).collect()
}

fn features(item: &Item) -> Result<NoduleFeatures, StageError> {
    NoduleFeatures::from_row(|column| item.values.get(column).map(String::as_str)).map_err(|error| {
        StageError::message(format!("{}: {error}", item.place()))
            .advise(format!("correct the cell of {}, or leave it blank", item.name))
    })
}

/// The name that tells a nodule's choices from others'. An item's name has no slash, so no stream and name run into
/// another pair.
fn full_name(params: &ReportParams, item: &Item) -> String {
    match params.stream.as_str() {
        "" => item.name.clone(),
        stream => format!("{stream}/{}", item.name),
    }
}

fn worded_report(params: &ReportParams, item: &Item, seed: u64) -> Result<Vec<u8>, StageError> {
    Ok(report(&features(item)?, seed, &full_name(params, item)).into_bytes())
}

fn asked_report(
    params: &ReportParams,
    endpoint: &Endpoint,
    item: &Item,
    context: &ItemContext<'_>,
) -> Result<Vec<u8>, StageError> {
    let prompt = prompt(context)?.for_nodule(&features(item)?);
    let key = RandomKey::new(context.seed(), "language model").text("name", &full_name(params, item));
    // Services take it as a signed number.
    let seed = (key.generator().bits() >> 33) as u32;
    let answer = ask(endpoint, &prompt, &item.name, seed, context)?;
    context.log(&format!("item {}: worded by {}", item.name, answer.model.as_deref().unwrap_or("a model")));
    if !answer.text.to_lowercase().contains("impression") {
        context.warn(item, "the answer has no impression, so that all of the report will be encoded");
    }
    Ok(format!("{}\n", answer.text).into_bytes())
}

fn prompt(context: &ItemContext<'_>) -> Result<Prompt, StageError> {
    let Some(file) = context.file(PROMPT) else { return Ok(Prompt::default()) };
    Prompt::parse(&file.read()?).map_err(|error| {
        StageError::message(format!("{}: {error}", file.shown))
            .advise("write {features} where the list of features is to stand")
    })
}

fn ready_report(item: &Item, file: &InputFile) -> Result<Vec<u8>, StageError> {
    checked_text(file.read()?).map_err(|problem| {
        StageError::message(format!("{}: {} {problem}", item.place(), file.shown))
            .advise("put the report there as UTF-8 text, or take the row out of the table")
    })
}

/// The bytes as they are, when they are a text.
fn checked_text(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start_matches('\u{feff}').trim().is_empty() => Err("is empty".to_string()),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("is not UTF-8 text (at byte {})", error.valid_up_to())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::LONGEST_DIAMETER;

    fn item(values: &[(&str, &str)]) -> Item {
        Item {
            name: "7_1".to_string(),
            place: Some("nodules.csv:2".to_string()),
            values: values.iter().map(|(name, value)| (*name, (*value).to_string())).collect(),
            files: Default::default(),
        }
    }

    fn source(given: bool) -> RowItems {
        match Report.items(&ReportParams::default(), &|name| given && name == READY) {
            ItemSource::Rows(rows) => rows,
            ItemSource::Collection { .. } => panic!("reports are made from rows"),
        }
    }

    #[test]
    fn all_that_shapes_the_wording_is_in_the_key() {
        let rows = source(false);
        let required: Vec<&str> =
            rows.columns.iter().filter(|column| column.required).map(|column| column.name.as_str()).collect();
        assert_eq!(required, NAME);
        assert_eq!(rows.columns.len(), 2 + 17 + 4 + 1);
        assert_eq!(rows.companion, None);
    }

    #[test]
    fn ready_reports_need_no_features() {
        let rows = source(true);
        assert_eq!((rows.columns, rows.companion), (Vec::new(), Some((READY, ".txt"))));
        assert_eq!(
            checked_text("Impression: größer.\r\n".into()).expect("text"),
            "Impression: größer.\r\n".as_bytes()
        );
    }

    #[test]
    fn empty_and_foreign_bytes_are_no_report() {
        for (bytes, problem) in [
            (&b""[..], "is empty"),
            (b" \r\n\t", "is empty"),
            (b"\xef\xbb\xbf\n", "is empty"),
            (b"ab\xff", "is not UTF-8 text (at byte 2)"),
        ] {
            assert_eq!(checked_text(bytes.to_vec()).expect_err("refused"), problem);
        }
    }

    #[test]
    fn stream_seed_and_name_change_words_and_not_facts() {
        let one = item(&[(LONGEST_DIAMETER, "12.5"), ("necrosis", "Present"), ("cavitation", "Absent")]);
        let written = |stream: &str, item: &Item, seed| {
            let params = ReportParams { stream: stream.to_string(), ..ReportParams::default() };
            String::from_utf8(worded_report(&params, item, seed).expect("report")).expect("text")
        };
        let first = written("", &one, 42);
        assert_eq!(first, written("", &one, 42));
        assert!(first.contains("12.5 mm") && first.contains("necrosis"), "{first}");
        let other = Item { name: "8_1".to_string(), ..one.clone() };
        let differs =
            |text: &dyn Fn(u64) -> String| (0..20).any(|seed| text(seed) != written("", &one, seed));
        assert!(differs(&|seed| written("test", &one, seed)));
        assert!(differs(&|seed| written("", &other, seed)));
        assert!((0..20).any(|seed| written("", &one, seed) != first));
    }

    #[test]
    fn a_wrong_diameter_is_found_before_any_work() {
        let wrong = item(&[(LONGEST_DIAMETER, "large")]);
        let error = Report.check_item(&ReportParams::default(), &wrong).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "nodules.csv:2: column `longest_axial_diameter_(mm)`: `large` is not a diameter in millimetres"
        );
        assert!(error.advice.is_some());
        assert!(Report.check_item(&ReportParams::default(), &item(&[])).is_ok());
    }
}
