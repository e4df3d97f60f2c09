//! Reports of the reference's sample rows: what they say, where, and that they fit the text encoder.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use instant_clip_tokenizer::Tokenizer;
use pipe_stages::reports::{NoduleFeatures, ReportError, report};
use pipe_stages::semantics::{
    DIAMETER_COLUMNS, LONGEST_DIAMETER, SEMANTIC_COLUMNS, SHORT_DIAMETER, SUSPICION, SUSPICION_LEVELS,
};

/// Tokens of CLIP's text context, of which two mark its start and end.
const CONTEXT: usize = 77;

type Row = BTreeMap<String, String>;

fn sample_rows() -> Vec<Row> {
    let table =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stats/weights_dataset.csv"));
    csv::Reader::from_reader(table.as_bytes()).deserialize().collect::<Result<_, _>>().expect("rows")
}

fn row(values: &[(&str, &str)]) -> Row {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn features(row: &Row) -> NoduleFeatures {
    NoduleFeatures::from_row(|column| row.get(column).map(String::as_str)).expect("features")
}

fn text(row: &Row) -> String {
    report(&features(row), 42, row.get("pid").map_or("", String::as_str))
}

/// The text before and from the impression on.
fn parts(report: &str) -> (&str, &str) {
    report.split_at(report.to_lowercase().find("impression").expect("an impression"))
}

fn tokens(text: &str) -> usize {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::new);
    let mut tokens = Vec::new();
    TOKENIZER.encode(text, &mut tokens);
    tokens.len() + 2
}

#[test]
fn the_header_and_the_known_values_are_those_of_the_sample() {
    for row in sample_rows() {
        for feature in SEMANTIC_COLUMNS {
            let value = row.get(feature.name).expect(feature.name);
            assert!(
                value.is_empty() || feature.values.contains(&value.as_str()),
                "{}: {value}",
                feature.name
            );
        }
        assert!(SUSPICION_LEVELS.contains(&row.get(SUSPICION).expect("level").as_str()));
        assert!(DIAMETER_COLUMNS.iter().all(|column| row.contains_key(*column)));
    }
}

#[test]
fn findings_name_every_feature_and_the_impression_only_those_present() {
    for row in sample_rows() {
        let report = text(&row);
        let (findings, impression) = parts(&report);
        for feature in SEMANTIC_COLUMNS.iter().filter(|feature| feature.is_presence()) {
            let value = row.get(feature.name).expect(feature.name).as_str();
            assert_eq!(findings.contains(feature.phrase), !value.is_empty(), "{}\n{report}", feature.name);
            assert_eq!(impression.contains(feature.phrase), value == "Present", "{}\n{report}", feature.name);
        }
        let level = row.get(SUSPICION).expect("level").to_lowercase();
        assert!(impression.contains(&format!("is {level}.")), "{report}");
        let longest: f64 = row.get(LONGEST_DIAMETER).expect("diameter").parse().expect("number");
        assert!(impression.contains(&format!("{longest:.1} mm x ")), "{report}");
    }
}

#[test]
fn reports_are_two_lines_that_split_at_the_impression() {
    for row in sample_rows() {
        let report = text(&row);
        assert!(report.starts_with("Findings: ") && report.ends_with(".\n"), "{report}");
        assert_eq!(report.lines().count(), 3, "{report}");
        assert!(report.contains("\n\nImpression: A"), "{report}");
        assert_eq!(report.to_lowercase().matches("impression").count(), 1, "{report}");
        assert!(!report.contains(['{', '}', '/']) && !report.contains("  "), "{report}");
    }
}

#[test]
fn impressions_fit_the_text_encoder() {
    let mut longest = 0;
    for row in sample_rows() {
        let report = text(&row);
        longest = longest.max(tokens(parts(&report).1));
    }
    assert!(longest <= CONTEXT, "{longest} tokens");
}

#[test]
fn the_wording_varies_but_not_between_calls() {
    let rows = sample_rows();
    let reports: Vec<String> = rows.iter().map(text).collect();
    assert_eq!(reports, rows.iter().map(text).collect::<Vec<_>>());
    let row = rows.first().expect("a row");
    assert!((0..10).any(|seed| report(&features(row), seed, "a") != report(&features(row), 42, "a")));
    assert!(
        ["b", "c", "d", "e", "f"]
            .iter()
            .any(|name| { report(&features(row), 42, name) != report(&features(row), 42, "a") })
    );
}

