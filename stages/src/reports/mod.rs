//! A radiologist's report from the semantic features of a nodule.
//!
//! The findings tell everything that was noted, absences included; the impression repeats what speaks
//! for or against cancer, in few enough words for the text encoder. Blanks are not mentioned. The same
//! row, name and seed always give the same text. The module knows rows, not tables or files.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::semantics::{
    ADDITIONAL_MARGINS, CONSISTENCY, CONSPICUITY, DIAMETER_COLUMNS, LONGEST_DIAMETER, MEAN_DIAMETER,
    NODULE_MARGINS, SEMANTIC_COLUMNS, SHAPE, SHORT_DIAMETER, SUSPICION, spelled,
};
use pipe_numerics::random::RandomKey;
use wording::{Phrasing, adjective, capitalised, list, millimetres, sanitised, with_article};

mod prompt;
pub mod wording;

pub use prompt::{Prompt, PromptError};

/// Present features that the impression's opening names at most: with more the impression can exceed
/// the 77 tokens of CLIP's context.
const MOST_DETAILS: usize = 3;

/// Why a row of features cannot be reported.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum ReportError {
    /// A diameter is not a number of millimetres.
    #[error("column `{column}`: `{value}` is not a diameter in millimetres")]
    Diameter {
        /// Name of the column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}

/// What a row of a sample table says about one nodule; blanks are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NoduleFeatures {
    /// Diameters in millimetres, all positive, by column.
    diameters: BTreeMap<&'static str, f64>,
    /// Semantic features and the level of suspicion, sanitised, by column.
    values: BTreeMap<&'static str, String>,
}

impl NoduleFeatures {
    /// Takes a row's features by column name; the names are those of [`crate::semantics`].
    ///
    /// `None` and white space are blanks, and so is a diameter of 0. A column that the table lacks is
    /// blank throughout.
    ///
    /// # Errors
    /// A diameter that is no number, negative or infinite.
    pub fn from_row<'a>(row: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ReportError> {
        let mut features = Self::default();
        for column in DIAMETER_COLUMNS {
            if let Some(value) = diameter(column, row(column).unwrap_or_default())? {
                features.diameters.insert(column, value);
            }
        }
        for column in SEMANTIC_COLUMNS.iter().map(|feature| feature.name).chain([SUSPICION]) {
            let value = sanitised(spelled(column, row(column).unwrap_or_default()));
            if !value.is_empty() {
                features.values.insert(column, value);
            }
        }
        Ok(features)
    }

    /// Every feature that was noted, one on a line, in the order of a sample table.
    fn listing(&self) -> String {
        const DIAMETERS: [&str; 4] = [
            "longest axial diameter",
            "short diameter",
            "mean diameter",
            "longest diameter of the solid component",
        ];
        let diameters = DIAMETER_COLUMNS
            .iter()
            .zip(DIAMETERS)
            .filter_map(|(column, phrase)| Some(format!("- {phrase}: {}", self.diameter(column)?)));
        let features = SEMANTIC_COLUMNS.iter().map(|feature| (feature.name, feature.phrase));
        let values = features
            .chain([(SUSPICION, "suspicion of lung cancer")])
            .filter_map(|(column, phrase)| Some(format!("- {phrase}: {}", self.values.get(column)?)));
        let lines: Vec<String> = diameters.chain(values).collect();
        match lines.is_empty() {
            true => "- a nodule, of which nothing was noted".to_owned(),
            false => lines.join("\n"),
        }
    }

    /// The key of everything chosen for this row: seed, name and content.
    fn key(&self, seed: u64, name: &str) -> RandomKey {
        let key = RandomKey::new(seed, "report").text("name", name);
        let key =
            self.diameters.iter().fold(key, |key, (column, value)| key.text(column, &millimetres(*value)));
        self.values.iter().fold(key, |key, (column, value)| key.text(column, value))
    }

    fn diameter(&self, column: &str) -> Option<String> {
        self.diameters.get(column).copied().map(millimetres)
    }

    /// The adjective for what the column holds.
    fn adjective(&self, column: &str) -> Option<String> {
        self.values.get(column).map(|value| adjective(column, value))
    }

    /// The adjectives of the columns that are not blank, each once.
    fn adjectives(&self, columns: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for word in columns.iter().filter_map(|column| self.adjective(column)) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// The phrases of the features whose value is `Present`, or `Absent`.
    fn phrases_with(&self, presence: &str) -> Vec<String> {
        let holds =
            |name: &str| self.values.get(name).is_some_and(|value| value.eq_ignore_ascii_case(presence));
        let features = SEMANTIC_COLUMNS.iter().filter(|feature| feature.is_presence() && holds(feature.name));
        features.map(|feature| feature.phrase.to_owned()).collect()
    }
}

