//! The preimage of a fingerprint: the named values that decide a result, each with where it came from.
//!
//! One traversal fills it; the fingerprint is its hash, `plan`'s reasons are its difference to an earlier
//! one, and the stored text is what an audit reads. They cannot disagree.

use std::collections::BTreeMap;

use pipe_cache::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One value that decides a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingredient {
    /// Its canonical text; this is what is hashed, with the name.
    pub value: String,
    /// Where it came from; not hashed.
    pub origin: String,
}

/// All values that decide a result, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preimage {
    ingredients: BTreeMap<String, Ingredient>,
}

/// A difference between two preimages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The ingredient's name.
    pub name: String,
    /// Its earlier value.
    pub before: Option<String>,
    /// Its present value.
    pub after: Option<String>,
    /// Where the present value comes from.
    pub origin: String,
}

impl Preimage {
    /// Adds an ingredient.
    pub fn add(&mut self, name: impl Into<String>, value: impl ToString, origin: impl ToString) {
        let ingredient = Ingredient { value: value.to_string(), origin: origin.to_string() };
        self.ingredients.insert(name.into(), ingredient);
    }

    /// Adds a parameter and, for a table, each of its fields.
    pub fn add_json(&mut self, name: &str, value: &Value, origin: &impl ToString) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, value) in fields {
                    self.add_json(&format!("{name}.{key}"), value, origin);
                }
            }
            other => self.add(name, canonical_text(other), origin.to_string()),
        }
    }

    /// The ingredients by name.
    pub fn ingredients(&self) -> &BTreeMap<String, Ingredient> {
        &self.ingredients
    }

    /// Where the values came from, by name, but for defaults.
    pub fn origins(&self) -> BTreeMap<String, String> {
        let told = self.ingredients.iter().filter(|(_, ingredient)| ingredient.origin != "default");
        told.map(|(name, ingredient)| (name.clone(), ingredient.origin.clone())).collect()
    }

    /// The fingerprint: BLAKE3 over all names and values, each preceded by its length.
    pub fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new("pipe fingerprint, version 1");
        for (name, Ingredient { value, origin: _ }) in &self.ingredients {
            hasher.field(name).field(value);
        }
        hasher.finish()
    }

    /// What has changed since an earlier preimage.
    pub fn changes_since(&self, before: &Preimage) -> Vec<Change> {
        let names = self.ingredients.keys().chain(before.ingredients.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        names
            .into_iter()
            .filter_map(|name| {
                let (old, new) = (before.ingredients.get(name), self.ingredients.get(name));
                let value = |side: Option<&Ingredient>| side.map(|ingredient| ingredient.value.clone());
                (value(old) != value(new)).then(|| Change {
                    name: name.clone(),
                    before: value(old),
                    after: value(new),
                    origin: new.or(old).map(|ingredient| ingredient.origin.clone()).unwrap_or_default(),
                })
            })
            .collect()
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads the stored form; `None` for anything else.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// A JSON value as the shortest text that reads back as the same value: `1e-4` and `0.0001` are one.
pub fn canonical_text(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map(float_text).unwrap_or_default(),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(canonical_text).collect();
            format!("[{}]", texts.join(", "))
        }
        Value::Object(fields) => {
            let texts: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), canonical_text(value)))
                .collect();
            format!("{{{}}}", texts.join(", "))
        }
        other => other.to_string(),
    }
}

fn float_text(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e9).contains(&size) { format!("{number:e}") } else { format!("{number}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn preimage(entries: &[(&str, &str)]) -> Preimage {
        let mut preimage = Preimage::default();
        for (name, value) in entries {
            preimage.add(*name, value, "here");
        }
        preimage
    }

    #[test]
    fn the_fingerprint_is_pinned() {
        let fingerprint = preimage(&[("kind", "crop"), ("param.size_mm", "100")]).fingerprint();
        assert_eq!(
            fingerprint.to_string(),
            "5ddfd83ec38bed38ffac55b000e788e5d843ff5b3c66fb037ff2090c67de1942"
        );
    }

    #[test]
    fn origins_and_order_do_not_count_and_boundaries_do() {
        let mut other = Preimage::default();
        other.add("b", "2", "there");
        other.add("a", "1", "there");
        assert_eq!(preimage(&[("a", "1"), ("b", "2")]).fingerprint(), other.fingerprint());
        assert_ne!(
            preimage(&[("a", "1b"), ("c", "2")]).fingerprint(),
            preimage(&[("a", "1"), ("bc", "2")]).fingerprint()
        );
    }

    #[test]
    fn changes_name_both_values() {
        let changes = preimage(&[("lr", "3e-5"), ("new", "1")])
            .changes_since(&preimage(&[("lr", "1e-4"), ("old", "2")]));
        let told: Vec<(&str, Option<&str>, Option<&str>)> =
            changes.iter().map(|c| (c.name.as_str(), c.before.as_deref(), c.after.as_deref())).collect();
        assert_eq!(
            told,
            [("lr", Some("1e-4"), Some("3e-5")), ("new", None, Some("1")), ("old", Some("2"), None)]
        );
    }

    #[test]
    fn numbers_have_one_text() {
        for (value, text) in [
            (json!(0.0001), "1e-4"),
            (json!(1e-4), "1e-4"),
            (json!(0.1), "0.1"),
            (json!(1.0), "1"),
            (json!(-1000.0), "-1000"),
            (json!(0.002), "0.002"),
            (json!(100), "100"),
            (json!([1, 2.5]), "[1, 2.5]"),
            (json!("q"), "\"q\""),
        ] {
            assert_eq!(canonical_text(&value), text);
        }
    }
}
