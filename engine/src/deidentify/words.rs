//! Which words stay, and what stands for the others.
//!
//! A word stays when it is the program's (a kind, an input, an output, a parameter, one of its choices, a column that a kind reads)
//! or a name in the manifest (a stage, a variable). A number stays when it is a fraction or below 1000, such as a fold. All
//! other words are given by people or come from data: a keyed hash stands for each. Names of items and files are
//! hashed whole, so that no part of them stays.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use pipe_plugin::stage::{ItemSource, Kind, Work};
use serde_json::{Map, Value};

use super::key::Key;
use crate::registry::Registry;

/// Extensions that stay, the longer of two that fit first.
const EXTENSIONS: [&str; 19] = [
    "nii.gz",
    "tar.gz",
    "csv",
    "dcm",
    "jpg",
    "json",
    "jsonl",
    "mha",
    "nii",
    "npy",
    "npz",
    "nrrd",
    "png",
    "pt",
    "safetensors",
    "toml",
    "tsv",
    "txt",
    "zip",
];

/// Words of the engine.
const ENGINE: [&str; 9] =
    ["cpu", "cuda", "default", "false", "param", "pipeline", "seed", "true", "variable"];

/// Digits of a keyed hash that stand for a word.
const DIGITS: usize = 16;

/// Parts of an item's name that have fewer characters are too short to identify anybody, and are words such as folds, too.
const SHORTEST_PART: usize = 4;

/// The words of a run.
pub(super) struct Words<'a> {
    key: &'a Key,
    vocabulary: BTreeSet<String>,
    /// Names of items, and their parts.
    identifiers: HashSet<String>,
    /// Texts in manifests that do not stay, the longest first.
    given: BTreeSet<(Reverse<usize>, String)>,
}

impl<'a> Words<'a> {
    /// The words of the program.
    pub(super) fn new(key: &'a Key, registry: &Registry) -> Self {
        let mut vocabulary: BTreeSet<String> =
            EXTENSIONS.iter().flat_map(|one| one.split('.')).map(str::to_string).collect();
        vocabulary.extend(ENGINE.map(String::from));
        registry.kinds().iter().for_each(|kind| add_kind(kind, &mut vocabulary));
        Self { key, vocabulary, identifiers: HashSet::new(), given: BTreeSet::new() }
    }

    /// Lets the names in a manifest stay: the pipeline's, and the keys of its tables.
    pub(super) fn add_manifest(&mut self, pipeline: &str, manifest: &Value) {
        self.vocabulary.insert(pipeline.to_string());
        add_keys(manifest, &mut self.vocabulary);
    }

