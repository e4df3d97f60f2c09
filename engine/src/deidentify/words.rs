//! Which words stay, and what stands for the others.
//!
//! A word stays when it is the program's (a kind, an input, an output, a parameter, one of its choices, a column that a kind reads, a
//! word of its results of all cases) or a name in the manifest (of the pipeline, a stage, a variable). A number stays where it is a
//! parameter, a value of a setting or all of a text, unless it has many digits. All other words are given by people or come from data:
//! a keyed hash stands for each. Names of items and of files are hashed whole.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::key::Key;
use super::vocabulary::{add_keys, add_kind};
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

/// A whole number has no more digits, or it may be somebody's.
const SHORT: usize = 3;
/// A fraction has no more digits, zeros at its beginning aside.
const PRECISE: usize = 6;

/// The words of a run.
pub(super) struct Words<'a> {
    key: &'a Key,
    vocabulary: BTreeSet<String>,
    /// Names that manifests give to artifacts: no numbers, whatever they look like.
    given: BTreeSet<String>,
}

impl<'a> Words<'a> {
    /// The words of the program.
    pub(super) fn new(key: &'a Key, registry: &Registry) -> Self {
        let mut vocabulary: BTreeSet<String> =
            EXTENSIONS.iter().flat_map(|one| one.split('.')).map(str::to_string).collect();
        vocabulary.extend(ENGINE.map(String::from));
        registry.kinds().iter().for_each(|kind| add_kind(kind, &mut vocabulary));
        Self { key, vocabulary, given: BTreeSet::new() }
    }

    /// Lets the names in a manifest stay: the pipeline's, and the keys of its tables, but for those by which profiles and several
    /// artifacts of an input are called.
    pub(super) fn add_manifest(&mut self, manifest: &Value) {
        let name = manifest.pointer("/pipeline/name").and_then(Value::as_str);
        self.vocabulary.extend(name.map(str::to_string));
        let Some(manifest) = manifest.as_object() else { return };
        for (name, table) in manifest.iter().filter(|(name, _)| *name != "profile") {
            self.vocabulary.insert(name.clone());
            match (name.as_str(), table) {
                ("stage", Value::Object(stages)) => {
                    stages.iter().for_each(|(name, stage)| self.add_stage(name, stage))
                }
                _ => add_keys(table, &mut self.vocabulary),
            }
        }
    }

    fn add_stage(&mut self, name: &str, stage: &Value) {
        self.vocabulary.insert(name.to_string());
        for (name, table) in stage.as_object().into_iter().flatten() {
            self.vocabulary.insert(name.clone());
            match name.as_str() {
                "inputs" => {
                    let inputs = table.as_object().into_iter().flatten();
                    let several = inputs.filter_map(|(_, given)| given.as_object()).flatten();
                    self.given.extend(several.map(|(name, _)| name.clone()));
                }
                _ => add_keys(table, &mut self.vocabulary),
            }
        }
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

    fn knows(&self, word: &str) -> bool {
        self.vocabulary.contains(word) && !self.given.contains(word)
    }

    /// Whether all of a text is a number that stays.
    fn is_quantity(&self, text: &str) -> bool {
        is_quantity(text) && !self.given.contains(text)
    }

    /// Text such as a label, a reference or a setting: word by word. What has a slash is a path.
    pub(super) fn text(&self, text: &str) -> String {
        if self.is_quantity(text) {
            return text.to_string();
        }
        if text.contains(['/', '\\']) && !self.knows(text) {
            return self.name(text);
        }
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
        runs(text, is_part, |before, word| {
            // The value of a setting, the line of a file: `fold=2`, `p.toml:31`.
            let is_value = before.ends_with(['=', ':']);
            match self.knows(word) || (is_value && self.is_quantity(word)) {
                true => word.to_string(),
                false => self.compound(word),
            }
        })
    }

    /// A word that is made of others: `train.lr`, `raw_0`.
    fn compound(&self, word: &str) -> String {
        if self.given.contains(word) {
            return self.pseudonym(word);
        }
        runs(
            word,
            |c| c != '.',
            |_, part| {
                let is_known = |part: &str| self.knows(part) || (part.len() <= 2 && is_quantity(part));
                let (first, rest) = part.split_once('_').unwrap_or((part, ""));
                let is_numbered = self.knows(first) && rest.split('_').all(is_known);
                if self.knows(part) || is_numbered { part.to_string() } else { self.pseudonym(part) }
            },
        )
    }

    /// A path: each folder and file as a whole, but for its extension, unless it is called as the program calls it.
    pub(super) fn name(&self, name: &str) -> String {
        runs(
            name,
            |c| !matches!(c, '/' | '\\'),
            |_, part| {
                let (stem, extension) = extension_of(part);
                match self.knows(stem) || matches!(part, "." | "..") {
                    true => part.to_string(),
                    false => self.pseudonym(stem) + extension,
                }
            },
        )
    }

    /// The file of an item: its name always hashed.
    pub(super) fn item_file(&self, name: &str) -> String {
        let (item, extension) = extension_of(name);
        self.pseudonym(item) + extension
    }

    /// A value of a manifest.
    pub(super) fn manifest(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| {
                    let value = if name == "params" { self.value(value) } else { self.manifest(value) };
                    (self.text(name), value)
                };
                Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
            }
            Value::Array(values) => values.iter().map(|value| self.manifest(value)).collect(),
            Value::Number(number) if !self.is_quantity(&number.to_string()) => {
                Value::String(self.pseudonym(&number.to_string()))
            }
            other => self.value(other),
        }
    }

    /// A parameter, or a part of a result: numbers stay.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (self.text(name), self.value(value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    /// A cell of a table of results: numbers stay, but for those that are names.
    pub(super) fn result_cell(&self, cell: &str) -> String {
        match cell.parse::<f64>().is_ok() && !self.given.contains(cell) {
            true => cell.to_string(),
            false => self.text(cell),
        }
    }
}

