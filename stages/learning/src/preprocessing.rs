//! How a model's input was made: the values that a model and its later input have to share.
//!
//! The record goes with the data: `crop` and `import-crops` state it in each volume, `slice` adds the window, `train`
//! repeats it in `model.json`, and whoever shows a model something compares. Fields have the names of the parameters
//! that decide them. A field that is not there is not known, and only what both sides know is compared. Nothing here
//! knows how anything is made.

use std::collections::BTreeMap;
use std::fmt;

use pipe_plugin::canonical_text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The edge of a volume in voxels of 1 mm.
pub const SIZE_MM: &str = "size_mm";
/// Where a volume's voxels are read.
pub const SAMPLING: &str = "sampling";
/// What lies outside a scan, in HU.
pub const PAD_HU: &str = "pad_hu";
/// Which of a header's forms placed the scan. `auto` refuses what the others settle, so a scan that all of them take
/// lies at the same place: the field is told and not compared.
pub const ORIENTATION: &str = "orientation";
/// How a volume's values were stored: rounded to whole HU or not, which no model sees. Told and not compared.
pub const STORE: &str = "store";
/// Distance and axes of a volume's voxels.
pub const GRID: &str = "grid";
/// The grid of the volumes that are made here.
pub const GRID_1MM: &str = "1 mm, axes z, y, x (LPS)";
/// Lower end of the intensity window in HU.
pub const CLIP_MIN: &str = "clip_min";
/// Upper end of the intensity window in HU.
pub const CLIP_MAX: &str = "clip_max";

/// The fields that `crop` decides, by the names of its parameters.
pub const VOLUME_PARAMETERS: [&str; 5] = [SIZE_MM, SAMPLING, PAD_HU, ORIENTATION, STORE];
/// The fields that `slice` decides, by the names of its parameters.
pub const SLICE_PARAMETERS: [&str; 2] = [CLIP_MIN, CLIP_MAX];

/// How input was made, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Preprocessing(BTreeMap<String, Value>);

/// A value that two records do not share.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    name: String,
    first: Value,
    second: Value,
}

impl Difference {
    /// Its name with both values, each followed by whose it is: `clip_min is -300 in A and -1000 in B`.
    pub fn between(&self, first: &str, second: &str) -> String {
        let Self { name, .. } = self;
        format!(
            "`{name}` is {} in {first} and {} in {second}",
            canonical_text(&self.first),
            canonical_text(&self.second)
        )
    }
}

impl Preprocessing {
    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The fields of those names among a kind's canonical parameters.
    pub fn of_parameters(parameters: &Value, names: &[&str]) -> Self {
        let field = |name: &&str| Some(((*name).to_owned(), parameters.get(*name)?.clone()));
        Self(names.iter().filter_map(field).filter(|(_, value)| !value.is_null()).collect())
    }

    /// A field, if it is known.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::as_f64)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both records' fields; of those that differ, the other's.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// What both know and do not share.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let compared = self.0.iter().filter(|(name, _)| ![ORIENTATION, STORE].contains(&name.as_str()));
        compared
            .filter_map(|(name, first)| {
                let second = other.0.get(name)?;
                (!is_same(first, second)).then(|| Difference {
                    name: name.clone(),
                    first: first.clone(),
                    second: second.clone(),
                })
            })
            .collect()
    }
}

/// Numbers are compared by value: 100 and 100.0 are one.
fn is_same(first: &Value, second: &Value) -> bool {
    match (first.as_f64(), second.as_f64()) {
        (Some(first), Some(second)) => first == second,
        _ => first == second,
    }
}

impl fmt::Display for Preprocessing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name} = {}", canonical_text(value))).collect();
        formatter.write_str(&fields.join(", "))
    }
}

/// What an item's file says beside its array.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Made {
    /// How it was made.
    pub preprocessing: Preprocessing,
    /// What the scan is known by, whatever its file is called (`crop::signature`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan: Option<String>,
    /// Of a volume: where its first voxel lies, in LPS millimetres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_lps: Option<[f64; 3]>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(fields: Value) -> Preprocessing {
        serde_json::from_value(fields).expect("a record")
    }

    #[test]
    fn only_what_both_know_is_compared_and_numbers_by_value() {
        let model = record(json!({"size_mm": 100, "clip_min": -1000, "orientation": "auto", "pad_hu": 0.0}));
        let same = record(json!({"size_mm": 100.0, "clip_min": -1000.0, "orientation": "sform"}));
        assert_eq!(model.differences(&same), []);
        let other = record(json!({"size_mm": 60, "clip_min": -300.0}));
        let told: Vec<String> =
            model.differences(&other).iter().map(|one| one.between("the model", "the slices")).collect();
        assert_eq!(
            told,
            [
                "`clip_min` is -1000 in the model and -300 in the slices",
                "`size_mm` is 100 in the model and 60 in the slices"
            ]
        );
    }

    #[test]
    fn records_are_put_together_and_told() {
        let volume = Preprocessing::of_parameters(
            &json!({"size_mm": 60, "x": 1, "store": null}),
            &["size_mm", "store"],
        );
        let both = volume.and(&Preprocessing::default().with(CLIP_MIN, -300.0));
        assert_eq!(both.to_string(), "clip_min = -300, size_mm = 60");
        assert!(Preprocessing::default().is_empty());
    }
}