    /// Lets no text in a manifest stay that is not made of words that do, also in what results say.
    pub(super) fn add_texts(&mut self, value: &Value) {
        match value {
            Value::String(text) if text.chars().any(char::is_alphanumeric) && self.text(text) != *text => {
                self.given.insert((Reverse(text.len()), text.clone()));
            }
            Value::Array(values) => values.iter().for_each(|value| self.add_texts(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.add_texts(value)),
            _ => {}
        }
    }

    /// Lets no item's name stay, nor parts of it, whatever else they are.
    pub(super) fn add_item(&mut self, name: &str) {
        let parts = name.split(['_', '/', '.', ' ']).filter(|part| part.chars().count() >= SHORTEST_PART);
        self.identifiers.extend(parts.chain([name]).map(str::to_string));
    }

    /// What stands for a word.
    pub(super) fn pseudonym(&self, word: &str) -> String {
        self.hashed("word", &[word.as_bytes()])
    }

    /// What stands for a cell of an item's row: of equal cells in different rows different words, so that nobody counts them.
    pub(super) fn cell(&self, item: &str, column: &str, cell: &str) -> String {
        self.hashed("cell", &[item.as_bytes(), column.as_bytes(), cell.as_bytes()])
    }

    fn hashed(&self, what: &str, parts: &[&[u8]]) -> String {
        let mut text = self.key.hash(what, parts).to_string();
        text.truncate(DIGITS);
        format!("x{text}")
    }

    fn stays(&self, word: &str) -> bool {
        (self.vocabulary.contains(word) || is_quantity(word)) && !self.identifiers.contains(word)
    }

    /// Text such as a label, a reference or a setting: word by word.
    pub(super) fn text(&self, text: &str) -> String {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
        runs(text, is_part, |word| {
            if self.stays(word) {
                return word.to_string();
            }
            let is_part = |c: char| c != '.';
            runs(word, is_part, |part| match self.stays(part) {
                true => part.to_string(),
                false => self.pseudonym(part),
            })
        })
    }

    /// The name of an item or a path: each folder and file as a whole, but for its extension.
    pub(super) fn name(&self, name: &str) -> String {
        runs(
            name,
            |c| c != '/',
            |part| {
                let has = |extension: &&&str| {
                    part.strip_suffix(**extension).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
                };
                let extension = EXTENSIONS.iter().find(has);
                let (stem, rest) =
                    part.split_at(part.len() - extension.map_or(0, |extension| extension.len() + 1));
                let is_known = self.vocabulary.contains(stem) && !self.identifiers.contains(stem);
                match is_known || matches!(part, "." | "..") {
                    true => part.to_string(),
                    false => self.pseudonym(stem) + rest,
                }
            },
        )
    }

    /// A value of a manifest.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(number) if self.identifiers.contains(&number.to_string()) => {
                Value::String(self.pseudonym(&number.to_string()))
            }
            Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (self.text(name), self.value(value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    /// Text of a result of all cases together, with what people gave in their manifests replaced.
    pub(super) fn result(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (_, given) in &self.given {
            // As it is, and as it is written in JSON and CSV; the others are then found no more.
            for written in [in_json, in_csv, str::to_string] {
                text = with_words_replaced(&text, &written(given), &written(&self.text(given)));
            }
        }
        text
    }

    /// Whether no item is named in a text.
    pub(super) fn names_nobody(&self, text: &str) -> bool {
        let is_named = |word: &str| self.identifiers.contains(word);
        let separates: [fn(char) -> bool; 3] = [
            |c| !c.is_alphanumeric(),
            |c| !c.is_alphanumeric() && !matches!(c, '_' | '-'),
            |c| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'),
        ];
        !separates.iter().any(|separates| text.split(separates).any(is_named))
    }
}

/// Fractions, and whole numbers of up to three digits.
fn is_quantity(word: &str) -> bool {
    let is_fraction = word.contains(['.', 'e']) && word.chars().any(|c| c.is_ascii_digit());
    match word.strip_prefix('-').unwrap_or(word) {
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.len() <= 3,
        _ => is_fraction && word.parse::<f64>().is_ok_and(f64::is_finite),
    }
}

fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_string()
}

fn in_csv(text: &str) -> String {
    text.replace('"', "\"\"")
}

/// A text with another in the place of one in it, wherever that is no part of a word.
fn with_words_replaced(text: &str, word: &str, other: &str) -> String {
    let (mut result, mut from) = (String::new(), 0);
    for (at, _) in text.match_indices(word) {
        let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        if !(is_part(before) && is_part(word.chars().next())
            || is_part(after) && is_part(word.chars().next_back()))
        {
            result.push_str(&text[from..at]);
            result.push_str(other);
            from = at + word.len();
        }
    }
    result + &text[from..]
}

/// A text with each run of characters that belong together replaced.
fn runs(text: &str, is_part: impl Fn(char) -> bool, replaced: impl Fn(&str) -> String) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(&is_part) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        result.push_str(before);
        result.push_str(&replaced(run));
        rest = after;
    }
    result + rest
}

fn add_kind(kind: &Kind, vocabulary: &mut BTreeSet<String>) {
    let about = kind.about();
    let words =
        about.inputs.iter().flat_map(|input| [input.name].into_iter().chain(input.keywords.iter().copied()));
    let words = words.chain(about.outputs.iter().map(|output| output.name)).chain([about.name]);
    vocabulary.extend(words.map(str::to_string));
    add_schema(&kind.schema(), vocabulary);
    let Ok(defaults) = kind.canonical(Value::Object(Map::new())) else { return };
    let mut columns: Vec<String> = about
        .inputs
        .iter()
        .flat_map(|input| kind.columns(&defaults, input.name))
        .map(|column| column.name)
        .collect();
    if let Work::Items(stage) = kind.work()
        && let Ok(ItemSource::Rows(rows)) = stage.items(&defaults, &|_| true)
    {
        columns.extend(rows.name.into_iter().chain(rows.columns).map(|column| column.name));
    }
    vocabulary.extend(columns);
}