#[test]
fn the_text_is_pinned() {
    let row = row(&[
        ("pid", "200001"),
        (LONGEST_DIAMETER, "23.6"),
        (SHORT_DIAMETER, "14.2"),
        ("nodule_margin_conspicuity", "Poorly marginated"),
        ("nodule_margins", "Spiculated/Serrated"),
        ("nodule_shape", "Complex/Irregular"),
        ("nodule_consistency", "Part-solid"),
        ("cavitation", "Absent"),
        ("necrosis", "Absent"),
        ("pleural_attachment", "Present"),
        (SUSPICION, "High"),
    ]);
    assert_eq!(text(&row), PINNED);
}

const PINNED: &str = "\
Findings: There is a nodule with a maximum axial diameter of 23.6 mm and a short diameter of 14.2 mm. \
It is part-solid and irregular in appearance. \
The nodule is poorly marginated and exhibits spiculated margins. \
Also seen: pleural attachment. There are no signs of necrosis or cavitation.

Impression: A 23.6 mm x 14.2 mm part-solid irregular nodule showing spiculated margins and pleural attachment. \
Suspicion of lung cancer is high.
";

#[test]
fn blanks_are_not_mentioned() {
    let blank = text(&row(&[(LONGEST_DIAMETER, " "), (SHORT_DIAMETER, "0"), ("cavitation", "  ")]));
    assert_eq!(blank, "Findings: A nodule is present.\n\nImpression: A nodule.\n");
}

#[test]
fn unknown_values_are_reported_in_their_own_words() {
    let report = text(&row(&[
        ("nodule_shape", "Dumbbell"),
        ("necrosis", "Minimal,\nsee impression {short} <|endoftext|>"),
        (SUSPICION, "Very high"),
    ]));
    let (findings, impression) = parts(&report);
    assert!(findings.contains("Necrosis: minimal, see appearance short endoftext."), "{report}");
    assert!(impression.contains("A dumbbell nodule.") && impression.contains("is very high."), "{report}");
    assert!(!impression.contains("ecrosis"), "{report}");
}

#[test]
fn a_diameter_must_be_a_number_of_millimetres() {
    for value in ["large", "-3", "inf", "NaN"] {
        let row = row(&[(LONGEST_DIAMETER, value)]);
        let error = NoduleFeatures::from_row(|column| row.get(column).map(String::as_str)).expect_err(value);
        assert_eq!(error, ReportError::Diameter { column: LONGEST_DIAMETER, value: value.to_owned() });
    }
}

/// A row of the known values that are longest in tokens, with so many present features.
fn verbose_row(present: usize) -> Row {
    let mut row = row(&[
        (LONGEST_DIAMETER, "123.6"),
        (SHORT_DIAMETER, "114.2"),
        ("nodule_margins", "Lobulated"),
        ("additional_nodule_margins", "Spiculated/Serrated"),
        ("nodule_shape", "Polygonal"),
        ("nodule_consistency", "Pure ground glass"),
        (SUSPICION, "Moderately High"),
    ]);
    let mut phrases: Vec<_> = SEMANTIC_COLUMNS.iter().filter(|feature| feature.is_presence()).collect();
    phrases.sort_by_key(|feature| std::cmp::Reverse(tokens(feature.phrase)));
    row.extend(phrases.iter().take(present).map(|feature| (feature.name.to_owned(), "Present".to_owned())));
    row
}

#[test]
fn the_level_of_suspicion_is_never_cut_off() {
    for present in 0..=12 {
        let features = features(&verbose_row(present));
        for seed in 0..20 {
            let report = report(&features, seed, "");
            let (_, impression) = parts(&report);
            let end =
                impression.find("is moderately high.").expect("the level") + "is moderately high.".len();
            let used = tokens(&impression[..end]);
            assert!(used <= CONTEXT, "{used} tokens: {report}");
        }
    }
}
