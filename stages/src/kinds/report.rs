//! Kind `report`: a radiologist's report for each nodule, worded from its features or taken from a folder.

use pipe_engine::context::ItemContext;
use pipe_engine::input::InputFile;
use pipe_engine::stage::{
    About, Column, InputForm, InputSpec, Item, ItemSource, ItemStage, OutputForm, OutputSpec, RowItems,
    StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reports::{NoduleFeatures, report};
use crate::semantics::{DIAMETER_COLUMNS, SEMANTIC_COLUMNS, SUSPICION};

/// The kind.
pub struct Report;

/// Parameters of `report`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReportParams {
    /// Sets the choice of words apart from that of other report stages with the same seed: any text.
    pub stream: String,
}

/// The columns that name a nodule.
const NAME: [&str; 2] = ["pid", "nodule_id"];

/// The input with ready reports.
const READY: &str = "dir";

impl ItemStage for Report {
    type Params = ReportParams;

    const ABOUT: About = About {
        name: "report",
        summary: "writes a report on each nodule: findings and an impression",
        inputs: &[
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
            .optional()
            .also_parameter(),
        ],
        outputs: &[OutputSpec {
            name: "reports",
            summary: "{pid}_{nodule_id}.txt: a line of findings and a line of impression",
            form: OutputForm::Collection("txt"),
        }],
        random: true,
        device: false,
        code: crate::code_stamps::REPORT,
        headline: None,
    };

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
            match item.files.contains_key(READY) {
                true => ready_report(item, item.file(READY)?),
                false => worded_report(params, item, context.seed()),
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

fn worded_report(params: &ReportParams, item: &Item, seed: u64) -> Result<Vec<u8>, StageError> {
    // An item's name has no slash, so no stream and name run into another pair.
    let name = match params.stream.as_str() {
        "" => item.name.clone(),
        stream => format!("{stream}/{}", item.name),
    };
    Ok(report(&features(item)?, seed, &name).into_bytes())
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
            values: values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
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
            let params = ReportParams { stream: stream.to_string() };
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