/// Names of parameters and their choices.
fn add_schema(schema: &Value, vocabulary: &mut BTreeSet<String>) {
    match schema {
        Value::Array(values) => values.iter().for_each(|value| add_schema(value, vocabulary)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        vocabulary.extend(properties.keys().cloned())
                    }
                    ("enum", Value::Array(choices)) => {
                        vocabulary.extend(choices.iter().filter_map(Value::as_str).map(str::to_string));
                    }
                    ("const", Value::String(choice)) => drop(vocabulary.insert(choice.clone())),
                    _ => {}
                }
                add_schema(value, vocabulary);
            }
        }
        _ => {}
    }
}

fn add_keys(value: &Value, vocabulary: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| add_keys(value, vocabulary)),
        Value::Object(fields) => {
            vocabulary.extend(fields.keys().cloned());
            fields.values().for_each(|value| add_keys(value, vocabulary));
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_words(test: impl Fn(&Words<'_>)) {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::read_or_make(&folder.path().join("key")).unwrap();
        let registry = Registry::new(Vec::new(), "version = 4").unwrap();
        let mut words = Words::new(&key, &registry);
        let manifest = json!({
            "pipeline": { "name": "trial" }, "stage": { "train": { "foreach": { "fold": [0] } }, "7712": {} },
            "vars": { "site": "Klinik \"Süd\"" },
        });
        words.add_manifest("trial", &manifest);
        words.add_item("Muster-1950_1");
        words.add_item("7712_0");
        words.add_texts(&manifest);
        test(&words);
    }

    /// With `…` for each pseudonym.
    fn shown(text: &str) -> String {
        let is_pseudonym = |word: &str| word.len() == 17 && word.starts_with('x');
        runs(text, char::is_alphanumeric, |word| if is_pseudonym(word) { "…".into() } else { word.into() })
    }

    #[test]
    fn words_of_the_program_the_manifest_and_small_numbers_stay() {
        with_words(|words| {
            for (text, expected) in [
                ("train[fold=0]", "train[fold=0]"),
                ("train[site=north]", "train[site=…]"),
                ("@train.model", "@train.…"),
                ("train.lr=1e-4", "train.…=1e-4"),
                ("0.000125", "0.000125"),
                ("999 and 1000", "999 … …"),
                ("-12.5", "-12.5"),
                ("data/Muster-1950/ct.nii.gz", "…/…/….nii.gz"),
                ("1.3.6.1.4.1.14519", "1.3.6.1.4.1.…"),
                ("7712", "…"),
                ("Größe", "…"),
                ("", ""),
            ] {
                assert_eq!(shown(&words.text(text)), expected, "{text}");
            }
            assert_eq!(words.text("north"), words.text("north"));
            assert_ne!(words.text("north"), words.text("south"));
        });
    }

    #[test]
    fn names_of_items_and_files_are_hashed_whole() {
        with_words(|words| {
            for (name, expected) in [
                ("12_1", "…"),
                ("12_1.safetensors", "….safetensors"),
                ("/home/anna/12.nii.gz", "/…/…/….nii.gz"),
                ("../train/a.b.csv", "../train/….csv"),
                (".csv", "…"),
            ] {
                assert_eq!(shown(&words.name(name)), expected, "{name}");
            }
            assert_eq!(words.name("12_1.npy"), words.name("12_1") + ".npy");
        });
    }

    #[test]
    fn values_of_manifests_keep_their_form() {
        with_words(|words| {
            let value =
                words.value(&json!({ "fold": [0, 7712, true, null, 5000], "7712": "north", "site": 0.5 }));
            let text = shown(&value.to_string());
            assert_eq!(text, r#"{"fold":[0,"…",true,null,5000],"site":0.5,"…":"…"}"#);
        });
    }

    #[test]
    fn results_name_no_item_and_no_text_of_a_manifest() {
        with_words(|words| {
            for (text, is_open) in [
                ("auroc,0.771,7713", true),
                ("auroc,0.771,7712", false),
                ("[\"Muster-1950_1\"]", false),
                ("pid\nMuster-1950\n", false),
                ("a_7712_0.csv", false),
            ] {
                assert_eq!(words.names_nobody(text), is_open, "{text}");
            }
            let json = r#"{"Klinik \"Süd\"": 1, "Klinik": 2}"#;
            assert_eq!(shown(&words.result(json)), r#"{"… \"…\"": 1, "Klinik": 2}"#);
            assert_eq!(shown(&words.result("Klinik \"\"Süd\"\",1")), "… \"\"…\"\",1");
        });
    }
}