/// A positive number of millimetres, or `None` for a blank or 0.
fn diameter(column: &'static str, text: &str) -> Result<Option<f64>, ReportError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok((value > 0.0).then_some(value)),
        _ => Err(ReportError::Diameter { column, value: sanitised(text) }),
    }
}

/// The report of one nodule: a line "Findings: …", an empty line, and a line "Impression: …".
///
/// `name` tells nodules with equal features apart (a patient's identifier); it is not in the text. The
/// word "impression" occurs once, so that the report can be split there.
pub fn report(features: &NoduleFeatures, seed: u64, name: &str) -> String {
    let phrasing = Phrasing::new(features.key(seed, name));
    let findings = findings(features, &phrasing).join(" ");
    format!("Findings: {findings}\n\nImpression: {}\n", impression(features, &phrasing))
}

/// The sentences of the findings.
fn findings(features: &NoduleFeatures, phrasing: &Phrasing) -> Vec<String> {
    let mut sentences: Vec<String> = size(features, phrasing);
    sentences.extend(body(features, phrasing));
    sentences.extend(margins(features, phrasing));
    sentences.extend(presence(features, phrasing));
    sentences.extend(unusual(features));
    if sentences.is_empty() {
        sentences.push("A nodule is present.".to_owned());
    }
    sentences
}

/// The diameters. That of the solid component is one of part-solid nodules only.
fn size(features: &NoduleFeatures, phrasing: &Phrasing) -> Vec<String> {
    const BOTH: &[&str] = &[
        "The longest axial diameter of the nodule measures {longest}, the short diameter {short}.",
        "The nodule measures {longest} in greatest axial diameter and {short} in short diameter.",
        "There is a nodule with a maximum axial diameter of {longest} and a short diameter of {short}.",
    ];
    const LONGEST: &[&str] = &[
        "The longest axial diameter of the nodule measures {longest}.",
        "The nodule measures {longest} in greatest axial diameter.",
    ];
    const SHORT: &[&str] = &["The short diameter of the nodule measures {short}."];
    const MEAN: &[&str] = &["The mean diameter is {mean}.", "Its diameter averages {mean}."];
    const SOLID: &[&str] = &[
        "The solid component measures up to {solid}.",
        "The longest diameter of its solid component is {solid}.",
    ];

    let [longest, short, mean, solid] = DIAMETER_COLUMNS.map(|column| features.diameter(column));
    let axes = match (longest, short) {
        (Some(longest), Some(short)) => {
            Some(phrasing.sentence("size", BOTH, &[("longest", &longest), ("short", &short)]))
        }
        (Some(longest), None) => Some(phrasing.sentence("size", LONGEST, &[("longest", &longest)])),
        (None, Some(short)) => Some(phrasing.sentence("size", SHORT, &[("short", &short)])),
        (None, None) => None,
    };
    let mean = mean.map(|mean| phrasing.sentence("mean", MEAN, &[("mean", &mean)]));
    let is_part_solid = features.adjective(CONSISTENCY).as_deref() == Some("part-solid");
    let solid =
        solid.filter(|_| is_part_solid).map(|solid| phrasing.sentence("solid", SOLID, &[("solid", &solid)]));
    [axes, mean, solid].into_iter().flatten().collect()
}

/// Consistency and shape.
fn body(features: &NoduleFeatures, phrasing: &Phrasing) -> Option<String> {
    const FORMS: &[&str] = &[
        "The nodule is {words}.",
        "It is {words} in appearance.",
        "The appearance of the nodule is {words}.",
    ];
    let words = features.adjectives(&[CONSISTENCY, SHAPE]);
    (!words.is_empty()).then(|| phrasing.sentence("body", FORMS, &[("words", &list(&words, "and"))]))
}

/// Conspicuity and kinds of margin.
fn margins(features: &NoduleFeatures, phrasing: &Phrasing) -> Option<String> {
    const BOTH: &[&str] = &[
        "The nodule is {conspicuity} and exhibits {margins} margins.",
        "It is {conspicuity}, and {margins} margins are noted.",
        "The {conspicuity} nodule shows {margins} margins.",
    ];
    const MARGINS: &[&str] = &["The nodule exhibits {margins} margins.", "Its margins are {margins}."];
    const CONSPICUITY_ONLY: &[&str] = &["The nodule is {conspicuity}.", "It appears {conspicuity}."];

    let margins = list(&features.adjectives(&[NODULE_MARGINS, ADDITIONAL_MARGINS]), "and");
    let conspicuity = features.adjective(CONSPICUITY).unwrap_or_default();
    let forms = match (conspicuity.is_empty(), margins.is_empty()) {
        (false, false) => BOTH,
        (true, false) => MARGINS,
        (false, true) => CONSPICUITY_ONLY,
        (true, true) => return None,
    };
    Some(phrasing.sentence("margins", forms, &[("conspicuity", &conspicuity), ("margins", &margins)]))
}