/// A name and its extension with the dot, if that is one that stays.
fn extension_of(name: &str) -> (&str, &str) {
    let fits = |extension: &&&str| {
        name.strip_suffix(**extension).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
    };
    let length = EXTENSIONS.iter().find(fits).map_or(0, |extension| extension.len() + 1);
    name.split_at(name.len() - length)
}

/// A number that is short enough to be nobody's.
fn is_quantity(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole(digits) {
        return digits.len() <= SHORT;
    }
    let (number, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (before, after) = number.split_once('.').unwrap_or((number, "0"));
    let all = before.to_string() + after;
    is_whole(before)
        && is_whole(after)
        && is_whole(exponent)
        && exponent.len() <= 2
        && before.len() <= SHORT + 1
        && all.trim_start_matches('0').len() <= PRECISE
}

/// A text with each run of characters that belong together replaced, knowing what stands before it.
fn runs(text: &str, is_part: impl Fn(char) -> bool, replaced: impl Fn(&str, &str) -> String) -> String {
    let mut result = String::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(&is_part).map(|start| at + start) {
        let end = text[start..].find(|c| !is_part(c)).map_or(text.len(), |end| start + end);
        result.push_str(&text[at..start]);
        result.push_str(&replaced(&text[..start], &text[start..end]));
        at = end;
    }
    result + &text[at..]
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
        words.add_manifest(&json!({
            "pipeline": { "name": "trial" },
            "stage": {
                "train": { "foreach": { "fold": [0] }, "params": { "lr": 1 }, "inputs": { "dataset": { "4711": "a", "North": "b" } } },
            },
            "vars": { "site": "x" },
            "profile": { "Zacharias": { "site": "y" } },
        }));
        test(&words);
    }

    /// With `…` for each pseudonym.
    fn shown(text: &str) -> String {
        let is_pseudonym = |word: &str| word.len() == 17 && word.starts_with('x');
        runs(text, char::is_alphanumeric, |_, word| if is_pseudonym(word) { "…".into() } else { word.into() })
    }

    #[test]
    fn words_of_the_program_and_the_manifest_and_values_of_settings_stay() {
        with_words(|words| {
            for (text, expected) in [
                ("train[fold=0]", "train[fold=0]"),
                ("train[site=north]", "train[site=…]"),
                ("train[site=1950]", "train[site=…]"),
                ("@train.model", "@train.…"),
                ("train.lr=1e-4", "train.lr=1e-4"),
                ("p.toml:31", "….toml:31"),
                ("0.000125", "0.000125"),
                ("-12.5", "-12.5"),
                ("999", "999"),
                ("1000", "…"),
                ("4711.81512345", "….…"),
                ("0e4711815", "…"),
                ("089 123 456", "… … …"),
                ("12.4.50", "….….…"),
                ("1.2.276.0.50", "….….….….…"),
                ("192.168.178.20", "….….….…"),
                ("http://127.0.0.1:9/x", "…//…/…"),
                ("data/1950/12/ct.nii.gz", "…/…/…/….nii.gz"),
                ("12.csv", "….csv"),
                ("fold_3", "fold_3"),
                ("fold_Erika", "…"),
                ("Zacharias", "…"),
                ("North", "…"),
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
                ("/home/anna/12.nii.gz", "/…/…/….nii.gz"),
                ("../train/a.b.csv", "../train/….csv"),
                (".csv", "…"),
            ] {
                assert_eq!(shown(&words.name(name)), expected, "{name}");
            }
            assert_eq!(words.item_file("12_1.npy"), words.pseudonym("12_1") + ".npy");
            assert_eq!(words.item_file("train.npy"), words.pseudonym("train") + ".npy");
        });
    }

    #[test]
    fn values_keep_their_form_and_only_parameters_their_numbers() {
        with_words(|words| {
            let manifest = json!({ "vars": { "site": 4711 }, "params": { "lr": 4711, "fold": ["north", true, null, 2] } });
            let text = shown(&words.manifest(&manifest).to_string());
            assert_eq!(text, r#"{"params":{"fold":["…",true,null,2],"lr":4711},"vars":{"site":"…"}}"#);
            let result = json!({ "North": { "fold": 1234 }, "4711": 0.5 });
            let text = shown(&words.value(&result).to_string());
            assert_eq!(text.matches('…').count(), 2, "{text}");
            assert_eq!(shown(&words.result_cell("4711")), "…");
            assert_eq!(words.result_cell("1246"), "1246");
            assert_eq!(shown(&words.result_cell("Klinik Süd")), "… …");
        });
    }
}