/// What is there, then what is not.
fn presence(features: &NoduleFeatures, phrasing: &Phrasing) -> Vec<String> {
    const PRESENT: &[&str] = &[
        "There is evidence of {features}.",
        "The nodule demonstrates {features}.",
        "The presence of {features} is noted.",
        "Also seen: {features}.",
    ];
    const ABSENT: &[&str] = &[
        "There is no evidence of {features}.",
        "No {features} is seen.",
        "There are no signs of {features}.",
        "The nodule is without {features}.",
    ];
    let sentence = |value: &str, forms: &[&str], conjunction: &str| {
        let phrases = features.phrases_with(value);
        (!phrases.is_empty())
            .then(|| phrasing.sentence(value, forms, &[("features", &list(&phrases, conjunction))]))
    };
    [sentence("Present", PRESENT, "and"), sentence("Absent", ABSENT, "or")].into_iter().flatten().collect()
}

/// Features that hold neither "Present" nor "Absent", in their own words. Whether such a value is an
/// absence is not known, so the impression leaves them out.
fn unusual(features: &NoduleFeatures) -> Vec<String> {
    let known = |value: &str| ["Present", "Absent"].iter().any(|known| known.eq_ignore_ascii_case(value));
    SEMANTIC_COLUMNS
        .iter()
        .filter(|feature| feature.is_presence())
        .filter_map(|feature| features.values.get(feature.name).map(|value| (feature.phrase, value)))
        .filter(|(_, value)| !known(value))
        .map(|(phrase, value)| format!("{}: {}.", capitalised(phrase), value.to_lowercase()))
        .collect()
}

/// Size, consistency, shape, margins, what is there, and the level of suspicion. The latter comes last,
/// but before a list so long that the text encoder may cut its end off.
fn impression(features: &NoduleFeatures, phrasing: &Phrasing) -> String {
    const FURTHER: &[&str] = &["Also seen: {details}.", "It also exhibits {details}."];
    let margins = features.adjectives(&[NODULE_MARGINS, ADDITIONAL_MARGINS]);
    let margins = (!margins.is_empty()).then(|| format!("{} margins", list(&margins, "and")));
    let mut details: Vec<String> = margins.into_iter().collect();
    let mut further = None;
    let present = features.phrases_with("Present");
    if present.len() > MOST_DETAILS {
        let text = list(&present, "and");
        further = Some(phrasing.sentence("further", FURTHER, &[("details", &text)]));
    } else {
        details.extend(present);
    }
    let sentences = [Some(opening(features, &details, phrasing)), suspicion(features, phrasing), further];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The first sentence of the impression: the nodule and its details.
fn opening(features: &NoduleFeatures, details: &[String], phrasing: &Phrasing) -> String {
    const FORMS: &[&str] =
        &["{nodule} with {details}.", "{nodule} showing {details}.", "{nodule}. It exhibits {details}."];
    let words: Vec<String> =
        extent(features).into_iter().chain(features.adjectives(&[CONSISTENCY, SHAPE])).collect();
    let nodule = with_article(format!("{} nodule", words.join(" ")).trim_start());
    if details.is_empty() {
        return format!("{nodule}.");
    }
    phrasing.sentence("opening", FORMS, &[("nodule", &nodule), ("details", &list(details, "and"))])
}

fn suspicion(features: &NoduleFeatures, phrasing: &Phrasing) -> Option<String> {
    const FORMS: &[&str] = &[
        "Suspicion of lung cancer is {level}.",
        "The level of suspicion of lung cancer is {level}.",
        "The suspicion of lung cancer is {level}.",
    ];
    let level = features.adjective(SUSPICION)?;
    Some(phrasing.sentence("suspicion", FORMS, &[("level", &level)]))
}

/// "23.6 mm x 14.2 mm", or the one diameter that is known.
fn extent(features: &NoduleFeatures) -> Option<String> {
    let [longest, short, mean] =
        [LONGEST_DIAMETER, SHORT_DIAMETER, MEAN_DIAMETER].map(|column| features.diameter(column));
    match (longest, short) {
        (Some(longest), Some(short)) => Some(format!("{longest} x {short}")),
        (longest, short) => longest.or(mean).or(short),
    }
}
